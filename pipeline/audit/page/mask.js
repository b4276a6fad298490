"use strict";
/* The mask that is edited: pixels of 0 and 1, so that what is seen is what is saved; and its history without limit.

   A step of the history holds only which pixels it changed, as run lengths, so undoing and doing it again are the same:
   flip those pixels. */

globalThis.audit ??= {};

audit.MaskSurface = class {
  /* Called with {x, y, width, height} in image pixels whenever pixels there may have changed. */
  onchange = () => {};
  version = 0;  // counts changes
  #steps = [];
  #place = 0;  // how many of the steps are done
  #canvas = null;

  constructor(width, height) {
    Object.assign(this, { width, height });
    this.pixels = new Uint8Array(width * height);  // column after column
    this.kept = null;  // the same as of the last step, from the first change on
    this.low = new Int32Array(width).fill(height);  // per column, where pixels differ from `kept`: from low to high - 1
    this.high = new Int32Array(width);
  }

  /* Take a mask, and forget the history. */
  load(rle) {
    if (rle.size[0] !== this.height || rle.size[1] !== this.width) {
      throw new Error(`the mask is of ${rle.size[1]} x ${rle.size[0]} pixels, the image of ${this.width} x ${this.height}`);
    }
    audit.rle.decode(rle, this.pixels);
    this.kept?.set(this.pixels);
    this.#clean();
    this.#steps = [];
    this.#place = 0;
    this.#tell(0, 0, this.width, this.height);
  }

  toRle() {
    return audit.rle.encode(this.pixels, this.height, this.width);
  }

  get area() {
    let area = 0;
    for (const pixel of this.pixels) area += pixel;
    return area;
  }

  /* Intersection over union with another surface of the same size; 1 if both are empty. */
  iou(other) {
    let both = 0, either = 0;
    for (let at = 0; at < this.pixels.length; at++) {
      both += this.pixels[at] & other.pixels[at];
      either += this.pixels[at] | other.pixels[at];
    }
    return either ? both / either : 1;
  }

  /* Set pixels to 0 or 1. `draw` calls the function it is given with (x, y0, y1), for pixels y0 to y1 - 1 of column x.
     Several of these are one step of the history, which `commit` ends. */
  set(value, draw) {
    this.kept ??= this.pixels.slice();
    let left = this.width, right = 0, top = this.height, bottom = 0;
    draw((x, y0, y1) => {
      y0 = Math.max(0, y0);
      y1 = Math.min(this.height, y1);
      if (x < 0 || x >= this.width || y0 >= y1) return;
      this.pixels.fill(value, x * this.height + y0, x * this.height + y1);
      if (y0 < this.low[x]) this.low[x] = y0;
      if (y1 > this.high[x]) this.high[x] = y1;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y0);
      bottom = Math.max(bottom, y1);
    });
    this.#tell(left, top, right, bottom);
  }

  /* Make a step of the history of all that has changed since the last. Returns whether anything has. */
  commit() {
    const step = this.#difference();
    if (!step.length) return false;
    this.#steps.length = this.#place;
    this.#steps.push(step);
    this.#place++;
    return true;
  }

  /* Give up what has changed since the last step. */
  cancel() {
    const step = this.#difference();
    if (step.length) this.#flip(step);
  }

  get canUndo() { return this.#place > 0; }
  get canRedo() { return this.#place < this.#steps.length; }

  undo() {
    this.commit();
    if (this.canUndo) this.#flip(this.#steps[--this.#place]);
  }

  redo() {
    this.commit();
    if (this.canRedo) this.#flip(this.#steps[this.#place++]);
  }

  /* Bytes that the history takes. */
  get historyBytes() {
    return this.#steps.reduce((bytes, step) => bytes + step.length, 0);
  }

  /* A canvas of the image's size whose alpha is the mask, made when it is first asked for: 4 bytes a pixel. */
  get canvas() {
    if (!this.#canvas) {
      this.#canvas = new OffscreenCanvas(this.width, this.height);
      this.#show(0, 0, this.width, this.height);
    }
    return this.#canvas;
  }

  /* Which pixels differ from `kept`, as pairs of numbers: how many are skipped, how many follow; `kept` follows suit.
     A number is written in bytes of seven bits, lowest first; the eighth says whether it continues. */
  #difference() {
    const bytes = new audit.Bytes(), { pixels, kept, height } = this;
    let end = 0;  // of the last run
    const write = (number) => {
      for (; number > 127; number >>>= 7) bytes.push(number & 127 | 128);
      bytes.push(number);
    };
    for (let x = 0; kept && x < this.width; x++) {
      const last = x * height + this.high[x];
      for (let at = this.#alike(x * height + this.low[x], last, 0); at < last; at = this.#alike(at, last, 0)) {
        write(at - end);
        end = this.#alike(at, last, 1);
        write(end - at);
        kept.set(pixels.subarray(at, end), at);
        at = end;
      }
    }
    this.#clean();
    return bytes.taken();
  }

  /* The end of the pixels from `at` on that are equal to those of `kept`, or the other ones; four at a time where it can. */
  #alike(at, last, difference) {
    const { pixels, kept } = this, four = difference * 0x01010101;
    const words = new Int32Array(pixels.buffer, 0, pixels.length >> 2), keptWords = new Int32Array(kept.buffer, 0, kept.length >> 2);
    while (at < last && (pixels[at] ^ kept[at]) === difference) {
      at++;
      if (at % 4 === 0) while (at + 4 <= last && (words[at / 4] ^ keptWords[at / 4]) === four) at += 4;
    }
    return at;
  }

  #flip(step) {
    const { pixels, kept, height } = this;
    let at = 0, place = 0, left = this.width, right = 0, top = height, bottom = 0;
    const read = () => {
      let number = 0, shift = 0;
      do number |= (step[place] & 127) << shift, shift += 7; while (step[place++] & 128);
      return number;
    };
    while (place < step.length) {
      at += read();
      const x = Math.floor(at / height), end = at + read();  // a run stays in its column
      left = Math.min(left, x);
      right = x + 1;
      top = Math.min(top, at - x * height);
      bottom = Math.max(bottom, end - x * height);
      for (; at < end; at++) kept[at] = pixels[at] ^= 1;
    }
    this.#tell(left, top, right, bottom);
  }

  #clean() {
    this.low.fill(this.height);
    this.high.fill(0);
  }

  #tell(left, top, right, bottom) {
    if (left >= right) return;
    this.version++;
    if (this.#canvas) this.#show(left, top, right - left, bottom - top);
    this.onchange({ x: left, y: top, width: right - left, height: bottom - top });
  }

  #show(left, top, width, height) {
    const image = new ImageData(width, height), colours = new Uint32Array(image.data.buffer);
    for (let x = 0; x < width; x++) {
      for (let y = 0, at = (left + x) * this.height + top; y < height; y++, at++) {
        if (this.pixels[at]) colours[y * width + x] = 0xffffffff;
      }
    }
    this.#canvas.getContext("2d").putImageData(image, left, top);
  }
};
