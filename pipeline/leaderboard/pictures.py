"""The small pictures of a leaderboard: photos, masks and maps of images that are drawn by their keys."""

import hashlib
import io
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.evaluation.grey import read_prediction
from pipeline.evaluation.sources import Source
from pipeline.files.maps import decode_png
from pipeline.release.opened import OpenedRelease, samples_in

MOST_IMAGES = 200
"""Images that a board has pictures of: 5 KB each, and as much for each map of an entry."""
PX = 192
"""Longer side of a picture."""
_WEBP = {"quality": 75, "method": 2}


def pictured(keys: Iterable[str]) -> list[str]:
    """The keys that a board shows: all, or as many as the SHA-256 of their names draws, in order."""
    drawn = sorted(keys, key=lambda key: hashlib.sha256(key.encode()).hexdigest())[:MOST_IMAGES]
    return sorted(drawn)


def pictures_of_release(opened: OpenedRelease, keys: Collection[str]) -> dict[str, bytes]:
    """Photo and mask of these images; masks alone where the release has no photos.

    Returns: `KEY.photo.webp`, `KEY.mask.webp` → content.
    Raises:  StorageError: a file of the release is torn.
    """
    wanted, found = set(keys), dict[str, bytes]()
    for sample in samples_in(opened):
        if sample.key not in wanted:
            continue
        found[f"{sample.key}.mask.webp"] = encode_small(decode_png(sample.members["mask.png"]))
        if "jpg" in sample.members:
            most_px = sample.row["width"] * sample.row["height"]
            photo = decode_rgb(sample.key, sample.members["jpg"], max_pixels=most_px)
            found[f"{sample.key}.photo.webp"] = encode_small(photo)
        if len(found) == 2 * len(wanted):
            break
    return found


def pictures_of_maps(sources: Mapping[str, Source], keys: Iterable[str], max_pixels: int) -> dict[str, bytes]:
    """The maps of these images, `KEY.webp` → content; images without a usable map are left out."""
    found = {}
    for key in keys:
        if key in sources:
            try:
                found[f"{key}.webp"] = encode_small(read_prediction(sources[key], max_pixels))
            except SampleError:
                continue  # the evaluation has named it
    return found


def encode_small(pixels: UInt8[np.ndarray, "h w *c"]) -> bytes:
    """A WebP whose longer side is at most `PX`."""
    image = Image.fromarray(pixels)
    scale = min(1.0, PX / max(image.size))
    small = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    buffer = io.BytesIO()
    image.resize(small, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST).save(
        buffer, format="WEBP", **_WEBP
    )
    return buffer.getvalue()
