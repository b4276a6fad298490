"use strict";

/** The page on which one rater judges: it puts session, store, viewer and keys together. */
audit.Page = class {
  constructor(viewer) {
    this.viewer = viewer;
    this.screen = audit.at("judging");
    this.mode = "away";
    this.clock = new audit.Clock();
    this.spent = new Map();
    this.loader = new audit.Loader((task) => this.#showAway(task));
    this.shownStyle = "fill";
    this.tint = audit.TINTS[0];
    this.brushShare = 1 / 30;
    viewer.onview = (scale) => { audit.at("zoom").textContent = `${Math.round(scale * 100)} %`; };
  }

  /** judging, fixing, or away while no image is open. */
  get mode() { return this.screen.dataset.mode; }
  set mode(mode) { this.screen.dataset.mode = mode; }

  get isAdjudicator() { return Boolean(this.session?.task?.looks); }

  /** Begin where a rater stopped. */
  async begin(given) {
    this.store = await audit.Store.open(given.plan, given.rater);
    this.isServed = await audit.isServed(given.plan);
    const kept = this.isServed ? await this.store.waiting() : await this.store.all();
    const answers = kept.map((one) => one.answer);
    const saved = this.isServed ? await audit.savedAnswers(given.rater) : [];
    this.session = new audit.Session(given, [...saved, ...answers]);
    this.sender = this.isServed ? new audit.Sender(this.store, () => this.#showKept()) : null;
    this.sender?.send();
    audit.at("who").textContent = given.rater;
    document.title = `${given.rater} · ${document.body.dataset.name}`;
    this.#showKept();
    if (this.session.isDone) this.end();
    else await this.open();
  }

  /** Show the image at the session's place. */
  async open() {
    const { task } = this.session;
    audit.screen("judging");
    this.mode = "away";
    const loading = this.loader.load(task);
    const things = loading.things ?? (await loading.ready);
    if (this.session.task !== task) return;
    this.#show(task, things);
    this.loader.loadAround(this.session);
  }

  #show(task, things) {
    this.things = things;
    this.viewer.open(things.image, task);
    this.views = audit.viewsOf(task, things);
    this.view = null;
    this.isUnsureShown = false;
    this.#showMask();
    this.#showUnsure(false);
    audit.showProgress(this.session);
    audit.showAnswer(this.session.latest.get(task.key));
    audit.note(things.problem || (things.isEmpty && !task.is_blind ? "The mask is empty: it says that nothing stands out here." : ""));
    audit.at("about-image").textContent = `Image ${this.session.place + 1} of ${this.session.tasks.length}`;
    this.clock.take(performance.now());
    this.screen.dataset.key = task.key;
    this.mode = "judging";
  }

  /** Give a verdict, and go on. */
  judge(verdict) {
    if (this.things.problem && verdict !== "skip") return;
    if (this.session.task.is_blind && verdict === "right") {
      audit.note("Take A or B if one of them is right: what the model drew is not shown apart from them.");
      return;
    }
    if (verdict === "fix") this.fix();
    else this.#answer(verdict, null);
  }

  async #answer(verdict, mask) {
    this.mode = "away";
    audit.flash(audit.VERDICTS.find((known) => known.verdict === verdict).key);
    const { key } = this.session.task;
    const worked = this.clock.take(performance.now()) + (this.spent.get(key) ?? 0);
    this.spent.delete(key);
    const answer = this.session.answer(verdict, mask, worked);
    const adding = this.store.add(answer);
    this.#showKept();
    this.session.take(answer);
    if (this.session.isDone) this.end();
    else {
      this.session.goOn();
      this.open();
    }
    await adding;
    this.sender?.send();
    this.#showKept();
  }

  /** Draw the mask as it should be. */
  fix() {
    this.mode = "fixing";
    this.drawn = this.#copyOf(this.#start());
    this.#showDrawn();
    this.drawn.onchange = (rect) => this.viewer.redraw(rect);
    const release = this.session.task.is_blind ? null : this.things.rle;
    const around = { release, place: audit.at("tools"), hint: audit.at("fixing-hint") };
    this.editor = new audit.Editor(this.viewer, this.drawn, this.things.instances, around);
    this.editor.size = this.#brushPx();
    this.#showFixing(true);
    this.editor.start();
  }

  keepFix() {
    const mask = this.drawn.toRle();
    if (audit.rle.runs(mask).length < 2) {
      audit.note("The mask is empty. If nothing stands out here, leave with Esc and press 4.");
      return;
    }
    if (!this.session.task.is_blind && mask.counts === this.things.rle.counts) {
      audit.note("This is the model's own mask. If it is right, leave with Esc and press 1.");
      return;
    }
    this.#stopFixing();
    this.#answer("fix", mask);
  }

  dropFix() {
    this.#stopFixing();
    this.mode = "judging";
    this.#showMask();
  }

  /** Diameter of the brush: the same share of each image, a thirtieth at first. */
  #brushPx() { return Math.max(1, Math.round(this.brushShare * this.#longerSide())); }

  #longerSide() { return Math.max(this.session.task.width, this.session.task.height); }

  #stopFixing() {
    this.brushShare = this.editor.size / this.#longerSide();
    this.editor.stop();
    this.drawn.onchange = () => {};
    this.#showFixing(false);
    audit.note("");
  }

  #showFixing(isOn) {
    audit.at("fixing").hidden = !isOn;
    audit.at("tools").hidden = !isOn;
    audit.at("judged").classList.toggle("behind", isOn);
    for (const button of document.querySelectorAll(".top [data-key]")) {
      button.disabled = isOn && ["a", "d", "s"].includes(button.dataset.key);
    }
  }

  /** The mask that drawing begins with: her own of before, or the one that is shown. */
  #start() {
    const own = this.session.latest.get(this.session.task.key)?.mask;
    return own ? audit.surfaceOf(own) : (this.#shown()[0] ?? this.things).surface;
  }

  #copyOf(surface) { return audit.surfaceOf(surface.toRle()); }

  // The third look

  takeLook(name) {
    const look = this.session.task.looks.find((known) => known.name === name);
    if (look) this.#answer(look.verdict, look.verdict === "fix" ? look.mask : null);
  }

  nextLook() {
    if (this.views.length < 2) return;
    const next = this.view === null ? 0 : this.view + 1;
    this.view = next < this.views.length ? next : null;
    this.#showMask();
  }

  #shown() { return this.view === null ? this.views : [this.views[this.view]]; }

  #showMask() {
    this.viewer.showMasks(audit.drawnAs(this.#shown(), this.#styleNow(), this.tint));
    audit.fillLooks(this.session.task, this.views, this.view);
  }

  /** Variance is seen around an outline alone. */
  #styleNow() { return this.isUnsureShown ? "outline" : this.shownStyle; }

  // What is shown

  style(style) {
    this.shownStyle = style;
    this.#showAgain();
  }

  nextTint() {
    this.tint = audit.TINTS[(audit.TINTS.indexOf(this.tint) + 1) % audit.TINTS.length];
    this.#showAgain();
  }

  #showAgain() {
    if (this.mode === "fixing") this.#showDrawn();
    else this.#showMask();
  }

  #showDrawn() {
    this.viewer.showMask(this.drawn, this.#styleNow(), this.tint);
  }

  hide(isHidden) { this.viewer.hideMasks(isHidden); }

  async toggleVariance() {
    this.isUnsureShown = !this.isUnsureShown;
    const { things } = this;
    const image = this.isUnsureShown ? await audit.picture(this.session.task.variance).catch(() => null) : null;
    if (things !== this.things) return;
    if (this.isUnsureShown && !image) audit.note(`${this.session.task.variance} can't be read.`);
    this.viewer.showVariance(this.isUnsureShown ? image : null);
    this.#showUnsure(this.isUnsureShown);
    this.#showAgain();
  }

  #showUnsure(isOn) {
    document.querySelector("[data-key=v]").setAttribute("aria-pressed", String(isOn));
  }

  #showKept() { audit.showKept(this.store, this.sender?.state ?? null); }

  #showAway(task) {
    if (this.mode === "away" && this.session.task === task) audit.note("The server is away. This image opens once it is back.");
  }

  // Where to go

  move(steps) {
    const { key } = this.session.task;
    if (!this.session.move(steps)) {
      if (steps > 0 && this.session.isDone) this.end();
      return;
    }
    this.spent.set(key, (this.spent.get(key) ?? 0) + this.clock.take(performance.now()));
    this.open();
  }

  moveToOpen() {
    const place = this.session.firstOpen(0);
    if (place >= 0) this.move(place - this.session.place);
  }

  end() {
    this.mode = "away";
    audit.fillEnd(this.session, this.isServed);
    audit.screen("end");
    audit.at("end-save").focus();
  }

  /** Would something be lost if the page were left now? */
  get isAtRisk() {
    if (this.mode === "fixing") return this.drawn.canUndo;
    if (this.store?.adding) return true;
    if (this.sender) return this.sender.state.waiting > 0;
    return Boolean(this.session?.answers.length) && !this.store.isLasting;
  }

  save() { audit.download(`answers-${this.session.given.rater}.jsonl`, this.session.lines()); }

  help() { audit.openHelp(this.isAdjudicator); }
};
