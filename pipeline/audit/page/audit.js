"use strict";

/* The one global object. Scripts and data add to it; the page opens from a file, so there are no modules. */

globalThis.audit ??= {};

Object.assign(audit, {
  given: null,
  masks: new Map(),

  /** Called by tasks/RATER.js. */
  tasks(given) { audit.given = given; },

  /** Called by masks/KEY.js. */
  mask(key, given) { audit.masks.set(key, given); },

  /** Load a script of this folder; `fetch` reads none from a file. */
  script(address) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = () => { script.remove(); resolve(); };
      script.onerror = () => { script.remove(); reject(new Error(`${address} can't be read`)); };
      document.head.append(script);
    });
  },

  /** Make an element; texts are inserted as texts. */
  element(name, options = {}, ...inside) {
    const { dataset, ...properties } = options;
    const made = Object.assign(document.createElement(name), properties);
    Object.assign(made.dataset, dataset);
    made.append(...inside);
    return made;
  },

  at(id) { return document.getElementById(id); },
});

/** Verdict → what it is called and when it is given, in the order of their keys. */
audit.VERDICTS = [
  { verdict: "right", name: "Right", key: "1", means: "No pixel that matters is wrong." },
  { verdict: "fix", name: "Fix", key: "2", means: "The right object, drawn badly. You put it right." },
  { verdict: "wrong_object", name: "Wrong object", key: "3", means: "Another object catches the eye." },
  { verdict: "nothing_salient", name: "Nothing salient", key: "4", means: "No object stands out here." },
  { verdict: "ambiguous", name: "Ambiguous", key: "5", means: "Several objects would be as good." },
  { verdict: "skip", name: "Skip", key: "6", means: "You can't tell. Someone else looks." },
];

audit.nameOf = (verdict) => audit.VERDICTS.find((known) => known.verdict === verdict)?.name ?? String(verdict);
