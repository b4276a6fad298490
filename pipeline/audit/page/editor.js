"use strict";
/* The mask editor: turns Konva's pointer events and keys into what the tools do, and shows the cursor. The viewer shows
   photo and mask; `tools.js` and `picks.js` have the tools; `bar.js` the buttons. */

globalThis.audit ??= {};

audit.Editor = class {
  static LARGEST = 2000;
  size = 40;  // diameter of the brush in image pixels
  mode = "add";  // or "remove": what polygon, lasso and instances do
  tool = "";
  dots = [];
  #tools;
  #steps = 0;
  #drawing = false;
  #spaceIsDown = false;
  #pointer = null;

  /* instances: [{label, mask}] of the annotations, with masks as run lengths. release: the release's mask, to start from
     again, or null. place: the element that takes the buttons. */
  constructor(viewer, surface, instances, { release = null, place = viewer.stage.container().parentElement } = {}) {
    Object.assign(this, { viewer, surface, instances, release, place });
    this.everything = (span) => {
      for (let x = 0; x < surface.width; x++) span(x, 0, surface.height);
    };
  }

  start() {
    const { stage, layer } = this.viewer;
    this.group = new Konva.Group({ listening: false });
    layer.add(this.group);
    layer.on("beforeDraw.editor", () => this.#follow());
    this.#addPreview();
    this.#addCursor();
    this.#tools = {
      brush: audit.tools.stroke(this, 1),
      eraser: audit.tools.stroke(this, 0),
      polygon: audit.tools.polygon(this),
      lasso: audit.tools.lasso(this),
      instance: audit.tools.instance(this, this.instances),
      holes: audit.tools.pieces(this, "holes"),
      islands: audit.tools.pieces(this, "islands"),
    };
    this.bar = new audit.EditorBar(this, this.place);
    this.viewer.setPanning(false);
    stage.on("pointerdown.editor", ({ evt }) => this.#down(evt));
    stage.on("pointermove.editor", ({ evt }) => this.#move(evt));
    stage.on("pointerup.editor pointercancel.editor", () => this.#up());
    stage.on("pointerleave.editor", () => this.#leave());
    stage.on("contextmenu.editor", ({ evt }) => evt.preventDefault());
    stage.on("dragstart.editor", () => this.viewer.hideMasks(false));
    stage.on("wheel.editor", ({ evt }) => this.#wheel(evt));
    this.keys = new AbortController();
    const options = { capture: true, signal: this.keys.signal };
    addEventListener("keydown", (event) => this.#key(event), options);
    addEventListener("keyup", (event) => this.#keyUp(event), options);
    addEventListener("blur", () => this.#pan(false), options);
    this.choose("brush");
  }

  stop() {
    this.#up();
    this.#tools[this.tool].stop?.();
    this.keys.abort();
    clearTimeout(this.hiding);
    this.viewer.stage.off(".editor");
    this.viewer.layer.off(".editor");
    this.viewer.stage.container().style.cursor = "";
    this.viewer.setPanning(true);
    this.bar.remove();
    this.group.destroy();
    this.redraw();
  }

  /* What the bar and the keys do */

  choose(name) {
    if (name === this.tool) return this.current.again?.({});
    this.#up();
    if (this.tool) this.current.stop?.();
    this.tool = name;
    this.say("");
    this.#showCursor();
    this.bar.update();
  }

  resize(size) {
    this.size = Math.min(audit.Editor.LARGEST, Math.max(1, Math.round(size)));
    this.#showCursor(true);
    this.bar.update();
  }

  /* The next size in a direction: a sixth more or less, at least one pixel. */
  step(direction) {
    this.resize(this.size + direction * Math.max(1, Math.round(this.size / 6)));
  }

  swap() {
    const other = { brush: "eraser", eraser: "brush" }[this.tool];
    if (other) return this.choose(other);
    this.mode = this.mode === "add" ? "remove" : "add";
    this.bar.update();
  }

  undo() { this.#change(() => this.surface.undo()); }
  redo() { this.#change(() => this.surface.redo()); }

  /* Start from a mask anew; from an empty one if there is none. */
  startFrom(rle) {
    this.#change(() => {
      this.surface.set(0, this.everything);
      if (rle) this.surface.set(1, (span) => audit.rle.spans(audit.rle.runs(rle), this.surface.height, 1, span));
      this.surface.commit();
    });
  }

  #change(change) {
    this.#drawing = false;
    this.current.stop?.();
    change();
    this.bar.update();
  }

  /* What the tools use */

  get current() { return this.#tools[this.tool]; }

  /* Screen pixels per image pixel. */
  get scale() { return this.viewer.stage.scaleX(); }

  /* Whether an event asks for the opposite: adding instead of removing, or removing instead of adding. */
  isOpposite(event) { return Boolean(event.altKey || event.button === 2 || event.buttons & 2); }

  valueOf(event) { return (this.mode === "add") !== this.isOpposite(event) ? 1 : 0; }

  colourOf(value, alpha = 1) { return value ? `rgb(47 214 195 / ${alpha})` : `rgb(255 90 90 / ${alpha})`; }

  commit() {
    this.surface.commit();
    this.bar.update();
  }

  fill(corners, value) {
    this.surface.set(value, (span) => audit.shapes.polygon(corners, span));
    this.commit();
  }

  say(text) { this.bar.say(text); }

  redraw() { this.viewer.layer.batchDraw(); }

  /* A line that is seen on anything: a bright one on a dark one. Returns a function that sets Konva's attributes. */
  addLine(options) {
    const common = { visible: false, strokeScaleEnabled: false, lineJoin: "round", perfectDrawEnabled: false, ...options };
    const dark = new Konva.Line({ ...common, stroke: "#000", strokeWidth: 4, opacity: 0.5 });
    const bright = new Konva.Line({ ...common, stroke: this.colourOf(1), strokeWidth: 2 });
    this.group.add(dark, bright);
    return ({ stroke = bright.stroke(), fill = null, ...attributes }) => {
      dark.setAttrs(attributes);
      bright.setAttrs({ ...attributes, stroke, fill });
    };
  }

  addDot() {
    const dot = new Konva.Circle({ visible: false, strokeWidth: 2, strokeScaleEnabled: false, fill: "#fff", radius: 5 });
    this.dots.push(dot);
    this.group.add(dot);
    return dot;
  }

  /* Show what a click would set to a value: null, or a function that calls `span`. `name` tells one from another. */
  preview(draw, value = 1, name = "") {
    const wanted = draw ? `${name} ${value}` : "";
    if (wanted === this.previewed) return;
    this.previewed = wanted;
    this.ghost.pixels ??= draw && new Uint8Array(this.surface.width * this.surface.height);
    this.ghost.pixels?.fill(0);
    draw?.((x, y0, y1) => this.ghost.pixels.fill(1, x * this.surface.height + y0, x * this.surface.height + y1));
    this.ghostNode.style = { fill: value ? [47, 214, 195, 120] : [255, 90, 90, 150], line: [255, 255, 255] };
    this.ghostNode.shape.visible(Boolean(draw));
    this.ghostNode.changed();
  }

  #addPreview() {
    const { width, height } = this.surface;
    this.ghost = { width, height, pixels: null };
    this.ghostNode = new audit.MaskNode(this.ghost, {});
    this.ghostNode.shape.visible(false);
    this.group.add(this.ghostNode.shape);
  }

  #addCursor() {
    const ring = { listening: false, strokeScaleEnabled: false, perfectDrawEnabled: false };
    this.rings = [new Konva.Circle({ ...ring, stroke: "#000", strokeWidth: 3, opacity: 0.55 }), new Konva.Circle({ ...ring, stroke: "#fff", strokeWidth: 1.5 })];
    this.label = new Konva.Label({ visible: false, listening: false });
    this.label.add(new Konva.Tag({ fill: "#000", opacity: 0.75, cornerRadius: 4 }));
    const fontSize = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.label.add(new Konva.Text({ fill: "#fff", fontSize, padding: fontSize / 3 }));
    this.group.add(...this.rings, this.label);
  }

  /* What keeps its size on the screen follows the zoom. */
  #follow() {
    this.label.scale({ x: 1 / this.scale, y: 1 / this.scale });
    for (const dot of this.dots) dot.radius(5 / this.scale);
  }

  #showCursor(withSize = false) {
    const isRound = Boolean(this.current.isRound) && !this.#spaceIsDown && this.#pointer !== null;
    const radius = this.size / 2, { stage } = this.viewer;
    for (const ring of this.rings) ring.setAttrs({ ...this.#pointer, radius, visible: isRound });
    if (withSize) {
      clearTimeout(this.hiding);
      this.hiding = setTimeout(() => (this.label.visible(false), this.redraw()), 1200);
    }
    if (withSize || this.label.visible()) {
      const at = this.#pointer ?? { x: this.surface.width / 2, y: this.surface.height / 2 };
      this.label.getText().text(`${this.size} px`);
      this.label.setAttrs({ x: at.x + radius * 0.71 + 8 / this.scale, y: at.y + radius * 0.71 + 8 / this.scale, visible: true });
    }
    if (!this.#spaceIsDown) stage.container().style.cursor = isRound && this.size * this.scale > 8 ? "none" : "crosshair";
    this.redraw();
  }

  /* Events */

  #pointOf(event) {
    const box = this.box ?? this.viewer.stage.container().getBoundingClientRect();
    return this.viewer.toImage({ x: event.clientX - box.left, y: event.clientY - box.top });
  }

  #down(event) {
    if (this.#spaceIsDown || this.#drawing || event.button === 1) return;
    if (document.activeElement !== document.body) document.activeElement?.blur();
    this.box = this.viewer.stage.container().getBoundingClientRect();
    event.target.setPointerCapture?.(event.pointerId);
    this.#drawing = true;
    this.#pointer = this.#pointOf(event);
    this.current.down(this.#pointer, event);
    this.#showCursor();
  }

  #move(event) {
    if (this.#spaceIsDown) return;
    const all = event.getCoalescedEvents?.() ?? [], points = (all.length ? all : [event]).map((one) => this.#pointOf(one));
    this.#pointer = points.at(-1);
    if (this.#drawing) this.current.move?.(points);
    else this.current.hover?.(this.#pointer, event);
    this.#showCursor();
  }

  #up() {
    if (!this.#drawing) return;
    this.#drawing = false;
    this.box = null;
    this.current.up?.();
    this.redraw();
  }

  #leave() {
    if (this.#drawing) return;
    this.#pointer = null;
    this.#showCursor();
  }

  #wheel(event) {
    if (!event.altKey) return;
    event.preventDefault();
    this.step(event.deltaY < 0 || event.deltaX < 0 ? 1 : -1);
  }

  #key(event) {
    const field = event.target.closest?.("input, select, textarea");
    const isButton = event.target.closest?.("button") && (event.key === "Enter" || event.key === " ");
    if (field || isButton) return;
    if (event.key === " " ? this.#pan(true) : this.#take(event)) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }

  #take(event) {
    const letter = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (letter === "z") event.shiftKey ? this.redo() : this.undo();
      else if (letter === "y") this.redo();
      else return false;
      return true;
    }
    if (event.key === "Alt") return true;  // else some browsers open their menu
    if (event.key === "Escape" && this.#drawing) {
      this.#drawing = false;
      this.surface.cancel();
      this.current.stop?.();
      return true;
    }
    if (this.current.key?.(event.key, event)) return true;
    return this.bar.press(letter);
  }

  #keyUp(event) {
    if (event.key === " " && this.#pan(false)) event.stopImmediatePropagation();
  }

  /* While Space is held, the mask is hidden and dragging pans; the mask is back as soon as it does. */
  #pan(isPanning) {
    if (this.#drawing) return true;
    if (this.#spaceIsDown === isPanning) return isPanning;
    this.#spaceIsDown = isPanning;
    this.viewer.setPanning(isPanning);
    this.viewer.hideMasks(isPanning);
    this.#showCursor();
    return true;
  }
};
