"use strict";

/** Images with their masks, loaded before they are needed: a verdict shows the next one at once. */
audit.Loader = class {
  static AHEAD = 2;

  constructor() { this.loaded = new Map(); }

  /** Load an image with its masks. Returns: {ready, things}; things is there at once if it has been loaded. */
  load(task) {
    if (!this.loaded.has(task.key)) {
      const loading = { things: null, ready: null };
      loading.ready = audit.thingsOf(task).then((things) => {
        loading.things = things;
        return things;
      });
      this.loaded.set(task.key, loading);
    }
    return this.loaded.get(task.key);
  }

  /** Load what comes next, and forget what is far away. */
  loadAround(session) {
    const { tasks, place } = session, next = session.firstOpen(place + 1);
    const near = [place - 1, place, place + 1, ...Array.from({ length: audit.Loader.AHEAD }, (_, step) => next + step)];
    const wanted = new Map(near.filter((at) => tasks[at]).map((at) => [tasks[at].key, tasks[at]]));
    for (const key of this.loaded.keys()) if (!wanted.has(key)) this.loaded.delete(key);
    for (const task of wanted.values()) this.load(task);
  }
};

audit.surfaceOf = (rle) => {
  const surface = new audit.MaskSurface(rle.size[1], rle.size[0]);
  surface.load(rle);
  return surface;
};

/** A decoded picture of this folder. */
audit.picture = async (address) => {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
};

/** The image and masks of a task; `problem` says why it can't be judged. */
audit.thingsOf = async (task) => {
  const looks = (task.looks ?? []).map((look) => ({ ...look, surface: look.mask && audit.surfaceOf(look.mask) }));
  try {
    const [image] = await Promise.all([audit.picture(task.image), audit.script(task.data)]);
    const { mask, instances } = audit.masks.get(task.key);
    const isRight = image.naturalWidth === task.width && image.naturalHeight === task.height;
    const problem = isRight ? "" : `${task.image} has another size than its mask. Skip it, and tell whoever runs the audit.`;
    const isEmpty = audit.rle.runs(mask).length < 2;
    return { image, rle: mask, isEmpty, surface: audit.surfaceOf(mask), instances, looks, problem };
  } catch (error) {
    const surface = new audit.MaskSurface(task.width, task.height);
    return { image: null, isEmpty: false, surface, instances: [], looks: [], problem: `${error.message}. Skip it, and tell whoever runs the audit.` };
  }
};
