"""Real photographs from public packages, each with the teacher's saliency map: what composites can't show.

Owns: the list of photographs (`photographs.csv`), and the way from it to labelled pictures on disk. Training pairs that
are cut from them are `pipeline.embedded.photograph_views`.

No photograph of the sample is in the list, nor one of the field's test sets.
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

from pipeline.collection.images import decode_rgb
from pipeline.embedded.archives import fetch_archive, unpack
from pipeline.embedded.material import Pixels, Registry, Source, SourceError
from pipeline.embedded.teacher import Teacher
from pipeline.files.storage import publish

LIST = Path(__file__).with_name("photographs.csv")
_PERMISSIVE = re.compile(r"(CC0-|CC-BY-\d|public-domain|MIT|Apache-|BSD-)")
LONG_SIDE_PX = 448
"""Photographs are kept at twice the side of a view: a view is a crop of half the sides or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One line of the list: a file of a package.

    Args:
        path: inside the archive, or inside the archive in it.
        sha256: of the file; another content is refused, since nobody has looked at it.
        licence: of the file as the package's `copyright` has it, else of the package.
    """

    registry: Registry
    package: str
    version: str
    path: str
    sha256: str
    licence: str

    @property
    def is_permissive(self) -> bool:
        """Does the licence ask for no more than attribution?"""
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
        raise SourceError(f"{path} is no list of photographs: {error}") from error


def label(
    photographs: Sequence[Photograph],
    cache: Path,
    teacher: Callable[[], Teacher],
    report: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """An RGBA PNG per photograph, its alpha the teacher's map, at most LONG_SIDE_PX wide and high; kept on disk.

    Args:    teacher: gives the teacher; called if there is anything left to label.
    Raises:  SourceError: a package can't be had, or does not hold a listed file as it was listed.
    """
    folder, labelled = cache / "labelled", []
    folder.mkdir(parents=True, exist_ok=True)
    network: Teacher | None = None
    for package, group in groupby(photographs, key=lambda photograph: photograph.package):
        for photograph, content in _contents(list(group), cache):
            path = folder / f"{photograph.sha256}.png"
            labelled.append(path)
            if not path.exists():
                network = network or teacher()
                _publish_png(path, _labelled(photograph.path, content, network))
        report(f"{package}: {len(labelled)} of {len(photographs)} photographs are labelled")
    return labelled


def read_labelled(path: Path) -> tuple[Pixels, Pixels]:
    """Photograph uint8 [h, w, 3] and its saliency uint8 [h, w]."""
    with Image.open(path) as stored:
        pixels = np.asarray(stored)
    return pixels[..., :3], pixels[..., 3]


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
            raise SourceError(f"{archive} does not hold {photograph.path} as listed; hint: has the package changed?")
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
