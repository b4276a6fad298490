"use strict";
/* Holds the page's state, keeps it in the address bar, and redraws what a change affects. */

let state = { ...EVERYTHING };
let shown = new Uint32Array();
let histograms = [], bar, curve, gallery, looks, detail;

/* Set fields of the state; go to the first page unless `page` is among them. */
function change(fields) {
  state = { ...state, page: 0, ...fields };
  keepInAddress();
  draw();
}

function draw() {
  shown = shownRows(state);
  state.page = Math.min(Math.max(0, Math.trunc(state.page)), Math.max(0, Math.ceil(shown.length / PAGE_ROWS) - 1));
  bar.show(state, shown.length);
  gallery.show(shown, state.page, state);
  looks.show(state);
  document.getElementById("plots-of").textContent =
    shown.length === table.images ? "Of all images." : `Of the ${count(shown.length)} images below.`;
  for (const histogram of histograms) histogram.update(shown, state.ranges[histogram.score.name]);
}

function turnTo(page) {
  change({ page });
  const title = document.getElementById("gallery-title");
  if (title.getBoundingClientRect().top < 0) title.scrollIntoView();
}

function keepRange(name, least, most) {
  const { [name]: _, ...others } = state.ranges;
  const isAll = least === -Infinity && most === Infinity;
  change({ ranges: isAll ? others : { ...others, [name]: [least, most] } });
}

/* The detail view */

function open(row) {
  const place = shown.indexOf(row);
  state = { ...state, open: table.columns.key[row] };
  keepInAddress();
  detail.show(row, Math.max(0, place), shown.length);
}

/* Go to the next or previous image; the gallery follows to its page. */
function move(step) {
  const place = shown.indexOf(table.columns.key.indexOf(state.open)) + step;
  if (place < 0 || place >= shown.length) return;
  const page = Math.floor(place / PAGE_ROWS);
  if (page !== state.page) {
    state.page = page;
    gallery.show(shown, page, state);
  }
  open(shown[place]);
}

function closed() {
  const row = table.columns.key.indexOf(state.open);
  state = { ...state, open: "" };
  keepInAddress();
  gallery.focusRow(row);
}

/* The address bar */

function addressOf({ ranges, ...fields }) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) if (value !== EVERYTHING[name]) parts.set(name, String(value));
  for (const [name, range] of Object.entries(ranges)) parts.set(`range.${name}`, range.join("~"));
  return parts.toString();
}

/* The state in an address, valid parts only: anybody can write one. */
function stateOf(address) {
  const found = { ...EVERYTHING, ranges: {} };
  for (const [name, text] of new URLSearchParams(address)) {
    const score = name.startsWith("range.") ? name.slice(6) : "";
    if (table.release.scores.some((known) => known.name === score)) {
      const [least, most] = text.split("~").map(Number);
      if (least <= most) found.ranges[score] = [least, most];
    } else if (["page", "seed"].includes(name)) {
      found[name] = Math.max(0, Math.trunc(Number(text)) || 0);
    } else if (name === "descending") {
      found.descending = text === "true";
    } else if (Object.hasOwn(EVERYTHING, name) && name !== "ranges") {
      found[name] = text;
    }
  }
  const sorts = ["key", "random", ...table.release.scores.map(({ name }) => name)];
  if (!sorts.includes(found.sort)) found.sort = "key";
  if (!found.looks.split("~").every((look) => LOOKS.some(({ name }) => name === look))) found.looks = EVERYTHING.looks;
  return found;
}

function keepInAddress() {
  const address = addressOf(state);
  if (address !== location.hash.slice(1)) history.replaceState(null, "", `#${address}`);
}

function takeAddress() {
  state = stateOf(location.hash.slice(1));
  draw();
  const row = state.open ? table.columns.key.indexOf(state.open) : -1;
  if (row < 0) {
    state.open = "";
    detail.close();
    return;
  }
  const place = shown.indexOf(row);
  if (place >= 0 && Math.floor(place / PAGE_ROWS) !== state.page) {
    state.page = Math.floor(place / PAGE_ROWS);
    gallery.show(shown, state.page, state);
  }
  open(row);
}

/* Light and dark follow the system until somebody chooses. */

function setUpTheme() {
  const root = document.documentElement, key = "sod-page-theme";
  const kept = (() => { try { return localStorage.getItem(key); } catch { return null; } })();
  if (kept) root.dataset.theme = kept;
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem(key, root.dataset.theme); } catch { /* not possible from this file */ }
    drawPlots();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPlots);
}

function drawPlots() {
  if (!document.getElementById("plots").open) return;
  for (const histogram of histograms) histogram.draw();
  curve?.draw();
}

function setUpPlots() {
  const place = document.getElementById("histograms");
  if (!table.release.scores.some(({ name }) => hasScore(name))) {
    document.getElementById("plots").hidden = true;  // nothing was predicted
    return;
  }
  histograms = table.release.scores.filter(({ name }) => hasScore(name)).map((score) => new Histogram(score, keepRange));
  for (const histogram of histograms) place.append(histogram.element);
  curve = new Curve((name, least, most) => {
    change({ ...clearedFilters(), ranges: { [name]: [least, most] }, sort: name, descending: false });
    document.getElementById("gallery-title").scrollIntoView();
  });
  const plots = document.getElementById("plots"), body = document.getElementById("plots-body");
  document.getElementById("plots-summary").textContent = plotsSummary();
  let width = 0;  // they are drawn when they get one: when the panel is opened, and with the window
  new ResizeObserver(() => {
    if (plots.open && body.clientWidth && body.clientWidth !== width) { width = body.clientWidth; drawPlots(); }
  }).observe(body);
}

/* What the closed panel says: how many scores there are, and the bounds of the policy. */
function plotsSummary() {
  const bounds = table.release.bounds.map(({ score, sense, bound }) => `${nameOf(score)} ${symbol(sense)} ${scoreText(bound)}`);
  return `${histograms.length} histograms. Bounds of the policy: ${bounds.join(" · ") || "none"}`;
}

function setUpKeys() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input, textarea, select");
    if (event.key !== "/" || isTyping || detail.isOpen || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    bar.query.focus();
  });
}

function start() {
  numberTiles();
  document.getElementById("loading").remove();
  document.getElementById("main").hidden = false;
  bar = new Bar(change);
  gallery = new Gallery(open, turnTo);
  looks = new Looks(document.getElementById("looks"), change);
  detail = new DetailDialog({ onMove: move, onClose: closed });
  const set = (fields) => { change(fields); document.getElementById("gallery-title").scrollIntoView(); };
  showVerdicts(document.getElementById("verdicts"), set);
  showLenses(document.getElementById("lenses"), set);
  document.getElementById("nothing-clear").addEventListener("click", () => change(clearedFilters()));
  for (const { name, meaning } of table.release.scores) {
    add(document.getElementById("meanings"), "dt", { textContent: nameOf(name), title: name });
    add(document.getElementById("meanings"), "dd", { textContent: `${meaning}.` });
  }
  new ResizeObserver(() => document.documentElement.style.setProperty("--bar-px", `${bar.form.offsetHeight}px`))
    .observe(bar.form);
  setUpTheme();
  setUpPlots();
  setUpKeys();
  takeAddress();
  window.addEventListener("hashchange", takeAddress);
  lookForCertificates();
}

start();
