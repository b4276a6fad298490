"use strict";
/* Masks that are stored as text, such as a witness's: COCO run lengths, read and outlined. */

const OUTLINE_COLOURS = ["#3fd0ff", "#ff7ad9", "#8dff6a", "#ff9f43"];  // beside the yellow of the mask's own outline
const LONGEST_RUNS = 5_000_000;

/* The run lengths in the text form of pycocotools: six bits a character, differences from the run before the last. */
function runLengths(text) {
  const counts = [];
  for (let at = 0; at < text.length;) {
    let count = 0, bits = 0, more = true;
    while (more) {
      const six = text.charCodeAt(at++) - 48;
      if (!(six >= 0 && six < 64) || bits > 30) throw new Error("its run lengths can't be read");
      count |= (six & 31) << bits;
      bits += 5;
      more = (six & 32) !== 0;
      if (!more && (six & 16) && bits < 32) count |= -1 << bits;
    }
    if (counts.length > 2) count += counts[counts.length - 2];
    if (count < 0) throw new Error("it has a negative run");
    counts.push(count);
  }
  return counts;
}

/* Whether each pixel of a picture of that size is in the mask: one per pixel, row after row, by the nearest pixel. */
function maskAt(stored, width, height) {
  const { size, counts } = JSON.parse(stored);
  if (!Array.isArray(size) || typeof counts !== "string" || counts.length > LONGEST_RUNS) throw new Error("it is no mask");
  const [rows, columns] = size, ends = [];
  let end = 0;
  for (const count of runLengths(counts)) ends.push(end += count);
  if (!(rows > 0 && columns > 0) || end !== rows * columns) throw new Error("it has another size than it says");
  const found = new Uint8Array(width * height);
  for (let x = 0; x < width; x++) {
    const column = Math.min(columns - 1, Math.floor((x + 0.5) * columns / width));
    for (let y = 0; y < height; y++) {
      const place = column * rows + Math.min(rows - 1, Math.floor((y + 0.5) * rows / height));
      let low = 0, high = ends.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (ends[middle] > place) high = middle; else low = middle + 1;
      }
      found[y * width + x] = low % 2;  // the first run is outside
    }
  }
  return found;
}

/* Draw the border of a mask, just inside it, with its upper left corner at (left, top). */
function drawOutline(context, mask, width, height, left, top, colour) {
  context.fillStyle = colour;
  const isIn = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] === 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!isIn(x, y)) continue;
      if (isIn(x - 1, y) && isIn(x + 1, y) && isIn(x, y - 1) && isIn(x, y + 1)) continue;
      context.fillRect(left + x, top + y, 1, 1);
    }
  }
}
