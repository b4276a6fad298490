"""What a layout of an export is: something that takes one sample after the other, and is closed at the end."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.release.opened import OpenedRelease, ReleasedSample


class Layout(Protocol):
    """Writes samples in the form that some tool reads. One process makes it, into a folder that is its own."""

    def add(self, sample: ReleasedSample) -> None:
        """Write one sample."""

    def close(self) -> None:
        """Write what can only be written once all samples are known."""


class LayoutClass(Protocol):
    """Makes a layout."""

    def __call__(self, folder: Path, opened: OpenedRelease) -> Layout:
        """Begin a layout of a release in a new folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLayout:
    """A layout that can be asked for."""

    meaning: str
    """What it is for, and what is in it."""
    module: str
    """Module and class that write it, imported when it is asked for: `pipeline.release.export.sod:SodFolders`."""
    needs_photos: bool = True
    """Is it worth nothing without the photos?"""


def write(path: Path, content: bytes) -> None:
    """Write a file into the folder of an export, which nobody sees before it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
