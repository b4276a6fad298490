"use strict";
/* The detail view of one image: the viewer, and everything that is known about it. It uses the browser's own dialog: focus
   stays inside and returns, Escape closes it. */

class DetailDialog {
  constructor({ onMove, onClose }) {
    this.dialog = document.getElementById("detail");
    this.onMove = onMove;
    this.viewer = null;
    this.look = { name: "outline", isBeside: false };
    this.dialog.addEventListener("close", () => {
      if (this.dialog.open) return;  // the event comes late: another image was opened since
      this.viewer?.close();
      this.viewer = null;
      onClose();
    });
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.dialog.close(); });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const step = event.shiftKey ? undefined : { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.onMove(step);
      if (step || this.viewer?.key(event)) event.preventDefault();
    });
  }

  get isOpen() {
    return this.dialog.open;
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  /* Show a row; `place` counts from 0 among the `shown` images. */
  show(row, place, shown) {
    const focused = this.dialog.contains(document.activeElement) ? document.activeElement.dataset.action : "";
    this.viewer?.close();
    this.viewer = null;
    const body = document.createElement("div");
    body.className = "detail";
    this.#head(body, row, place, shown);
    const main = add(body, "div", { className: "detail-main" });
    this.#pictures(main, row);
    const facts = add(main, "div", { className: "detail-facts" });
    creditOf(add(facts, "p", { className: "photo-credit" }), row);
    this.#scores(facts, row);
    this.#facts(facts, row);
    this.dialog.replaceChildren(body);
    this.dialog.dataset.key = table.columns.key[row];
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector(`[data-action="${focused || "close"}"]:not(:disabled)`)?.focus();
    body.scrollTop = 0;
  }

  #head(body, row, place, shown) {
    const head = add(body, "header", { className: "detail-head" });
    const title = add(head, "h2", { id: "detail-title", textContent: table.columns.key[row] });
    const verdict = named("verdict", row);
    add(title, "span", { className: `badge ${verdict}`, textContent: verdict });
    const reason = named("reason", row);
    if (reason) add(head, "span", { className: "card-reason", textContent: nameOf(reason), title: reason });
    const buttons = add(head, "div", { className: "detail-buttons" });
    add(buttons, "span", { className: "hint", textContent: `${count(place + 1)} of ${count(shown)}` });
    action(buttons, "previous", "‹", "Previous image", () => this.onMove(-1)).disabled = place <= 0;
    action(buttons, "next", "›", "Next image", () => this.onMove(1)).disabled = place + 1 >= shown;
    const copy = action(buttons, "copy", "Copy key", "Copy key", async () => {
      copy.textContent = await copyText(table.columns.key[row]) ? "Copied" : "Can't copy";
    });
    action(buttons, "close", "✕", "Close", () => this.dialog.close());
  }

  #pictures(main, row) {
    const pictures = add(main, "div", { className: "detail-pictures" });
    if (table.tileOf[row] < 0) {
      add(pictures, "p", { className: "placeholder", textContent: `No prediction: ${nameOf(named("reason", row))}` });
      return;
    }
    this.viewer = new Viewer(pictures, row, this.look, { onLook: (look) => { this.look = look; } });
  }

  #scores(facts, row) {
    if (table.tileOf[row] < 0) return;
    const scores = add(facts, "table", { className: "scores" });
    const heads = add(add(scores, "thead"), "tr");
    for (const [text, className] of [["score", ""], ["value", "number"], ["policy bound", ""], ["share below", "rank"]]) {
      add(heads, "th", { scope: "col", textContent: text, className });
    }
    const rows = add(scores, "tbody");
    for (const score of table.release.scores) {
      const value = table.columns[score.name][row];
      if (Number.isNaN(value)) continue;
      const line = add(rows, "tr");
      add(line, "th", { scope: "row", textContent: nameOf(score.name), title: `${score.name}: ${score.meaning}` });
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
    fact(list, "file_name", table.columns.file_name[row]);
    fact(list, "size", `${table.columns.width[row]} × ${table.columns.height[row]} px`);
    fact(list, "categories", [categoriesOf(row).join(", "), named("supercategory", row)].filter(Boolean).join(" · "));
    fact(list, "author", named("author", row));
    const value = fact(list, "licence", `${licence || "not named"} (id ${id}) `);
    addLink(value, url, url);
    fact(list, "split", named("split", row));
    fact(list, "tar", named("tar", row));
    if (named("tar", row)) fact(list, "in_the_tar", table.release.extensions.map((end) => `${table.columns.key[row]}.${end}`).join(" "));
    fact(list, "members", String(table.columns.members[row]));
    detailsOf(row).then((details) => {
      const masks = (table.release.masks ?? []).map(({ name }) => name);
      for (const [name, value] of details) if (!masks.includes(name)) fact(list, name, valueText(value), valueText(value));
    }, (error) => fact(list, "more", error.message));
  }
}

function action(parent, name, label, title, onClick) {
  const button = add(parent, "button", { type: "button", className: "quiet", textContent: label, title });
  button.dataset.action = name;
  if (!/[a-z0-9]/i.test(label)) button.setAttribute("aria-label", title);  // it shows a sign
  button.addEventListener("click", onClick);
  return button;
}

/* A line of the list: a column, and its value, as a link if it is an address of the web. */
function fact(list, name, text, address = "") {
  add(list, "dt", { textContent: nameOf(name), title: name });
  const value = add(list, "dd", { textContent: text === "" ? "–" : text });
  if (isOfTheWeb(address)) {
    value.textContent = "";
    addLink(value, text, address);
  }
  return value;
}

function valueText(value) {
  return value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

/* The share of predicted images with a lower score. */
function rankText(name, value) {
  let below = 0, scored = 0;
  for (const other of table.columns[name]) {
    if (Number.isNaN(other)) continue;
    scored++;
    if (other < value) below++;
  }
  return `${Math.floor(100 * below / scored)} %`;
}

/* Some browsers deny the clipboard to a page opened from a file; the old way works there. */
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
