"use strict";
/* One page of cards. Each card is a button; together they are one Tab stop: arrows move, Enter opens the detail view. */

const PAGE_ROWS = 48;

class Gallery {
  constructor(onOpen, onPage) {
    this.list = document.getElementById("gallery");
    this.pagers = ["pager-top", "pager-bottom"].map((id) => new Pager(document.getElementById(id), onPage));
    this.onOpen = onOpen;
    this.onPage = onPage;
    this.observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "400px" });
    this.list.addEventListener("click", (event) => {
      const card = event.target.closest(".card");
      if (card) this.onOpen(Number(card.dataset.row));
    });
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("focusin", (event) => this.#stopAt(event.target.closest(".card")));
  }

  /* Show one page of these rows; every card also shows the score it is sorted by. */
  show(rows, page, sort) {
    this.pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS));
    this.page = page;
    this.observer.disconnect();
    const cards = Array.from(rows.subarray(page * PAGE_ROWS, (page + 1) * PAGE_ROWS), (row) => this.#card(row, sort));
    this.list.replaceChildren(...cards);
    this.#stopAt(this.list.querySelector(".card"));
    for (const canvas of this.list.querySelectorAll("canvas")) this.observer.observe(canvas);
    document.getElementById("nothing").hidden = rows.length > 0;
    for (const pager of this.pagers) pager.show(page, this.pages);
  }

  #card(row, sort) {
    const item = document.createElement("li");
    const verdict = named("verdict", row);
    const card = add(item, "button", { type: "button", className: "card", tabIndex: -1 });
    Object.assign(card.dataset, { row, key: table.columns.key[row], verdict });
    if (table.tileOf[row] >= 0) {
      card.append(tileCanvas());
    } else {
      add(card, "span", { className: "placeholder", textContent: `no prediction: ${named("reason", row)}` });
    }
    const head = add(card, "span", { className: "card-head" });
    add(head, "span", { className: "card-key", textContent: table.columns.key[row] });
    add(head, "span", { className: `badge ${verdict}`, textContent: verdict });
    add(head, "span", { className: "card-reason", textContent: named("reason", row) });
    const facts = add(card, "span", { className: "card-facts" });
    for (const [label, value] of cardScores(row, sort)) {
      const fact = add(facts, "span", { className: "fact" });
      add(fact, "span", { textContent: `${label} ` });
      add(fact, "b", { textContent: scoreText(value) });
    }
    add(facts, "span", { className: "card-what", textContent: categoriesOf(row).join(", ") || table.columns.file_name[row] });
    return item;
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.observer.unobserve(target);
      drawTile(target, Number(target.closest(".card").dataset.row)).catch((error) => {
        target.replaceWith(Object.assign(document.createElement("span"), { className: "placeholder", textContent: error.message }));
      });
    }
  }

  #stopAt(card) {
    if (!card) return;
    for (const other of this.list.querySelectorAll(".card[tabindex='0']")) other.tabIndex = -1;
    card.tabIndex = 0;
  }

  #key(event) {
    const cards = [...this.list.querySelectorAll(".card")];
    const at = cards.indexOf(document.activeElement);
    const across = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -at, End: cards.length - 1 - at };
    if (at < 0 || !(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const next = at + steps[event.key];
    if (next >= 0 && next < cards.length) {
      cards[next].focus();
    } else if (next >= cards.length && this.page + 1 < this.pages) {
      this.onPage(this.page + 1);
      this.list.querySelector(".card").focus();
    } else if (next < 0 && this.page > 0) {
      this.onPage(this.page - 1);
      [...this.list.querySelectorAll(".card")].at(-1).focus();
    }
  }

  focusRow(row) {
    this.list.querySelector(`.card[data-row="${row}"]`)?.focus();
  }
}

/* Labels and values on a card: the scores that decide most verdicts, and the one it is sorted by. */
function cardScores(row, sort) {
  if (table.tileOf[row] < 0) return [];
  const shown = [["variance", "ensemble_variance"], ["per area", "ensemble_variance_per_area"], ["IoU", "pairwise_iou"]];
  const isScore = table.release.scores.some(({ name }) => name === sort);
  if (isScore && !shown.some(([, name]) => name === sort)) shown[2] = [sort, sort];
  return shown.filter(([, name]) => name in table.columns).map(([label, name]) => [label, table.columns[name][row]]);
}

/* Previous, next, and a page number to jump to. */
class Pager {
  constructor(element, onPage) {
    this.previous = add(element, "button", { type: "button", className: "quiet", textContent: "‹" });
    this.previous.setAttribute("aria-label", "Previous page");
    const label = add(element, "label", { textContent: "Page " });
    this.number = add(label, "input", { type: "text", inputMode: "numeric", autocomplete: "off" });
    this.of = add(label, "span");
    this.next = add(element, "button", { type: "button", className: "quiet", textContent: "›" });
    this.next.setAttribute("aria-label", "Next page");
    this.previous.addEventListener("click", () => onPage(this.page - 1));
    this.next.addEventListener("click", () => onPage(this.page + 1));
    this.number.addEventListener("change", () => onPage((numberIn(this.number.value) ?? 1) - 1));
  }

  show(page, pages) {
    this.page = page;
    this.number.value = String(page + 1);
    this.of.textContent = ` of ${count(pages)}`;
    this.previous.disabled = page === 0;
    this.next.disabled = page >= pages - 1;
  }
}
