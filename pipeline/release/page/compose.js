"use strict";
/* Draws what a mask does to a photo: outline, tint, cut-out. Scripts may not read pixels of pictures that come from a
   file, so everything is made by blending whole pictures: the darkest and lightest of shifted copies of a mask give its
   border, a product cuts it out. A picture is a part of an image: { image, x, y, width, height }. */

const LOOKS = [
  { name: "photo", label: "Photo", title: "The photo alone" },
  { name: "outline", label: "Outline", title: "The mask's outline on the photo" },
  { name: "tint", label: "Tint", title: "The mask as a tint on the photo" },
  { name: "cutout", label: "Cut-out", title: "What the mask cuts out of the photo" },
  { name: "saliency", label: "Saliency", title: "Mean of the members: white is certainly salient" },
  { name: "variance", label: "Variance", title: "Where the members disagree: white is 0.25, the maximum" },
];
const OUTLINE_COLOUR = "#fff05a", RIM_COLOUR = "#141418", TINT_COLOUR = "#ff2bd0";
const PAPER_GREY = "#808080";

/* Canvases to work on, one for each step, black at first. */
const workCanvases = [];

function workCanvas(number, width, height) {
  const canvas = workCanvases[number] ??= document.createElement("canvas");
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  return context;
}

function blend(context, operation, draw) {
  context.globalCompositeOperation = operation;
  draw();
  context.globalCompositeOperation = "source-over";
}

/* Draw a picture where `place` says: { left, top, width, height, smooth }, in pixels of the canvas. */
function put(context, picture, { left, top, width, height, smooth = true }) {
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture.image, picture.x, picture.y, picture.width, picture.height, left, top, width, height);
}

/* Push the greys of a resized or compressed mask to black and white, so that its border is as thin as it should be. */
function sharpen(context) {
  for (let times = 0; times < 4; times++) blend(context, "hard-light", () => context.drawImage(context.canvas, 0, 0));
}

/* Draw a mask's border into a work canvas, white on black, `reach` pixels to both sides. What lies outside the picture
   counts as no mask, so an object that the picture cuts off has a border there too. */
function borderOf(number, mask, place, size, reach) {
  const base = workCanvas(number, ...size), wide = workCanvas(number + 1, ...size), thin = workCanvas(number + 2, ...size);
  put(base, mask, place);
  sharpen(base);
  const shifts = [];
  for (let x = -1; x <= 1; x++) for (let y = -1; y <= 1; y++) shifts.push([x, y].map((way) => way * (x && y ? 0.75 : 1) * reach));
  for (const [context, operation] of [[wide, "lighten"], [thin, "darken"]]) {
    context.drawImage(base.canvas, 0, 0);
    blend(context, operation, () => shifts.forEach(([x, y]) => context.drawImage(base.canvas, x, y)));
  }
  blend(wide, "difference", () => wide.drawImage(thin.canvas, 0, 0));
  return wide.canvas;
}

/* Colour a canvas where another is white: `strength` 1 replaces what is there, less lets it shine through. */
function colourWhere(context, where, fill, strength, [width, height]) {
  const share = workCanvas(3, width, height), rest = workCanvas(4, width, height);
  share.globalAlpha = strength;
  share.drawImage(where, 0, 0);
  share.globalAlpha = 1;
  rest.fillStyle = "#fff";
  rest.fillRect(0, 0, width, height);
  blend(rest, "difference", () => rest.drawImage(share.canvas, 0, 0));
  blend(context, "multiply", () => context.drawImage(rest.canvas, 0, 0));
  share.fillStyle = fill;
  blend(share, "multiply", () => share.fillRect(0, 0, width, height));
  blend(context, "lighter", () => context.drawImage(share.canvas, 0, 0));
}

/* Squares that no photo has, to put behind a cut-out. */
let squares = null;

function squaresPattern(context) {
  if (!squares) {
    squares = Object.assign(document.createElement("canvas"), { width: 16, height: 16 });
    const own = squares.getContext("2d");
    for (const [colour, x, y] of [["#fff", 0, 0], ["#c4c8cc", 8, 0], ["#c4c8cc", 0, 8], ["#fff", 8, 8]]) {
      own.fillStyle = colour;
      own.fillRect(x, y, 8, 8);
    }
  }
  return context.createPattern(squares, "repeat");
}

/* Draw a border with a dark rim on both sides: one of the two shows on any photo. */
function drawBorder(context, mask, place, size, colour, thickness) {
  colourWhere(context, borderOf(0, mask, place, size, 2 * thickness), RIM_COLOUR, 0.8, size);
  colourWhere(context, borderOf(0, mask, place, size, thickness), colour, 1, size);
}

/* Draw one look of an image at a place of a canvas.

   Args: pictures: photo, mask, saliency, variance; `further`: pairs of a mask and the colour of its outline.
         thickness: of outlines, in pixels of the canvas. */
function drawLook(context, look, pictures, place, { thickness = 1, further = [] } = {}) {
  const size = [context.canvas.width, context.canvas.height];
  context.save();
  context.beginPath();
  context.rect(place.left, place.top, place.width, place.height);
  context.clip();
  if (look === "saliency" || look === "variance") {
    put(context, pictures[look], place);
    // A stored variance is the root of it; its square is what a tile shows.
    if (look === "variance" && pictures.variance.isRoot) blend(context, "multiply", () => put(context, pictures.variance, place));
  } else {
    if (table.release.embed_images || look === "photo") {
      put(context, pictures.photo, place);  // a sign, if there is none
    } else {
      context.fillStyle = PAPER_GREY;
      context.fillRect(place.left, place.top, place.width, place.height);
    }
    if (look === "tint" || look === "cutout") {
      const mask = workCanvas(0, ...size);
      put(mask, pictures.mask, place);
      if (look === "cutout") {
        const outside = workCanvas(1, ...size);
        outside.fillStyle = "#fff";
        outside.fillRect(0, 0, ...size);
        blend(outside, "difference", () => outside.drawImage(mask.canvas, 0, 0));
        colourWhere(context, outside.canvas, squaresPattern(context), 1, size);
      } else {
        colourWhere(context, mask.canvas, TINT_COLOUR, 0.45, size);
      }
    }
    if (look === "outline") drawBorder(context, pictures.mask, place, size, OUTLINE_COLOUR, thickness);
    if (look !== "photo") for (const [mask, colour] of further) drawBorder(context, mask, place, size, colour, thickness);
  }
  context.restore();
}
