"""Members of a release's tars: the wanted ones alone, so that a sample of 400 images does not read 100 GB."""

from collections.abc import Callable, Iterator, Set

from pipeline.errors import StorageError
from pipeline.files.located import explained, is_local, locate
from pipeline.files.ranges import read_range
from pipeline.files.storage import file_bytes_of
from pipeline.files.tar_headers import Header, TornTarError, walk

_AHEAD_BYTES = 64 << 10
"""What is read behind a remote header: the small members of a sample come with it, and the next header."""
_MOST_MEMBER_BYTES = 1 << 30  # 1 GiB: far above any photo, far below the memory of a computer


def read_members(url: str, keys: Set[str], extensions: Set[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Read some members of some samples of a tar of a release.

    Yields:  key, and extension → content of the wanted members it has, in the order of the tar.
    Raises:  StorageError: it is no whole tar, or a member is not a plain file or larger than 1 GiB.
             StorageUnavailableError, OSError: it can't be read.
    """
    fs, path = locate(url)
    with explained(fs, url):
        read = _Ahead(lambda start, end: read_range(fs, path, start, end), 0 if is_local(fs) else _AHEAD_BYTES).read
        key, members = "", dict[str, bytes]()
        try:
            for header in walk(read, file_bytes_of(url)):
                stem, _, extension = header.name.partition(".")
                if stem != key and members:
                    yield key, members
                    members = {}
                key = stem
                if stem in keys and extension in extensions:
                    members[extension] = _content(url, header, read)
        except TornTarError as error:
            raise StorageError(f"{url} is no whole tar: {error}; jobs/verify_release.py lists every problem") from error
        if members:
            yield key, members


def _content(url: str, header: Header, read: Callable[[int, int], bytes]) -> bytes:
    if header.problem or header.content_bytes > _MOST_MEMBER_BYTES:
        what = header.problem or f"a file of {header.content_bytes} bytes"
        raise StorageError(f"{url}: {header.name} is {what}; jobs/verify_release.py lists every problem")
    return read(header.start, header.start + header.content_bytes)


class _Ahead:
    """Reads a little more than asked for, and answers from that while it can."""

    def __init__(self, read: Callable[[int, int], bytes], ahead_bytes: int) -> None:
        self._read, self._ahead_bytes = read, ahead_bytes
        self._start, self._held = 0, b""

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to but not including `end`; fewer at the end of the file."""
        if not (self._start <= start and end <= self._start + len(self._held)):
            self._start, self._held = start, self._read(start, max(end, start + self._ahead_bytes))
        return self._held[start - self._start : end - self._start]
