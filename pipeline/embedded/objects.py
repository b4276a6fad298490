"""The objects of a composite: their layout, colours that fit the scene, shadows, and clutter around them.

Colours are float32 [px, px, 3] in 0..255 and alphas float32 [px, px] in 0..1.
"""

import numpy as np
from PIL import Image

from pipeline.embedded.backgrounds import crop_of, pick, pick_filling
from pipeline.embedded.effects import GREY, Floats, Rng, blur, feather, jitter_colours, over, to_range
from pipeline.embedded.material import Material, Pixels

MIN_AREA, MAX_AREA = 0.015, 0.80  # shares of the frame: smaller is noise at 8-px cells, larger leaves no background
LAYOUT_ATTEMPTS = 8


def draw_layout(material: Material, rng: Rng, px: int) -> list[tuple[Floats, Floats]]:
    """Colours [px, px, 3] and alpha [px, px] of one to three objects, back to front, redrawn if out of bounds."""
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
    alike = rng.random() < 0.5  # several of a kind, like fruit or cups
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
    """Mirror, stretch and slightly tilt the cut-out; rarely turn it upside down."""
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
    """Scale the cut-out to a long side and put it on an empty frame; `at` is its centre as a fraction of the frame.

    One in ten stands on the lower border, like people in portraits. Whatever leaves the frame is cut off.
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
    """Make colours fit the scene: jitter them, sometimes change the material, move them towards the surroundings."""
    if rng.random() < 0.14:
        colours = refill(colours, alpha, material, rng)
    elif rng.random() < 0.3:
        colours = roughen(colours, material, rng)
    colours = jitter_colours(colours, rng)
    colours = harmonise(colours, alpha, scene, float(rng.uniform(0, 0.45)))
    return colours if rng.random() < 0.1 else stand_out(colours, alpha, scene)


def refill(colours: Floats, alpha: Floats, material: Material, rng: Rng) -> Floats:
    """Fill the silhouette with a photographic texture, keeping part of its shading: colour must not reveal shape."""
    texture = crop_of(pick_filling(material, rng), rng, colours.shape[0], smallest=0.25)
    grey = colours @ GREY
    inside = max(float(alpha.sum()), 1.0)
    shading = (grey - float((grey * alpha).sum()) / inside) * float(rng.uniform(0.2, 0.8))
    return to_range(texture + shading[..., None])


def roughen(colours: Floats, material: Material, rng: Rng) -> Floats:
    """Lay the fine structure of a texture over a surface: rendered objects are smoother than photographed ones."""
    texture = crop_of(pick_filling(material, rng), rng, colours.shape[0], smallest=0.4) @ GREY
    detail = (texture - blur(texture, 6)) * float(rng.uniform(0.3, 0.9))
    return to_range(colours + detail[..., None])


def harmonise(colours: Floats, alpha: Floats, scene: Floats, amount: float) -> Floats:
    """Move mean and contrast of the object towards those of the scene by `amount` (0 not at all, 1 fully)."""
    weight = alpha[..., None] / max(float(alpha.sum()), 1.0)
    mean = (colours * weight).sum(axis=(0, 1))
    around = scene.mean(axis=(0, 1))
    spread = np.sqrt((((colours - mean) ** 2) * weight).sum(axis=(0, 1))) + 8
    ratio = np.clip((scene.std(axis=(0, 1)) + 8) / spread, 0.6, 1.5)
    contrast = 1 + amount * (ratio - 1)
    return to_range((colours - mean) * contrast + mean + 0.6 * amount * (around - mean))


def stand_out(colours: Floats, alpha: Floats, scene: Floats) -> Floats:
    """Make an object lighter or darker if it would vanish in its surroundings, where nobody would call it salient.

    The distance is that between the mean colours of object and rim, plus half the object's own contrast.
    """
    px = alpha.shape[0]
    rim = np.clip(feather(alpha, 0.06 * px) * 2, 0, 1) * (1 - alpha)
    inside, outside = max(float(alpha.sum()), 1.0), max(float(rim.sum()), 1.0)
    mean = (colours * alpha[..., None]).sum(axis=(0, 1)) / inside
    around = (scene * rim[..., None]).sum(axis=(0, 1)) / outside
    spread = float(np.sqrt((((colours - mean) @ GREY) ** 2 * alpha).sum() / inside))
    distance = float(np.abs(mean - around).max()) + 0.5 * spread
    missing = max(0.0, 45 - distance)
    sign = 1 if (float(mean @ GREY) > float(around @ GREY) or around.max() < 60) and around.min() < 200 else -1
    return to_range(colours + sign * 1.5 * missing)


def cast_shadow(scene: Floats, alpha: Floats, rng: Rng) -> Floats:
    """Cast a soft shadow: half the time a copy of the object beside it, otherwise a flat one under its foot."""
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


def add_clutter(scene: Floats, material: Material, rng: Rng) -> Floats:
    """Add one to three small, blurred cut-outs near the border: present, but not what the picture is about."""
    px = scene.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        angle = float(rng.uniform(0, 2 * np.pi))
        reach = 0.40 / max(abs(np.cos(angle)), abs(np.sin(angle)))
        at = (0.5 + reach * float(np.cos(angle)), 0.5 + reach * float(np.sin(angle)))
        side = px * float(rng.uniform(0.08, 0.20))
        colours, alpha = place(turn(pick(material, "cutout", rng), rng), side, at, px, rng)
        colours = harmonise(colours, alpha, scene, 0.8)
        radius = float(rng.uniform(0.8, 2.5)) * px / 192
        # Blur colours together with their alpha, or the black around a cut-out would bleed into its edge.
        soft = feather(alpha, radius)
        colours = to_range(blur(colours * alpha[..., None], radius) / np.maximum(soft, 1e-3)[..., None])
        scene = over(scene, colours, soft)
    return scene
