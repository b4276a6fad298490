"""Effects on pictures: overlay, softening, noise, light and camera.

Images are float32 [h, w, 3] in 0..255 and alphas float32 [h, w] in 0..1 until `photograph`, the last effect.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pipeline.embedded.material import Pixels
from pipeline.files.pictures import decoded

Floats = npt.NDArray[np.float32]
Rng = np.random.Generator

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""


def over(scene: Floats, colours: Floats, alpha: Floats) -> Floats:
    """Lay the colours over the scene."""
    return np.asarray(scene + (colours - scene) * alpha[..., None], dtype=np.float32)


def feather(alpha: Floats, radius: float) -> Floats:
    """Soften the edges of an alpha; it stays in 0..1."""
    return blur(alpha * np.float32(255), radius) / np.float32(255)


def illuminate(scene: Floats, rng: Rng) -> Floats:
    """Light everything from one side, and sometimes darken the corners."""
    px = scene.shape[0]
    light: npt.NDArray[np.floating[Any]] = 1 + float(rng.uniform(0, 0.4)) * (ramp_field(rng, px) - 0.5)
    if rng.random() < 0.25:
        axis = np.linspace(-1, 1, px, dtype=np.float32)
        light = light * (1 - float(rng.uniform(0.05, 0.3)) * (axis[:, None] ** 2 + axis[None] ** 2) / 2)
    return to_range(scene * light[..., None])


def photograph(scene: Floats, rng: Rng) -> Pixels:
    """Do what a camera does to the whole picture: blur, noise, gamma, rarely black and white, JPEG of quality 35-95."""
    px = scene.shape[0]
    radii = [0, rng.uniform(0.2, 0.9), rng.uniform(0.9, 1.8)]
    scene = blur(scene, float(rng.choice(radii, p=[0.4, 0.5, 0.1])) * px / 192)
    if rng.random() < 0.06:
        scene = np.repeat((scene @ GREY)[..., None], 3, axis=2)
    sigma = float(np.clip(rng.lognormal(0.9, 0.7), 0, 14))
    scene = scene + sigma * rng.standard_normal(scene.shape, dtype=np.float32)
    curve = 255 * np.linspace(0, 1, 256) ** float(np.exp(rng.normal(0, 0.18)))
    levels = np.rint(curve).astype(np.uint8)[np.clip(np.rint(scene), 0, 255).astype(np.uint8)]
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=int(rng.integers(35, 96)))
    return decoded("scene", buffer.getvalue(), lambda image: np.asarray(image.convert("RGB")), max_pixels=levels.size)


def jitter_colours(image: Floats, rng: Rng) -> Floats:
    """Change exposure, contrast, saturation and white balance at random, as lights and cameras do."""
    grey = (image @ GREY)[..., None]
    image = to_range(grey + (image - grey) * float(np.exp(rng.normal(-0.08, 0.3))))
    gains = np.exp(rng.normal(0, 0.16) + rng.normal(0, 0.07, 3)).astype(np.float32)
    contrast = float(np.exp(rng.normal(0, 0.15)))
    return to_range(((image - 128) * contrast + 128) * gains)


def to_range(values: npt.NDArray[np.floating[Any]]) -> Floats:
    """Clip to 0..255, as float32."""
    return np.asarray(np.clip(values, 0, 255), dtype=np.float32)


def blur(image: Floats, radius: float) -> Floats:
    """Blur with a Gaussian in 8 bits, several times faster in Pillow than in numpy with floats; values in 0..255."""
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
