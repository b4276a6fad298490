"use strict";
/* The record of one image in a dialog: the browser's own, so focus stays in it and comes back, and Escape closes it. */

const TAR_MEMBERS = ["jpg", "mask.png", "saliency.png", "variance.png", "json"];
const isReleased = (end) => end !== "jpg" || table.release.embed_images;

class RecordDialog {
  constructor({ onMove, onClose }) {
    this.dialog = document.getElementById("record");
    this.onMove = onMove;
    this.dialog.addEventListener("close", onClose);
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.dialog.close(); });
    this.dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      this.onMove(step);
    });
  }

  get isOpen() {
    return this.dialog.open;
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  /* Show a row, which is the one of that place among `shown`. */
  show(row, place, shown) {
    const focused = this.dialog.contains(document.activeElement) ? document.activeElement.dataset.action : "";
    const body = document.createElement("div");
    body.className = "record";
    this.#head(body, row, place, shown);
    const main = add(body, "div", { className: "record-main" });
    this.#pictures(main, row);
    const facts = add(main, "div", { className: "record-facts" });
    this.#scores(facts, row);
    this.#facts(facts, row);
    this.dialog.replaceChildren(body);
    this.dialog.dataset.key = table.columns.key[row];
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector(`[data-action="${focused || "close"}"]:not(:disabled)`)?.focus();
    body.scrollTop = 0;
  }

  #head(body, row, place, shown) {
    const head = add(body, "header", { className: "record-head" });
    const title = add(head, "h2", { id: "record-title", textContent: table.columns.key[row] });
    const verdict = named("verdict", row);
    add(title, "span", { className: `badge ${verdict}`, textContent: verdict });
    add(head, "span", { className: "card-reason", textContent: named("reason", row) });
    const buttons = add(head, "div", { className: "record-buttons" });
    add(buttons, "span", { className: "hint", textContent: `${count(place + 1)} of ${count(shown)}` });
    action(buttons, "previous", "‹", "Previous image", () => this.onMove(-1)).disabled = place <= 0;
    action(buttons, "next", "›", "Next image", () => this.onMove(1)).disabled = place + 1 >= shown;
    const copy = action(buttons, "copy", "Copy key", "Copy key", async () => {
      copy.textContent = await copyText(table.columns.key[row]) ? "Copied" : "Can't copy";
    });
    action(buttons, "close", "✕", "Close", () => this.dialog.close());
  }

  #pictures(main, row) {
    const pictures = add(main, "div", { className: "record-pictures" });
    if (table.tileOf[row] < 0) {
      add(pictures, "p", { className: "placeholder", textContent: `no prediction: ${named("reason", row)}` });
      return;
    }
    const canvas = pictures.appendChild(tileCanvas(2, fittedPx(row)));
    add(pictures, "p", { className: "hint", textContent: "Photo, outline of the mask; saliency, variance (white is 0.25)." });
    drawTile(canvas, row).catch((error) => {
      canvas.replaceWith(Object.assign(document.createElement("p"), { className: "placeholder", textContent: error.message }));
    });
  }

  #scores(facts, row) {
    if (table.tileOf[row] < 0) return;
    const scores = add(facts, "table", { className: "scores" });
    const heads = add(add(scores, "thead"), "tr");
    for (const [text, className] of [["score", ""], ["value", "number"], ["bound of the policy", ""], ["images below", "rank"]]) {
      add(heads, "th", { scope: "col", textContent: text, className });
    }
    const rows = add(scores, "tbody");
    for (const score of table.release.scores) {
      const value = table.columns[score.name][row];
      if (Number.isNaN(value)) continue;
      const line = add(rows, "tr");
      add(line, "th", { scope: "row", textContent: score.name, title: score.meaning });
      add(line, "td", { className: "number", textContent: String(Number(value.toPrecision(5))) });
      const bounds = table.release.bounds.filter((bound) => bound.score === score.name);
      const cell = add(line, "td");
      for (const bound of bounds) {
        const kept = isWithin(value, bound);
        add(cell, "span", { className: kept ? "within" : "outside",
                            textContent: `${kept ? "✓" : "✗"} ${symbol(bound.sense)} ${scoreText(bound.bound)}` });
      }
      add(line, "td", { className: "rank hint", textContent: rankText(score.name, value) });
    }
  }

  #facts(facts, row) {
    const list = add(facts, "dl", { className: "facts" });
    const [id, licence, url] = named("licence", row);
    fact(list, "file name", table.columns.file_name[row]);
    fact(list, "size", `${table.columns.width[row]} × ${table.columns.height[row]} px`);
    fact(list, "categories", [categoriesOf(row).join(", "), named("supercategory", row)].filter(Boolean).join(" · "));
    const value = fact(list, "licence", `${licence || "not named"} (id ${id}) `);
    if (/^https?:\/\//i.test(url)) {
      add(value, "a", { href: url, textContent: url, rel: "noreferrer noopener", target: "_blank" });
    } else {
      add(value, "span", { textContent: url });
    }
    fact(list, "split", named("split", row));
    fact(list, "tar", named("tar", row));
    if (named("tar", row)) fact(list, "in the tar", TAR_MEMBERS.filter(isReleased).map((end) => `${table.columns.key[row]}.${end}`).join(" "));
    fact(list, "members", String(table.columns.members[row]));
    detailsOf(row).then((details) => {
      for (const [name, detail] of details) fact(list, name.replaceAll("_", " "), detailText(detail));
    }, (error) => fact(list, "more", error.message));
  }
}

function action(parent, name, label, title, onClick) {
  const button = add(parent, "button", { type: "button", className: "quiet", textContent: label, title });
  button.dataset.action = name;
  if (label !== title) button.setAttribute("aria-label", title);
  button.addEventListener("click", onClick);
  return button;
}

function fact(list, name, text) {
  add(list, "dt", { textContent: name });
  return add(list, "dd", { textContent: text === "" ? "–" : text });
}

function detailText(value) {
  return value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

/* Where a score stands among those of all predicted images. */
function rankText(name, value) {
  let below = 0, scored = 0;
  for (const other of table.columns[name]) {
    if (Number.isNaN(other)) continue;
    scored++;
    if (other < value) below++;
  }
  return `${Math.floor(100 * below / scored)} %`;
}

/* From a file some browsers refuse the clipboard; the old way works there. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const dialog = document.querySelector("dialog[open]") ?? document.body;
    const field = add(dialog, "textarea", { value: text, className: "hidden" });
    const focused = document.activeElement;
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return copied;
  }
}
