"""Pixels in flight: how many are decoded at once in a process, whichever threads decode them."""

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.files.of_process import OfProcess

MOST_PIXELS = 100_000_000
"""A decoder takes 8 to 20 bytes per pixel until the image is an array: up to 2 GB for this many."""


BYTES_PER_PIXEL = 14
"""What decoding takes: the 6 bytes of a progressive JPEG's coefficients, 4 of Pillow's image, 3 of the array."""
BYTES_PER_CANVAS_PIXEL = 24
"""The same for a WebP: two canvases and its output come on top."""
_ALWAYS_THERE_BYTES = 16 << 20


def require_memory(needed: int) -> None:
    """Check that there are so many bytes of memory: decoders report a lack of it as a broken image.

    Raises: MemoryError: the machine or a limit of the process does not give as much.
    """
    if needed <= _ALWAYS_THERE_BYTES:
        return
    try:
        mmap.mmap(-1, needed).close()  # takes no memory until it is written to
    except OSError as error:
        raise MemoryError(f"{needed} bytes are not available") from error


class PixelBudget:
    """Lets threads decode while their images have at most `most` pixels together; a larger image goes alone."""

    def __init__(self, most: int = MOST_PIXELS) -> None:
        self.most = most
        self._free = threading.Condition()
        self._in_flight = 0

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many pixels, and hold it.

        Not to be nested: a thread would wait for itself.
        """
        share = min(pixels, self.most)
        with self._free:
            self._free.wait_for(lambda: self._in_flight + share <= self.most)
            self._in_flight += share
        try:
            yield
        finally:
            with self._free:
                self._in_flight -= share
                self._free.notify_all()


_OF_PROCESS = OfProcess(PixelBudget)


def budget() -> PixelBudget:
    """The budget that all decoding in this process shares."""
    return _OF_PROCESS.here
