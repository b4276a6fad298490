"use strict";
/* A mask at the resolution of the screen. Drawing the mask's own pixels, of which there may be 12 million, would take
   longer than a frame; here a change costs as much as the part of the screen that it covers. */

globalThis.audit ??= {};

/* How much thicker than on a small screen lines are: text grows with the screen, and they with it. */
audit.screenUnit = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;

audit.MaskDisplay = class {
  static LINE_PX = 2;  // of the outline, on a small screen
  #image = null;

  constructor(surface) {
    this.surface = surface;
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
  }

  /* Paint a part of the screen.

     view: {width, height} of the screen in device pixels, and where the image is: device = image * scale + {x, y}.
     style: {fill, line, outside} as [red, green, blue, alpha] or null, and `thicker`, how many times the line is.
     rect: the part of the image that has changed; all if it is missing. */
  paint(view, style, rect = null) {
    if (!rect) Object.assign(this.canvas, { width: view.width, height: view.height });  // clears it
    const { x, y, width, height } = rect ?? { x: 0, y: 0, width: this.surface.width, height: this.surface.height };
    const line = this.#linePx(style), { scale } = view;
    this.#paintBox(view, style, {
      left: Math.floor(x * scale + view.x) - line,
      top: Math.floor(y * scale + view.y) - line,
      right: Math.ceil((x + width) * scale + view.x) + line,
      bottom: Math.ceil((y + height) * scale + view.y) + line,
    });
  }

  /* Show what was shown, whole device pixels further along both axes; view: where the image is now. */
  move(view, style, across, down) {
    const { width, height } = view;
    this.context.globalCompositeOperation = "copy";
    this.context.drawImage(this.canvas, across, down);
    this.context.globalCompositeOperation = "source-over";
    const [left, right] = across > 0 ? [0, across] : [width + across, width];
    const [top, bottom] = down > 0 ? [0, down] : [height + down, height];
    this.#paintBox(view, style, { left, right, top: 0, bottom: height });
    this.#paintBox(view, style, { left: 0, right: width, top, bottom });
  }

  #linePx(style) { return style.line ? Math.round(audit.MaskDisplay.LINE_PX * (style.thicker ?? 1)) : 0; }

  #paintBox(view, style, box) {
    const left = Math.max(0, box.left), right = Math.min(view.width, box.right);
    const top = Math.max(0, box.top), bottom = Math.min(view.height, box.bottom), line = this.#linePx(style);
    if (left >= right || top >= bottom) return;
    const sampled = this.#sample(view, left - line, top - line, right + line, bottom + line);
    this.#colour(sampled, left, top, right - left, bottom - top, line, style);
  }

  /* For each pixel of a part of the screen, row after row, the mask's pixel under its centre; 2 beside the image. */
  #sample(view, left, top, right, bottom) {
    const { pixels, width, height } = this.surface, across = right - left;
    const found = new Uint8Array(across * (bottom - top)).fill(2);
    const rows = new Int32Array(bottom - top);
    for (let y = 0; y < rows.length; y++) {
      const row = Math.floor((top + y + 0.5 - view.y) / view.scale);
      rows[y] = row < height ? row : -1;
    }
    for (let x = 0; x < across; x++) {
      const column = Math.floor((left + x + 0.5 - view.x) / view.scale);
      if (column < 0 || column >= width) continue;
      const start = column * height;
      for (let y = 0, at = x; y < rows.length; y++, at += across) {
        if (rows[y] >= 0) found[at] = pixels[start + rows[y]];
      }
    }
    return found;
  }

  #colour(sampled, left, top, width, height, line, style) {
    if (this.#image?.width !== width || this.#image.height !== height) this.#image = new ImageData(width, height);
    const colours = new Uint32Array(this.#image.data.buffer), across = width + 2 * line;
    const [fill, stroke, outside] = [style.fill, style.line, style.outside].map(audit.MaskDisplay.word);
    const [shade, side] = [audit.MaskDisplay.word(style.line && [0, 0, 0, 150]), line * across];
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0, from = (y + line) * across + line; x < width; x++, at++, from++) {
        const pixel = sampled[from];
        let colour = pixel === 1 ? fill : pixel === 0 ? outside : 0;
        if (line && pixel === 1) {
          if (sampled[from - line] !== 1 || sampled[from + line] !== 1 || sampled[from - side] !== 1 || sampled[from + side] !== 1) colour = stroke;
        } else if (line && !outside) {  // a thin dark edge, so that the line is seen on anything
          if (sampled[from - 1] === 1 || sampled[from + 1] === 1 || sampled[from - across] === 1 || sampled[from + across] === 1) colour = shade;
        }
        colours[at] = colour;
      }
    }
    this.context.putImageData(this.#image, left, top);
  }

  /* A colour as ImageData has it, read as one number (all browsers' machines are little-endian). */
  static word(colour) {
    if (!colour) return 0;
    const [red, green, blue, alpha = 255] = colour;
    return (alpha << 24 | blue << 16 | green << 8 | red) >>> 0;
  }
};

/* A Konva shape that shows a mask, on a layer or group in image coordinates. `changed(rect)` says what to paint anew. */
audit.MaskNode = class {
  #stale = null;  // {rect}: what has changed since the last frame; rect is null for everything
  #shown = null;  // where the image was in the last frame, and all else that decides what is seen

  /* style: as of `MaskDisplay`, without `thicker`; it may be changed at any time. */
  constructor(surface, style) {
    this.display = new audit.MaskDisplay(surface);
    this.style = style;
    this.unit = audit.screenUnit();
    this.shape = new Konva.Shape({ listening: false, perfectDrawEnabled: false, sceneFunc: (context) => this.#draw(context) });
  }

  changed(rect = null) {
    const last = this.#stale;
    this.#stale = { rect: last ? last.rect && rect && audit.unionOf(last.rect, rect) : rect };
    this.shape.getLayer()?.batchDraw();
  }

  #draw(context) {
    const canvas = context.getCanvas(), ratio = canvas.getPixelRatio(), place = this.shape.getAbsoluteTransform().getMatrix();
    const view = {
      width: canvas.width, height: canvas.height, scale: place[0] * ratio, x: place[4] * ratio, y: place[5] * ratio,
    };
    this.#refresh(view, { ...this.style, thicker: ratio * this.unit });
    const target = context._context;
    target.save();
    target.setTransform(1, 0, 0, 1, 0, 0);
    target.drawImage(this.display.canvas, 0, 0);
    target.restore();
  }

  #refresh(view, style) {
    const { x, y, ...rest } = view, shown = { x, y, rest: JSON.stringify([rest, style]) }, last = this.#shown;
    const across = last ? x - last.x : 0, down = last ? y - last.y : 0;
    const isWhole = [across, down].every((step) => Math.abs(step - Math.round(step)) < 1e-6);
    if (last?.rest !== shown.rest || !isWhole) this.#stale = { rect: null };
    else if (across || down) this.display.move(view, style, Math.round(across), Math.round(down));
    if (this.#stale) this.display.paint(view, style, this.#stale.rect);
    this.#stale = null;
    this.#shown = shown;
  }
};

/* The smallest rectangle around two. */
audit.unionOf = (one, other) => {
  const x = Math.min(one.x, other.x), y = Math.min(one.y, other.y);
  return {
    x, y,
    width: Math.max(one.x + one.width, other.x + other.width) - x,
    height: Math.max(one.y + one.height, other.y + other.height) - y,
  };
};
