"use strict";
/* The stage of an open image: zoom, pan, and the ways to look at a mask. It shows the thumbnail at once, and the files of
   the tar as soon as they have been read. */

const MOST_ZOOM = 24, ZOOM_STEP = 1.25, PAN_PX = 60, FLICKER_MS = 700;

class Viewer {
  constructor(parent, row, look, { onLook }) {
    this.row = row;
    this.onLook = onLook;
    this.look = look.name;
    this.isBeside = look.isBeside;
    this.isFlickering = false;
    this.showsPhoto = false;
    this.imagePx = [table.columns.width[row], table.columns.height[row]];
    this.stopping = new AbortController();
    this.#bar(add(parent, "div", { className: "viewer-bar" }));
    this.canvas = add(parent, "canvas", { className: "stage", tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.note = add(parent, "p", { className: "hint stage-note" });
    this.note.setAttribute("role", "status");
    this.further = new FurtherMasks(parent, row, () => this.#draw());
    this.#pointers();
    this.resized = new ResizeObserver(() => this.#fitOrDraw());
    this.resized.observe(this.canvas);
    this.#load();
    this.#say();
  }

  close() {
    this.stopping.abort();
    this.resized.disconnect();
    clearInterval(this.flickering);
    for (const picture of Object.values(this.pictures ?? {})) picture.image.close?.();
    this.pictures = null;
  }

  async #load() {
    const { signal } = this.stopping, why = whyNoSample(this.row);
    try {
      this.pictures = await tilePictures(this.row);
    } catch (error) {
      this.note.textContent = error.message;
      return;
    }
    if (signal.aborted) return;
    this.#took("preview", why || "reading the tar …");
    if (why) return;
    try {
      const full = await samplePictures(this.row, this.pictures, signal);
      if (signal.aborted) return;
      this.pictures = full;
      this.#took("full", "");
    } catch (error) {
      if (!signal.aborted) this.#took("preview", error.message);
    }
  }

  #took(source, why) {
    const { width, height } = this.pictures.mask;
    this.canvas.dataset.source = source;
    this.note.textContent = source === "full" ? `Full resolution, ${width} × ${height} px.`
      : `Shown from the thumbnail of ${width} × ${height} px${why ? `: ${why}` : ""}. The image has ${this.imagePx.join(" × ")} px.`;
    this.#fitOrDraw();
  }

  /* Toolbar */

  #bar(bar) {
    const looks = add(bar, "div");
    looks.setAttribute("role", "group");
    looks.setAttribute("aria-label", "What is shown");
    this.buttons = new Map(LOOKS.map(({ name, label, title }, place) => {
      const button = action(looks, name, label, `${title} (${place + 1})`, () => this.choose(name));
      return [name, button];
    }));
    const ways = add(bar, "div");
    this.beside = action(ways, "beside", "Side by side", "Put the photo beside it (S)", () => this.toggleBeside());
    this.flicker = action(ways, "flicker", "Flicker", "Flicker between it and the photo (F)", () => this.toggleFlicker());
    const zoom = add(bar, "div");
    zoom.setAttribute("role", "group");
    zoom.setAttribute("aria-label", "Zoom");
    action(zoom, "out", "−", "Zoom out (−)", () => this.zoom(1 / ZOOM_STEP));
    this.percent = add(zoom, "output");
    action(zoom, "in", "+", "Zoom in (+)", () => this.zoom(ZOOM_STEP));
    action(zoom, "fit", "Fit", "The whole image (0)", () => this.fit());
    action(zoom, "pixels", "1:1", "One pixel of the image on one of the screen (9)", () => this.pixels());
  }

  #say() {
    for (const [name, button] of this.buttons) button.setAttribute("aria-pressed", String(name === this.look));
    this.beside.setAttribute("aria-pressed", String(this.isBeside));
    this.flicker.setAttribute("aria-pressed", String(this.isFlickering));
    const { title } = LOOKS.find(({ name }) => name === this.look);
    this.canvas.setAttribute("aria-label", `${title}${this.isBeside ? ", beside the photo" : ""}`);
    this.onLook({ name: this.look, isBeside: this.isBeside });
  }

  choose(name) {
    this.look = name;
    this.#say();
    this.#draw();
  }

  toggleBeside() {
    this.isBeside = !this.isBeside;
    this.#say();
    this.fit();
  }

  toggleFlicker() {
    this.isFlickering = !this.isFlickering;
    this.showsPhoto = false;
    clearInterval(this.flickering);
    if (this.isFlickering) {
      this.flickering = setInterval(() => {
        this.showsPhoto = !this.showsPhoto;
        this.#draw();
      }, FLICKER_MS);
    }
    this.#say();
    this.#draw();
  }

  /* Do what a key asks for; false if it asks for nothing here. */
  key({ key, shiftKey }) {
    const pans = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const does = { "+": () => this.zoom(ZOOM_STEP), "=": () => this.zoom(ZOOM_STEP), "-": () => this.zoom(1 / ZOOM_STEP),
                   0: () => this.fit(), 9: () => this.pixels(), s: () => this.toggleBeside(), f: () => this.toggleFlicker() };
    LOOKS.forEach(({ name }, place) => { does[place + 1] = () => this.choose(name); });
    if (shiftKey && key in pans) this.pan(...pans[key].map((way) => way * PAN_PX));
    else if (Object.hasOwn(does, key.toLowerCase())) does[key.toLowerCase()]();
    else return false;
    return true;
  }

  /* Zoom and pan: `scale` is screen pixels per image pixel, `centre` the image's point in the middle of a pane. */

  get panes() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.isBeside) return [[0, 0, width, height]];
    return width >= height ? [[0, 0, width / 2 - 2, height], [width / 2 + 2, 0, width / 2 - 2, height]]
      : [[0, 0, width, height / 2 - 2], [0, height / 2 + 2, width, height / 2 - 2]];
  }

  #fitScale() {
    const [, , width, height] = this.panes[0];
    return Math.min(width / this.imagePx[0], height / this.imagePx[1]);
  }

  fit() {
    this.scale = null;
    this.#fitOrDraw();
  }

  pixels() {
    this.zoom(1 / (devicePixelRatio * this.scaleNow));
  }

  get scaleNow() {
    return this.scale ?? this.#fitScale();
  }

  /* Zoom by a factor; the image's point under (x, y) of the stage stays there. */
  zoom(factor, x, y) {
    const [left, top, width, height] = this.#paneAt(x, y);
    const from = [(x ?? left + width / 2) - left - width / 2, (y ?? top + height / 2) - top - height / 2];
    const before = this.scaleNow, centre = this.centre ?? this.imagePx.map((side) => side / 2);
    const after = Math.min(MOST_ZOOM, Math.max(Math.min(this.#fitScale(), 1) / 2, before * factor));
    this.centre = centre.map((at, axis) => at + from[axis] / before - from[axis] / after);
    this.scale = after;
    this.#keepInside();
    this.#draw();
  }

  pan(x, y) {
    if (this.scale === null || this.scale === undefined) return;
    this.centre = [this.centre[0] - x / this.scale, this.centre[1] - y / this.scale];
    this.#keepInside();
    this.#draw();
  }

  #paneAt(x = 0, y = 0) {
    return this.panes.find(([left, top, width, height]) => x <= left + width && y <= top + height) ?? this.panes[0];
  }

  #keepInside() {
    this.centre = this.centre.map((at, axis) => Math.min(this.imagePx[axis], Math.max(0, at)));
  }

  #fitOrDraw() {
    if (this.scale === null || this.scale === undefined) this.centre = this.imagePx.map((side) => side / 2);
    this.#draw();
  }

  #pointers() {
    const down = new Map();
    const at = (event) => { const box = this.canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    const spread = () => { const [a, b] = [...down.values()]; return [Math.hypot(a[0] - b[0], a[1] - b[1]), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2]; };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      down.set(event.pointerId, at(event));
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!down.has(event.pointerId)) return;
      const before = down.size === 2 ? spread() : null, [x, y] = down.get(event.pointerId), [nowX, nowY] = at(event);
      down.set(event.pointerId, [nowX, nowY]);
      if (down.size === 1) this.pan(nowX - x, nowY - y);
      if (before?.[0] > 0) {
        const after = spread();
        this.zoom(after[0] / before[0], after[1], after[2]);
        this.pan(after[1] - before[1], after[2] - before[2]);
      }
    });
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, (event) => down.delete(event.pointerId));
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY)) / 300), ...at(event));
    }, { passive: false });
    this.canvas.addEventListener("dblclick", () => { if (this.scale) this.fit(); else this.pixels(); });
  }

  /* Drawing */

  #draw() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      if (this.pictures) this.#drawNow();
    });
  }

  #drawNow() {
    const ratio = devicePixelRatio, { canvas } = this;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    const context = canvas.getContext("2d"), scale = this.scaleNow * ratio;
    const looks = this.isBeside ? ["photo", this.look] : [this.isFlickering && this.showsPhoto ? "photo" : this.look];
    if (this.isBeside && this.isFlickering && this.showsPhoto) looks[1] = "photo";
    this.panes.forEach(([left, top, width, height], pane) => {
      context.save();
      context.beginPath();
      context.rect(...[left, top, width, height].map((px) => px * ratio));
      context.clip();
      const place = {
        left: (left + width / 2) * ratio - this.centre[0] * scale, top: (top + height / 2) * ratio - this.centre[1] * scale,
        width: this.imagePx[0] * scale, height: this.imagePx[1] * scale,
        // Magnified pixels are shown as they are; those of a thumbnail say nothing.
        smooth: canvas.dataset.source !== "full" || scale < 4,
      };
      drawLook(context, looks[pane], this.pictures, place, { thickness: Math.max(1, Math.round(ratio)), further: this.further.shown() });
      context.restore();
    });
    this.percent.textContent = `${Math.round(100 * scale)} %`;
    canvas.dataset.drawn = looks.at(-1);
  }
}
