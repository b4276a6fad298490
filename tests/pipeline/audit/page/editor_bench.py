"""A page with nothing but the mask editor on a photo, from a file, and the masks that it should draw, by numpy."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.passes.mask_text import mask_from_text, rle_of

SCRIPTS = (
    *("vendor/konva.min.js", "audit.js", "rle.js", "mask.js", "shapes.js", "pieces.js", "display.js"),
    *("viewer.js", "overlay.js", "tools.js", "picks.js", "bar.js", "editor.js", "bench.js"),
)

PAGE = """<!doctype html>
<meta charset="utf-8">
<link rel="stylesheet" href="editor.css">
<style>
  body { margin: 0 }
  #stage { position: absolute; inset: 0 0 0 200px }
  #tools { width: 200px }
  #hint { position: absolute }
</style>
<div id="tools"></div><div id="stage"></div><p id="hint"></p>
"""


class Bench:
    """The page in a browser."""

    def __init__(self, page):
        self.page, self.said = page, []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def edit(self, mask, **instances):
        """Open the editor on a mask; instances: label → mask."""
        things = [{"label": label, "mask": rle_of(mask)} for label, mask in instances.items()]
        self.page.evaluate("([rle, things]) => edit(rle, things)", [rle_of(mask), things])
        matrix = self.page.evaluate("viewer.stage.getAbsoluteTransform().getMatrix()")
        left = self.page.evaluate("document.getElementById('stage').getBoundingClientRect().left")
        self.scale, self.corner = matrix[0], np.array(matrix[4:]) + np.array([left, 0])

    def mask(self):
        return decoded(self.page.evaluate("surface.toRle()"))

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def screen(self, *places):
        """Whole places of the window near places of the image, as the mouse has them."""
        return [tuple(np.round(np.array(place) * self.scale + self.corner).tolist()) for place in places]

    def image(self, places):
        """Where places of the window are in the image."""
        return [tuple(((np.array(place) - self.corner) / self.scale).tolist()) for place in places]

    def drag(self, *places, button="left"):
        """Drag from place to place of the image. Returns: where the mouse really was, in the image."""
        on_screen = self.screen(*places)
        self.page.mouse.move(*on_screen[0])
        self.page.mouse.down(button=button)
        for place in on_screen[1:]:
            self.page.mouse.move(*place)
        self.page.mouse.up(button=button)
        return self.image(on_screen)

    def click(self, *places, **options):
        """Click on places of the image. Returns: where the mouse really was, in the image."""
        on_screen = self.screen(*places)
        for place in on_screen:
            self.page.mouse.click(*place, **options)
        return self.image(on_screen)


def write_bench(folder):
    """Write the page."""
    source = files("pipeline.audit") / "page"
    for name in ("editor.css", *SCRIPTS[:-1]):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / "bench.js").write_bytes((Path(__file__).parent / "bench.js").read_bytes())
    Image.new("RGB", (40, 30), (90, 120, 60)).save(folder / "photo.png")
    (folder / "index.html").write_text(PAGE + "".join(f'<script src="{name}"></script>' for name in SCRIPTS))
    return folder


def decoded(rle):
    """The mask of run lengths."""
    return mask_from_text(json.dumps(rle), *rle["size"])


def stroke_of(shape, points, diameter_px, *, slack_px=0.0, with_points=True):
    """What a round brush covers along a line: pixels whose centre is near enough, and those under each point."""
    centres = np.stack(np.meshgrid(*(np.arange(side) + 0.5 for side in shape[::-1])), axis=-1)
    found = np.zeros(shape, dtype=bool)
    for start, end in zip(points, points[1:] or points, strict=False):
        start, along = np.array(start), np.array(end) - np.array(start)
        part = ((centres - start) @ along / (along @ along or 1.0)).clip(0, 1)
        found |= np.hypot(*np.moveaxis(centres - start - part[..., None] * along, -1, 0)) <= diameter_px / 2 + slack_px
    for x, y in np.floor(points).astype(int) if with_points else ():
        if 0 <= x < shape[1] and 0 <= y < shape[0]:
            found[y, x] = True
    return found


def inside_of(shape, corners):
    """What a closed line winds around, by the nonzero rule; and pixels whose centre lies on it, which may be either."""
    x, y = np.meshgrid(*(np.arange(side) + 0.5 for side in shape[::-1]))
    winding = np.zeros(shape)
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        one, other = np.array(start), np.array(end)
        ahead = (one[0] - x) * (other[0] - x) + (one[1] - y) * (other[1] - y)
        aside = (one[0] - x) * (other[1] - y) - (one[1] - y) * (other[0] - x)
        winding += np.arctan2(aside, ahead)
    return np.abs(winding) > np.pi, stroke_of(shape, [*corners, corners[0]], 1e-6, with_points=False)
