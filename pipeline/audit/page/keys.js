"use strict";

/* What each key does: the page obeys this table, and shows it. The editor takes its keys before. */

audit.KEYS = [
  {
    title: "Judge",
    modes: ["judging"],
    keys: audit.VERDICTS.map(({ key, name, verdict }) => ({ keys: [key], does: name, act: (page) => page.judge(verdict) })),
  },
  {
    title: "Take a rater's look",
    modes: ["judging"],
    isAdjudicator: true,
    keys: [
      { keys: ["7"], does: "Take A: its verdict and its mask", act: (page) => page.takeLook("A") },
      { keys: ["8"], does: "Take B", act: (page) => page.takeLook("B") },
      { keys: ["c"], does: "Look at A, at B, or at both", act: (page) => page.nextLook() },
    ],
  },
  {
    title: "Fix",
    modes: ["fixing"],
    keys: [
      { keys: ["Enter"], does: "Keep the mask you drew, go on", act: (page) => page.keepFix() },
      { keys: ["Escape"], does: "Leave without a change", act: (page) => page.dropFix() },
    ],
  },
  { title: "Draw the fix", modes: [], keys: audit.EditorBar.KEYS },  // the editor obeys them itself
  {
    title: "Mask",
    keys: [
      { keys: ["q"], does: "Tint", act: (page) => page.style("fill") },
      { keys: ["w"], does: "Outline", act: (page) => page.style("outline") },
      { keys: ["e"], does: "Cut out", act: (page) => page.style("cutout") },
      { keys: ["t"], does: "Another colour", act: (page) => page.nextTint() },
      { keys: [" "], does: "Hide it, while held", act: (page) => page.hide(true), release: (page) => page.hide(false) },
      { keys: ["v"], does: "Show where the model was unsure", act: (page) => page.toggleVariance() },
    ],
  },
  {
    title: "View",
    keys: [
      { keys: ["f"], does: "Fit the image", act: (page) => page.viewer.fit() },
      { keys: ["x"], does: "Actual size, 1:1", act: (page) => page.viewer.actualSize() },
      { keys: ["+", "="], does: "Closer", act: (page) => page.viewer.zoom(audit.Viewer.ZOOM) },
      { keys: ["-"], does: "Further away", act: (page) => page.viewer.zoom(1 / audit.Viewer.ZOOM) },
      { keys: ["ArrowLeft"], does: "Pan", act: (page) => page.viewer.pan(-1, 0) },
      { keys: ["ArrowRight"], does: "Pan", act: (page) => page.viewer.pan(1, 0) },
      { keys: ["ArrowUp"], does: "Pan", act: (page) => page.viewer.pan(0, -1) },
      { keys: ["ArrowDown"], does: "Pan", act: (page) => page.viewer.pan(0, 1) },
      { keys: ["?"], does: "Show all keys", act: (page) => page.help() },
    ],
  },
  {
    title: "Go",
    modes: ["judging"],
    keys: [
      { keys: ["a"], does: "Back to the image before", act: (page) => page.move(-1) },
      { keys: ["d"], does: "On to the next", act: (page) => page.move(1) },
      { keys: ["g"], does: "To the first without an answer", act: (page) => page.moveToOpen() },
      { keys: ["s"], does: "Save your answers as a file", act: (page) => page.save() },
    ],
  },
];

audit.KEY_NAMES = {
  " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc",
};
audit.keyName = (key) => audit.KEY_NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);

/** Hands keys to a page; its `mode` is judging, fixing, or away while no image is open. */
audit.listenToKeys = (page) => {
  const held = new Map();
  const actionOf = ({ key }) => audit.KEYS
    .filter((group) => (page.isAdjudicator || !group.isAdjudicator) && (group.modes?.includes(page.mode) ?? true))
    .flatMap((group) => group.keys)
    .find(({ keys }) => keys.includes(key) || keys.includes(key.toLowerCase()));
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || page.mode === "away") return;
    const focused = document.activeElement;
    if (focused?.closest("dialog") || focused?.matches("input, select, textarea")) return;
    if (focused?.matches("button, a") && [" ", "Enter"].includes(event.key)) return;
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    if (event.repeat && !event.key.startsWith("Arrow") && !"+-=".includes(event.key)) return;
    if (action.release) held.set(event.code, action);
    action.act(page);
  });
  const letGo = (code) => {
    held.get(code)?.release(page);
    held.delete(code);
  };
  addEventListener("keyup", (event) => letGo(event.code));
  addEventListener("blur", () => [...held.keys()].forEach(letGo));
};

/** The table as a list, for the start and for the help. */
audit.keyList = (isAdjudicator, skipped = []) => audit.KEYS
  .filter((group) => (!group.isAdjudicator || isAdjudicator) && !skipped.includes(group.title))
  .map((group) => {
    const shown = new Map();
    for (const { keys, does } of group.keys) shown.set(does, [...(shown.get(does) ?? []), keys[0]]);
    const rows = [...shown].flatMap(([does, keys]) => [
      audit.element("dt", {}, ...keys.map((key) => audit.element("kbd", { textContent: audit.keyName(key) }))),
      audit.element("dd", { textContent: does }),
    ]);
    return audit.element("section", {}, audit.element("h3", { textContent: group.title }), audit.element("dl", {}, ...rows));
  });
