"""Photographs of which a mask decoder's maps are compared with the VAE's."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from model.seeds import key_of
from pipeline.collection.images import decode_rgb
from pipeline.errors import CollectionError, SampleError
from pipeline.photos.find import find_photos

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph on disk."""

    path: Path
    name: str
    """Its path below the folder, without suffix; the noise of its members follows from it."""

    @property
    def key(self) -> str:
        """The key that its name makes."""
        return key_of(self.name)

    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """Its pixels as people see them. Raises: SampleError: it can't be decoded. OSError: it can't be read."""
        return decode_rgb(self.path.name, self.path.read_bytes(), default="upright")


def choose_photographs(folder: Path, most: int) -> list[Photograph]:
    """Up to `most` photographs of a folder and its subfolders, evenly spaced in the order of their names.

    Raises: CollectionError: there is no such folder, or no photograph in it.
    """
    if not folder.is_dir():
        raise CollectionError(f"--photographs {folder}: there is no such folder")
    found = find_photos(str(folder), recursive=True, option="--photographs").photos
    return [Photograph(photo.path, photo.name) for photo in spaced(found, most)]


def spaced(values: Sequence[_T], most: int) -> list[_T]:
    """All of them, or `most` at even distances: neighbours by name are often of one kind."""
    count = min(most, len(values))
    return [values[number * len(values) // count] for number in range(count)]


def require_photographs(photographs: Sequence[Photograph]) -> None:
    """Refuse photographs of which none can be read; look no further than the first that can be.

    Args: photographs: at least one.
    Raises: CollectionError: none can be read.
    """
    if not any(map(_is_readable, photographs)):
        raise _unreadable(photographs)


def readable(photographs: Sequence[Photograph]) -> list[Photograph]:
    """Those that can be read; a warning names the others.

    Args: photographs: at least one.
    Raises: CollectionError: none can be read.
    """
    found = list(filter(_is_readable, photographs))
    if not found:
        raise _unreadable(photographs)
    return found


def _unreadable(photographs: Sequence[Photograph]) -> CollectionError:
    return CollectionError(f"--photographs: none of {len(photographs)} can be read; {photographs[0].path} is one")


def digest_of(photographs: Sequence[Photograph]) -> str:
    """SHA-256 of names and bytes, in their order. Raises: OSError: one can't be read."""
    parts = [f"{one.name} {hashlib.sha256(one.path.read_bytes()).hexdigest()}\n" for one in photographs]
    return hashlib.sha256("".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _is_readable(photograph: Photograph) -> bool:
    try:
        photograph.pixels()
    except (SampleError, OSError) as error:
        _log.warning("%s can't be read and is left out: %s", photograph.path, error)
        return False
    return True
