"""Collections to measure with: a few pictures under many names, since only their number matters."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.collection.config import InputConfig

VARIANTS = 16
"""Number of different pictures in a collection."""
MADE_WITH = {"weights": "benchmark"}
"""What the fingerprint of a measured run says about its model."""


def make_photo(number: int, width: int, height: int) -> bytes:
    """A photograph-like JPEG; about 100 kB for 640 x 480 px, as in COCO."""
    random = np.random.default_rng(number)
    coarse_px = (max(1, height // 8), max(1, width // 8), 3)
    coarse = Image.fromarray(random.integers(0, 256, coarse_px, dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
    grain = random.normal(0, 6, (height, width, 1))
    buffer = io.BytesIO()
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def make_collection(root: Path, images: int, width: int, height: int) -> InputConfig:
    """Write a collection of `images` photograph-like JPEGs, `VARIANTS` of them different."""
    return write_collection(
        root, [make_photo(number, width, height) for number in range(VARIANTS)], images, width, height
    )


def write_collection(root: Path, photos: Sequence[bytes], images: int, width: int, height: int) -> InputConfig:
    """Write images with ids 1, 2, … and their annotations; image n has the bytes of photo n % len(photos)."""
    folder, annotations = root / "images", root / "annotations.json"
    folder.mkdir(parents=True)
    for number, photo in enumerate(photos):
        (root / f"photo-{number}.jpg").write_bytes(photo)
    entries = []
    for number in range(1, images + 1):
        name = f"{number:012d}.jpg"
        (folder / name).hardlink_to(root / f"photo-{number % len(photos)}.jpg")
        entries.append({"id": number, "file_name": name, "width": width, "height": height, "license": 1})
    licenses = [{"id": 1, "name": "CC BY", "url": "http://creativecommons.org/licenses/by/2.0/"}]
    annotations.write_text(json.dumps({"images": entries, "licenses": licenses}))
    return InputConfig(images=str(folder), annotations=str(annotations))
