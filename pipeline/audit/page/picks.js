"use strict";
/* The tools of the editor that pick a whole region: an instance of the annotations, holes, and specks. What a click
   would change is shown before it. */

globalThis.audit ??= {};

/* Instances: {label, mask}. Under the pointer the smallest is meant; the tool's key goes through all of them. */
audit.tools.instance = (editor, instances) => {
  const known = instances.map(({ label, mask }) => {
    const runs = audit.rle.runs(mask);
    return { label, runs, area: runs.reduce((area, run, place) => area + (place % 2 ? run : 0), 0) };
  });
  let chosen = -1, isByKey = false;  // Enter takes what the key chose, not what the pointer happens to be on
  const { height } = editor.surface, spansOf = (place) => (span) => audit.rle.spans(known[place].runs, height, 1, span);
  const choose = (place, event, byKey = false) => {
    chosen = place;
    isByKey = byKey;
    if (place < 0) editor.overlay.preview(null);
    else editor.overlay.preview(spansOf(place), editor.valueOf(event), `instance ${place}`);
    const [act, replace] = byKey ? ["Enter", "Shift+Enter"] : ["click", "Shift-click"], verb = editor.valueOf(event) ? "add" : "remove";
    editor.say(place < 0 ? "" : `${known[place].label || "Unnamed"}: ${act} to ${verb} it, ${replace} to put it in the mask's place`);
  };
  const apply = (event) => {
    if (chosen < 0) return;
    if (event.shiftKey) editor.surface.set(0, editor.everything);
    editor.surface.set(event.shiftKey ? 1 : editor.valueOf(event), spansOf(chosen));
    editor.commit();
  };
  const under = ({ x, y }) => {
    const pixel = Math.floor(x) * height + Math.floor(y), isInside = y >= 0 && y < height && x >= 0;
    const found = known.flatMap(({ runs }, place) => (isInside && audit.rle.has(runs, pixel) ? [place] : []));
    return found.sort((a, b) => known[a].area - known[b].area)[0] ?? -1;
  };
  return {
    choose,
    apply,
    hover: (point, event) => choose(under(point), event),
    down(point, event) {
      choose(under(point), event);
      apply(event);
    },
    again: (event) => known.length && choose((chosen + 1) % known.length, event, true),
    key(name, event) {
      if (name !== "Enter" || !isByKey) return false;
      apply(event);
      choose(-1, event);
      return true;
    },
    stop: () => choose(-1, {}),
  };
};

/* kind: "holes", which are filled, or "islands", which are removed: the one under the pointer and all smaller ones. */
audit.tools.pieces = (editor, kind) => {
  const value = kind === "holes" ? 1 : 0;
  let pieces = null, version = -1;
  const current = () => {
    if (version !== editor.surface.version) pieces = new audit.Pieces(editor.surface, kind);
    version = editor.surface.version;
    return pieces;
  };
  const runsToSpans = (runs) => (span) => runs.forEach((run) => span(...run));
  const set = (runs) => {
    editor.surface.set(value, runsToSpans(runs));
    editor.commit();
    editor.overlay.preview(null);
  };
  return {
    hover({ x, y }) {
      const found = current().upTo(Math.floor(x), Math.floor(y));
      editor.overlay.preview(found && runsToSpans(found.runs), value, `${kind} ${found?.area} ${version}`);
      const one = kind === "holes" ? "hole" : "island";
      editor.say(found ? `Click to ${value ? "fill" : "remove"} ${found.count} ${found.count === 1 ? one : kind} of up to ${found.area.toLocaleString("en")} px` : "");
    },
    down({ x, y }) {
      const found = current().upTo(Math.floor(x), Math.floor(y));
      if (found) set(found.runs);
    },
    again: () => kind === "holes" ? set(current().all()) : set(current().butLargest()),
    stop: () => editor.overlay.preview(null),
  };
};
