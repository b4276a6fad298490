"use strict";
/* A table of models that sorts by any metric, and the images on which two of them, or all, differ. Texts are inserted as
   text. */

const STRIPS = 12;
let board, sorted, shown = STRIPS;

/* What data.js calls. */
const sodPage = { leaderboard: show };

function show(data) {
  board = data;
  sorted = board.metric;
  const { release, images, splits, missing } = board;
  const rule = missing === "worst" ? "a missing prediction counts as the worst one" : "images without a prediction are left out";
  document.title = `Leaderboard of ${release}`;
  byId("title").textContent = `Leaderboard of ${release}`;
  byId("about").textContent = `${images.toLocaleString("en")} images (${splits.join(", ")}); ${rule}. ` +
    `Release ${board.release_sha256.slice(0, 12)}…, scorer ${board.scorer.slice(0, 12)}….`;
  byId("checked").textContent = board.checked;
  byId("explained").textContent = board.explained;
  byId("explained").hidden = !board.explained;
  fillChoices();
  drawTable();
  drawStrips();
}

function byId(id) { return document.getElementById(id); }

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/* The table */

function isLower(metric) { return board.columns.find(({ name }) => name === metric).lower; }

function inOrder(metric) {
  const sign = isLower(metric) ? 1 : -1;
  const value = (entry) => entry.metrics[metric] ?? sign * Infinity;
  return [...board.entries].sort((one, other) => sign * (value(one) - value(other)) || one.name.localeCompare(other.name));
}

function drawTable() {
  const heads = board.columns.map(({ name, label }) => {
    const button = element("button", { type: "button", "data-metric": name }, label);
    button.addEventListener("click", () => { sorted = name; drawTable(); byId("table").querySelector(`[data-metric=${name}]`).focus(); });
    const order = name === sorted ? { "aria-sort": isLower(name) ? "ascending" : "descending" } : {};
    return element("th", { scope: "col", ...order }, button);
  });
  const notes = [...new Set(board.entries.flatMap(({ marks }) => marks))];
  const ranges = Object.fromEntries(board.columns.map(({ name }) => [name, rangeOf(name)]));
  const rows = inOrder(sorted).map((entry, place) => row(entry, place + 1, notes, ranges));
  byId("table").replaceChildren(
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "#"), element("th", { scope: "col" }, "model"), ...heads, element("th", { scope: "col" }, "missing"))),
    element("tbody", {}, ...rows));
  byId("notes").replaceChildren(...notes.map((note) => element("li", {}, note)));
}

/* The ends of a column's bars. */
function rangeOf(metric) {
  const ends = board.entries.flatMap(({ metrics, intervals }) => [metrics[metric], ...(intervals[metric] ?? [])]).filter((value) => value != null);
  const low = Math.min(...ends), high = Math.max(...ends);
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

function row(entry, place, notes, ranges) {
  const name = entry.link ? element("a", { href: entry.link, rel: "noopener noreferrer" }, entry.name) : element("span", {}, entry.name);
  if (entry.trained_on) name.title = `Trained on ${entry.trained_on}`;
  const marks = entry.marks.map((mark) => notes.indexOf(mark) + 1).sort((a, b) => a - b).join(", ");
  const head = element("th", { scope: "row" }, name, ...(marks ? [" ", element("sup", {}, marks)] : []));
  const cells = board.columns.map(({ name: metric }) => cell(entry, metric, ranges[metric]));
  return element("tr", {}, element("td", { class: "place" }, String(place)), head, ...cells, element("td", { class: "number" }, entry.missing ? String(entry.missing) : ""));
}

function cell(entry, metric, [low, high]) {
  const value = entry.metrics[metric];
  const made = element("td", { class: metric === sorted ? "number sorted" : "number" });
  if (value == null) { made.append("–"); return made; }
  made.append(value.toFixed(4));
  const interval = entry.intervals[metric];
  if (interval) {
    const at = (number) => (100 * (number - low) / (high - low)).toFixed(2);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 8");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `95 % interval ${interval[0].toFixed(4)} to ${interval[1].toFixed(4)}`);
    for (const [x, width, kind] of [[at(interval[0]), at(interval[1]) - at(interval[0]), "interval"], [at(value) - 0.75, 1.5, "value"]]) {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      bar.setAttribute("x", x); bar.setAttribute("width", Math.max(0.5, width)); bar.setAttribute("y", kind === "value" ? 0 : 2.5);
      bar.setAttribute("height", kind === "value" ? 8 : 3); bar.setAttribute("class", kind);
      svg.append(bar);
    }
    made.append(svg);
    made.title = `${value.toFixed(4)}, 95 % interval ${interval[0].toFixed(4)} to ${interval[1].toFixed(4)}`;
  }
  return made;
}

/* The strips */

function fillChoices() {
  const names = board.entries.map((entry, place) => [String(place), entry.name]);
  const labels = Object.fromEntries(board.columns.map(({ name, label }) => [name, label]));
  const metrics = Object.keys(board.entries[0].figures).map((name) => [name, labels[name]]);
  for (const [id, options, chosen] of [["first", names, "0"], ["second", names, String(Math.min(1, names.length - 1))], ["by", metrics, "mae"]]) {
    byId(id).replaceChildren(...options.map(([value, label]) => element("option", { value }, label)));
    byId(id).value = chosen;
  }
  for (const id of ["first", "second", "by", "who"]) byId(id).addEventListener("change", () => { shown = STRIPS; drawStrips(); });
  byId("more").addEventListener("click", () => { shown += STRIPS; drawStrips(); });
  const { keys, images } = board;
  byId("pictured").textContent = keys.length < images
    ? `Among ${keys.length} images that were drawn by their keys; a board has no pictures of the others.` : `Among all ${images} images.`;
}

function drawStrips() {
  const metric = byId("by").value, ofAll = byId("who").value === "all";
  for (const id of ["first", "second"]) byId(id).disabled = ofAll;
  byId("strips").classList.toggle("all", ofAll);
  const found = ofAll ? whereAllDiffer(metric) : whereTwoDiffer(metric);
  byId("strips").replaceChildren(...found.slice(0, shown).map(({ key, place, entries, note }) => strip(key, place, entries, metric, note)));
  byId("more").hidden = found.length <= shown;
  if (!found.length) byId("strips").append(element("li", { class: "nothing" }, "They differ on no image that is pictured."));
}

/* The images on which the chosen two differ, and those two. */
function whereTwoDiffer(metric) {
  const [one, other] = [board.entries[byId("first").value], board.entries[byId("second").value]];
  const who = byId("who").value;
  const better = isLower(metric) ? -1 : 1;
  return board.keys.map((key, place) => ({ key, place, one: one.figures[metric][place], other: other.figures[metric][place] }))
    .filter((image) => image.one != null && image.other != null)
    .map((image) => ({ ...image, gain: better * (image.one - image.other) }))
    .filter(({ gain }) => who === "most" ? gain !== 0 : who === "first" ? gain > 0 : gain < 0)
    .sort((a, b) => Math.abs(b.gain) - Math.abs(a.gain) || a.place - b.place)
    .map(({ key, place }) => ({ key, place, entries: [one, other] }));
}

/* The images ordered by how far the best and the worst value of all models are apart; the models from best to worst. */
function whereAllDiffer(metric) {
  const sign = isLower(metric) ? 1 : -1;
  return board.keys.map((key, place) => {
    const value = (entry) => entry.figures[metric][place];
    const entries = board.entries.filter((entry) => value(entry) != null).sort((a, b) => sign * (value(a) - value(b)) || a.name.localeCompare(b.name));
    const values = entries.map(value), best = values[0] ?? 0, worst = values[values.length - 1] ?? 0;
    return { key, place, entries, spread: Math.abs(best - worst), note: `${labelOf(metric)} from ${best.toFixed(3)} to ${worst.toFixed(3)}` };
  }).filter(({ spread }) => spread > 0).sort((a, b) => b.spread - a.spread || a.place - b.place);
}

function labelOf(metric) { return board.columns.find(({ name }) => name === metric).label.replace(/ [↓↑]$/u, ""); }

function strip(key, place, entries, metric, note) {
  const pictures = [
    picture(board.photos[place] && `pictures/${key}.photo.webp`, "photo", "photo"),
    picture(`pictures/${key}.mask.webp`, "mask", "mask"),
    ...entries.map((entry) => picture(entry.has_map[place] && `${entry.maps}/${key}.webp`, entry.name, `${labelOf(metric)}\u00a0${entry.figures[metric][place].toFixed(3)}`)),
  ];
  return element("li", {}, element("p", { class: "key" }, note ? `${key} · ${note}` : key), element("div", { class: "strip" }, ...pictures));
}

function picture(source, name, figure) {
  const shownPicture = source ? element("img", { src: source, alt: name, loading: "lazy" }) : element("div", { class: "none" }, "no picture");
  const caption = name === figure ? [name] : [element("b", {}, name), ` ${figure}`];
  return element("figure", {}, shownPicture, element("figcaption", {}, ...caption));
}
