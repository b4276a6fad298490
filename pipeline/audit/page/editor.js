"use strict";
/* The mask editor: turns Konva's pointer events and keys into what the tools do. The viewer shows photo and mask,
   `overlay.js` the cursor and what is being drawn; `tools.js` and `picks.js` have the tools, `bar.js` the buttons. */

globalThis.audit ??= {};

audit.Editor = class {
  static LARGEST = 2000;
  size = 40;  // diameter of the brush in image pixels
  mode = "add";  // or "remove": what polygon, lasso and instances do
  tool = "";
  #tools;
  #drawing = false;
  #spaceIsDown = false;
  #pointer = null;

  /* instances: [{label, mask}] of the annotations, with masks as run lengths. release: the release's mask, to start from
     again, or null. place, hint: the elements that take the buttons and a line of text. */
  constructor(viewer, surface, instances, { release, place, hint }) {
    Object.assign(this, { viewer, surface, instances, release, place, hint });
    this.everything = (span) => {
      for (let x = 0; x < surface.width; x++) span(x, 0, surface.height);
    };
  }

  start() {
    const { stage } = this.viewer;
    this.overlay = new audit.Overlay(this.viewer, this.surface);
    this.#tools = {
      brush: audit.tools.stroke(this, 1),
      eraser: audit.tools.stroke(this, 0),
      polygon: audit.tools.polygon(this),
      lasso: audit.tools.lasso(this),
      instance: audit.tools.instance(this, this.instances),
      holes: audit.tools.pieces(this, "holes"),
      islands: audit.tools.pieces(this, "islands"),
    };
    this.bar = new audit.EditorBar(this);
    this.viewer.setPanning(false);
    stage.on("pointerdown.editor", ({ evt }) => this.#down(evt));
    stage.on("pointermove.editor", ({ evt }) => this.#move(evt));
    stage.on("pointerup.editor pointercancel.editor", () => this.#up());
    stage.on("pointerleave.editor", () => this.#leave());
    stage.on("contextmenu.editor", ({ evt }) => evt.preventDefault());
    stage.on("dragstart.editor", () => this.#dragStarts());
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
    this.#pan(false);
    this.current.stop?.();
    this.keys.abort();
    this.viewer.stage.off(".editor");
    this.viewer.stage.container().style.cursor = "";
    this.viewer.setPanning(true);
    this.bar.remove();
    this.overlay.remove();
  }

  /* What the bar and the keys do */

  choose(name) {
    if (name === this.tool) return this.current.again?.({});
    this.#up();
    if (this.tool) this.current.stop?.();
    this.tool = name;
    this.overlay.hideSize();
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

  undo() {
    if (!this.current.back?.()) this.#change(() => this.surface.undo());
  }

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

  commit() {
    this.surface.commit();
    this.bar.update();
  }

  fill(corners, value) {
    this.surface.set(value, (span) => audit.shapes.polygon(corners, span));
    this.commit();
  }

  say(text) { this.bar.say(text); }

  /* Events */

  #showCursor(withSize = false) {
    const isRound = Boolean(this.current.isRound) && !this.#spaceIsDown && this.#pointer !== null;
    const { overlay, size } = this, isSeen = isRound && size * this.scale > 8;
    this.viewer.stage.container().style.cursor = this.#spaceIsDown ? "" : isSeen ? "none" : "crosshair";
    overlay.showCursor(this.#pointer, size, { isRound, isEraser: this.tool === "eraser", withSize });
  }

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
    this.overlay.redraw();
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
    const { target, key } = event, field = target.closest?.("input, select, textarea");
    if (field && (key === "Enter" || key === "Escape")) field.blur();
    if (field || document.querySelector("dialog[open]")) return;
    if (target.closest?.("button") && (key === "Enter" || key === " ")) return;
    if (key === " " ? this.#pan(true) : this.#take(event)) {
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
    if (event.key === "Escape") return this.#keepsDrawing();
    return this.bar.press(letter);
  }

  /* Whether Escape is not to leave yet: what was drawn would be lost. */
  #keepsDrawing() {
    if (!this.surface.canUndo || this.warnedAt === this.surface.version) return false;
    this.warnedAt = this.surface.version;
    this.say("Press Esc once more to leave without what you drew.");
    return true;
  }

  #keyUp(event) {
    if (event.key === " " && this.#pan(false)) event.stopImmediatePropagation();
  }

  #dragStarts() {
    if (this.#drawing) this.viewer.stage.stopDrag();  // a finger or a pen draws
    else this.viewer.hideMasks(false);
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
