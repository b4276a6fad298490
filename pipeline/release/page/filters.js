"use strict";
/* The bar that filters and sorts, the chips that show active filters, the verdicts and lenses that set filters. */

const FILTERS = ["verdict", "reason", "category", "licence", "split"];

class Bar {
  /* Args: change: called with the fields of the state to replace. */
  constructor(change) {
    this.change = change;
    this.form = document.getElementById("bar");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.query = document.getElementById("query");
    this.query.addEventListener("input", () => {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => {
        this.waiting = 0;
        change({ query: this.query.value });
      }, 120);
    });
    this.waiting = 0;  // timer: text was typed but not searched for yet
    for (const name of FILTERS) this.#fill(name);
    this.sort = document.getElementById("sort");
    add(this.sort, "option", { value: "key", textContent: "key" });
    for (const { name } of table.release.scores) if (hasScore(name)) add(this.sort, "option", { value: name, textContent: nameOf(name), title: name });
    add(this.sort, "option", { value: "random", textContent: "random order" });
    this.sort.addEventListener("change", () => change({ sort: this.sort.value }));
    this.direction = document.getElementById("direction");
    this.direction.addEventListener("click", () => this.turn());
    const toggle = document.getElementById("bar-toggle");
    toggle.addEventListener("click", () => {
      toggle.setAttribute("aria-expanded", String(this.form.classList.toggle("open")));
    });
  }

  #fill(name) {
    const select = document.getElementById(name);
    add(select, "option", { value: "", textContent: "all" });
    if (name === "category") this.#fillCategories(select);
    else for (const [value, images] of tally(name)) if (value !== "") add(select, "option", { value, textContent: `${shownText(name, value)} (${count(images)})`, title: value });
    select.closest("label").hidden = select.options.length < 2;
    select.addEventListener("change", () => this.change({ [name]: select.value }));
  }

  #fillCategories(select) {
    const groups = [["s:", "Kind", tally("supercategory")], ["c:", "Category", tallyCategories()]];
    for (const [prefix, label, values] of groups) {
      const group = document.createElement("optgroup");
      group.label = label;
      for (const [value, images] of values) {
        if (value !== "") add(group, "option", { value: prefix + value, textContent: `${value} (${count(images)})` });
      }
      if (group.children.length) select.append(group);
    }
  }

  /* Reverse the order; a random order is shuffled again. */
  turn() {
    this.change(this.state.sort === "random" ? { seed: this.state.seed + 1 } : { descending: !this.state.descending });
  }

  show(state, shown) {
    this.state = state;
    if (!this.waiting && this.query.value !== state.query) this.query.value = state.query;
    for (const name of FILTERS) document.getElementById(name).value = state[name];
    this.sort.value = state.sort;
    const isRandom = state.sort === "random";
    this.direction.textContent = isRandom ? "⟳" : state.descending ? "↓" : "↑";
    const says = isRandom ? "Shuffle again" : state.descending ? "Largest first" : "Smallest first";
    this.direction.setAttribute("aria-label", says);
    this.direction.title = says;
    document.getElementById("count").textContent =
      shown === table.images ? `${count(shown)} images` : `${count(shown)} of ${count(table.images)} images`;
    this.#chips(state);
  }

  #chips(state) {
    const chips = document.getElementById("chips");
    const had = chips.contains(document.activeElement);
    chips.replaceChildren();
    const chip = (text, without) => {
      const button = add(add(chips, "li"), "button", { type: "button", className: "chip", textContent: `${text} ✕` });
      button.setAttribute("aria-label", `Remove filter ${text}`);
      button.addEventListener("click", () => this.change(without));
    };
    if (state.query.trim()) chip(`“${state.query.trim()}”`, { query: "" });
    for (const name of FILTERS) {
      if (state[name] !== "") chip(name === "category" ? state.category.slice(2) : shownText(name, state[name]), { [name]: "" });
    }
    for (const [name, range] of Object.entries(state.ranges)) {
      const { [name]: _, ...others } = state.ranges;
      chip(rangeText(name, range), { ranges: others });
    }
    if (chips.children.length > 1) {
      const all = add(add(chips, "li"), "button", { type: "button", className: "chip all", textContent: "Clear all" });
      all.addEventListener("click", () => this.change(clearedFilters()));
    }
    if (had) (chips.querySelector("button") ?? this.query).focus();
  }
}

function clearedFilters() {
  const { query, verdict, reason, category, licence, split, ranges } = EVERYTHING;
  return { query, verdict, reason, category, licence, split, ranges };
}

/* A value of a filter as people read it. */
function shownText(name, value) {
  return name === "reason" ? nameOf(value) : value;
}

function rangeText(column, [least, most]) {
  const name = nameOf(column);
  if (least === -Infinity) return `${name} ≤ ${most}`;
  if (most === Infinity) return `${name} ≥ ${least}`;
  return `${least} ≤ ${name} ≤ ${most}`;
}

function hasScore(name) {
  return table.columns[name].some((value) => !Number.isNaN(value));
}

/* Pairs of a value's text and its number of images, most images first. */
function tally(name) {
  const values = table.release.dictionaries[name], images = new Array(values.length).fill(0);
  for (const code of table.columns[name]) images[code]++;
  return byImages(values.map((value, code) => [filterText(name, value), images[code]]));
}

function tallyCategories() {
  const values = table.release.dictionaries.category, images = new Array(values.length).fill(0);
  for (const codes of table.columns.categories) for (const code of codes) images[code]++;
  return byImages(values.map((value, code) => [value, images[code]]));
}

function byImages(pairs) {
  return pairs.sort(([a, imagesA], [b, imagesB]) => imagesB - imagesA || (a < b ? -1 : 1));
}

/* Images per verdict and reason; each count is a button that shows its images. */
function showVerdicts(element, change) {
  const reasons = new Map([["accepted", new Map()], ["rejected", new Map()], ["failed", new Map()]]);
  for (let row = 0; row < table.images; row++) {
    const of = reasons.get(named("verdict", row)), reason = named("reason", row);
    of?.set(reason, (of.get(reason) ?? 0) + 1);
  }
  for (const [verdict, found] of reasons) {
    const images = [...found.values()].reduce((a, b) => a + b, 0);
    const box = add(element, "div", { className: `verdict ${verdict}` });
    const all = add(box, "button", { type: "button", className: "figure" });
    add(all, "b", { textContent: count(images) });
    add(all, "span", { textContent: ` ${verdict} ` });
    add(all, "span", { className: "hint", textContent: share(images, table.images) });
    all.addEventListener("click", () => change({ ...clearedFilters(), verdict }));
    const list = add(box, "ul", { className: "reasons" });
    for (const [reason, number] of byImages([...found].filter(([name]) => name))) {
      const button = add(add(list, "li"), "button", { type: "button", className: "reason", title: reason });
      add(button, "span", { textContent: nameOf(reason) });
      add(button, "b", { textContent: count(number) });
      button.addEventListener("click", () => change({ ...clearedFilters(), verdict, reason }));
    }
  }
}

/* Views that tell the most in a few minutes. */
function showLenses(element, change) {
  const sure = "ensemble_variance_per_area";
  const lenses = [
    ["Random accepted", { verdict: "accepted", sort: "random", descending: false }, "A fair sample of the release"],
    ["Least sure accepted", { verdict: "accepted", sort: sure, descending: true }, "Accepted with the largest variance per area"],
    ["Surest rejected", { verdict: "rejected", sort: sure, descending: false }, "Rejected with the smallest variance per area"],
  ];
  if (hasScore("instance_iou")) {
    lenses.push(["Unlike COCO's instances", { verdict: "accepted", sort: "instance_iou", descending: false },
                 "Accepted, but no union of the collection's annotated instances matches the mask"]);
  }
  if (table.release.dictionaries.verdict.includes("failed")) {
    lenses.push(["Failed", { verdict: "failed", sort: "key", descending: false }, "Images without a prediction"]);
  }
  for (const [label, state, title] of lenses) {
    const button = add(element, "button", { type: "button", className: "lens", textContent: label, title });
    button.addEventListener("click", () => change({ ...clearedFilters(), ...state }));
  }
}
