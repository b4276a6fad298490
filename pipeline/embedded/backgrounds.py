"""What is behind the objects: studios, gradients, noise, textures, photographs, horizons under synthetic skies.

Also picks pictures from the material and cuts squares from them, since objects are filled the same way.
Images are float32 [px, px, 3] in 0..255.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from pipeline.embedded.effects import Floats, Rng, blur, jitter_colours, over, ramp_field, smooth_noise, to_range
from pipeline.embedded.material import Material, PictureKind, Pixels


def draw_background(material: Material, rng: Rng, px: int) -> tuple[Floats, bool]:
    """A background [px, px, 3], and whether it is plain, as a studio or a sheet of paper: no place for clutter."""
    makers: list[tuple[float, Callable[[], Floats]]] = [
        (0.14, lambda: gradient(rng, px)),
        (0.07, lambda: noise_field(rng, px)),
    ]
    if material.of("texture"):
        makers.append((0.13, lambda: crop_of(pick(material, "texture", rng), rng, px, smallest=0.4)))
    if material.of("photo"):
        makers.append((0.34, lambda: crop_of(pick(material, "photo", rng), rng, px, smallest=0.3)))
    if material.of("skyline"):
        makers.append((0.14, lambda: skyline(material, rng, px)))
    if material.of("texture") or material.of("photo"):
        makers.append((0.18, lambda: ground_and_sky(material, rng, px)))
    if rng.random() < 0.16:
        return studio(rng, px), True
    weights = np.array([weight for weight, _ in makers])
    scene = makers[int(rng.choice(len(makers), p=weights / weights.sum()))][1]()
    scene = jitter_colours(scene, rng)
    if rng.random() < 0.5:
        scene = blur(scene, float(np.clip(rng.lognormal(0.6, 0.7), 0.4, 7)) * px / 192)
    return scene, False


def pick(material: Material, kind: PictureKind, rng: Rng) -> Pixels:
    """A picture of this kind: draw a source by its share, then any of its pictures."""
    groups = material.of(kind)
    shares = np.array([group.source.share for group in groups])
    group = groups[int(rng.choice(len(groups), p=shares / shares.sum()))]
    return group.pictures[int(rng.integers(len(group.pictures)))]


def pick_filling(material: Material, rng: Rng) -> Pixels:
    """A texture or a photograph, or noise if the material has neither."""
    kinds: list[PictureKind] = [kind for kind in ("texture", "photo") if material.of(kind)]
    if not kinds:
        return noise_field(rng, 96).astype(np.uint8)
    return pick(material, kinds[int(rng.integers(len(kinds)))], rng)


def crop_of(picture: Pixels, rng: Rng, px: int, smallest: float) -> Floats:
    """A square cut from the picture, [px, px, 3 or 4]: `smallest` to 1 of its short side, mirrored half the time."""
    height, width = picture.shape[:2]
    side = float(rng.uniform(smallest, 1)) * min(height, width)
    x, y = float(rng.uniform(0, width - side)), float(rng.uniform(0, height - side))
    box = (x, y, x + side, y + side)
    image = Image.fromarray(picture).resize((px, px), Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    pixels = np.asarray(image).astype(np.float32)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def studio(rng: Rng, px: int) -> Floats:
    """White paper or a nearly uniform wall with slight light fall-off, as behind products in catalogues."""
    white = rng.random() < 0.45
    tone = rng.uniform(238, 255, 3) if white else rng.uniform(20, 240) + rng.normal(0, 14, 3)
    scene = np.broadcast_to(tone.astype(np.float32), (px, px, 3))
    fall_off = smooth_noise(rng, px, 2) * float(rng.uniform(0, 10 if white else 30))
    return to_range(scene + fall_off[..., None])


def gradient(rng: Rng, px: int) -> Floats:
    """A soft change between two colours with faint clouds: a sky, a wall, a backdrop far out of focus."""
    first = np.clip(rng.uniform(30, 235) + rng.normal(0, 28, 3), 0, 255)
    second = np.clip(first + rng.normal(0, 35) + rng.normal(0, 22, 3), 0, 255)
    ramp = (ramp_field(rng, px) + 0.25 * smooth_noise(rng, px, 3))[..., None]
    return to_range(first + (second - first) * ramp)


def noise_field(rng: Rng, px: int) -> Floats:
    """Noise of several sizes between three colours: foliage, rock, cloth, out-of-focus clutter."""
    # Three greys of one tint: independent channels gave neon colours that photographs don't have.
    palette = np.clip(rng.uniform(20, 225, (3, 1)) + rng.normal(0, 22, 3) + rng.normal(0, 9, (3, 3)), 0, 255)
    cells = (2, 5, 12, 30, 70)
    slope = float(rng.uniform(0.45, 1.0))
    field = sum(smooth_noise(rng, px, cell) * slope**octave for octave, cell in enumerate(cells))
    share = 1 / (1 + np.exp(-2 * np.asarray(field)))[..., None]
    mixed = palette[0] + (palette[1] - palette[0]) * share + palette[2] * 0.3 * smooth_noise(rng, px, 8)[..., None]
    return to_range(mixed)


def skyline(material: Material, rng: Rng, px: int) -> Floats:
    """A photographed horizon whose sky was cut out, under a synthetic or photographed sky."""
    ground = crop_of(pick(material, "skyline", rng), rng, px, smallest=0.6)
    return over(draw_sky(material, rng, px), ground[..., :3], ground[..., 3] / np.float32(255))


def draw_sky(material: Material, rng: Rng, px: int) -> Floats:
    """A bluish, grey or evening sky with clouds; sometimes the blurred upper part of a photograph."""
    if material.of("photo") and rng.random() < 0.25:
        picture = pick(material, "photo", rng)
        return blur(crop_of(picture[: max(2, picture.shape[0] // 3)], rng, px, smallest=0.6), 2)
    tops = np.array([[90, 140, 210], [150, 165, 185], [205, 205, 210], [60, 80, 120], [215, 150, 110]])
    top = tops[int(rng.integers(len(tops)))] + rng.normal(0, 15, 3)
    low = top + (np.array([235, 235, 232]) - top) * float(rng.uniform(0.1, 0.8))
    down = np.linspace(0, 1, px)[:, None, None]
    clouds = np.clip(sum(smooth_noise(rng, px, cell) / cell**0.5 for cell in (3, 7, 15)), 0, None)
    sky = top + (low - top) * down + float(rng.uniform(0, 90)) * np.asarray(clouds)[..., None]
    return to_range(sky)


def ground_and_sky(material: Material, rng: Rng, px: int) -> Floats:
    """Two backgrounds that meet at a slightly uneven horizon; the lower one is foreshortened like a floor."""
    upper = draw_sky(material, rng, px) if rng.random() < 0.5 else crop_of(pick_filling(material, rng), rng, px, 0.4)
    lower = crop_of(pick_filling(material, rng), rng, px, 0.4)
    horizon = float(rng.uniform(0.3, 0.8)) * px
    rows = np.arange(px, dtype=np.float32)
    depth = np.clip((rows - horizon) / (px - horizon), 0, 1)
    lower = lower[np.minimum((depth ** float(rng.uniform(0.5, 1.0)) * (px - 1)).astype(np.int64), px - 1)]
    line = horizon + smooth_noise(rng, px, 3)[0] * float(rng.uniform(0, 0.04)) * px + rows * float(rng.normal(0, 0.03))
    below = np.clip((rows[:, None] - line[None]) / float(rng.uniform(0.8, 6)) + 0.5, 0, 1)
    return over(upper, lower, below.astype(np.float32))
