"""Collections to measure with: a few pictures under many names, since only their number matters."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.benchmarks.benchmark import PlaceKind
from pipeline.collection.config import InputConfig
from pipeline.files.tars import SampleTar

TAR_IMAGES = 1_000
"""Images per tar or parquet file, as img2dataset packs most collections."""
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


def packed(inputs: InputConfig, kind: PlaceKind) -> InputConfig:
    """The same images in a place of another kind, beside their folder."""
    folder = Path(inputs.images)
    return replace(inputs, images=str(_PACKERS[kind](folder, sorted(folder.iterdir()))))


def _in_a_folder(folder: Path, _files: Sequence[Path]) -> Path:
    return folder


def _in_a_zip(folder: Path, files: Sequence[Path]) -> Path:
    path = folder.with_name("images.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return path


def _in_tars(folder: Path, files: Sequence[Path]) -> Path:
    tars = folder.with_name("tars")
    tars.mkdir()
    for start in range(0, len(files), TAR_IMAGES):
        with (tars / f"{start // TAR_IMAGES:05d}.tar").open("wb") as file:
            tar = SampleTar(file)
            for image in files[start : start + TAR_IMAGES]:
                tar.add(image.stem, {"jpg": image.read_bytes()})
            tar.close()
    return tars


def _in_parquet(folder: Path, files: Sequence[Path]) -> Path:
    """Files as Hugging Face's datasets writes them, of as many images as a tar."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder.with_name("parquet")
    path.mkdir()
    for start in range(0, len(files), TAR_IMAGES):
        images = [{"bytes": image.read_bytes(), "path": image.name} for image in files[start : start + TAR_IMAGES]]
        pq.write_table(pa.table({"image": images}), path / f"{start // TAR_IMAGES:05d}.parquet")
    return path


_PACKERS: Mapping[PlaceKind, Callable[[Path, Sequence[Path]], Path]] = {
    "folder": _in_a_folder,
    "zip": _in_a_zip,
    "tars": _in_tars,
    "parquet": _in_parquet,
}
