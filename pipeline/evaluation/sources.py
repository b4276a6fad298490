"""Where maps and masks are: in a file, in a tar, or as run lengths in a JSON. Reads bytes; `grey.py` decodes them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from pipeline.collection.outlines import read_run_lengths
from pipeline.errors import SampleError

_FILE_IS_BAD = (FileNotFoundError, IsADirectoryError, PermissionError)


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
    """Why there are none, in words."""


Source = Path | InTar | Runs


def label_of(source: Source) -> str:
    """Name a file with its folder: a map and its mask often have the same name."""
    if isinstance(source, Runs):
        return source.label
    if isinstance(source, InTar):
        return f"{source.tar.name}/{source.member}"
    return f"{source.parent.name}/{source.name}"


def content_of(source: Path | InTar, most_bytes: int) -> bytes:
    """Read a picture's bytes.

    Raises: SampleError: `unreadable`, `too_many_bytes`. OSError: the machine failed, not the file.
    """
    place, start, stated = (
        (source.tar, source.start, source.file_bytes) if isinstance(source, InTar) else (source, 0, -1)
    )
    try:
        with place.open("rb") as file:
            file.seek(start)
            content = file.read(most_bytes + 1 if stated < 0 else min(most_bytes + 1, stated))
    except _FILE_IS_BAD as error:
        raise SampleError("unreadable", f"{label_of(source)}: {error.strerror}") from error
    if len(content) > most_bytes:
        raise SampleError("too_many_bytes", f"{label_of(source)}: the limit is {most_bytes} bytes")
    if len(content) < stated:
        raise SampleError("unreadable", f"{label_of(source)}: the tar ends in the middle of it")
    return content


def drawn(runs: Runs) -> Bool[np.ndarray, "h w"]:
    """Draw the mask.

    Raises: SampleError: `undecodable`: it has a problem.
    """
    if runs.problem:
        raise SampleError("undecodable", f"{runs.label}: {runs.problem}")
    lengths = read_run_lengths(runs.counts) or []
    by_column = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(runs.width_px, runs.height_px)
    return np.ascontiguousarray(by_column.T)  # sums depend on the order in memory
