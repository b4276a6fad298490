"use strict";
/* COCO's compressed run lengths, byte for byte as pycocotools writes them.

   A mask is a Uint8Array of 0 and 1, column after column, as COCO counts: pixel (x, y) is at x * height + y. Runs are the
   lengths of 0s, 1s, 0s, ... in that order; the first may be 0. A character holds six bits, from code 48 on: five of a
   number, lowest first, and one that says whether it continues; the top bit of its last five is the sign. From the fourth
   number on, the difference to the last but one is stored. Source: rleToString and rleFrString of pycocotools 2.0.11. */

globalThis.audit ??= {};

audit.rle = (() => {
  const MOST_PX = 2 ** 30;

  /* The runs of `{size: [height, width], counts}`, as Uint32Array. Throws where they are not runs of that size. */
  function runs({ size: [height, width], counts }) {
    if (!(height > 0 && width > 0 && height * width <= MOST_PX)) throw new Error(`no mask has ${height} x ${width} pixels`);
    const found = new Uint32Array(counts.length);
    let length = 0, total = 0;
    for (let at = 0; at < counts.length; length++) {
      let run = 0, shift = 0, six;
      do {
        six = counts.charCodeAt(at++) - 48;
        if (!(six >= 0 && six < 64) || shift > 30) throw new Error("run lengths can't be read");
        run |= (six & 31) << shift;
        shift += 5;
      } while (six & 32);
      if (six & 16 && shift < 32) run |= -1 << shift;
      if (length > 2) run += found[length - 2];
      if (run < 0 || (total += run) > height * width) throw new Error("run lengths don't fit the mask's size");
      found[length] = run;
    }
    if (total !== height * width) throw new Error("run lengths don't fit the mask's size");
    return found.slice(0, length);
  }

  /* The mask of run lengths, into a Uint8Array of that many pixels if one is given. */
  function decode(rle, mask = new Uint8Array(rle.size[0] * rle.size[1])) {
    const found = runs(rle);
    mask.fill(0);
    for (let place = 0, at = 0; place < found.length; at += found[place++]) {
      if (place % 2) mask.fill(1, at, at + found[place]);
    }
    return mask;
  }

  /* The run lengths of a mask. */
  function encode(mask, height, width) {
    const found = lengths(mask), writer = new audit.Bytes();
    found.forEach((run, place) => writeNumber(writer, place > 2 ? run - found[place - 2] : run));
    return { size: [height, width], counts: new TextDecoder().decode(writer.taken()) };
  }

  /* The runs of a mask, as a list. */
  function lengths(mask) {
    const found = [];
    for (let at = 0; at < mask.length;) {
      let end = mask.indexOf(found.length % 2 ? 0 : 1, at);
      if (end < 0) end = mask.length;
      found.push(end - at);
      at = end;
    }
    return found;
  }

  /* Call `span(x, y0, y1)` for the runs of 0s or of 1s: pixels y0 to y1 - 1 of column x. */
  function spans(found, height, value, span) {
    for (let place = 0, at = 0; place < found.length; place++) {
      const end = at + found[place];
      while (at < end) {
        const x = Math.floor(at / height), stop = Math.min(end, (x + 1) * height);
        if (place % 2 === value) span(x, at - x * height, stop - x * height);
        at = stop;
      }
    }
  }

  /* Whether the mask of runs has the pixel at a place. */
  function has(found, pixel) {
    let place = 0;
    for (let end = found[0]; end <= pixel && place < found.length; end += found[place]) place++;
    return place % 2 === 1 && place < found.length;
  }

  function writeNumber(writer, number) {
    for (let more = true; more;) {
      const five = number & 31;
      number >>= 5;
      more = five & 16 ? number !== -1 : number !== 0;
      writer.push((more ? five | 32 : five) + 48);
    }
  }

  return { runs, decode, encode, lengths, spans, has };
})();

/* Bytes of which nobody knows yet how many there will be. */
audit.Bytes = class {
  #bytes = new Uint8Array(256);
  #length = 0;

  push(byte) {
    if (this.#length === this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#length++] = byte;
  }

  /* A copy of what was pushed, no longer than that. */
  taken() {
    return this.#bytes.slice(0, this.#length);
  }
};
