"use strict";

/** Images with their masks, loaded before they are needed: a verdict shows the next one at once. */
audit.Loader = class {
  static AHEAD = 2;

  /** onaway: called with a task, now and then, while it waits for the server to come back. */
  constructor(onaway) {
    this.loaded = new Map();
    this.onaway = onaway;
  }

  /** Load an image with its masks. Returns: {ready, things}; things is there at once if it has been loaded. */
  load(task) {
    if (!this.loaded.has(task.key)) {
      const loading = { things: null, ready: null };
      loading.ready = audit.thingsOf(task, () => this.onaway(task)).then((things) => {
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

/** The image and masks of a task; `problem` says why it can't be judged. Waits for a server that is away. */
audit.thingsOf = async (task, onaway) => {
  for (let wasThere = false; ;) {
    try {
      return await audit.readThings(task);
    } catch (error) {
      if (wasThere) return audit.unreadable(task, error);
    }
    // A server that answers now may have been away when it was asked for the image: only the next try counts.
    wasThere = !(await audit.isServerAway());
    if (wasThere) continue;
    onaway();
    await audit.pause();
  }
};

audit.readThings = async (task) => {
  const looks = (task.looks ?? []).map((look) => ({ ...look, surface: look.mask && audit.surfaceOf(look.mask) }));
  const [image] = await Promise.all([audit.picture(task.image), audit.script(task.data)]);
  const { mask, instances } = audit.masks.get(task.key);
  const isRight = image.naturalWidth === task.width && image.naturalHeight === task.height;
  const problem = isRight ? "" : `${task.image} has another size than its mask. Skip it, and tell whoever runs the audit.`;
  const isEmpty = audit.rle.runs(mask).length < 2;
  return { image, rle: mask, isEmpty, surface: audit.surfaceOf(mask), instances, looks, problem };
};

audit.unreadable = (task, error) => {
  const surface = new audit.MaskSurface(task.width, task.height);
  const problem = `${error.message}. Skip it, and tell whoever runs the audit.`;
  return { image: null, isEmpty: false, surface, instances: [], looks: [], problem };
};
