"use strict";
/* The tools of the editor that draw: brush, eraser, polygon and lasso. Those that pick a whole region are in `picks.js`.

   A tool is an object of functions that the editor calls with points in image coordinates and Konva's native event:
   `down`, `move` (with all points since the last call), `up`, `hover` while no button is pressed, `key` (returns whether
   it took the key), `back` (undoes a part of what isn't finished, and returns whether there was any), `again` (its key is
   pressed once more), `stop` (gives up what isn't finished). All but `down` may be missing. */

globalThis.audit ??= {};

audit.tools = (() => {
  const flat = (points) => points.flatMap(({ x, y }) => [x, y]);

  function stroke(editor, value) {
    const line = editor.overlay.addLine({ dash: [6, 5] });
    let last = null, drawn = value;
    const paint = (to) => {
      editor.surface.set(drawn, (span) => audit.shapes.stroke(last ?? to, to, editor.size, span));
      last = to;
    };
    return {
      isRound: true,
      down(point, event) {
        drawn = editor.isOpposite(event) ? 1 - value : value;
        if (!event.shiftKey) last = null;
        line({ visible: false });
        paint(point);
      },
      move(points) { points.forEach(paint); },
      up() { editor.commit(); },
      hover(point, event) {
        const points = last ? flat([last, point]) : [];
        line({ points, visible: event.shiftKey && last !== null });
      },
      stop() {
        line({ visible: false });
        last = null;
      },
    };
  }

  function lasso(editor) {
    const line = editor.overlay.addLine({ closed: true });
    let points = [], value = 1;
    return {
      down(point, event) {
        points = [point];
        value = editor.valueOf(event);
      },
      move(more) {
        points.push(...more);
        line({ points: flat(points), stroke: editor.overlay.colourOf(value), fill: editor.overlay.colourOf(value, 0.2), visible: true });
      },
      up() {
        editor.fill(points, value);
        this.stop();
      },
      stop() {
        points = [];
        line({ points: [], visible: false });
      },
    };
  }

  function polygon(editor) {
    const area = editor.overlay.addLine({ closed: true, strokeEnabled: false }), line = editor.overlay.addLine({}), first = editor.overlay.addDot();
    let corners = [], value = 1, pointer = null;
    const show = () => {
      const points = flat(pointer && corners.length ? [...corners, pointer] : corners), visible = points.length > 2;
      area({ points, visible, fill: editor.overlay.colourOf(value, 0.2) });
      line({ points, visible, stroke: editor.overlay.colourOf(value) });
      first.setAttrs({ ...corners[0], visible: corners.length > 0, stroke: editor.overlay.colourOf(value) });
      first.fill(isAtStart(pointer) ? editor.overlay.colourOf(value) : "#fff");
      editor.overlay.redraw();
    };
    const isAtStart = (point) => point && corners.length > 2 &&
      Math.hypot(point.x - corners[0].x, point.y - corners[0].y) * editor.scale < 9;
    const stop = () => {
      corners = [];
      show();
    };
    const close = () => {
      if (corners.length > 2) editor.fill(corners, value);
      stop();
    };
    return {
      stop,
      down(point, event) {
        if (isAtStart(point)) return close();
        if (!corners.length) value = editor.valueOf(event);
        const last = corners.at(-1);
        if (event.detail > 1 && last && Math.hypot(point.x - last.x, point.y - last.y) * editor.scale < 9) return close();
        corners.push(point);
        show();
      },
      hover(point) {
        pointer = point;
        show();
      },
      move(points) { this.hover(points.at(-1)); },
      back() {
        const has = corners.length > 0;
        corners.pop();
        show();
        return has;
      },
      key(name) {
        if (!corners.length) return false;
        if (name === "Enter") close();
        else if (name === "Escape") stop();
        else if (name === "Backspace" || name === "Delete") this.back();
        else return false;
        return true;
      },
    };
  }

  return { stroke, lasso, polygon };
})();
