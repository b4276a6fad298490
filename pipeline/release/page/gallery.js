"use strict";
/* One page of cards. Each card is a button; together they are one Tab stop: arrows move, Enter opens the detail view. Below
   it stands whom the photo is by, and under which licence. */

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

  /* Show one page of these rows in these looks; every card also shows the score it is sorted by. */
  show(rows, page, { sort, looks }) {
    this.looks = LOOKS.filter(({ name }) => looks.split("~").includes(name));
    this.list.style.setProperty("--panels", this.looks.length);
    this.pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS));
    this.page = page;
    this.observer.disconnect();
    const cards = Array.from(rows.subarray(page * PAGE_ROWS, (page + 1) * PAGE_ROWS), (row) => this.#card(row, sort));
    this.list.replaceChildren(...cards);
    this.#stopAt(this.list.querySelector(".card"));
    for (const panels of this.list.querySelectorAll(".panels")) this.observer.observe(panels);
    document.getElementById("nothing").hidden = rows.length > 0;
    for (const pager of this.pagers) pager.show(page, this.pages);
  }

  #card(row, sort) {
    const item = document.createElement("li");
    const verdict = named("verdict", row);
    const card = add(item, "button", { type: "button", className: "card", tabIndex: -1 });
    Object.assign(card.dataset, { row, key: table.columns.key[row], verdict });
    const panels = add(card, "span", { className: "panels" });
    if (table.tileOf[row] >= 0) {
      for (const look of this.looks) this.#panel(panels, look, row);
    } else {
      add(panels, "span", { className: "placeholder", textContent: `No prediction: ${nameOf(named("reason", row))}` });
    }
    const head = add(card, "span", { className: "card-head" });
    add(head, "span", { className: "card-key", textContent: table.columns.key[row] });
    add(head, "span", { className: `badge ${verdict}`, textContent: verdict });
    const reason = named("reason", row);
    if (reason) add(head, "span", { className: "card-reason", textContent: nameOf(reason), title: reason });
    const facts = add(card, "span", { className: "card-facts" });
    for (const [name, value] of cardScores(row, sort)) {
      const fact = add(facts, "span", { className: "fact", title: name });
      add(fact, "span", { textContent: `${nameOf(name)} ` });
      add(fact, "b", { textContent: scoreText(value) });
    }
    add(facts, "span", { className: "card-what", textContent: categoriesOf(row).join(", ") || table.columns.file_name[row] });
    for (const link of creditOf(add(item, "p", { className: "credit" }), row)) link.tabIndex = -1;
    return item;
  }

  #panel(panels, { name, label, title }, row) {
    const canvas = add(add(panels, "span", { className: "panel" }), "canvas", { className: "tile", title });
    [canvas.width, canvas.height] = fittedPx(row);
    canvas.style.width = `${100 * canvas.width / Math.max(canvas.width, canvas.height)}%`;
    canvas.dataset.look = name;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.observer.unobserve(target);
      drawPanels(target).catch((error) => {
        target.replaceChildren(Object.assign(document.createElement("span"), { className: "placeholder", textContent: error.message }));
      });
    }
  }

  #stopAt(card) {
    if (!card) return;
    for (const other of this.list.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    for (const own of [card, ...card.parentElement.querySelectorAll(".credit a")]) own.tabIndex = 0;
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

/* Draw the looks of a card; the thumbnail is read if it is not there yet. */
async function drawPanels(panels) {
  const row = Number(panels.closest(".card").dataset.row), canvases = [...panels.querySelectorAll("canvas")];
  if (!canvases.length) return;
  const pictures = await tilePictures(row);
  for (const canvas of canvases) {
    const { width, height } = canvas;
    drawLook(canvas.getContext("2d"), canvas.dataset.look, pictures, { left: 0, top: 0, width, height });
    canvas.classList.add("drawn");
  }
}

/* Say whom a photo is by and under which licence, as far as the collection does. Returns: the links. */
function creditOf(element, row) {
  const author = named("author", row), [id, licence, url] = named("licence", row);
  add(element, "span", { textContent: author ? `Photo by ${author}` : "Author not named" });
  return [addLink(element, licence || (id ? `Licence ${id}` : "Licence not named"), url)].filter((link) => link.href);
}

/* A link if the address is one of the web, otherwise its text: anybody may write an address into annotations. */
function addLink(parent, textContent, href) {
  if (!isOfTheWeb(href)) return add(parent, "span", { textContent });
  return add(parent, "a", { href, textContent, rel: "noreferrer noopener", target: "_blank" });
}

function isOfTheWeb(address) {
  return /^https?:\/\//i.test(address);
}

/* Names and values of the scores on a card: those that decide most verdicts, and the one it is sorted by. */
function cardScores(row, sort) {
  if (table.tileOf[row] < 0) return [];
  const shown = ["ensemble_variance", "ensemble_variance_per_area", "pairwise_iou"];
  if (table.release.scores.some(({ name }) => name === sort) && !shown.includes(sort)) shown[2] = sort;
  return shown.filter((name) => name in table.columns).map((name) => [name, table.columns[name][row]]);
}

/* Buttons that choose what cards show; one look is always left. */
class Looks {
  constructor(element, change) {
    this.buttons = LOOKS.map(({ name, label, title }) => {
      const button = add(element, "button", { type: "button", className: "look", textContent: label, title });
      button.addEventListener("click", () => {
        const shown = LOOKS.map((look) => look.name).filter((look) => this.shown.includes(look) !== (look === name));
        if (shown.length) change({ looks: shown.join("~"), page: this.page });
      });
      return [name, button];
    });
  }

  show({ looks, page }) {
    this.shown = looks.split("~");
    this.page = page;
    for (const [name, button] of this.buttons) button.setAttribute("aria-pressed", String(this.shown.includes(name)));
  }
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
