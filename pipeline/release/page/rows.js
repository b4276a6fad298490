"use strict";
/* The manifest's rows as columns. Data scripts call `sodPage.release`, `.rows` and `.details`; this file draws nothing. */

const sodPage = {};

const table = {
  release: null,      // names, scores, bounds, dictionaries, tile layout
  images: 0,
  columns: {},        // name → typed array, or array of strings (key, file_name) or lists (categories)
  tileOf: null,       // Int32Array: number of the row's tile, -1 if the image was not predicted
  searchable: [],     // key and file name in lower case
};

const CODES = ["verdict", "reason", "split", "tar", "supercategory", "author", "licence"];
const NUMBERS = ["width", "height", "members"];

sodPage.release = (release) => {
  table.release = release;
  table.images = release.images;
  for (const name of CODES) table.columns[name] = new Uint32Array(release.images);
  for (const name of NUMBERS) table.columns[name] = new Float64Array(release.images);
  for (const { name } of release.scores) table.columns[name] = new Float64Array(release.images).fill(NaN);
  for (const name of ["key", "file_name", "categories"]) table.columns[name] = new Array(release.images);
  table.tileOf = new Int32Array(release.images).fill(-1);
  table.searchable = new Array(release.images);
};

sodPage.rows = ({ first, columns }) => {
  for (const [name, values] of Object.entries(columns)) {
    const column = table.columns[name];
    for (let i = 0; i < values.length; i++) column[first + i] = values[i] === null ? NaN : values[i];
  }
  columns.key.forEach((key, i) => {
    table.searchable[first + i] = `${key}\n${columns.file_name[i]}`.toLowerCase();
  });
};

/* Called once, after all rows have arrived. */
function numberTiles() {
  let tiles = 0;
  for (let row = 0; row < table.images; row++) {
    if (table.columns.members[row] > 0) table.tileOf[row] = tiles++;
  }
}

/* The text or licence behind a row's code in a column. */
function named(column, row) {
  return table.release.dictionaries[column][table.columns[column][row]];
}

/* What people call a column, score or reason; its own name stands in a `title` nearby. */
function nameOf(name) {
  const { labels } = table.release;
  return Object.hasOwn(labels, name) ? labels[name] : name.replaceAll("_", " ").replace(/^[a-z]/, (first) => first.toUpperCase());
}

function categoriesOf(row) {
  return table.columns.categories[row].map((code) => table.release.dictionaries.category[code]);
}

/* The remaining columns of a chunk are in a script of their own, loaded when one of its images is first opened. */
const detailChunks = new Map();  // chunk number → { columns: promise, resolve, reject }

sodPage.details = ({ chunk, columns }) => detailChunks.get(chunk).resolve(columns);

function detailsOf(row) {
  const rowsPerChunk = table.release.chunk_rows;
  const chunk = Math.floor(row / rowsPerChunk);
  if (!detailChunks.has(chunk)) {
    const entry = {};
    entry.columns = new Promise((resolve, reject) => { Object.assign(entry, { resolve, reject }); });
    detailChunks.set(chunk, entry);
    const script = document.createElement("script");
    script.src = `page/details-${String(chunk).padStart(3, "0")}.js`;
    script.onerror = () => { detailChunks.delete(chunk); entry.reject(new Error(`${script.src} can't be read`)); };
    document.head.append(script);
  }
  return detailChunks.get(chunk).columns.then((columns) =>
    Object.entries(columns).map(([name, values]) => [name, values[row % rowsPerChunk]]));
}
