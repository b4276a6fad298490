"""Boxes, of which JPEG 2000, JPEG XL and the relatives of MP4 are made."""

from collections.abc import Iterator

from pipeline.files.scan.limits import require_few_parts


def boxes(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box, and start and end of its contents; a box that reaches beyond the file ends with it.

    Raises: OverBudgetError: `too_slow`: there are too many.
    """
    at, count = 0, 0
    while at + 8 <= len(content):
        length, start = int.from_bytes(content[at : at + 4]), at + 8
        if length == 1:
            length, start = int.from_bytes(content[at + 8 : at + 16]), at + 16
        end = len(content) if length == 0 else at + length
        if end < start:
            return
        count += 1
        require_few_parts(count, "boxes")
        yield content[at + 4 : at + 8], min(start, len(content)), min(end, len(content))
        at = end
