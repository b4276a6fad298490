"use strict";

/* The screens around the judging: start, end, help; light and dark. */

audit.SCREENS = ["start", "judging", "end"];

/** Show one screen. */
audit.screen = (name) => {
  for (const other of audit.SCREENS) audit.at(other).hidden = other !== name;
};

audit.fillStart = () => {
  audit.at("verdict-list").replaceChildren(...audit.VERDICTS.flatMap(({ key, name, means }) => [
    audit.element("dt", {}, audit.element("kbd", { textContent: key }), ` ${name}`),
    audit.element("dd", { textContent: means }),
  ]));
  audit.at("start-keys").replaceChildren(...audit.keyList(false, ["Judge", "Fix", "Draw the fix"]));
};

audit.openHelp = (isAdjudicator) => {
  audit.at("help-keys").replaceChildren(...audit.keyList(isAdjudicator));
  audit.at("help").showModal();
};

/** Say what has been done, and what happens to the answers. */
audit.fillEnd = (session, isServed) => {
  const { tasks, seconds, given } = session;
  audit.at("end-buttons").hidden = !tasks.length;
  audit.at("end-text").textContent = tasks.length
    ? `You have judged ${tasks.length} images in ${audit.duration(seconds)}, ${audit.shortly(seconds / tasks.length)} an image.`
    : "There is nothing to judge here.";
  const counts = audit.VERDICTS.map(({ verdict, name }) => [
    tasks.filter(({ key }) => session.latest.get(key)?.verdict === verdict).length, name.toLowerCase(),
  ]);
  audit.at("end-counts").textContent = counts.filter(([count]) => count).map((told) => told.join(" ")).join(" · ");
  audit.at("end-hint").textContent = !tasks.length ? "" : isServed
    ? "Once it says Saved above, you can close this page."
    : `Save them, and give answers-${given.rater}.jsonl to whoever runs the audit. Until then they are in this browser alone.`;
};

/** Let the browser save a text as a file. */
audit.download = (name, text) => {
  const address = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  audit.element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
};

/** The button that switches between light and dark; the system's choice until it is pressed. */
audit.listenToTheme = () => {
  audit.at("theme").addEventListener("click", () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark"
      || (document.documentElement.dataset.theme === undefined && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = isDark ? "light" : "dark";
  });
};
