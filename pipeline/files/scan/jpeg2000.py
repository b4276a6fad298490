"""JPEG 2000: the decoder reserves memory for tiles and precincts by their number, so these are counted before."""

import struct
from collections.abc import Iterator

from pipeline.files.scan.boxes import boxes
from pipeline.files.scan.limits import OverBudgetError, require_few_parts

MOST_TILES = 4096
"""About 10 KB of memory each, before a pixel is decoded."""
MOST_COMPONENTS = 4
MOST_PRECINCTS = 500_000
"""Of all resolutions and components, some 500 bytes each. 89 megapixels with sides of 64 px, the smallest in use, have
90,000."""

_START = b"\xff\x4f\xff\x51"
_CONTAINER = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_SIZE = struct.Struct(">8IH")
"""Right, bottom, left, top of the image on its grid; width, height, left, top of a tile; components."""
_SIZE_AT = 8
_COD, _COC, _SOT, _SOD, _EOC = 0x52, 0x53, 0x90, 0x93, 0xD9


def is_jpeg2000(content: bytes) -> bool:
    """Does the file begin as a JPEG 2000 does, alone or in its container?"""
    return content.startswith((_START, _CONTAINER))


def size_px(content: bytes) -> tuple[int, int] | None:
    """Width and height by the header that the decoder goes by; None if the file has none."""
    stream = _codestream(content)
    if not stream.startswith(_START) or len(stream) < _SIZE_AT + _SIZE.size:
        return None
    right, bottom, left, top, *_ = _SIZE.unpack_from(stream, _SIZE_AT)
    return max(0, right - left), max(0, bottom - top)


def prepared(content: bytes) -> bytes:
    """The file as it is.

    Raises: OverBudgetError: `too_slow`: too many boxes or segments; `too_large`: too many tiles, components or
            precincts.
    """
    stream = _codestream(content)
    if not stream.startswith(_START) or len(stream) < _SIZE_AT + _SIZE.size:
        return content
    right, bottom, _, _, tile_width, tile_height, tile_left, tile_top, components = _SIZE.unpack_from(stream, _SIZE_AT)
    across, down = (
        -(-max(0, end - start) // max(1, side))
        for end, start, side in ((right, tile_left, tile_width), (bottom, tile_top, tile_height))
    )
    if across * down > MOST_TILES or components > MOST_COMPONENTS:
        limits = f"the limits are {MOST_TILES} and {MOST_COMPONENTS}"
        raise OverBudgetError("too_large", f"{across * down} tiles of {components} components; {limits}")
    for marker, start, end in _segments(stream):
        if (precincts := components * _precincts(marker, stream[start:end], right, bottom)) > MOST_PRECINCTS:
            raise OverBudgetError("too_large", f"{precincts} precincts; the limit is {MOST_PRECINCTS}")
    return content


def _codestream(content: bytes) -> bytes:
    if not content.startswith(_CONTAINER):
        return content
    return next((content[start:end] for name, start, end in boxes(content) if name == b"jp2c"), b"")


def _precincts(marker: int, parameters: bytes, width: int, height: int) -> int:
    """Precincts of a component in all resolutions; 0 if a segment does not give their sizes."""
    # COD: style, 4 bytes about all components, then levels and code blocks; COC: number of its component, style.
    style_at, levels_at = (0, 5) if marker == _COD else (1, 2)
    if marker not in (_COD, _COC) or len(parameters) <= levels_at + 5 or not parameters[style_at] & 1:
        return 0
    levels, sizes = parameters[levels_at], parameters[levels_at + 5 :]
    return sum(
        -(-width // (1 << max(0, levels - resolution) << (size & 15)))
        * -(-height // (1 << max(0, levels - resolution) << (size >> 4)))
        for resolution, size in enumerate(sizes)
    )


def _segments(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker of each segment of the main header and of the tiles' headers; start and end of its contents."""
    at, tile_end, count = 2, 0, 0
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] != _EOC:
        marker = stream[at + 1]
        if marker == _SOD:
            at = max(tile_end, at + 2)
            continue
        count += 1
        require_few_parts(count, "segments")
        end = at + 2 + max(2, int.from_bytes(stream[at + 2 : at + 4]))
        if marker == _SOT:
            length = int.from_bytes(stream[at + 6 : at + 10])
            tile_end = at + length if length else len(stream)
        yield marker, at + 4, min(end, len(stream))
        at = end
