"""Compare files with the sizes and SHA-256 that a record states, in pieces: a tar may be larger than memory."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.errors import StorageError
from pipeline.files.located import ask
from pipeline.records import StoredFile

_PIECE_BYTES = 8 << 20  # of a file that is copied or checked: a release's tars may be larger than memory


def check_pieces(url: str, expected: StoredFile, keep: Callable[[bytes], object]) -> None:
    """Read a file in pieces, give each to `keep`, and compare size and SHA-256 with the expected ones at the end.

    Raises: StorageError: it is missing, or is not the expected file.
    """
    digest, file_bytes = hashlib.sha256(), 0
    for piece in _pieces(url):
        digest.update(piece)
        file_bytes += len(piece)
        keep(piece)
    compare(url, StoredFile(name=expected.name, file_bytes=file_bytes, sha256=digest.hexdigest()), expected)


def _pieces(url: str) -> Iterator[bytes]:
    at = 0
    with contextlib.ExitStack() as opened:
        file: Any = None

        def next_piece(fs: Any, path: str) -> bytes:
            """Of a file that stays open, unless reading it has failed: then it is opened again."""
            nonlocal file
            try:
                if file is None:
                    file = opened.enter_context(fs.open(path, "rb", block_size=_PIECE_BYTES))
                    file.seek(at)
                return bytes(file.read(_PIECE_BYTES))
            except BaseException:
                file = None
                opened.close()
                raise

        try:
            while piece := ask(url, next_piece):
                at += len(piece)
                yield piece
        except FileNotFoundError as error:
            raise StorageError(f"{url} is missing") from error


def compare(url: str, found: StoredFile, expected: StoredFile) -> None:
    """Compare size and SHA-256 of a file with the expected ones.

    Raises: StorageError: they differ.
    """
    if found != expected:
        raise StorageError(
            f"{url} has {found.file_bytes} bytes and SHA-256 {found.sha256}; expected {expected.file_bytes} bytes and "
            f"SHA-256 {expected.sha256}. If it is part of a run, sod run verify RUN --repair has it made again"
        )
