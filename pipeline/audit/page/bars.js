"use strict";

/* The bars above and below the image: progress, pace, what is kept, verdicts. */

/** A button with its key on it; pressing it is pressing the key. */
audit.dressButton = (button, key = button.dataset.key) => {
  button.prepend(audit.element("kbd", { textContent: audit.keyName(key) }), " ");
  button.setAttribute("aria-keyshortcuts", key);
};

audit.fillVerdicts = () => {
  audit.at("verdicts").replaceChildren(...audit.VERDICTS.map(({ verdict, name, key, means }) => {
    const button = audit.element("button", { type: "button", className: "verdict", dataset: { key, verdict } },
      audit.element("b", { textContent: name }), audit.element("small", { textContent: means }));
    audit.dressButton(button);
    return button;
  }));
};

/** Show how far a session is. */
audit.showProgress = (session) => {
  const { done, tasks } = session;
  Object.assign(audit.at("progress"), { max: Math.max(1, tasks.length), value: done });
  audit.at("count").textContent = `${done} of ${tasks.length}`;
  const pace = audit.pace(session.answers);
  const left = (tasks.length - done) * (pace ?? 0);
  const end = new Date(Date.now() + left * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  audit.at("pace").textContent = pace === null ? "" : [
    `${audit.shortly(pace)} an image`,
    `${audit.duration(session.seconds)} worked`,
    ...(left ? [`done at ${end} (${audit.duration(left)})`] : []),
  ].join(" · ");
};

/** Show the answer that an image has; null without. */
audit.showAnswer = (answer) => {
  for (const button of document.querySelectorAll("#verdicts .verdict")) {
    const isGiven = button.dataset.verdict === answer?.verdict;
    button.classList.toggle("given", isGiven);
    button.setAttribute("aria-pressed", String(isGiven));
  }
};

/** Let a button light up for a moment, so that a key is seen to have been heard. */
audit.flash = (key) => {
  const button = document.querySelector(`footer [data-key="${CSS.escape(key)}"]`);
  button?.animate([{ backgroundColor: "var(--accent)", color: "var(--on-accent)" }, {}], { duration: 350, easing: "ease-out" });
};

/** Say where the answers are. sent: the sender's state, or null if nobody serves. */
audit.showKept = (store, sent) => {
  const [text, kind] = audit.keptText(store, sent);
  for (const place of ["kept", "end-kept"]) Object.assign(audit.at(place), { textContent: text, className: kind });
};

audit.keptText = ({ isLasting, adding }, sent) => {
  const waiting = adding + (sent?.waiting ?? 0);
  if (sent?.refused) return [`The server refused an answer: ${sent.refused}`, "bad"];
  if (sent?.isAway) return [`Server away: ${waiting} waiting${isLasting ? ", kept in this browser" : ""}`, "bad"];
  if (waiting) return ["Saving …", "soft"];
  if (sent) return ["Saved", "good"];
  if (!isLasting) return ["Not kept: this browser stores nothing. Save often", "bad"];
  return ["Kept in this browser", "good"];
};

/** Say something about the image, over it, until the next one is open. */
audit.note = (text) => {
  Object.assign(audit.at("note"), { textContent: text, hidden: !text });
};
