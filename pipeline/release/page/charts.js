"use strict";
/* Histograms and the curve, drawn by uPlot. Everything a plot offers is also available as text and inputs. */

const BINS = 40;
const CURVE_POINTS = 240;
const SLIDER_STEPS = 500;

/* A colour of style.css, so that plots follow light and dark. */
function colour(name) {
  const probe = document.body.appendChild(document.createElement("span"));
  probe.style.forcedColorAdjust = "none";  // or all colours of a plot become one
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const COUNT = new Intl.NumberFormat("en");
const SHORT_COUNT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (number) => COUNT.format(number);
const scoreText = (value) => Number.isNaN(value) ? "–" : String(Number(value.toPrecision(3)));
const share = (part, whole) => whole ? `${(100 * part / whole).toFixed(1)} %` : "–";

/* Axes in the page's font; plots are small, so they get few ticks. */
function plotAxes() {
  const quiet = colour("ink-soft"), grid = { stroke: colour("grid"), width: 1 };
  const font = "11px system-ui, sans-serif";
  const x = { stroke: quiet, font, size: 22, gap: 3, space: 46, grid: { show: false }, ticks: { show: false },
              values: (_, ticks) => ticks.map((tick) => tick === null ? "" : String(Number(tick.toPrecision(4)))) };
  const y = { stroke: quiet, font, size: 38, gap: 4, space: 24, grid, ticks: { show: false },
              incrs: [1, 2, 5].flatMap((step) => [0, 1, 2, 3, 4, 5, 6].map((power) => step * 10 ** power)).sort((a, b) => a - b),
              values: (_, ticks) => ticks.map((tick) => SHORT_COUNT.format(tick)) };
  return [x, y];
}

/* Draw the bounds of a score as lines and shade the range beyond them. */
function drawBounds(plot, bounds) {
  const { ctx, bbox } = plot, ratio = uPlot.pxRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const { sense, bound } of bounds) {
    const x = Math.round(plot.valToPos(bound, "x", true));
    const [from, to] = sense === "<=" ? [x, bbox.left + bbox.width] : [bbox.left, x];
    ctx.fillStyle = colour("beyond");
    ctx.fillRect(from, bbox.top, Math.max(0, to - from), bbox.height);
  }
  for (const { bound } of bounds) {
    const x = Math.round(plot.valToPos(bound, "x", true));
    ctx.fillStyle = colour("bound");
    ctx.fillRect(x - ratio, bbox.top, 2 * ratio, bbox.height);
  }
  ctx.restore();
}

/* One score: title, bounds in words, histogram, and inputs for the range to keep. */
class Histogram {
  constructor(score, onRange) {
    this.score = score;
    this.axis = axisOf(score);
    this.bounds = table.release.bounds.filter((bound) => bound.score === score.name);
    this.onRange = onRange;
    this.element = document.createElement("figure");
    this.element.className = "histogram";
    this.element.dataset.score = score.name;
    const caption = add(this.element, "figcaption");
    add(caption, "span", { className: "score-name", textContent: nameOf(score.name), title: `${score.name}: ${score.meaning}` });
    this.note = add(caption, "span", { className: "note" });
    this.plotElement = add(this.element, "div", { className: "plot" });
    const range = add(this.element, "div", { className: "range" });
    this.inputs = ["least", "most"].map((end) => this.#input(range, end));
    this.summary = add(this.element, "p", { className: "hidden" });
  }

  #input(range, end) {
    const input = add(range, "input", { type: "text", inputMode: "decimal", className: end, autocomplete: "off" });
    input.placeholder = end === "least" ? "min" : "max";
    input.setAttribute("aria-label", `${end === "least" ? "Smallest" : "Largest"} ${nameOf(this.score.name)} to show`);
    input.addEventListener("change", () => this.onRange(this.score.name, ...this.inputs.map((one, i) =>
      numberIn(one.value) ?? (i ? Infinity : -Infinity))));
    return input;
  }

  /* Show these rows and the range of this score that is kept. */
  update(rows, range) {
    this.data = histogramOf(this.score, this.axis, rows, BINS);
    const accepted = this.data.accepted.reduce((a, b) => a + b, 0), all = this.data.all.reduce((a, b) => a + b, 0);
    this.summary.textContent = `${count(accepted)} accepted and ${count(all - accepted)} rejected images have this score.`;
    const [least, most] = range ?? [-Infinity, Infinity];
    this.inputs[0].value = least === -Infinity ? "" : String(least);
    this.inputs[1].value = most === Infinity ? "" : String(most);
    this.element.classList.toggle("kept", range !== undefined);
    this.#say(null);
    if (this.plot) this.plot.setData(this.#series(), true);
  }

  #series() {
    return [this.data.edges, this.data.all, this.data.accepted];
  }

  /* Draw again in the current colours and width. */
  draw() {
    this.plot?.destroy();
    const height = 104, bars = uPlot.paths.bars({ size: [1, Infinity], align: 1, gap: 1 });
    const series = (fill) => ({ paths: bars, fill: colour(fill), width: 0, points: { show: false } });
    this.plot = new uPlot({
      width: this.plotElement.clientWidth, height, padding: [8, 8, 0, 0], legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: false, range: () => [this.axis.least, this.axis.most] },
                y: { range: (_, least, most) => [0, Math.max(1, 1.05 * most)] } },
      axes: plotAxes(), series: [{}, series("rejected"), series("accepted")],
      hooks: { draw: [(plot) => drawBounds(plot, this.bounds)],
               setCursor: [(plot) => this.#say(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null)],
               setSelect: [(plot) => this.#dragged(plot)] },
    }, this.#series(), this.plotElement);
  }

  #dragged(plot) {
    const { left, width } = plot.select;
    if (width < 3) return;
    const digits = (value) => Number(value.toPrecision(4));
    const atEnd = left + width >= plot.over.clientWidth - 1;  // the last bar includes everything beyond it
    const least = digits(plot.posToVal(left, "x")), most = digits(plot.posToVal(left + width, "x"));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.onRange(this.score.name, left <= 1 ? -Infinity : least, atEnd ? Infinity : most);
  }

  /* Describe the bar under the cursor, or the bounds without a cursor. */
  #say(value) {
    if (value === null) {
      const beyond = this.axis.isCut ? "last bar: and above" : "";
      this.note.textContent = [...this.bounds.map((bound) => `${symbol(bound.sense)} ${scoreText(bound.bound)}`), beyond]
        .filter(Boolean).join(" · ");
      return;
    }
    const step = (this.axis.most - this.axis.least) / BINS;
    const bin = Math.min(BINS - 1, Math.max(0, Math.floor((value - this.axis.least) / step)));
    const start = this.data.edges[bin], isOpen = this.axis.isCut && bin === BINS - 1;
    const ends = isOpen ? `≥ ${scoreText(start)}` : `${scoreText(start)}–${scoreText(start + step)}`;
    const { accepted, all } = this.data;
    this.note.textContent = `${ends}: ${count(accepted[bin])} acc., ${count(all[bin] - accepted[bin])} rej.`;
  }
}

/* How many images would be accepted with one bound moved. */
class Curve {
  constructor(onShow) {
    this.choices = curveChoices();
    this.select = document.getElementById("curve-bound");
    this.slider = document.getElementById("curve-slider");
    this.slider.max = String(SLIDER_STEPS);
    this.text = document.getElementById("curve-text");
    this.show = document.getElementById("curve-show");
    this.plotElement = document.getElementById("curve-plot");
    this.choices.forEach(({ score, sense }, i) => {
      add(this.select, "option", { value: String(i), textContent: `${nameOf(score.name)} ${symbol(sense)}`, title: score.name });
    });
    this.select.addEventListener("change", () => this.choose(Number(this.select.value)));
    this.slider.addEventListener("input", () => this.move(this.#fromSlider(), 0.5 / SLIDER_STEPS));
    this.show.addEventListener("click", () => onShow(this.choice.score.name, ...this.#between()));
    this.#take(Math.max(0, this.choices.findIndex(({ score }) => score.name === "ensemble_variance")));
  }

  #take(number) {
    this.select.value = String(number);
    this.choice = this.choices[number];
    this.axis = axisOf(this.choice.score);
    this.passing = acceptanceOf({ score: this.choice.score.name, sense: this.choice.sense });
    const grid = Array.from({ length: CURVE_POINTS + 1 },
      (_, i) => this.axis.least + (this.axis.most - this.axis.least) * i / CURVE_POINTS);
    const { bound } = this.choice;
    this.xs = bound === null ? grid : [...new Set([...grid, bound])].sort((a, b) => a - b);
    this.series = [this.xs, this.xs.map(this.passing.within), this.xs.map(this.passing.alone)];
    this.at = bound ?? (this.choice.sense === "<=" ? this.axis.most : this.axis.least);
  }

  choose(number) {
    this.#take(number);
    this.draw();
  }

  draw() {
    this.plot?.destroy();
    const height = 170, [x, y] = plotAxes();
    const line = (dash) => ({ stroke: colour("accepted"), width: 2, dash, points: { show: false },
                              paths: uPlot.paths.stepped({ align: this.choice.sense === "<=" ? 1 : -1 }) });
    this.plot = new uPlot({
      width: this.plotElement.clientWidth, height, padding: [8, 12, 0, 0], legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { x: { time: false, range: () => [this.axis.least, this.axis.most] },
                y: { range: (_, least, most) => [0, Math.max(1, 1.05 * most)] } },
      axes: [x, y], series: [{}, line(), line([4, 4])],
      hooks: { draw: [(plot) => this.#drawLines(plot)],
               setCursor: [(plot) => { if (plot.cursor.left >= 0 && plot.cursor.event) this.move(plot.posToVal(plot.cursor.left, "x")); }] },
    }, this.series, this.plotElement);
    this.move(this.at);
  }

  #drawLines(plot) {
    const { sense, bound } = this.choice;
    drawBounds(plot, bound === null ? [] : [{ sense, bound }]);
    const x = Math.round(plot.valToPos(this.at, "x", true));
    plot.ctx.fillStyle = colour("ink");
    plot.ctx.fillRect(x, plot.bbox.top, uPlot.pxRatio, plot.bbox.height);
  }

  /* Say how many images another bound would accept. Closer to the policy's bound than `near` (a share of the axis), it snaps. */
  move(value, near = 0.004) {
    const { score, sense, bound } = this.choice, length = this.axis.most - this.axis.least;
    this.at = bound !== null && Math.abs(value - bound) <= near * length ? bound : Number(value.toPrecision(3));
    this.slider.value = String(Math.round(SLIDER_STEPS * (this.at - this.axis.least) / length));
    this.slider.setAttribute("aria-valuetext", scoreText(this.at));
    const passing = this.passing.within(this.at), { predicted } = this.passing;
    const isPolicy = this.at === bound ? " (the policy)" : "";
    this.text.textContent = `${nameOf(score.name)} ${symbol(sense)} ${scoreText(this.at)}${isPolicy}: ` +
      `${count(passing)} of ${count(predicted)} images, ${share(passing, predicted)}`;
    this.show.hidden = bound === null || this.at === bound;
    this.plot?.redraw(false, false);
  }

  #fromSlider() {
    return this.axis.least + (this.axis.most - this.axis.least) * Number(this.slider.value) / SLIDER_STEPS;
  }

  #between() {
    return [Math.min(this.at, this.choice.bound), Math.max(this.at, this.choice.bound)];
  }
}

/* Every bound of the policy; for a score without one, the side on which a bound would make sense. */
function curveChoices() {
  return table.release.scores.filter(({ name }) => table.columns[name].some((value) => !Number.isNaN(value))).flatMap((score) => {
    const of = (sense) => table.release.bounds.filter((bound) => bound.score === score.name && bound.sense === sense).map((b) => b.bound);
    const found = [["<=", of("<="), Math.min], [">=", of(">="), Math.max]].filter(([, bounds]) => bounds.length);
    if (!found.length) return [{ score, sense: score.sense, bound: null }];
    return found.map(([sense, bounds, strictest]) => ({ score, sense, bound: strictest(...bounds) }));
  });
}

const symbol = (sense) => sense === "<=" ? "≤" : "≥";

/* The number in a text; undefined if it is not a number. */
function numberIn(text) {
  const value = Number(text.trim().replace(",", "."));
  return text.trim() === "" || Number.isNaN(value) ? undefined : value;
}

/* Append a new element; it is given properties, never markup. */
function add(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties));
}
