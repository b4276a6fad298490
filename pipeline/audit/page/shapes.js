"use strict";
/* Which pixels a stroke or an outline covers. Pure: each function calls `span(x, y0, y1)` for pixels y0 to y1 - 1 of
   column x. Coordinates are in image pixels; a pixel belongs to a shape if its centre does. */

globalThis.audit ??= {};

audit.shapes = (() => {
  /* A line drawn with a round brush of that diameter. The pixels under both ends belong to it, however thin it is. */
  function stroke(from, to, diameter, span) {
    for (const end of [from, to]) span(Math.floor(end.x), Math.floor(end.y), Math.floor(end.y) + 1);
    const radius = diameter / 2, dx = to.x - from.x, dy = to.y - from.y, length = Math.hypot(dx, dy);
    const aside = length ? { x: -dy / length * radius, y: dx / length * radius } : null;
    const last = Math.floor(Math.max(from.x, to.x) + radius);
    for (let x = Math.floor(Math.min(from.x, to.x) - radius); x <= last; x++) {
      const centre = x + 0.5;
      let low = Infinity, high = -Infinity;
      for (const end of [from, to]) {
        const half = Math.sqrt(radius * radius - (centre - end.x) ** 2);  // NaN beside the disc
        if (half >= 0) [low, high] = [Math.min(low, end.y - half), Math.max(high, end.y + half)];
      }
      for (const side of aside && dx ? [1, -1] : []) {
        const along = (centre - from.x - side * aside.x) / dx;
        if (along < 0 || along > 1) continue;
        const y = from.y + side * aside.y + along * dy;
        [low, high] = [Math.min(low, y), Math.max(high, y)];
      }
      if (low <= high) centres(x, low, high, span);
    }
  }

  /* The inside of a closed outline, by the nonzero rule: where it crosses itself, both loops are inside. */
  function polygon(corners, span) {
    const crossings = new Map();
    corners.forEach((corner, place) => {
      const next = corners[(place + 1) % corners.length];
      const [left, right, turn] = corner.x < next.x ? [corner, next, 1] : [next, corner, -1];
      const slope = (right.y - left.y) / (right.x - left.x);
      for (let x = Math.ceil(left.x - 0.5); x + 0.5 < right.x; x++) {
        if (!crossings.has(x)) crossings.set(x, []);
        crossings.get(x).push([left.y + (x + 0.5 - left.x) * slope, turn]);
      }
    });
    for (const [x, found] of crossings) {
      found.sort((a, b) => a[0] - b[0]);
      let winding = 0;
      found.forEach(([y, turn], place) => {
        if (winding) centres(x, found[place - 1][0], y, span);
        winding += turn;
      });
    }
  }

  function centres(x, low, high, span) {
    span(x, Math.ceil(low - 0.5), Math.floor(high - 0.5) + 1);
  }

  return { stroke, polygon };
})();
