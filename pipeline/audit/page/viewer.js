"use strict";

/** Shows one image with its masks: zoom, pan, and the styles of a mask. All layers are in the image's pixels. */
audit.Viewer = class {
  static ZOOM = 1.25;
  static MOST = 40;  // device pixels per image pixel
  static SMOOTH_BELOW = 8;  // larger pixels are shown as they are
  static STEP = 0.12;  // of the screen, for each press of an arrow

  constructor(container) {
    this.container = container;
    this.stage = new Konva.Stage({ container, width: 1, height: 1, draggable: true });
    this.photos = new Konva.Layer({ listening: false });
    this.looks = new Konva.Layer({ listening: false });
    this.layer = new Konva.Layer();  // for the editor
    this.stage.add(this.photos, this.looks, this.layer);
    this.photo = new Konva.Image({ perfectDrawEnabled: false });
    this.variance = new Konva.Image({ perfectDrawEnabled: false, visible: false });
    this.photos.add(this.photo, this.variance);
    this.nodes = [];
    this.size = { width: 1, height: 1 };
    this.isFitted = true;
    this.pointer = null;  // its place on the stage
    this.onview = () => {};
    this.#listen();
  }

  /** Show an image from its corner to its corner. */
  open(image, { width, height }) {
    this.size = { width, height };
    for (const node of [this.photo, this.variance]) node.setAttrs({ width, height });
    this.photo.image(image);
    this.showVariance(null);
    this.showMasks([]);
    this.fit();
  }

  /** Show a picture in the photo's place; null for the photo. */
  showVariance(image) {
    this.variance.setAttrs({ image, visible: image !== null });
    this.photo.visible(image === null);
  }

  /** Show the mask that is edited, whose border is drawn too. style: fill, outline or cutout. */
  showMask(surface, style, colour = audit.TINTS[0]) {
    const line = style === "cutout" ? null : [...colour, 255];
    this.showMasks([{ surface, style: { ...audit.styleOf(style, colour), line } }]);
  }

  /** Show masks one above the other: {surface, style}, with a style as `MaskDisplay` takes it. */
  showMasks(looks) {
    for (const node of this.nodes) node.shape.destroy();
    this.nodes = looks.map(({ surface, style }) => new audit.MaskNode(surface, style));
    for (const node of this.nodes) this.looks.add(node.shape);
    this.looks.batchDraw();
  }

  /** A part of a mask has changed; everything without one. */
  redraw(rect = null) {
    for (const node of this.nodes) node.changed(rect);
  }

  /** Hide all masks, or show them again. */
  hideMasks(isHidden) { this.looks.visible(!isHidden); }

  /** May the left button pan? The middle one always does. */
  setPanning(isOn) { Konva.dragButtons = isOn ? [0, 1] : [1]; }

  /** The place in the image, in pixels, of a place on the stage. */
  toImage(point) {
    return this.stage.getAbsoluteTransform().copy().invert().point(point);
  }

  get scale() { return this.stage.scaleX(); }

  /** The whole image, as large as it gets. */
  fit() {
    this.isFitted = true;
    const { width, height } = this.size;
    this.#look(Math.min(this.stage.width() / width, this.stage.height() / height), { x: width / 2, y: height / 2 });
  }

  /** One pixel of the image for each of the screen, with the pointed-at place where it is. */
  actualSize() { this.zoom(1 / devicePixelRatio / this.scale); }

  /** Zoom at a place of the stage: the pointer's, or the middle. */
  zoom(factor, point = this.pointer ?? this.#middle()) {
    const before = this.toImage(point);
    const fit = Math.min(this.stage.width() / this.size.width, this.stage.height() / this.size.height);
    const most = audit.Viewer.MOST / devicePixelRatio;
    const scale = Math.min(Math.max(this.scale * factor, Math.min(fit, 1 / devicePixelRatio)), Math.max(most, fit));
    const middle = this.#middle();
    this.isFitted = Math.abs(scale / fit - 1) < 1e-6;
    if (this.isFitted) this.fit();
    else this.#look(scale, { x: before.x + (middle.x - point.x) / scale, y: before.y + (middle.y - point.y) / scale });
  }

  /** Pan by steps of the screen. */
  pan(across, down) {
    const { x, y } = this.toImage(this.#middle());
    const step = audit.Viewer.STEP * Math.min(this.stage.width(), this.stage.height()) / this.scale;
    this.#look(this.scale, { x: x + across * step, y: y + down * step });
  }

  #middle() { return { x: this.stage.width() / 2, y: this.stage.height() / 2 }; }

  /** Put a place of the image into the middle of the screen, or as near as keeps the image in sight. */
  #look(scale, centre) {
    this.stage.scale({ x: scale, y: scale });
    this.stage.position(this.#kept({
      x: this.stage.width() / 2 - centre.x * scale,
      y: this.stage.height() / 2 - centre.y * scale,
    }));
    const isSmooth = scale * devicePixelRatio < audit.Viewer.SMOOTH_BELOW;
    this.photos.imageSmoothingEnabled(isSmooth);
    this.stage.batchDraw();
    this.onview(scale * devicePixelRatio);
  }

  /** A position that an axis may have: a side longer than the screen covers its middle, a shorter one is centred. */
  #kept({ x, y }) {
    const along = (position, screen, length) => {
      if (length <= screen) return (screen - length) / 2;
      return Math.min(Math.max(position, screen / 2 - length), screen / 2);
    };
    return {
      x: along(x, this.stage.width(), this.size.width * this.scale),
      y: along(y, this.stage.height(), this.size.height * this.scale),
    };
  }

  #listen() {
    new ResizeObserver(() => {
      const centre = this.toImage(this.#middle());
      this.stage.size({ width: Math.max(1, this.container.clientWidth), height: Math.max(1, this.container.clientHeight) });
      if (this.isFitted) this.fit();
      else this.#look(this.scale, centre);
    }).observe(this.container);
    this.stage.dragBoundFunc((position) => this.#kept(position));
    this.stage.on("wheel", ({ evt }) => {
      evt.preventDefault();
      if (evt.altKey) return;  // changes the editor's brush
      this.zoom(Math.exp(-Math.sign(evt.deltaY) * Math.min(Math.abs(evt.deltaY), 100) / 400), this.stage.getPointerPosition());
    });
    this.stage.on("dragstart", () => { this.container.classList.add("dragging"); });
    this.stage.on("dragmove", () => { this.isFitted = false; });
    this.stage.on("dragend", () => { this.container.classList.remove("dragging"); });
    this.stage.on("pointerdown pointermove", () => { this.pointer = this.stage.getPointerPosition(); });
    this.stage.on("pointerleave", () => { this.pointer = null; });
  }
};

audit.TINTS = [[255, 61, 127], [0, 214, 201], [255, 214, 0]];  // the first is rare in photos; others for when it isn't
audit.COLOURS = { A: [0, 214, 201], B: [255, 166, 0] };
audit.PAPER = [118, 118, 118];  // a grey from which both dark and light objects stand out

/** How a mask of a colour is shown, as `MaskDisplay` takes it. */
audit.styleOf = (style, colour = audit.TINTS[0]) => ({
  fill: { fill: [...colour, 115], line: null, outside: null },
  outline: { fill: null, line: [...colour, 255], outside: null },
  cutout: { fill: null, line: null, outside: [...audit.PAPER, 255] },
})[style];
