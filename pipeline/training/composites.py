"""Salient-object composites: cut-outs pasted over backgrounds so that nothing but the object itself gives it away.

Owns: one composite as a pure function of (material, seed, index, px), and writing many of them in resumable parts.
Where the pictures come from is `pipeline.training.sources`.

Every effect is one small function. Images are float32 [h, w, 3] in 0..255 and alphas float32 [h, w] in 0..1 until the
end. The order matters: paste, then light, blur, noise, gamma and JPEG over the whole, so that seams are no cue.
"""

import io
import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageFilter

from pipeline.errors import RunMismatchError
from pipeline.training.sources import Group, Kind, Material, Pixels

Floats = npt.NDArray[np.float32]
Rng = np.random.Generator

RECIPE_VERSION = 1  # goes up when the same arguments give other bytes
PART_SAMPLES = 500
MIN_AREA, MAX_AREA = 0.015, 0.80  # of the frame: smaller is noise at 8-px cells, larger leaves no background
LAYOUT_ATTEMPTS = 8

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def make_composite(material: Material, seed: int, index: int, px: int) -> tuple[Pixels, Pixels]:
    """One training pair: the same bytes for the same arguments (and versions of numpy and Pillow) on every machine.

    Returns: image uint8 [px, px, 3]; mask uint8 [px, px], soft alpha of all salient objects, mean in about
        `MIN_AREA`..`MAX_AREA` of 255 (where no layout in `LAYOUT_ATTEMPTS` reached that, the last one is kept).
    """
    rng = np.random.default_rng([seed, index])
    scene, is_plain = draw_background(material, rng, px)
    if not is_plain and rng.random() < 0.35:
        scene = add_clutter(scene, material, rng)
    layers = draw_layout(material, rng, px)
    mask = np.zeros((px, px), dtype=np.float32)
    for colours, alpha in layers:
        colours = dress_object(colours, alpha, scene, material, rng)
        if rng.random() < 0.65:
            scene = cast_shadow(scene, alpha, rng)
        alpha = feather(alpha, float(rng.uniform(0.3, 1.0)) * px / 192)
        scene = over(scene, colours, alpha)
        mask = 1 - (1 - mask) * (1 - alpha)
    image = photograph(illuminate(scene, rng), rng)
    return image, np.rint(mask * 255).astype(np.uint8)


# --- objects ----------------------------------------------------------------------------------------------------------


def draw_layout(material: Material, rng: Rng, px: int) -> list[tuple[Floats, Floats]]:
    """Colours [px, px, 3] and alpha [px, px] of one to three objects, back to front, laid out anew if out of bounds."""
    layers: list[tuple[Floats, Floats]] = []
    for _ in range(LAYOUT_ATTEMPTS):
        layers = _one_layout(material, rng, px)
        seen = 1 - np.prod([1 - alpha for _, alpha in layers], axis=0)
        if MIN_AREA <= seen.mean() <= MAX_AREA:
            break
    return layers


def _one_layout(material: Material, rng: Rng, px: int) -> list[tuple[Floats, Floats]]:
    count = int(rng.choice([1, 2, 3], p=[0.74, 0.19, 0.07]))
    long_side = px * float(np.clip(0.66 * rng.lognormal(0, 0.42), 0.2, 1.4)) / count**0.35
    centre = np.clip(rng.normal(0.5, 0.11, 2), 0.2, 0.8)
    alike = rng.random() < 0.5  # several of a kind, as fruit or cups are
    cutout = pick(material, "cutout", rng)
    layers = []
    for number in range(count):
        if number and not alike:
            cutout = pick(material, "cutout", rng)
        side = long_side * float(rng.uniform(0.8, 1.2)) if count > 1 else long_side
        offset = (number - (count - 1) / 2) * 0.75 * side / px
        at = centre + np.array([offset + rng.normal(0, 0.03), rng.normal(0, 0.05)]) if count > 1 else centre
        layers.append(place(turn(cutout, rng), side, (float(at[0]), float(at[1])), px, rng))
    return layers


def turn(cutout: Pixels, rng: Rng) -> Image.Image:
    """The cut-out mirrored, stretched, tilted a little, rarely upside down."""
    image = Image.fromarray(cutout)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    stretch = float(rng.uniform(0.88, 1.14))
    image = image.resize((max(2, round(image.width * stretch)), image.height), Image.Resampling.BILINEAR)
    draw = rng.random()
    angle = float(rng.normal(0, 8)) if draw < 0.6 else float(rng.uniform(-180, 180)) if draw < 0.7 else 0.0
    if abs(angle) > 1:
        image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    box = image.getchannel("A").getbbox()
    return image.crop(box) if box else image


def place(image: Image.Image, side: float, at: tuple[float, float], px: int, rng: Rng) -> tuple[Floats, Floats]:
    """The cut-out scaled to a long side and put on an empty frame; `at` is its centre as a fraction of the frame.

    One in ten stands on the lower border as people in portraits do. What leaves the frame is cut.
    """
    scale = side / max(image.size)
    width, height = max(2, round(image.width * scale)), max(2, round(image.height * scale))
    image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    x, y = round(at[0] * px - width / 2), round(at[1] * px - height / 2)
    if rng.random() < 0.1:
        y = px - round(height * float(rng.uniform(0.75, 1.0)))
    frame = Image.new("RGBA", (px, px))
    frame.paste(image, (x, y))
    pixels = np.asarray(frame).astype(np.float32)
    return pixels[..., :3], pixels[..., 3] / np.float32(255)


def dress_object(colours: Floats, alpha: Floats, scene: Floats, material: Material, rng: Rng) -> Floats:
    """Colours that fit the photograph: jittered, sometimes another material, drawn towards what is around."""
    if rng.random() < 0.14:
        colours = refill(colours, alpha, material, rng)
    elif rng.random() < 0.3:
        colours = roughen(colours, material, rng)
    colours = jitter_colours(colours, rng)
    colours = harmonise(colours, alpha, scene, float(rng.uniform(0, 0.45)))
    return colours if rng.random() < 0.1 else stand_out(colours, alpha, scene)


def refill(colours: Floats, alpha: Floats, material: Material, rng: Rng) -> Floats:
    """The silhouette filled with a photographic texture, keeping part of its shading: shape must not be colour."""
    texture = crop_of(pick_filling(material, rng), rng, colours.shape[0], smallest=0.25)
    grey = colours @ _GREY
    inside = max(float(alpha.sum()), 1.0)
    shading = (grey - float((grey * alpha).sum()) / inside) * float(rng.uniform(0.2, 0.8))
    return to_range(texture + shading[..., None])


def roughen(colours: Floats, material: Material, rng: Rng) -> Floats:
    """The fine structure of a texture over a surface: rendered objects are too smooth to be photographs."""
    texture = crop_of(pick_filling(material, rng), rng, colours.shape[0], smallest=0.4) @ _GREY
    detail = (texture - blur(texture, 6)) * float(rng.uniform(0.3, 0.9))
    return to_range(colours + detail[..., None])


def harmonise(colours: Floats, alpha: Floats, scene: Floats, amount: float) -> Floats:
    """Mean and contrast of the object moved towards those of the scene by `amount` (0 not at all, 1 fully)."""
    weight = alpha[..., None] / max(float(alpha.sum()), 1.0)
    mean = (colours * weight).sum(axis=(0, 1))
    around = scene.mean(axis=(0, 1))
    spread = np.sqrt((((colours - mean) ** 2) * weight).sum(axis=(0, 1))) + 8
    ratio = np.clip((scene.std(axis=(0, 1)) + 8) / spread, 0.6, 1.5)
    contrast = 1 + amount * (ratio - 1)
    return to_range((colours - mean) * contrast + mean + 0.6 * amount * (around - mean))


def stand_out(colours: Floats, alpha: Floats, scene: Floats) -> Floats:
    """The object made lighter or darker where it would vanish in its surroundings: nobody would call it salient.

    Colour distance is that between the object's mean and its rim's, plus what the two differ in contrast.
    """
    px = alpha.shape[0]
    rim = np.clip(feather(alpha, 0.06 * px) * 2, 0, 1) * (1 - alpha)
    inside, outside = max(float(alpha.sum()), 1.0), max(float(rim.sum()), 1.0)
    mean = (colours * alpha[..., None]).sum(axis=(0, 1)) / inside
    around = (scene * rim[..., None]).sum(axis=(0, 1)) / outside
    spread = float(np.sqrt((((colours - mean) @ _GREY) ** 2 * alpha).sum() / inside))
    distance = float(np.abs(mean - around).max()) + 0.5 * spread
    missing = max(0.0, 45 - distance)
    sign = 1 if (float(mean @ _GREY) > float(around @ _GREY) or around.max() < 60) and around.min() < 200 else -1
    return to_range(colours + sign * 1.5 * missing)


def cast_shadow(scene: Floats, alpha: Floats, rng: Rng) -> Floats:
    """A soft dark copy of the object beside it, or, as often, a flat one under its foot."""
    px = alpha.shape[0]
    frame = Image.fromarray(np.rint(alpha * 255).astype(np.uint8))
    box = frame.getbbox()
    if box is None:
        return scene
    shadow = Image.new("L", (px, px))
    if rng.random() < 0.5:
        shift = rng.normal(0, 0.04 * px, 2)
        shadow.paste(frame, (round(float(shift[0])), round(abs(float(shift[1])))))
    else:
        height = max(2, round((box[3] - box[1]) * float(rng.uniform(0.06, 0.2))))
        flat = frame.crop(box).resize((box[2] - box[0], height), Image.Resampling.BILINEAR)
        shadow.paste(flat, (box[0] + round(float(rng.normal(0, 0.03 * px))), box[3] - height // 2 - 1))
    soft = feather(np.asarray(shadow).astype(np.float32) / np.float32(255), float(rng.uniform(0.01, 0.05)) * px)
    return to_range(scene * (1 - float(rng.uniform(0.15, 0.6)) * soft[..., None]))


def over(scene: Floats, colours: Floats, alpha: Floats) -> Floats:
    """The colours laid over the scene."""
    return np.asarray(scene + (colours - scene) * alpha[..., None], dtype=np.float32)


def feather(alpha: Floats, radius: float) -> Floats:
    """The alpha with softened edges, still in 0..1."""
    return blur(alpha * np.float32(255), radius) / np.float32(255)


# --- backgrounds ------------------------------------------------------------------------------------------------------


def draw_background(material: Material, rng: Rng, px: int) -> tuple[Floats, bool]:
    """A background [px, px, 3], and whether it is a plain one (a studio, a sheet of paper) where clutter would lie."""
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


def pick(material: Material, kind: Kind, rng: Rng) -> Pixels:
    """A picture of this kind: the source by its share, then any of its pictures."""
    groups = material.of(kind)
    shares = np.array([group.source.share for group in groups])
    group = groups[int(rng.choice(len(groups), p=shares / shares.sum()))]
    return group.pictures[int(rng.integers(len(group.pictures)))]


def pick_filling(material: Material, rng: Rng) -> Pixels:
    """A texture or a photograph, or plain noise where the material has neither."""
    kinds: list[Kind] = [kind for kind in ("texture", "photo") if material.of(kind)]
    if not kinds:
        return noise_field(rng, 96).astype(np.uint8)
    return pick(material, kinds[int(rng.integers(len(kinds)))], rng)


def crop_of(picture: Pixels, rng: Rng, px: int, smallest: float) -> Floats:
    """A square of the picture, of `smallest` to 1 of its short side, mirrored by chance, at [px, px, 3 or 4]."""
    height, width = picture.shape[:2]
    side = float(rng.uniform(smallest, 1)) * min(height, width)
    x, y = float(rng.uniform(0, width - side)), float(rng.uniform(0, height - side))
    box = (x, y, x + side, y + side)
    image = Image.fromarray(picture).resize((px, px), Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    pixels = np.asarray(image).astype(np.float32)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def studio(rng: Rng, px: int) -> Floats:
    """White paper or a nearly uniform wall with a little light fall-off: what products are photographed on."""
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
    # Three greys of one tint: independent channels gave neon colours that no photograph has.
    palette = np.clip(rng.uniform(20, 225, (3, 1)) + rng.normal(0, 22, 3) + rng.normal(0, 9, (3, 3)), 0, 255)
    cells = (2, 5, 12, 30, 70)
    slope = float(rng.uniform(0.45, 1.0))
    field = sum(smooth_noise(rng, px, cell) * slope**octave for octave, cell in enumerate(cells))
    share = 1 / (1 + np.exp(-2 * np.asarray(field)))[..., None]
    mixed = palette[0] + (palette[1] - palette[0]) * share + palette[2] * 0.3 * smooth_noise(rng, px, 8)[..., None]
    return to_range(mixed)


def skyline(material: Material, rng: Rng, px: int) -> Floats:
    """A photographed horizon whose sky was cut out, under a made or photographed sky."""
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
    """Two backgrounds that meet at a slightly uneven horizon; the lower one is foreshortened, as a floor is."""
    upper = draw_sky(material, rng, px) if rng.random() < 0.5 else crop_of(pick_filling(material, rng), rng, px, 0.4)
    lower = crop_of(pick_filling(material, rng), rng, px, 0.4)
    horizon = float(rng.uniform(0.3, 0.8)) * px
    rows = np.arange(px, dtype=np.float32)
    depth = np.clip((rows - horizon) / (px - horizon), 0, 1)
    lower = lower[np.minimum((depth ** float(rng.uniform(0.5, 1.0)) * (px - 1)).astype(np.int64), px - 1)]
    line = horizon + smooth_noise(rng, px, 3)[0] * float(rng.uniform(0, 0.04)) * px + rows * float(rng.normal(0, 0.03))
    below = np.clip((rows[:, None] - line[None]) / float(rng.uniform(0.8, 6)) + 0.5, 0, 1)
    return over(upper, lower, below.astype(np.float32))


def add_clutter(scene: Floats, material: Material, rng: Rng) -> Floats:
    """One to three small, blurred cut-outs near the border: there, but not what the picture is of."""
    px = scene.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        angle = float(rng.uniform(0, 2 * np.pi))
        reach = 0.40 / max(abs(np.cos(angle)), abs(np.sin(angle)))
        at = (0.5 + reach * float(np.cos(angle)), 0.5 + reach * float(np.sin(angle)))
        side = px * float(rng.uniform(0.08, 0.20))
        colours, alpha = place(turn(pick(material, "cutout", rng), rng), side, at, px, rng)
        colours = harmonise(colours, alpha, scene, 0.8)
        radius = float(rng.uniform(0.8, 2.5)) * px / 192
        # Colours are blurred with their alpha, else the black around a cut-out would bleed into its edge.
        soft = feather(alpha, radius)
        colours = to_range(blur(colours * alpha[..., None], radius) / np.maximum(soft, 1e-3)[..., None])
        scene = over(scene, colours, soft)
    return scene


# --- light and camera -------------------------------------------------------------------------------------------------


def illuminate(scene: Floats, rng: Rng) -> Floats:
    """Light from one side over everything, and sometimes darker corners."""
    px = scene.shape[0]
    light: npt.NDArray[np.floating[Any]] = 1 + float(rng.uniform(0, 0.4)) * (ramp_field(rng, px) - 0.5)
    if rng.random() < 0.25:
        axis = np.linspace(-1, 1, px, dtype=np.float32)
        light = light * (1 - float(rng.uniform(0.05, 0.3)) * (axis[:, None] ** 2 + axis[None] ** 2) / 2)
    return to_range(scene * light[..., None])


def photograph(scene: Floats, rng: Rng) -> Pixels:
    """What a camera does to all of it alike: blur, noise, gamma, rarely black and white, JPEG of quality 35-95."""
    px = scene.shape[0]
    radii = [0, rng.uniform(0.2, 0.9), rng.uniform(0.9, 1.8)]
    scene = blur(scene, float(rng.choice(radii, p=[0.4, 0.5, 0.1])) * px / 192)
    if rng.random() < 0.06:
        scene = np.repeat((scene @ _GREY)[..., None], 3, axis=2)
    sigma = float(np.clip(rng.lognormal(0.9, 0.7), 0, 14))
    scene = scene + sigma * rng.standard_normal(scene.shape, dtype=np.float32)
    curve = 255 * np.linspace(0, 1, 256) ** float(np.exp(rng.normal(0, 0.18)))
    levels = np.rint(curve).astype(np.uint8)[np.clip(np.rint(scene), 0, 255).astype(np.uint8)]
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=int(rng.integers(35, 96)))
    return np.asarray(Image.open(buffer).convert("RGB"))


def jitter_colours(image: Floats, rng: Rng) -> Floats:
    """Exposure, contrast, saturation and white balance changed at random, as lights and cameras do."""
    grey = (image @ _GREY)[..., None]
    image = to_range(grey + (image - grey) * float(np.exp(rng.normal(-0.08, 0.3))))
    gains = np.exp(rng.normal(0, 0.16) + rng.normal(0, 0.07, 3)).astype(np.float32)
    contrast = float(np.exp(rng.normal(0, 0.15)))
    return to_range(((image - 128) * contrast + 128) * gains)


def to_range(values: npt.NDArray[np.floating[Any]]) -> Floats:
    """Clipped to 0..255, as float32."""
    return np.asarray(np.clip(values, 0, 255), dtype=np.float32)


def blur(image: Floats, radius: float) -> Floats:
    """Gaussian blur in 8 bits (Pillow's is several times faster than a float one in numpy); values in 0..255."""
    if radius < 0.1:
        return image
    levels = Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    return np.asarray(levels.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)


def smooth_noise(rng: Rng, px: int, cells: int) -> Floats:
    """Normal noise of `cells` × `cells` nodes, interpolated to [px, px]; standard deviation somewhat below 1."""
    nodes = Image.fromarray(rng.standard_normal((cells + 1, cells + 1), dtype=np.float32))
    return np.asarray(nodes.resize((px, px), Image.Resampling.BICUBIC))


def ramp_field(rng: Rng, px: int) -> Floats:
    """A ramp from 0 to 1 across the frame in a random direction, [px, px]."""
    angle = float(rng.uniform(0, 2 * np.pi))
    axis = np.linspace(-1, 1, px, dtype=np.float32)
    ramp = axis[None] * np.float32(np.cos(angle)) + axis[:, None] * np.float32(np.sin(angle))
    return np.asarray((ramp - ramp.min()) / max(float(ramp.max() - ramp.min()), 1e-6), dtype=np.float32)


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one part is made of; the material comes from the process (`_MATERIAL`), not with each part."""

    images: Path
    masks: Path
    seed: int
    px: int
    first: int
    samples: int


_MATERIAL: list[Material] = []  # set once per worker: forked processes share the pictures' memory


def write_composites(
    material: Material, out: Path, count: int, seed: int, px: int, workers: int, report: Callable[[str], None] = print
) -> dict[str, Any]:
    """Write `count` composites in parts of `PART_SAMPLES`, skipping parts that are there; `recipe.json` comes last.

    A part is a pair of raw .npy files, `part-00000.images.npy` uint8 [n, px, px, 3] and `part-00000.masks.npy` uint8
    [n, px, px]: they can be memory-mapped and shuffled over without being unpacked, and, unlike a zip, have no time
    stamps. The masks are published after the images, so a part whose masks are there is complete.
    Returns: the recipe: what was made, from which archives, under which licences.
    Raises:  RunMismatchError: `out` was begun with another seed, size, material or version.
    """
    recipe = describe(material, count, seed, px)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, {name: value for name, value in recipe.items() if name != "count"})
    missing = [part for part in plan_parts(out, count, seed, px) if not _is_there(part)]
    context = multiprocessing.get_context("fork")
    with context.Pool(max(1, workers), initializer=_set_material, initargs=(material,)) as pool:
        for number, part in enumerate(pool.imap_unordered(_write_part, missing), start=1):
            report(f"{part.masks.name} ({number} of {len(missing)} parts)")
    _publish(out / "recipe.json", json.dumps(recipe, indent=1, sort_keys=True).encode())
    return recipe


def describe(material: Material, count: int, seed: int, px: int) -> dict[str, Any]:
    """The recipe: everything that the composites' bytes depend on, and what their licences are."""
    sources = [_describe_group(group) for group in material.groups]
    versions = {"recipe": RECIPE_VERSION, "numpy": np.__version__, "pillow": PIL.__version__}
    return {"count": count, "seed": seed, "px": px, "versions": versions, "sources": sources}


def _describe_group(group: Group) -> dict[str, Any]:
    return {**asdict(group.source), "archive": group.archive, "sha256": group.sha256, "used": len(group.pictures)}


def plan_parts(out: Path, count: int, seed: int, px: int) -> list[_Part]:
    """All parts of `count` composites; only the last one may be shorter."""
    parts = []
    for number, first in enumerate(range(0, count, PART_SAMPLES)):
        images, masks = (out / f"part-{number:05d}.{kind}.npy" for kind in ("images", "masks"))
        samples = min(PART_SAMPLES, count - first)
        parts.append(_Part(images=images, masks=masks, seed=seed, px=px, first=first, samples=samples))
    return parts


def _is_there(part: _Part) -> bool:
    """Whether the part is complete: both files, and not ended early by a smaller `count` of before."""
    if not (part.images.is_file() and part.masks.is_file()):
        return False
    shapes = [np.load(path, mmap_mode="r").shape for path in (part.images, part.masks)]
    return shapes == [(part.samples, part.px, part.px, 3), (part.samples, part.px, part.px)]


def _claim(out: Path, request: dict[str, Any]) -> None:
    """Refuse a folder that was begun with another request; parts of two recipes must not mix."""
    path = out / "request.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        different = sorted(name for name in request if before.get(name) != request[name])
        if different:
            raise RunMismatchError(f"{out} was begun with another {', '.join(different)}; hint: take another folder")
    _publish(path, json.dumps(request, indent=1, sort_keys=True).encode())


def _set_material(material: Material) -> None:
    _MATERIAL[:] = [material]


def _write_part(part: _Part) -> _Part:
    images = np.empty((part.samples, part.px, part.px, 3), dtype=np.uint8)
    masks = np.empty((part.samples, part.px, part.px), dtype=np.uint8)
    for number in range(part.samples):
        images[number], masks[number] = make_composite(_MATERIAL[0], part.seed, part.first + number, part.px)
    for path, samples in ((part.images, images), (part.masks, masks)):
        buffer = io.BytesIO()
        np.save(buffer, samples)
        _publish(path, buffer.getbuffer())
    return part


def _publish(path: Path, content: bytes | memoryview) -> None:
    """Write beside the final name, sync, rename: a reader sees all of it or nothing."""
    partial = path.with_name(path.name + ".tmp")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def draw_preview(material: Material, seed: int, px: int) -> Image.Image:
    """The first 48 composites, each beside its mask, in 8 rows of 6: to be looked at before a training."""
    sheet = Image.new("RGB", (12 * px, 8 * px))
    for index in range(48):
        image, mask = make_composite(material, seed, index, px)
        at = (index % 6 * 2 * px, index // 6 * px)
        sheet.paste(Image.fromarray(image), at)
        sheet.paste(Image.fromarray(mask), (at[0] + px, at[1]))
    return sheet
