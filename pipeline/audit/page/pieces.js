"use strict";
/* The pieces of a mask: islands, which are its connected parts, and holes, which are what it surrounds.

   Pixels of an island touch at sides or corners, those of a hole at sides, so that a line of pixels that touch at their
   corners separates. Works on vertical runs, of which even large masks have few. */

globalThis.audit ??= {};

audit.Pieces = class {
  #runs = [];  // [x, y0, y1]: pixels y0 to y1 - 1 of column x, column after column
  #piece = [];  // of each run: another run of the same piece, or itself
  #first;  // of each column: its first run
  #areas = new Map();  // root of a piece → its pixels

  /* kind: "islands" or "holes". */
  constructor(surface, kind) {
    const { width, height } = surface, value = kind === "islands" ? 1 : 0;
    this.#first = new Int32Array(width + 1);
    audit.rle.spans(audit.rle.lengths(surface.pixels), height, value, (x, y0, y1) => {
      this.#piece.push(this.#runs.length);
      this.#runs.push([x, y0, y1]);
      this.#first[x + 1] = this.#runs.length;
    });
    for (let x = 0; x < width; x++) this.#first[x + 1] = Math.max(this.#first[x], this.#first[x + 1]);
    for (let x = 1; x < width; x++) this.#join(x, value);
    this.#measure();
    if (kind === "holes") this.#leaveOutOpen(width, height);
  }

  /* The piece that has a pixel and all that are no larger: {area of the piece, count, runs}; null if none has it. */
  upTo(x, y) {
    const area = this.#areaAt(x, y);
    if (!area) return null;
    const count = [...this.#areas.values()].filter((other) => other <= area).length;
    return { area, count, runs: this.#runsOf((_, other) => other <= area) };
  }

  /* Runs of all pieces. */
  all() {
    return this.#runsOf(() => true);
  }

  /* Runs of all pieces but the largest. */
  butLargest() {
    const [largest] = [...this.#areas].reduce((most, piece) => (piece[1] > most[1] ? piece : most), [-1, 0]);
    return this.#runsOf((root) => root !== largest);
  }

  /* Join the runs of a column with those of the one before where they touch; corners do if `reach` is 1. */
  #join(x, reach) {
    for (let left = this.#first[x - 1], right = this.#first[x]; left < this.#first[x] && right < this.#first[x + 1];) {
      const [, low, high] = this.#runs[left], [, start, end] = this.#runs[right];
      if (low < end + reach && start < high + reach) this.#piece[this.#rootOf(left)] = this.#rootOf(right);
      if (high < end) left++; else right++;
    }
  }

  #rootOf(run) {
    while (this.#piece[run] !== run) run = this.#piece[run] = this.#piece[this.#piece[run]];
    return run;
  }

  #measure() {
    this.#runs.forEach(([, y0, y1], run) => {
      const root = this.#rootOf(run);
      this.#areas.set(root, (this.#areas.get(root) ?? 0) + y1 - y0);
    });
  }

  /* What reaches the border of the image is no hole. */
  #leaveOutOpen(width, height) {
    this.#runs.forEach(([x, y0, y1], run) => {
      if (x === 0 || x === width - 1 || y0 === 0 || y1 === height) this.#areas.delete(this.#rootOf(run));
    });
  }

  #areaAt(x, y) {
    for (let run = this.#first[x] ?? 0; run < (this.#first[x + 1] ?? 0); run++) {
      if (this.#runs[run][1] <= y && y < this.#runs[run][2]) return this.#areas.get(this.#rootOf(run)) ?? 0;
    }
    return 0;
  }

  #runsOf(isWanted) {
    return this.#runs.filter((_, run) => {
      const root = this.#rootOf(run), area = this.#areas.get(root);
      return area !== undefined && isWanted(root, area);
    });
  }
};
