"""Read what a map or mask is made of: the bytes of a picture, which `grey.py` decodes, or the pixels of run lengths."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from pipeline.collection.outlines import read_run_lengths
from pipeline.errors import SampleError
from pipeline.evaluation.sources import InTar, Runs, label_of

_FILE_IS_BAD = (FileNotFoundError, IsADirectoryError, PermissionError)


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
