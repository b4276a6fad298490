"use strict";
/* Finds the pictures of an image in the sheets. A sheet is loaded when one of its tiles first comes into view; the last few are kept. */

const KEPT_SHEETS = 16;
const sheets = new Map();  // sheet number → promise of its image

function sheetImage(number) {
  const found = sheets.get(number);
  sheets.delete(number);  // and append it again below: the first entry is the least recently used
  const image = found ?? new Promise((resolve, reject) => {
    const element = new Image();
    element.onload = () => resolve(element);
    element.onerror = () => { sheets.delete(number); reject(new Error(`${sheetName(number)} can't be read`)); };
    element.src = sheetName(number);
  });
  sheets.set(number, image);
  if (sheets.size > KEPT_SHEETS) sheets.delete(sheets.keys().next().value);
  return image;
}

function sheetName(number) {
  const folder = String(Math.floor(number / 1000)).padStart(3, "0");
  return `page/tiles/${folder}/${String(number).padStart(5, "0")}.webp`;
}

/* Width and height of a picture in its panel; must equal `fitted_px` in tiles.py. */
function fittedPx(row) {
  const { px } = table.release.tiles, { width, height } = table.columns;
  const longer = Math.max(width[row], height[row]);
  return [width[row], height[row]].map((side) => Math.max(1, Math.floor((2 * side * px + longer) / (2 * longer))));
}

/* The pictures of a row in its tile: panel → part of the sheet's image. Rejects if the sheet can't be read. */
async function tilePictures(row) {
  const { px, panels, columns, per_sheet: perSheet } = table.release.tiles;
  const tile = table.tileOf[row], place = tile % perSheet;
  const image = await sheetImage(Math.floor(tile / perSheet));
  const left = (place % columns) * panels.length * px, top = Math.floor(place / columns) * px;
  const [width, height] = fittedPx(row);
  const inset = [Math.floor((px - width) / 2), Math.floor((px - height) / 2)];
  return Object.fromEntries(panels.map((panel, i) =>
    [panel, { image, x: left + i * px + inset[0], y: top + inset[1], width, height }]));
}
