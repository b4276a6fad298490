"use strict";
/* The page of the tests: an editor on a photo, and what the tests ask of the scripts in one call each. */

const viewer = new audit.Viewer(document.getElementById("stage"));
let surface = null, editor = null;

async function edit(rle, instances = []) {
  editor?.stop();
  const photo = new Image(), [height, width] = rle.size;
  photo.src = "photo.png";
  await photo.decode();
  surface = loaded(rle);
  viewer.open(photo, { width, height });
  viewer.showMask(surface, "fill");
  surface.onchange = (rect) => viewer.redraw(rect);
  const place = document.getElementById("tools"), hint = document.getElementById("hint");
  editor = new audit.Editor(viewer, surface, instances, { release: rle, place, hint });
  editor.start();
}

function loaded(rle) {
  const made = new audit.MaskSurface(rle.size[1], rle.size[0]);
  made.load(rle);
  return made;
}

/* The mask of what `draw` sets. */
function drawn([height, width], draw) {
  const made = new audit.MaskSurface(width, height);
  made.set(1, draw);
  return made.toRle();
}

/* Draw from each point to the next. */
function drawLine(made, value, points, diameter) {
  points.forEach(([x, y], place) => {
    const [fromX, fromY] = points[Math.max(0, place - 1)];
    made.set(value, (span) => audit.shapes.stroke({ x: fromX, y: fromY }, { x, y }, diameter, span));
  });
}

function pixelsOf(canvas) {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return copy.getImageData(0, 0, canvas.width, canvas.height).data;
}

/* Of each mask: its pixels, its run lengths again, and whether asking for each pixel gives the same. */
function thereAndBack(rles) {
  return rles.map((rle) => {
    const mask = audit.rle.decode(rle), runs = audit.rle.runs(rle);
    const isAgreed = [...mask].every((pixel, place) => audit.rle.has(runs, place) === (pixel === 1));
    return [[...mask], audit.rle.encode(mask, ...rle.size), isAgreed];
  });
}

function isRefused(rle) {
  try {
    audit.rle.decode(rle);
    return false;
  } catch {
    return true;
  }
}

/* Under each pixel, row after row: how many pieces are as small, and which pixels they have; all; all but the largest. */
function piecesOf(rle, kind) {
  const [height, width] = rle.size, pieces = new audit.Pieces(loaded(rle), kind), under = [];
  const made = (runs) => drawn(rle.size, (span) => runs.forEach((run) => span(...run)));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const found = pieces.upTo(x, y);
      under.push(found && [found.count, made(found.runs)]);
    }
  }
  return [under, made(pieces.all()), made(pieces.butLargest())];
}

/* The mask after each step; on the way back; on the way there again; and whether the canvas showed it three times. */
function history(rle, steps) {
  const [height, width] = rle.size, made = loaded(rle), { canvas } = made, done = [], undone = [], redone = [];
  const note = (list) => list.push(made.toRle().counts);
  const isShown = () => [...pixelsOf(canvas)].filter((_, place) => place % 4 === 3)
    .every((alpha, place) => alpha === 255 * made.pixels[place % width * height + Math.floor(place / width)]);
  note(done);
  for (const [value, points, diameter] of steps) {
    drawLine(made, value, points, diameter);
    if (made.commit()) note(done);
  }
  made.set(1, (span) => span(0, 0, 5));
  made.cancel();
  const seen = [isShown()];
  for (note(undone); made.canUndo; note(undone)) made.undo();
  seen.push(isShown());
  for (note(redone); made.canRedo; note(redone)) made.redo();
  return [done, undone.reverse(), redone, [...seen, isShown()]];
}

/* Whether painting each change gives what painting everything gives; whether that is the mask, pixel by pixel; and whether
   moving it gives what painting everything elsewhere gives. */
function paintings(rle, [x, y], scale, steps, style, [across, down]) {
  const view = { width: 60, height: 50, scale, x, y }, [height, width] = rle.size, made = loaded(rle);
  const one = new audit.MaskDisplay(made), other = new audit.MaskDisplay(made);
  one.paint(view, style);
  made.onchange = (rect) => one.paint(view, style, rect);
  for (const [value, points, diameter] of steps) drawLine(made, value, points, diameter);
  other.paint(view, style);
  const isAlike = () => {
    const theirs = pixelsOf(other.canvas);
    return pixelsOf(one.canvas).every((value, place) => value === theirs[place]);
  };
  const ours = pixelsOf(one.canvas), isPainted = isAlike();
  const isRight = (_, place) => {
    const column = Math.floor((place % 60 + 0.5 - x) / scale), row = Math.floor((Math.floor(place / 60) + 0.5 - y) / scale);
    const isInside = column >= 0 && row >= 0 && column < width && row < height && made.pixels[column * height + row] === 1;
    return isInside === [style.fill[0], style.line?.[0]].includes(ours[4 * place]);
  };
  const isShown = Array.from({ length: 3000 }).every(isRight), moved = { ...view, x: x + across, y: y + down };
  one.move(moved, style, across, down);
  other.paint(moved, style);
  return [isPainted, isShown, isAlike()];
}
