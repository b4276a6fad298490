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
    this.memory = [];
  }

  /** Open the store; where a browser keeps nothing, answers live as long as the tab does. */
  static async open(plan, rater) {
    const of = `${plan}/${rater}`;
    try {
      const request = indexedDB.open(audit.DATABASE, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("answers", { keyPath: "id", autoIncrement: true }).createIndex("of", "of");
      };
      return new audit.Store(await audit.promised(request), of);
    } catch {
      return new audit.Store(null, of);
    }
  }

  get isLasting() { return this.database !== null; }

  /** Every answer, as {id, of, answer, sent}. */
  async all() {
    if (!this.database) return [...this.memory];
    const transaction = this.database.transaction("answers");
    return audit.promised(transaction.objectStore("answers").index("of").getAll(this.of));
  }

  /** Add an answer; it is on the disk when this returns. */
  async add(answer, sent = false) {
    const kept = { of: this.of, answer, sent };
    if (!this.database) {
      this.memory.push({ id: this.memory.length, ...kept });
      return;
    }
    const transaction = this.database.transaction("answers", "readwrite", { durability: "strict" });
    transaction.objectStore("answers").add(kept);
    await this.#finished(transaction);
  }

  /** Note what became of an answer. */
  async mark(kept, changes) {
    Object.assign(kept, changes);
    if (!this.database) {
      Object.assign(this.memory[kept.id], changes);
      return;
    }
    const transaction = this.database.transaction("answers", "readwrite");
    transaction.objectStore("answers").put(kept);
    await this.#finished(transaction);
  }

  #finished(transaction) {
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
  }
};

/** Sends answers to the server, one by one, in their order; while it is away, they wait. */
audit.Sender = class {
  static AGAIN_MS = 2_000;

  constructor(store, onchange) {
    this.store = store;
    this.onchange = onchange;
    this.state = { waiting: 0, isAway: false, refused: "" };
    this.running = null;
    addEventListener("online", () => this.send());
  }

  /** Send what has not been sent. */
  send() {
    this.running ??= this.#sendAll().finally(() => { this.running = null; });
    return this.running;
  }

  async #sendAll() {
    for (;;) {
      const waiting = (await this.store.all()).filter((kept) => !kept.sent);
      this.#tell({ waiting: waiting.length });
      if (!waiting.length) return;
      const isThere = await this.#sendOne(waiting[0]);
      this.#tell({ isAway: !isThere });
      if (!isThere) await new Promise((resolve) => setTimeout(resolve, audit.Sender.AGAIN_MS));
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
      await this.store.mark(kept, { sent: true, refused: !response.ok });
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

/** Is this page served by jobs/audit_release.py? A page from a file is not. */
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
