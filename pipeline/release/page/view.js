"use strict";
/* Selects and orders rows, and computes the numbers behind the plots. Values in, values out. */

const EVERYTHING = Object.freeze({
  query: "", verdict: "", reason: "", category: "", licence: "", split: "", ranges: {},
  sort: "key", descending: false, seed: 1, page: 0, open: "", looks: "outline~saliency~variance",
});

/* The rows that pass all filters of a state, in its order, as Uint32Array. */
function shownRows(state) {
  const tests = testsOf(state);
  const order = orderOf(state.sort, state.descending, state.seed);
  const shown = new Uint32Array(order.length);
  let count = 0;
  for (const row of order) {
    if (tests.every((passes) => passes(row))) shown[count++] = row;
  }
  return shown.subarray(0, count);
}

function testsOf(state) {
  const tests = [];
  const { columns, release, searchable } = table;
  for (const name of ["verdict", "reason", "split", "licence"]) {
    if (state[name] === "") continue;
    const column = columns[name];
    const code = release.dictionaries[name].findIndex((value) => filterText(name, value) === state[name]);
    tests.push((row) => column[row] === code);
  }
  if (state.category !== "") tests.push(categoryTest(state.category));
  for (const [name, [least, most]] of Object.entries(state.ranges)) {
    const column = columns[name];
    tests.push((row) => column[row] >= least && column[row] <= most);
  }
  const query = state.query.trim().toLowerCase();
  if (query) tests.push((row) => searchable[row].includes(query));
  return tests;
}

/* The text of a dictionary value in the state and the address bar. */
function filterText(name, value) {
  return name === "licence" ? `${value[0]} ${value[1]}`.trim() : value;
}

/* `c:dog` selects a category, `s:animal` all images whose object has that supercategory. */
function categoryTest(text) {
  const wanted = text.slice(2);
  if (text.startsWith("s:")) {
    const code = table.release.dictionaries.supercategory.indexOf(wanted);
    return (row) => table.columns.supercategory[row] === code;
  }
  const code = table.release.dictionaries.category.indexOf(wanted);
  return (row) => table.columns.categories[row].includes(code);
}

/* All rows in an order. The last few orders are kept, so changing a filter needs no sorting. */
const orders = new Map();

function orderOf(sort, descending, seed) {
  const name = `${sort} ${descending} ${sort === "random" ? seed : ""}`;
  if (!orders.has(name)) {
    if (orders.size >= 8) orders.delete(orders.keys().next().value);
    orders.set(name, sorted(sort, descending, seed));
  }
  return orders.get(name);
}

function sorted(sort, descending, seed) {
  const rows = Uint32Array.from({ length: table.images }, (_, row) => row);
  if (sort === "key") return descending ? rows.reverse() : rows;
  const values = sort === "random" ? shuffled(seed) : table.columns[sort];
  const sign = descending ? -1 : 1;
  const scored = rows.filter((row) => !Number.isNaN(values[row]));
  scored.sort((a, b) => sign * (values[a] - values[b]) || a - b);
  const order = new Uint32Array(rows.length);
  order.set(scored);
  order.set(rows.filter((row) => Number.isNaN(values[row])), scored.length);  // rows without the score come last either way
  return order;
}

/* One number per row, determined by the seed: mixing steps of MurmurHash3's finaliser. */
function shuffled(seed) {
  return Float64Array.from({ length: table.images }, (_, row) => {
    let mixed = Math.imul(row + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return (mixed ^ (mixed >>> 16)) >>> 0;
  });
}

/* The range of a score's axis: 0 to 1 for shares; for others, from 0 to where nearly all images are, but short enough
   to keep the area around the bounds readable. `isCut`: some images lie beyond it. */
function axisOf(score) {
  if (score.unit) return { least: 0, most: 1, isCut: false };
  const values = table.columns[score.name].filter((value) => !Number.isNaN(value)).sort();
  const bounds = table.release.bounds.filter((bound) => bound.score === score.name).map((bound) => bound.bound);
  const highest = values.length ? values[values.length - 1] : 1;
  const usual = values.length ? 1.1 * values[Math.floor(0.98 * (values.length - 1))] : 1;
  const bound = Math.max(0, ...bounds);
  const most = roundedUp((bound ? Math.min(Math.max(usual, 1.5 * bound), 4 * bound) : usual) || 1);
  return { least: 0, most, isCut: highest > most };
}

/* Rounded up to two significant digits. */
function roundedUp(value) {
  const unit = 10 ** (Math.floor(Math.log10(value)) - 1);
  return Number((Math.ceil(value / unit) * unit).toPrecision(2));
}

/* Accepted images and all images per bin of a score; the last bin also counts those beyond the axis. */
function histogramOf(score, axis, rows, bins) {
  const accepted = new Array(bins).fill(0), all = new Array(bins).fill(0);
  const values = table.columns[score.name], verdicts = table.columns.verdict;
  const isAccepted = table.release.dictionaries.verdict.indexOf("accepted");
  const scale = bins / (axis.most - axis.least);
  for (const row of rows) {
    const value = values[row];
    if (Number.isNaN(value)) continue;
    const bin = Math.min(bins - 1, Math.max(0, Math.floor((value - axis.least) * scale)));
    all[bin]++;
    if (verdicts[row] === isAccepted) accepted[bin]++;
  }
  const edges = Array.from({ length: bins }, (_, bin) => axis.least + bin / scale);
  return { edges, accepted, all };
}

/* How many images pass when one bound moves to x: `within(x)` with all other bounds in force, `alone(x)` without them. */
function acceptanceOf(moved) {
  const { columns, release, images } = table;
  const others = release.bounds.filter((bound) => bound.score !== moved.score || bound.sense !== moved.sense);
  const values = columns[moved.score];
  const within = [], alone = [];
  for (let row = 0; row < images; row++) {
    if (Number.isNaN(values[row])) continue;
    alone.push(values[row]);
    if (others.every((bound) => isWithin(columns[bound.score][row], bound))) within.push(values[row]);
  }
  const counter = (list) => {
    const ascending = Float64Array.from(list).sort();
    return (x) => moved.sense === "<=" ? countBelow(ascending, x, true) : ascending.length - countBelow(ascending, x, false);
  };
  return { predicted: alone.length, within: counter(within), alone: counter(alone) };
}

function isWithin(value, bound) {
  return bound.sense === "<=" ? value <= bound.bound : value >= bound.bound;
}

/* How many numbers of an ascending list are below x, or at most x if `inclusive`. */
function countBelow(ascending, x, inclusive) {
  let low = 0, high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] < x || (inclusive && ascending[middle] === x)) low = middle + 1; else high = middle;
  }
  return low;
}
