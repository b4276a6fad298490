"use strict";
/* What the editor draws over the mask, with Konva: the cursor, lines that are being drawn, and what a click would change.
   All in image coordinates; widths are those of the screen. */

globalThis.audit ??= {};

audit.Overlay = class {
  static SIZE_MS = 1200;  // how long the brush's size is shown
  #dots = [];
  #rings;
  #label;
  #previewed = "";
  #hiding;

  constructor(viewer, surface) {
    Object.assign(this, { viewer, surface, unit: audit.screenUnit() });
    this.group = new Konva.Group({ listening: false });
    viewer.layer.add(this.group);
    viewer.layer.on("beforeDraw.overlay", () => this.#follow());
    this.ghost = { width: surface.width, height: surface.height, pixels: null };
    this.ghostNode = new audit.MaskNode(this.ghost, {});
    this.ghostNode.shape.visible(false);
    this.group.add(this.ghostNode.shape);
    this.#addCursor();
  }

  remove() {
    clearTimeout(this.#hiding);
    this.viewer.layer.off(".overlay");
    this.group.destroy();
    this.redraw();
  }

  redraw() { this.viewer.layer.batchDraw(); }

  /* The colour of what is set to a value, as a CSS colour. */
  colourOf(value, alpha = 1) { return value ? `rgb(47 214 195 / ${alpha})` : `rgb(255 90 90 / ${alpha})`; }

  /* A line that is seen on anything: a bright one on a dark one. Returns a function that sets Konva's attributes. */
  addLine(options) {
    const common = { visible: false, strokeScaleEnabled: false, lineJoin: "round", perfectDrawEnabled: false, ...options };
    const dark = new Konva.Line({ ...common, stroke: "#000", strokeWidth: 4 * this.unit, opacity: 0.5 });
    const bright = new Konva.Line({ ...common, stroke: this.colourOf(1), strokeWidth: 2 * this.unit });
    this.group.add(dark, bright);
    return ({ stroke = bright.stroke(), fill = null, ...attributes }) => {
      dark.setAttrs(attributes);
      bright.setAttrs({ ...attributes, stroke, fill });
    };
  }

  /* A dot of the same size at every zoom. */
  addDot() {
    const dot = new Konva.Circle({ visible: false, strokeWidth: 2 * this.unit, strokeScaleEnabled: false });
    this.#dots.push(dot);
    this.group.add(dot);
    return dot;
  }

  /* Show what a click would set to a value: null, or a function that calls `span`. `name` tells one from another. */
  preview(draw, value = 1, name = "") {
    const wanted = draw ? `${name} ${value}` : "";
    if (wanted === this.#previewed) return;
    this.#previewed = wanted;
    const { ghost, ghostNode } = this, { width, height } = ghost;
    if (draw) {
      ghost.pixels = ghost.pixels?.fill(0) ?? new Uint8Array(width * height);
      draw((x, y0, y1) => ghost.pixels.fill(1, x * height + y0, x * height + y1));
      ghostNode.style = { fill: value ? [47, 214, 195, 120] : [255, 90, 90, 150], line: [255, 255, 255] };
    }
    ghostNode.shape.visible(Boolean(draw));
    ghostNode.changed();
  }

  /* Show the brush at the pointer, which may be null, and for a moment its size in image pixels. An eraser is dashed. */
  showCursor(pointer, size, { isRound, isEraser, withSize }) {
    this.#rings[1].dashEnabled(isEraser);
    for (const ring of this.#rings) ring.setAttrs({ ...pointer, radius: size / 2, visible: isRound });
    if (withSize) {
      clearTimeout(this.#hiding);
      this.#hiding = setTimeout(() => this.hideSize(), audit.Overlay.SIZE_MS);
    }
    if (withSize || this.#label.visible()) {
      const { x, y } = pointer ?? { x: this.surface.width / 2, y: this.surface.height / 2 };
      const aside = size / 2 * Math.SQRT1_2 + 8 / this.viewer.stage.scaleX();
      this.#label.getText().text(`${size} px`);
      this.#label.setAttrs({ x: x + aside, y: y + aside, visible: true });
    }
    this.redraw();
  }

  hideSize() {
    this.#label.visible(false);
    this.redraw();
  }

  #addCursor() {
    const ring = { visible: false, strokeScaleEnabled: false, perfectDrawEnabled: false };
    this.#rings = [
      new Konva.Circle({ ...ring, stroke: "#000", strokeWidth: 3 * this.unit, opacity: 0.55 }),
      new Konva.Circle({ ...ring, stroke: "#fff", strokeWidth: 1.5 * this.unit, dash: [6 * this.unit, 4 * this.unit] }),
    ];
    this.#label = new Konva.Label({ visible: false });
    this.#label.add(new Konva.Tag({ fill: "#000", opacity: 0.75, cornerRadius: 4 }));
    this.#label.add(new Konva.Text({ fill: "#fff", fontSize: 13 * this.unit, padding: 5 * this.unit }));
    this.group.add(...this.#rings, this.#label);
  }

  /* What keeps its size on the screen follows the zoom. */
  #follow() {
    const scale = this.viewer.stage.scaleX();
    this.#label.scale({ x: 1 / scale, y: 1 / scale });
    for (const dot of this.#dots) dot.radius(5 * this.unit / scale);
  }
};
