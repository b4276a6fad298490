"""Which pictures of a source are usable, and at what size: one connected cut-out, or a uniform texture."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.config import MAX_IMAGE_PIXELS
from pipeline.embedded.material import Pixels, Source
from pipeline.files.pictures import decoded

CUTOUT_PX = 384  # long side kept of cut-outs, textures and skylines: more than the 224 px of a composite
PHOTO_PX = 768  # long side kept of photographs; there are few, so composites use crops of them


def read_pictures(files: Sequence[Path], source: Source) -> Iterator[Pixels]:
    """The usable pictures among a source's files, downscaled, without identical files."""
    seen: set[bytes] = set()
    for file in files:
        content = file.read_bytes()
        digest = hashlib.sha256(content).digest()
        if digest not in seen:
            seen.add(digest)
            picture = read_picture(content, source)
            if picture is not None:
                yield picture


def read_picture(content: bytes, source: Source) -> Pixels | None:
    """One picture, or None if it is not usable as its kind."""

    def converted(stored: Image.Image) -> Image.Image:
        stored.draft("RGB", (PHOTO_PX, PHOTO_PX))
        return stored.convert("RGBA" if source.kind in ("cutout", "skyline") else "RGB")

    image = decoded(source.name, content, converted, max_pixels=MAX_IMAGE_PIXELS)
    image = image.crop((0, 0, image.width // source.frames, image.height))
    if source.kind == "cutout":
        return _usable_cutout(image, source.min_px, photographs_only=source.name == "stamps")
    image.thumbnail((PHOTO_PX, PHOTO_PX) if source.kind == "photo" else (CUTOUT_PX, CUTOUT_PX), reducing_gap=2.0)
    pixels = np.asarray(image)
    return None if source.kind == "texture" and not is_texture(pixels) else pixels


def _usable_cutout(image: Image.Image, min_px: int, *, photographs_only: bool) -> Pixels | None:
    box = image.getchannel("A").point(lambda alpha: 255 * (alpha > 40)).getbbox()
    if box is None or max(box[2] - box[0], box[3] - box[1]) < min_px:
        return None
    image = image.crop(box)
    image.thumbnail((CUTOUT_PX, CUTOUT_PX), reducing_gap=2.0)
    pixels = np.asarray(image)
    if not is_one_object(pixels[..., 3]) or (photographs_only and not is_photographic(pixels)):
        return None
    return pixels


def is_one_object(alpha: Pixels) -> bool:
    """Whether a cropped alpha shows one connected thing that neither fills its box (a sign) nor is mere threads."""
    small = np.asarray(Image.fromarray(alpha).resize((48, 48), Image.Resampling.BOX)) > 90
    share = small.mean()
    return bool(0.10 < share < 0.93 and _largest_part(small) > 0.85)


def _largest_part(mask: npt.NDArray[np.bool_]) -> float:
    """Share of the mask's pixels in its largest 8-connected part: labels spread to neighbours until none changes."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max(axis=(2, 3))
        spread = np.where(mask, windows, 0)
        if np.array_equal(spread, labels):
            return float(np.bincount(labels[mask]).max() / mask.sum())
        labels = spread


def _colours(pixels: Pixels) -> npt.NDArray[np.int64]:
    """Colours reduced to 5 bits per channel, as one number each: [n] from [n, 3]."""
    return np.asarray((pixels >> 3).astype(np.int64) @ np.array([1, 32, 1024]))


def is_photographic(pixels: Pixels) -> bool:
    """Whether a cut-out has the many colours and the uneven surface of a photograph, which flat art lacks.

    The bounds divide the 630 larger stamps as a person would, except for a dozen shaded drawings that pass.
    """
    opaque = pixels[..., 3] > 200
    grey = pixels[..., :3].astype(np.float32).mean(axis=2)
    flat = (np.abs(np.diff(grey, axis=1)) < 0.7)[opaque[:, 1:] & opaque[:, :-1]]
    if opaque.sum() < 400:
        return False
    counts = np.unique(_colours(pixels[..., :3][opaque]), return_counts=True)[1]
    five_commonest = np.sort(counts)[-5:].sum() / opaque.sum()
    return bool(len(counts) / np.sqrt(opaque.sum()) > 2.0 and five_commonest < 0.45 and flat.mean() < 0.5)


def is_texture(pixels: Pixels) -> bool:
    """Whether a picture looks the same everywhere (no faces, labels, unwrapped models) without being one colour."""
    height, width = pixels.shape[:2]
    if min(height, width) < 96 or max(height, width) > 3 * min(height, width):
        return False
    blocks = np.asarray(Image.fromarray(pixels).resize((5, 5), Image.Resampling.BOX)).reshape(25, 3).astype(np.float32)
    colours = len(np.unique(_colours(pixels.reshape(-1, 3))))
    return bool(blocks.std(axis=0).max() < 16 and pixels.std(axis=(0, 1)).max() > 4 and colours > 24)
