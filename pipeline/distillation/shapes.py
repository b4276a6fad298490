"""Drawn masks and soft maps: what saliency maps look like, without a photograph.

Maps are float32 [px, px] in [0, 1]. Lengths are shares of the side, so that a map of any size has the same shapes.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Map = npt.NDArray[np.float32]
Rng = np.random.Generator
Draw = Callable[[ImageDraw.ImageDraw, Rng, float, int], None]

_FINER = 2
"""Shapes are drawn so many times larger, for smooth outlines."""
_EMPTY, _FULL, _SOFT_MAP = 0.04, 0.02, 0.35
"""Shares of maps without and with nothing but an object, and of maps that are no masks."""


def draw_maps(seed: int, count: int, px: int) -> npt.NDArray[np.float32]:
    """Maps [count, px, px] that follow from a seed. The process that draws them needs nothing but this module."""
    rng = np.random.default_rng(seed)
    return np.stack([draw_map(rng, px) for _ in range(count)])


def draw_map(rng: Rng, px: int) -> Map:
    """A mask of objects; or a soft map, like that of members that do not agree."""
    return _soft_map(rng, px) if rng.random() < _SOFT_MAP else draw_mask(rng, px)


def draw_mask(rng: Rng, px: int) -> Map:
    """One to four objects, with holes or soft edges; sometimes none, or nothing else."""
    kind = rng.random()
    if kind < _EMPTY + _FULL:
        return np.full((px, px), float(kind >= _EMPTY), np.float32)
    side = px * _FINER
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.choice([1, 2, 3, 4], p=[0.55, 0.25, 0.12, 0.08])):
        _a_shape(rng)(pen, rng, side, 255)
        if rng.random() < 0.25:
            _a_shape(rng)(pen, rng, side * 0.5, 0)
    if rng.random() < 0.3:
        canvas = canvas.filter(ImageFilter.GaussianBlur(side * float(rng.uniform(0.002, 0.03))))
    small = canvas.resize((px, px), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


def _soft_map(rng: Rng, px: int) -> Map:
    """The mean of several masks with weights, blurred, of unequal strength: a candidate's map of a doubtful image.

    Some of the masks are the first one, moved a little: members agree on most of an object.
    """
    first = draw_mask(rng, px)
    others = [_moved(first, rng) if rng.random() < 0.5 else draw_mask(rng, px) for _ in range(rng.integers(0, 5))]
    weights = rng.dirichlet(np.ones(len(others) + 1)).astype(np.float32)
    share = np.float32(rng.uniform(0.2, 1) if others else 1)
    mixed = np.tensordot(weights, np.stack([first, *others]), axes=1)
    mean = np.asarray(share * first + (1 - share) * mixed, np.float32)
    if rng.random() < 0.6:
        mean = _blurred(mean, px * float(rng.uniform(0.003, 0.05)))
    if rng.random() < 0.5:
        mean = mean * _veil(rng, px)
    return mean


def _moved(mask: Map, rng: Rng) -> Map:
    """The mask moved by up to a twelfth of the side, around the edge."""
    most = max(1, mask.shape[0] // 12)
    rows, columns = (int(step) for step in rng.integers(-most, most + 1, 2))
    return np.roll(mask, (rows, columns), axis=(0, 1))


def _veil(rng: Rng, px: int) -> Map:
    """Strengths from 0.4 to 1 that change slowly over the map."""
    coarse = Image.fromarray(rng.uniform(0.4, 1, (4, 4)).astype(np.float32))
    return np.asarray(coarse.resize((px, px), Image.Resampling.BICUBIC), np.float32).clip(0, 1)


def _blurred(values: Map, radius: float) -> Map:
    # Pillow blurs 8 bits only; steps of 1/255 in a soft map do no harm.
    image = Image.fromarray(np.rint(values * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, np.float32) / np.float32(255)


def _a_shape(rng: Rng) -> Draw:
    return (_ellipse, _polygon, _star, _stroke, _thin_parts)[rng.choice(5, p=[0.2, 0.25, 0.25, 0.15, 0.15])]


def _ellipse(pen: ImageDraw.ImageDraw, rng: Rng, side: float, fill: int) -> None:
    pen.polygon(_outline(rng, pen, side, np.ones(64)), fill=fill)


def _polygon(pen: ImageDraw.ImageDraw, rng: Rng, side: float, fill: int) -> None:
    pen.polygon(_outline(rng, pen, side, rng.uniform(0.6, 1, rng.integers(3, 9))), fill=fill)


def _star(pen: ImageDraw.ImageDraw, rng: Rng, side: float, fill: int) -> None:
    """A smooth outline whose radius waves: bodies, leaves, puddles."""
    angles = np.linspace(0, 2 * math.pi, 120, endpoint=False)
    waves = sum(
        rng.normal(0, 0.35 / number) * np.cos(number * angles + rng.uniform(0, 2 * math.pi)) for number in range(1, 8)
    )
    pen.polygon(_outline(rng, pen, side, np.exp(waves) / np.exp(waves).max()), fill=fill)


def _outline(
    rng: Rng, pen: ImageDraw.ImageDraw, side: float, radii: npt.NDArray[np.floating]
) -> list[tuple[float, float]]:
    """Points around a random centre, stretched and turned."""
    whole = pen.im.size[0]
    centre = rng.uniform(0.1, 0.9, 2) * whole
    size = side * float(rng.uniform(0.08, 0.6))
    axes, turn = size * np.array([1, rng.uniform(0.3, 1)]), float(rng.uniform(0, 2 * math.pi))
    angles = np.linspace(0, 2 * math.pi, len(radii), endpoint=False)
    x, y = axes[0] * radii * np.cos(angles), axes[1] * radii * np.sin(angles)
    cosine, sine = math.cos(turn), math.sin(turn)
    return list(zip(centre[0] + cosine * x - sine * y, centre[1] + sine * x + cosine * y, strict=True))


def _stroke(pen: ImageDraw.ImageDraw, rng: Rng, side: float, fill: int, widest: float = 0.06) -> None:
    """A line that wanders."""
    whole = pen.im.size[0]
    heading, place = float(rng.uniform(0, 2 * math.pi)), rng.uniform(0.1, 0.9, 2) * whole
    points, pace = [tuple(place)], side * float(rng.uniform(0.02, 0.06))
    for _ in range(int(rng.integers(5, 20))):
        heading += float(rng.normal(0, 0.4))
        place = place + pace * np.array([math.cos(heading), math.sin(heading)])
        points.append(tuple(place))
    width = max(1, round(side * float(rng.uniform(0.012, widest))))
    pen.line(points, fill=fill, width=width, joint="curve")


def _thin_parts(pen: ImageDraw.ImageDraw, rng: Rng, side: float, fill: int) -> None:
    """A body with thin lines beside it: legs, stalks, handles."""
    _star(pen, rng, side * 0.7, fill)
    for _ in range(int(rng.integers(1, 5))):
        _stroke(pen, rng, side, fill, widest=0.02)
