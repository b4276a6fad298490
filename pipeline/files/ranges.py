"""Read a part of a file, and never more than that part: also from an HTTP server that sends the whole file instead."""

from collections.abc import Callable

from fsspec import AbstractFileSystem

_HTTP = ("http", "https")
_PARTIAL, _BEYOND_THE_END, _FORBIDDEN = 206, 416, (401, 403)
_PIECE_BYTES = 1 << 20


class Window:
    """The part of a remote file that was read last, and some bytes more: what is asked for next is often there."""

    def __init__(self, fetch: Callable[[int, int], bytes], file_bytes: int, ahead_bytes: int) -> None:
        self._fetch, self._file_bytes, self._ahead_bytes = fetch, file_bytes, ahead_bytes
        self._start, self._content = 0, b""

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to but not including `end`, or up to the end of the file."""
        end = min(end, self._file_bytes)
        if start < self._start or end > self._start + len(self._content):
            ahead = min(max(end, start + self._ahead_bytes), self._file_bytes)
            self._start, self._content = start, self._fetch(start, ahead)
        return self._content[start - self._start : end - self._start]


class NoRangesError(OSError):
    """A server sends whole files only, so that no part of one can be read."""


def read_range(fs: AbstractFileSystem, path: str, start: int, end: int) -> bytes:
    """The bytes from `start` up to but not including `end`, or up to the end of the file.

    Raises: FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError: there is no such file.
            NoRangesError: the server sends no ranges, and the range is not at the beginning. OSError: reading failed.
    """
    if _is_http(fs):
        return _read_http_range(fs, path, start, end)
    return bytes(fs.cat_file(path, start=start, end=end))


def _is_http(fs: AbstractFileSystem) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return bool(set(protocols) & set(_HTTP))


def _read_http_range(fs: AbstractFileSystem, url: str, start: int, end: int) -> bytes:
    """Ask for the range, and hang up once it is there: fsspec's `cat_file` would read an answer to its end."""
    wanted = end - start
    if wanted <= 0:
        return b""
    # Identity: in a compressed answer, positions are others than in the file.
    headers = fs.kwargs.get("headers", {}) | {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    try:
        # A block size of 0 gives a stream; with a size, fsspec does not ask for it.
        stream = fs.open(url, "rb", block_size=0, size=wanted, headers=headers)
    except Exception as error:
        if getattr(error, "status", None) == _BEYOND_THE_END:
            return b""
        raise _translated(error, url) from error
    with stream:
        if start > 0 and stream.r.status != _PARTIAL:
            raise NoRangesError(
                f"{url}: the server sends whole files only, not parts; copy the file, or use another server"
            )
        pieces = []
        while wanted > 0 and (piece := stream.read(min(wanted, _PIECE_BYTES))):
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)


def _translated(error: Exception, url: str) -> Exception:
    """Turn an answer with an error status into an OSError; aiohttp's own is none."""
    status = getattr(error, "status", None)
    if isinstance(error, OSError) or status is None:
        return error
    return (PermissionError if status in _FORBIDDEN else OSError)(f"{url}: the server answers with status {status}")
