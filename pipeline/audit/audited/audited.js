"use strict";
/* Shows every audited image with two outlines: the release's mask, and the one that people settled on. Texts of data
   scripts are inserted as text. */

const sodPage = {};
const VERDICTS = {
  right: "right", fix: "fixed", wrong_object: "wrong object", nothing_salient: "nothing salient", ambiguous: "ambiguous",
  skip: "skipped", missing: "no answer", unresolved: "not settled",
};
const OF_RELEASE = "#fff05a", SETTLED = "#3fd0ff", RIM = "#141418";
const images = [];
let about = null;

sodPage.certificate = (found) => { about = found; };
sodPage.audited = (chunk) => { images.push(...chunk.images); };

/* Run a script of this folder; false if it is not there. */
function load(name) {
  const script = document.createElement("script");
  const loaded = new Promise((resolve) => { script.onload = () => resolve(true); script.onerror = () => resolve(false); });
  script.src = name;
  document.head.append(script);
  return loaded;
}

function make(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties));
}

/* The images that are shown, in their order; images of equal IoU keep that of the draw. */
function chosen(verdict, sort) {
  const found = images.filter((image) => !verdict || image.verdict === verdict);
  if (sort === "lowest") found.sort((one, other) => one.iou - other.iou);
  if (sort === "highest") found.sort((one, other) => other.iou - one.iou);
  return found;
}

function card(image) {
  const item = document.createElement("li");
  item.dataset.key = image.key;
  const picture = make(item, "div", { className: "picture" });
  const [width, height] = image.size;
  if (image.photo) {
    make(picture, "img", { src: image.photo, width, height, loading: "lazy", alt: `Photo ${image.key}` });
  } else {
    make(picture, "div", { className: "no-photo" });
    make(picture, "span", { className: "hint", textContent: "The photo is not part of the release." });
  }
  const canvas = make(picture, "canvas", { width, height });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", image.settled ? "Outlines of both masks" : "Outline of the release's mask");
  canvas.image = image;
  const said = make(item, "div", { className: "said" });
  make(said, "span", { className: "card-key", textContent: image.key });
  const kind = image.verdict === "right" ? "good" : image.known ? "changed" : "unknown";
  make(said, "span", { className: `badge ${kind}`, textContent: VERDICTS[image.verdict] ?? image.verdict });
  if (image.adjudicated) make(said, "span", { className: "hint", textContent: "by a third look" });
  if (image.stratum !== "all") make(said, "span", { className: "hint", textContent: image.stratum });
  make(said, "b", { textContent: image.known ? `IoU ${image.iou.toFixed(3)}` : "IoU unknown, counts as 0" });
  return item;
}

/* Masks are drawn when they come into view: a mask takes some ten milliseconds. */
const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    inView.unobserve(entry.target);
    drawMasks(entry.target);
  }
}, { rootMargin: "300px" });

function drawMasks(canvas) {
  const { image } = canvas, [width, height] = image.size, context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const isShown = (name) => document.getElementById(name).checked;
  // The wider line first, so that both can be seen where they run together.
  if (image.settled && isShown("show-settled")) outline(context, image.settled, width, height, SETTLED, 2);
  if (isShown("show-mask")) outline(context, image.mask, width, height, OF_RELEASE, 1);
  canvas.dataset.drawn = "true";
}

function outline(context, rle, width, height, colour, reach) {
  const mask = maskAt(JSON.stringify(rle), width, height);
  for (const [by, paint] of [[reach + 1, RIM], [reach, colour]]) {
    for (let x = -by + 1; x < by; x++) {
      for (let y = -by + 1; y < by; y++) drawOutline(context, mask, width, height, x, y, paint);
    }
  }
}

function draw() {
  const list = document.getElementById("images");
  const shown = chosen(document.getElementById("verdict").value, document.getElementById("sort").value);
  inView.disconnect();
  list.replaceChildren(...shown.map(card));
  for (const canvas of list.querySelectorAll("canvas")) inView.observe(canvas);
  const whole = images.length.toLocaleString("en");
  document.getElementById("count").textContent =
    shown.length === images.length ? `${whole} images` : `${shown.length.toLocaleString("en")} of ${whole} images`;
  document.getElementById("nothing").hidden = shown.length > 0;
}

function setUpBar() {
  const verdict = document.getElementById("verdict");
  make(verdict, "option", { value: "", textContent: "all" });
  for (const [name, said] of Object.entries(VERDICTS)) {
    const found = images.filter((image) => image.verdict === name).length;
    if (found) make(verdict, "option", { value: name, textContent: `${said} (${found})` });
  }
  for (const name of ["verdict", "sort"]) document.getElementById(name).addEventListener("change", draw);
  for (const name of ["show-mask", "show-settled"]) {
    document.getElementById(name).addEventListener("change", () => {
      for (const canvas of document.querySelectorAll("canvas[data-drawn]")) drawMasks(canvas);
    });
  }
  document.getElementById("bar").addEventListener("submit", (event) => event.preventDefault());
}

async function start() {
  const loading = document.getElementById("loading");
  let isWhole = await load("certificate.js") && about !== null;
  for (let number = 0; isWhole && number < about.chunks; number++) {
    isWhole = await load(`page/audit-${String(number).padStart(3, "0")}.js`);
  }
  if (!isWhole) {
    loading.textContent = "Files of this page are missing: copy the whole folder of the annex.";
    return;
  }
  document.getElementById("release").textContent = `${about.name} ${about.version}`;
  document.getElementById("sentence").textContent = about.sentence;
  document.title = `Audited images of ${about.name} ${about.version}`;
  setUpBar();
  loading.remove();
  document.getElementById("main").hidden = false;
  draw();
}

start();
