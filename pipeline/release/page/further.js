"use strict";
/* The further masks of an open image, such as a witness's: a list with a switch for the outline of each. */

const MOST_MASK_PX = 1600;

class FurtherMasks {
  constructor(parent, row, onChange) {
    this.row = row;
    this.found = [];
    this.onChange = onChange;
    this.list = add(parent, "ul", { className: "outlines", hidden: true });
    if (table.release.masks?.length) this.#read();
  }

  /* Pairs of a picture of a mask and the colour of its outline. */
  shown() {
    return this.found.filter(({ box }) => box.checked).map(({ mask, colour }) => [mask, colour]);
  }

  async #read() {
    const details = new Map(await detailsOf(this.row));
    this.list.hidden = false;
    table.release.masks.forEach((mask, number) => this.#line(mask, number, details.get(mask.name)));
    this.onChange();
  }

  #line({ name, meaning }, number, stored) {
    const labelled = add(add(this.list, "li", { title: `${name}: ${meaning}` }), "label");
    const box = add(labelled, "input", { type: "checkbox" });
    add(labelled, "span", { className: `swatch outline-${number % OUTLINE_COLOURS.length}` });
    const text = add(labelled, "span", { textContent: nameOf(name) });
    box.addEventListener("change", this.onChange);
    try {
      if (stored) this.found.push({ box, mask: pictureOfMask(stored, this.row), colour: OUTLINE_COLOURS[number % OUTLINE_COLOURS.length] });
      else text.textContent += ": none";
      box.checked = Boolean(stored);
    } catch (error) {
      text.textContent += `: ${error.message}`;
    }
    box.disabled = !box.checked;
  }
}

/* A mask that is stored as text, as a picture in white on black of the image's size, or smaller for a very large one. */
function pictureOfMask(stored, row) {
  const sides = [table.columns.width[row], table.columns.height[row]], shrunk = Math.min(1, MOST_MASK_PX / Math.max(...sides));
  const [width, height] = sides.map((side) => Math.max(1, Math.round(side * shrunk)));
  const mask = maskAt(stored, width, height), pixels = new ImageData(width, height);
  mask.forEach((inside, at) => pixels.data.fill(255 * inside, 4 * at, 4 * at + 3).fill(255, 4 * at + 3, 4 * at + 4));
  const image = Object.assign(document.createElement("canvas"), { width, height });
  image.getContext("2d").putImageData(pixels, 0, 0);
  return { image, x: 0, y: 0, width, height };
}
