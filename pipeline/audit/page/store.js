"use strict";

/* Where answers are kept: in the browser's IndexedDB, whatever happens to the tab; and on the disk of whoever serves. */

audit.DATABASE = "mask-audit";

audit.promised = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** The answers of one rater on one plan, in their order. */
audit.Store = class {
  constructor(database, of) {
    this.database = database;
    this.of = of;
    this.memory = [];  // what the database did not take
    this.adding = 0;  // answers that are on their way to the disk
  }

  /** Open the store; where a browser keeps nothing, answers live as long as the tab does. */
  static async open(plan, rater) {
    const of = `${plan}/${rater}`;
    try {
      const request = indexedDB.open(audit.DATABASE, 1);
      request.onupgradeneeded = () => {
        const answers = request.result.createObjectStore("answers", { keyPath: "id", autoIncrement: true });
        answers.createIndex("of", "of");
        answers.createIndex("waiting", "waiting");
      };
      return new audit.Store(await audit.promised(request), of);
    } catch {
      return new audit.Store(null, of);
    }
  }

  /** Does everything outlive the tab? */
  get isLasting() { return this.database !== null && !this.memory.length; }

  /** Every answer, as {answer, waiting}; `waiting` is missing once a server has it. */
  async all() { return [...await this.#found("of"), ...this.memory]; }

  /** Those that no server has. */
  async waiting() { return [...await this.#found("waiting"), ...this.memory.filter((kept) => kept.waiting)]; }

  /** Add an answer; it is on the disk when this returns, if the browser keeps anything. */
  async add(answer) {
    const kept = { of: this.of, waiting: this.of, answer };
    this.adding += 1;
    try {
      await this.#write((answers) => answers.add(kept));
    } catch {
      this.memory.push(kept);
    }
    this.adding -= 1;
  }

  /** Note that a server has an answer, or has refused it. */
  async settle(kept) {
    delete kept.waiting;
    if (!this.memory.includes(kept)) await this.#write((answers) => answers.put(kept));
  }

  async #found(index) {
    if (!this.database) return [];
    return audit.promised(this.database.transaction("answers").objectStore("answers").index(index).getAll(this.of));
  }

  #write(change) {
    const transaction = this.database.transaction("answers", "readwrite", { durability: "strict" });
    change(transaction.objectStore("answers"));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
  }
};

/** Sends answers to the server, one by one, in their order; while it is away, they wait. */
audit.Sender = class {
  /** onchange: called with {waiting, isAway, refused}: answers on the way, and why the last refused one was. */
  constructor(store, onchange) {
    this.store = store;
    this.onchange = onchange;
    this.state = { waiting: 0, isAway: false, refused: "" };
    this.running = null;
    addEventListener("online", () => this.send());
  }

  /** Send what has not been sent; also what is added while this goes on. */
  send() {
    this.isAsked = true;
    this.#tell({ waiting: Math.max(1, this.state.waiting) });
    this.running ??= this.#sendWhatIsAsked();
  }

  async #sendWhatIsAsked() {
    while (this.isAsked) {
      this.isAsked = false;
      await this.#sendAll();
    }
    this.running = null;
  }

  async #sendAll() {
    for (;;) {
      const waiting = await this.store.waiting();
      this.#tell({ waiting: waiting.length });
      if (!waiting.length) return;
      const isThere = await this.#sendOne(waiting[0]);
      this.#tell({ isAway: !isThere });
      if (!isThere) await audit.pause();
    }
  }

  /** Returns: false if the server is away, or could not save. */
  async #sendOne(kept) {
    try {
      const response = await fetch("answers", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(kept.answer),
      });
      if (response.status >= 500) return false;
      if (!response.ok) this.#tell({ refused: (await response.text()).trim() });
      await this.store.settle(kept);
      return true;
    } catch {
      return false;
    }
  }

  #tell(changes) {
    Object.assign(this.state, changes);
    this.onchange(this.state);
  }
};

/** Wait before the server is asked again. */
audit.AGAIN_MS = 2_000;
audit.pause = () => new Promise((resolve) => setTimeout(resolve, audit.AGAIN_MS));

/** Does nobody answer where this page came from? A page from a file has no server. */
audit.isServerAway = async () => {
  if (!location.protocol.startsWith("http")) return false;
  try {
    await fetch("audit.json", { cache: "no-store" });
    return false;
  } catch {
    return true;
  }
};

/** Is this page served by `sod audit serve`? A page from a file is not. */
audit.isServed = async (plan) => {
  if (!location.protocol.startsWith("http")) return false;
  try {
    const response = await fetch("audit.json");
    return response.ok && (await response.json()).plan === plan;
  } catch {
    return false;
  }
};

/** The answers that the server has of a rater. */
audit.savedAnswers = async (rater) => {
  const response = await fetch(`answers?rater=${encodeURIComponent(rater)}`);
  const text = await response.text();
  if (!response.ok) throw new Error(text.trim());
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
};
