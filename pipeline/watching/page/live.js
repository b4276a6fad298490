// The page is whole without this script. It shows times in the reader's zone and the page's age, looks for a newer
// page while the work goes on, and tells the time and rate under the pointer.
"use strict";
(() => {
  const SILENT_AFTER = 4;
  let bars = JSON.parse(document.getElementById("data").textContent);
  const pad = (number) => String(number).padStart(2, "0");
  const duration = (seconds) => {
    const whole = Math.max(0, Math.round(seconds)), hours = Math.floor(whole / 3600);
    const rest = `${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
    return hours ? `${hours}:${rest}` : rest.replace(/^0/, "");
  };
  const moment = (seconds) => {
    const at = new Date(seconds * 1000), now = new Date();
    const time = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
    const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
    return at.toDateString() === now.toDateString() ? time : `${day} ${time}`;
  };
  const every = () => Math.max(5, Number(document.body.dataset.every) || 15);
  const isRunning = () => document.body.dataset.state === "running";

  function localise() {
    for (const time of document.querySelectorAll("time[data-s]")) {
      time.title = time.textContent;
      time.textContent = moment(Number(time.dataset.s));
    }
  }

  function showAge() {
    const age = Date.now() / 1000 - Number(document.body.dataset.at), shown = document.getElementById("age");
    const ago = age < 90 ? `${Math.max(0, Math.round(age))} s` : duration(age);
    shown.textContent = isRunning() ? `updated ${ago} ago` : `as of ${moment(Number(document.body.dataset.at))}`;
    const silent = isRunning() && age > SILENT_AFTER * every() + 30, state = document.getElementById("state");
    state.classList.toggle("silent", silent);
    if (isRunning()) state.textContent = silent ? `no news for ${ago}: ask sod status` : "running";
  }

  // A page that was opened as a file can't read itself anew, so it is loaded anew.
  async function renew() {
    if (!isRunning() || document.hidden) return;
    if (!location.protocol.startsWith("http")) {
      const age = Date.now() / 1000 - Number(document.body.dataset.at);
      if (age >= every()) location.reload();
      return;
    }
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) return;
      const newer = new DOMParser().parseFromString(await answer.text(), "text/html");
      const isSame = ["at", "state"].every((name) => newer.body.dataset[name] === document.body.dataset[name]);
      if (!newer.getElementById("main") || isSame) return;
      const scrolled = [...document.querySelectorAll(".tall, .happened")].map((box) => box.scrollTop);
      for (const id of ["main", "state", "data"]) document.getElementById(id).replaceWith(newer.getElementById(id));
      for (const name of ["state", "at", "every"]) document.body.dataset[name] = newer.body.dataset[name];
      [...document.querySelectorAll(".tall, .happened")].forEach((box, place) => { box.scrollTop = scrolled[place] || 0; });
      document.title = newer.title;
      bars = JSON.parse(document.getElementById("data").textContent);
      localise();
      showAge();
    } catch {
      // The bucket or the network is away; the age tells how old this page is, and the next look may find it.
    }
  }

  function point(event) {
    const plot = document.querySelector("#rate .plot"), lanes = document.getElementById("lanes");
    const track = event.target.closest?.(".plot, .track");
    const cursors = [plot.querySelector(".cursor"), lanes.querySelector(".cursor")];
    const readout = plot.querySelector(".readout");
    for (const part of [...cursors, readout]) if (part) part.hidden = !track;
    if (!track) return;
    const box = track.getBoundingClientRect(), share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const since = share * bars.span_s, rate = bars.per_s[Math.min(bars.per_s.length - 1, Math.floor(since / bars.bin_s))];
    const area = plot.getBoundingClientRect();
    cursors[0].style.left = `${share * area.width}px`;
    if (cursors[1]) cursors[1].style.left = `${area.left + share * area.width - lanes.getBoundingClientRect().left}px`;
    readout.textContent = `${duration(since)} · ${moment(bars.began_s + since)} · ${rate.toFixed(rate < 10 ? 2 : 1)} images/s`;
    readout.style.left = share < .5 ? `calc(${share * 100}% + .5rem)` : "auto";
    readout.style.right = share < .5 ? "auto" : `calc(${(1 - share) * 100}% + .5rem)`;
  }

  const theme = document.getElementById("theme"), root = document.documentElement;
  const stored = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a page from a file may not store */ }
  });
  document.addEventListener("pointermove", point);
  localise();
  showAge();
  setInterval(showAge, 1000);
  setInterval(renew, every() * 1000);
})();
