"""Measure the mask editor on an image of 4000 x 3000 in headless Chromium, which draws on the processor here.

    python -m tests.pipeline.audit.page.measure_editor

The mouse moves as fast as the browser takes it. Frames are counted by requestAnimationFrame, the time of our scripts by
wrapping the functions that set pixels and paint them.
"""

import math
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from tests.pipeline.audit.page.editor_bench import Bench, write_bench
from tests.pipeline.conftest import SWITCHES

WINDOWS = ((1280, 800), (3840, 2160))
SECONDS = 3
STEPS = 10
"""Moves for each call, which Playwright sends without waiting for us."""
WATCH = """() => {
    globalThis.frames = [], globalThis.spent = {};
    const frame = (now) => { frames.push(now); requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
    const watch = (object, name) => {
        const run = object[name];
        object[name] = function (...given) {
            const start = performance.now();
            try { return run.apply(this, given); } finally { (spent[name] ??= []).push(performance.now() - start); }
        };
    };
    watch(surface, "set"), watch(surface, "commit"), watch(viewer.nodes[0].display, "paint");
}"""


def main():
    """Print the figures."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        write_bench(Path(folder))
        browser = driver.chromium.launch(executable_path=found, args=[*SWITCHES])
        for width, height in WINDOWS:
            bench = Bench(browser.new_page(viewport={"width": width, "height": height}))
            bench.page.goto(f"file://{folder}/index.html")
            mask = np.zeros((3000, 4000), dtype=bool)
            mask[600:2400, 1000:3000] = True
            bench.edit(mask)
            bench.page.evaluate(WATCH)
            for diameter_px in (40, 400, 1500):
                measure_brush(bench, f"{width} x {height}", diameter_px)
            if (width, height) == WINDOWS[0]:
                measure_history(bench)
            bench.page.close()


def measure_brush(bench, window, diameter_px):
    """Print frames per second while brushing for some seconds."""
    bench.page.evaluate(f"editor.resize({diameter_px})")
    place = lambda step: bench.screen((2000 + 1300 * math.cos(step / 15), 1500 + 900 * math.sin(step / 11)))[0]  # noqa: E731
    bench.page.mouse.move(*place(0))
    bench.page.mouse.down()
    bench.page.evaluate("frames.length = 0, spent = {}")
    end, step = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        step += STEPS
        bench.page.mouse.move(*place(step), steps=STEPS)
    frames_ms = np.diff(bench.page.evaluate("frames"))
    bench.page.mouse.up()
    spent = {name: f"{np.median(ms):.1f}, at most {max(ms):.1f}" for name, ms in bench.page.evaluate("spent").items()}
    print(
        f"{window}, brush of {diameter_px} px: {1000 / frames_ms.mean():.0f} frames/s, "
        f"95 % within {np.percentile(frames_ms, 95):.1f} ms; {step / SECONDS:.0f} moves/s; ms: {spent}"
    )


def measure_history(bench, strokes=200):
    """Print what the history of many random strokes takes."""
    rng = random.Random(1)
    for _ in range(strokes):
        bench.page.evaluate(f"editor.resize({rng.choice((8, 20, 40, 80, 160, 400))})")
        bench.press(rng.choice("be"))
        bench.drag(*((rng.uniform(0, 4000), rng.uniform(0, 3000)) for _ in range(4)))
    history, saved = bench.page.evaluate("[surface.historyBytes, surface.toRle().counts.length]")
    print(f"{strokes} strokes: history of {history} bytes, mask of {saved} characters")


if __name__ == "__main__":
    main()
