"use strict";

/** What a rater has answered and where she is. Knows nothing of the screen. */
audit.Session = class {
  constructor(given, answers = []) {
    this.given = given;
    this.tasks = given.tasks;
    this.answers = [];
    this.latest = new Map();
    for (const answer of answers) this.take(answer);
    this.place = Math.max(0, this.firstOpen(0));
  }

  get task() { return this.tasks[this.place]; }
  get done() { return this.tasks.filter((task) => this.latest.has(task.key)).length; }
  get isDone() { return this.done === this.tasks.length; }
  get seconds() { return this.answers.reduce((sum, answer) => sum + answer.seconds, 0); }

  /** Take an answer that has been kept. */
  take(answer) {
    this.answers.push(answer);
    this.latest.set(answer.key, answer);
  }

  /** Make the answer on the image that is open. */
  answer(verdict, mask, workedMs) {
    return {
      plan: this.given.plan,
      rater: this.given.rater,
      key: this.task.key,
      verdict,
      mask,
      seconds: Math.min(Math.round(workedMs) / 1000, 999_999),
      answered: new Date().toISOString(),
      source: "page",
    };
  }

  /** Place of the first image without an answer, from a place on and then from the beginning; -1 without. */
  firstOpen(from) {
    const isOpen = (task) => !this.latest.has(task.key);
    const after = this.tasks.findIndex((task, place) => place >= from && isOpen(task));
    return after >= 0 ? after : this.tasks.findIndex(isOpen);
  }

  /** Go on after an answer: to the next image without one; stay at the last if all have one. */
  goOn() {
    const next = this.firstOpen(this.place + 1);
    this.place = next >= 0 ? next : this.place;
  }

  /** Go some images on or back. Returns: false at either end. */
  move(steps) {
    const place = Math.min(Math.max(this.place + steps, 0), this.tasks.length - 1);
    const hasMoved = place !== this.place;
    this.place = place;
    return hasMoved;
  }

  /** All answers as a file of lines, which sod audit imports. */
  lines() {
    return this.answers.map((answer) => `${JSON.stringify(answer)}\n`).join("");
  }
};
