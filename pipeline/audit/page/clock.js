"use strict";

/** Adds up the time that a person works: pauses of more than a minute without any input are left out. */
audit.Clock = class {
  static IDLE_MS = 60_000;

  constructor() {
    this.last = null;
    this.workedMs = 0;
  }

  /** There was input at this time, in milliseconds. */
  seen(now) {
    if (this.last !== null && now - this.last <= audit.Clock.IDLE_MS) this.workedMs += now - this.last;
    this.last = now;
  }

  /** The page is out of sight from this time on. */
  leave(now) {
    this.seen(now);
    this.last = null;
  }

  /** Return the time since the last call, and begin anew. */
  take(now) {
    this.seen(now);
    const worked = this.workedMs;
    this.workedMs = 0;
    return worked;
  }
};

audit.PACE_IMAGES = 20;

/** Seconds per image of the last answers that have any; null without. */
audit.pace = (answers) => {
  const last = answers.filter((answer) => answer.seconds > 0).slice(-audit.PACE_IMAGES);
  if (!last.length) return null;
  const keys = new Set(last.map((answer) => answer.key));
  return last.reduce((sum, answer) => sum + answer.seconds, 0) / keys.size;
};

/** Seconds, with a decimal if they are few. */
audit.shortly = (seconds) => `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;

/** A duration in words: 40 s, 12 min, 1 h 05 min. */
audit.duration = (seconds) => {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
};
