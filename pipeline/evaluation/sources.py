"""Where maps and masks are: in a file, in a tar, or as run lengths in a JSON; light to import."""

from dataclasses import dataclass
from pathlib import Path

MADE_WITH = "made_with.json"
"""Beside the maps that a model has drawn of a release here, which are named by key: what they were made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InTar:
    """A member of a local tar that is not compressed."""

    tar: Path
    member: str
    start: int
    """Where its content begins in the tar."""
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """A mask as COCO's compressed run lengths."""

    label: str
    """Names it in messages."""
    height_px: int
    width_px: int
    counts: str = ""
    """Checked: as `pipeline.collection.outlines` or a release has them."""
    problem: str = ""
    """Why it can't be drawn, in words; "" if it can."""


Source = Path | InTar | Runs


def label_of(source: Source) -> str:
    """Name a file with its folder: a map and its mask often have the same name."""
    if isinstance(source, Runs):
        return source.label
    if isinstance(source, InTar):
        return f"{source.tar.name}/{source.member}"
    return f"{source.parent.name}/{source.name}"
