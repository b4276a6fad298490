"use strict";

/* The masks that can be looked at of an image: the release's; or, for the third look, those that two raters saw. */

/** The masks of an image, as {name, surface}; A and B without names of raters. */
audit.viewsOf = (task, things) => {
  const looks = things.looks.filter((look) => look.surface).map(({ name, surface }) => ({ name, surface }));
  const isAmongThem = task.is_blind || things.looks.some((look) => look.verdict === "right");
  return isAmongThem ? looks : [...looks, { name: "the model's", surface: things.surface }];
};

/** How some masks are drawn at once. style: that of a single one; of several, only outlines can be told apart. */
audit.drawnAs = (views, style, tint) => views.map(({ name, surface }) => ({
  surface,
  style: audit.styleOf(views.length > 1 ? "outline" : style, audit.COLOURS[name] ?? tint),
}));

/** Show two raters' looks as buttons, and which masks are shown: a place among the views, or null for all. */
audit.fillLooks = (task, views, shown) => {
  const looks = task.looks ?? [];
  const buttons = looks.map(({ name, verdict, mask }, place) => {
    const means = mask ? "This mask is right." : `No mask: ${audit.nameOf(verdict).toLowerCase()}.`;
    const button = audit.element("button", { type: "button", className: "verdict look", dataset: { key: String(7 + place), look: name } },
      audit.element("b", { textContent: `Take ${name}` }), audit.element("small", { textContent: means }));
    audit.dressButton(button);
    return button;
  });
  const names = shown === null ? views.map((view) => view.name).join(" and ") : views[shown].name;
  const next = audit.element("button", { type: "button", className: "quiet", dataset: { key: "c" }, textContent: `Shown: ${names || "no mask"}` });
  next.disabled = views.length < 2;
  audit.dressButton(next);
  audit.at("looks").hidden = !task.looks;
  audit.at("looks").replaceChildren(...buttons, next);
};
