"use strict";
/* The buttons of the editor, with their keys, and the line that says what the tool does. */

globalThis.audit ??= {};

audit.EditorBar = class {
  /* name, key, label, hint. */
  static TOOLS = [
    ["brush", "b", "Brush", "Drag to paint. Shift-click: straight line from the last point. Alt or right button: erase."],
    ["eraser", "e", "Eraser", "Drag to erase. Shift-click: straight line from the last point. Alt or right button: paint."],
    ["polygon", "p", "Polygon", "Click corners. Enter or the first corner: close. Backspace: last corner off. Esc: give up."],
    ["lasso", "l", "Lasso", "Drag around a region. Alt or right button: the opposite of the mode."],
    ["instance", "m", "Instance", "Click an instance of the annotations. Shift: replace the mask. M: next instance; Enter: take it."],
    ["holes", "h", "Fill holes", "Click a hole: it and all smaller ones are filled. H again: all holes."],
    ["islands", "i", "Islands", "Click an island: it and all smaller ones are removed. I again: all but the largest."],
  ];
  /* All keys of the editor, for the page's help. */
  static KEYS = [
    ...this.TOOLS.map(([, key, does]) => ({ keys: [key], does })),
    { keys: ["["], does: "Smaller, larger brush; also Alt and the wheel" },
    { keys: ["]"], does: "Smaller, larger brush; also Alt and the wheel" },
    { keys: ["x"], does: "Brush or eraser; add or remove" },
    { keys: ["n"], does: "Start from an empty mask" },
    { keys: ["r"], does: "Start from the release's mask" },
    { keys: ["Ctrl Z"], does: "Undo" },
    { keys: ["Ctrl ⇧ Z"], does: "Do it again" },
    { keys: [" "], does: "While held: hide the mask, drag to pan" },
  ];
  static ICONS = {
    brush: "M14.5 3.5l6 6-8 8-6-6zM6 12c-3 1-2 5-4 8 4 0 8 0 8.5-4",
    eraser: "M3.5 15.5l9-11 8 6.5-8.5 9.5H8zM8 10l8 6.500M5 21h15",
    polygon: "M5 8l8-5 7 7-4 10-11-2z",
    lasso: "M12 4c5 0 9 2.500 9 6s-4 6-9 6-9-2.500-9-6 4-6 9-6zM7 15c-2 1-2 3 0 3s2 2 0 3",
    instance: "M4 20L14 10M17 3v3M17 11v3M11.500 7h3M19.500 7h3M13 3l1.500 1.500M20 11l1 1",
    holes: "M12 3a9 9 0 1 0 .01 0zM12 9a3 3 0 1 0 .01 0z",
    islands: "M9 6a6 6 0 1 0 .01 0zM19 4a1.500 1.500 0 1 0 .01 0zM20 16a1.500 1.500 0 1 0 .01 0z",
    empty: "M4 4h16v16H4z",
    release: "M4 12a8 8 0 1 0 3-6.200M4 4v5h5",
    undo: "M9 5L4 10l5 5M4 10h10a5 5 0 0 1 0 10h-3",
    redo: "M15 5l5 5-5 5M20 10H10a5 5 0 0 0 0 10h3",
  };

  constructor(editor) {
    this.editor = editor;
    this.keys = new Map();
    this.buttons = new Map();
    this.root = this.#add(editor.place, "div", { className: "editor-bar", role: "toolbar", ariaLabel: "Mask editor" });
    const tools = this.#group("Tools");
    for (const [name, key, label, hint] of audit.EditorBar.TOOLS) {
      this.#button(tools, name, key, label, hint, () => editor.choose(name));
    }
    const history = this.#group("History");
    this.#button(history, "undo", "Ctrl Z", "Undo", "Undo the last step", () => editor.undo());
    this.#button(history, "redo", "Ctrl ⇧ Z", "Redo", "Do the step again", () => editor.redo());
    const start = this.#group("Start from");
    this.#button(start, "empty", "n", "Empty mask", "Start from an empty mask", () => editor.startFrom(null));
    if (editor.release) {
      this.#button(start, "release", "r", "Release mask", "Start from the release's mask again", () => editor.startFrom(editor.release));
    }
    this.#addSize();  // last is what only some tools have, so that all else stays where it is
    this.#addMode();
    this.#addInstances();
    this.keys.set("[", () => editor.step(-1)).set("]", () => editor.step(1)).set("x", () => editor.swap());
  }

  remove() {
    this.root.remove();
    this.editor.hint.textContent = "";
  }

  /* Do what a key stands for. Returns whether it stands for anything. */
  press(key) {
    const act = this.keys.get(key);
    act?.();
    return Boolean(act);
  }

  update() {
    const { editor } = this;
    for (const [name] of audit.EditorBar.TOOLS) this.buttons.get(name).ariaPressed = String(editor.tool === name);
    for (const box of this.modes) box.ariaPressed = String(editor.mode === box.value);
    const paints = editor.tool === "brush" || editor.tool === "eraser";
    this.size.hidden = !paints;
    this.mode.hidden = !["polygon", "lasso", "instance"].includes(editor.tool);
    this.list.hidden = editor.tool !== "instance";
    this.number.value = editor.size;
    if (document.activeElement !== this.slider) this.slider.value = Math.log(editor.size);  // it has finer steps
    this.buttons.get("undo").disabled = !editor.surface.canUndo;
    this.buttons.get("redo").disabled = !editor.surface.canRedo;
    this.say("");
  }

  /* Show a text instead of the tool's hint; "" for the hint. */
  say(text) {
    const [, , , hint] = audit.EditorBar.TOOLS.find(([name]) => name === this.editor.tool) ?? [];
    const wanted = text || hint || "";
    if (this.editor.hint.textContent !== wanted) this.editor.hint.textContent = wanted;
  }

  #add(parent, tag, properties = {}) {
    const element = Object.assign(document.createElement(tag), properties);
    parent.append(element);
    return element;
  }

  #group(label) {
    return this.#add(this.root, "div", { className: "editor-group", role: "group", ariaLabel: label });
  }

  #button(parent, name, key, label, title, act) {
    const button = this.#add(parent, "button", { type: "button", title: `${title} (${key.toUpperCase()})`, ariaLabel: label });
    button.dataset.tool = name;
    button.setAttribute("aria-keyshortcuts", key === "Ctrl Z" ? "Control+Z" : key.startsWith("Ctrl") ? "Control+Shift+Z" : key);
    button.append(this.#icon(name));
    this.#add(button, "span", { textContent: label });
    this.#add(button, "kbd", { textContent: key.length === 1 ? key.toUpperCase() : key });
    button.addEventListener("mousedown", (event) => event.preventDefault());  // the focus stays, so Space pans
    button.addEventListener("click", act);
    if (key.length === 1) this.keys.set(key, act);
    this.buttons.set(name, button);
  }

  #icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", audit.EditorBar.ICONS[name]);
    svg.append(path);
    return svg;
  }

  #addSize() {
    const { editor } = this;
    this.size = this.#group("Size");
    const label = this.#add(this.size, "label", { className: "editor-size" });
    this.#add(label, "span", { textContent: "Size" });
    this.number = this.#add(label, "input", { type: "number", min: 1, max: audit.Editor.LARGEST, ariaLabel: "Diameter in image pixels" });
    this.#add(label, "span", { textContent: "px" });
    this.#add(label, "kbd", { textContent: "[ ]" }).title = "Smaller, larger; also Alt and the wheel";
    this.slider = this.#add(this.size, "input", { type: "range", min: 0, max: Math.log(audit.Editor.LARGEST), step: 0.01, ariaLabel: "Diameter" });
    this.number.addEventListener("change", () => editor.resize(Number(this.number.value) || editor.size));
    this.slider.addEventListener("input", () => editor.resize(Math.exp(Number(this.slider.value))));
    this.slider.addEventListener("change", () => this.slider.blur());
  }

  #addMode() {
    this.mode = this.#group("Mode");
    this.mode.classList.add("editor-modes");
    this.modes = [["add", "Add"], ["remove", "Remove"]].map(([value, label]) => {
      const button = this.#add(this.mode, "button", { type: "button", value, textContent: label, title: `${label} (X changes)` });
      button.addEventListener("mousedown", (event) => event.preventDefault());
      button.addEventListener("click", () => this.editor.mode !== value && this.editor.swap());
      return button;
    });
    this.#add(this.mode, "kbd", { textContent: "X" });
  }

  #addInstances() {
    this.list = this.#group("Instances of the annotations");
    this.list.classList.add("editor-instances");
    if (!this.editor.instances.length) this.#add(this.list, "p", { textContent: "The annotations have none here." });
    this.editor.instances.forEach(({ label }, place) => {
      const button = this.#add(this.list, "button", { type: "button", textContent: label || "unnamed" });
      const tool = () => this.editor.current;
      button.addEventListener("mousedown", (event) => event.preventDefault());
      button.addEventListener("pointerenter", (event) => tool().choose(place, event));
      button.addEventListener("pointerleave", () => tool().stop());
      button.addEventListener("focus", (event) => tool().choose(place, event));
      button.addEventListener("click", (event) => (tool().choose(place, event), tool().apply(event)));
    });
  }
};
