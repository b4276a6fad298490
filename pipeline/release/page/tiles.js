"use strict";
/* Cuts tiles out of sheets. A sheet is loaded when one of its tiles first comes into view; the last few are kept. */

const KEPT_SHEETS = 24;
const PANEL_GAP_PX = 6;
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

/* A canvas for the panels of a tile, laid out in columns; a cell has a panel's size unless another is given. */
function tileCanvas(columns = 4, [cellWidth, cellHeight] = [table.release.tiles.px, table.release.tiles.px]) {
  const { panels } = table.release.tiles;
  const canvas = document.createElement("canvas");
  Object.assign(canvas.dataset, { columns, cellWidth, cellHeight });
  canvas.width = columns * (cellWidth + PANEL_GAP_PX) - PANEL_GAP_PX;
  canvas.height = (panels.length / columns) * (cellHeight + PANEL_GAP_PX) - PANEL_GAP_PX;
  canvas.className = "tile";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", panels.join(", "));
  return canvas;
}

/* The upper left corner of a panel's picture in a canvas of `tileCanvas`. */
function panelPlace(canvas, row, panel) {
  const [width, height] = fittedPx(row);
  const [across, cellWidth, cellHeight] = ["columns", "cellWidth", "cellHeight"].map((name) => Number(canvas.dataset[name]));
  return [(panel % across) * (cellWidth + PANEL_GAP_PX) + Math.floor((cellWidth - width) / 2),
          Math.floor(panel / across) * (cellHeight + PANEL_GAP_PX) + Math.floor((cellHeight - height) / 2)];
}

/* Draw the tile of a row without the grey around its pictures. Rejects if its sheet can't be read. */
async function drawTile(canvas, row) {
  const { px, panels, columns, per_sheet: perSheet } = table.release.tiles;
  const tile = table.tileOf[row], place = tile % perSheet;
  const image = await sheetImage(Math.floor(tile / perSheet));
  const left = (place % columns) * panels.length * px, top = Math.floor(place / columns) * px;
  const [width, height] = fittedPx(row);
  const inset = [Math.floor((px - width) / 2), Math.floor((px - height) / 2)];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  panels.forEach((_, i) => {
    const [x, y] = panelPlace(canvas, row, i);
    context.drawImage(image, left + i * px + inset[0], top + inset[1], width, height, x, y, width, height);
  });
  canvas.classList.add("drawn");
}
