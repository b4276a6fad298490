"use strict";

/* The beginning: who is it, and the wiring of the page's buttons and keys. The address says who: index.html#rater-1. */

audit.start = () => {
  audit.fillStart();
  audit.fillVerdicts();
  document.querySelectorAll("header [data-key], #fixing [data-key]").forEach((button) => audit.dressButton(button));
  const page = new audit.Page(new audit.Viewer(audit.at("stage")));
  audit.page = page;
  audit.listenToKeys(page);
  audit.listenToTheme();
  audit.listenToButtons(page);
  for (const type of ["keydown", "pointerdown", "pointermove", "wheel"]) {
    addEventListener(type, () => page.clock.seen(performance.now()), { capture: true, passive: true });
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) page.clock.leave(performance.now());
  });
  addEventListener("beforeunload", (event) => {
    if (page.isAtRisk) event.preventDefault();
  });
  addEventListener("hashchange", () => location.reload());
  audit.go(page);
};

/** Go where the address says. */
audit.go = async (page) => {
  const rater = location.hash.slice(1);
  const raters = [...document.querySelectorAll("a.rater")].map((link) => link.getAttribute("href").slice(1));
  if (!raters.includes(rater)) {
    audit.screen("start");
    return;
  }
  try {
    await audit.script(`tasks/${rater}.js`);
    if (audit.given?.plan !== document.body.dataset.plan) throw new Error("these tasks belong to another plan");
    await page.begin(audit.given);
  } catch (error) {
    page.mode = "away";
    audit.screen("start");
    const why = rater === "adjudicator"
      ? "Nothing waits for the adjudicator yet. Once the raters are done, run sod audit adjudicate."
      : `The page can't begin: ${error.message}.`;
    audit.at("start").prepend(audit.element("p", { className: "notice", textContent: why }));
  }
};

/** A button does what its key does. */
audit.listenToButtons = (page) => {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (event.detail) button.blur();  // clicked: the space bar is the page's again
    const { key } = button.dataset;
    if (key) document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  });
  audit.at("to-start").addEventListener("click", () => { location.hash = ""; });
  audit.at("end-save").addEventListener("click", () => page.save());
  audit.at("end-back").addEventListener("click", () => page.open());
};

audit.start();
