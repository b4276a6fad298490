"""What people read of near-duplicates: a table of the matches, and a picture of the closest pairs. Pure."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pipeline.files.csv_keys import key_in_csv
from pipeline.files.tables import CsvTable
from pipeline.passes.score_pass import Photo

TABLE, PICTURE = "duplicates.csv", "duplicates.png"
MOST_PAIRS = 50
COLUMNS = ("key", "duplicate_of", "duplicate_similarity", "test_set_match", "test_set_similarity")

_PANEL_PX = (200, 150)
_CAPTION_PX = 34
_GAP_PX = 10
_STRIPS_PER_ROW = 3
_LINE_PX = 15
_PAPER, _EMPTY, _INK, _FAINT = (250, 250, 248), (226, 226, 222), (40, 40, 44), (110, 110, 116)
_FONT_PX = 12
_LONGEST_NAME = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two images that are near each other."""

    key: str
    other: str
    """The key of the earlier image, or collection and name of one of another collection."""
    similarity: float
    is_of_set: bool
    """Is the other of another collection?"""


def closest_pairs(rows: Iterable[Mapping[str, Any]], most: int = MOST_PAIRS) -> list[Pair]:
    """The pairs with the greatest similarity, whether or not they count as near-duplicates.

    Args: rows: with `key` and the columns of the pass; those of images without values are skipped.
    """
    pairs = []
    for row in rows:
        for name, similarity, is_of_set in (
            ("nearest_earlier", "duplicate_similarity", False),
            ("test_set_nearest", "test_set_similarity", True),
        ):
            if row.get(name) is not None:
                pairs.append(Pair(key=row["key"], other=row[name], similarity=row[similarity], is_of_set=is_of_set))
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.key, pair.is_of_set))[:most]


def table(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A CSV of the images that are near-duplicates; keys are written as in all CSV files.

    Args: rows: as for `closest_pairs`.
    """
    found = CsvTable(COLUMNS)
    for row in rows:
        original, match = row.get("duplicate_of"), row.get("test_set_match")
        if original is not None or match is not None:
            found.add(
                [
                    key_in_csv(row["key"]),
                    "" if original is None else key_in_csv(original),
                    _number(row.get("duplicate_similarity")),
                    match or "",
                    _number(row.get("test_set_similarity")),
                ]
            )
    return found.encode()


def picture(pairs: Sequence[Pair], photo_of: Callable[[str], Photo], photo_of_set: Callable[[str], Photo]) -> bytes:
    """A PNG of pairs, the closest first. Equal photos give equal bytes with one version of Pillow.

    Args: photo_of: of a key. photo_of_set: of collection and name.
    """
    width, height = picture_px(len(pairs))
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if not pairs:
        draw.text((_GAP_PX, _GAP_PX), "No two images are near each other.", fill=_INK, font=_font())
    for number, pair in enumerate(pairs):
        row, column = divmod(number, _STRIPS_PER_ROW)
        left, top = _GAP_PX + column * _strip_px(), _GAP_PX + row * (_PANEL_PX[1] + _CAPTION_PX + _GAP_PX)
        photos = (photo_of(pair.key), (photo_of_set if pair.is_of_set else photo_of)(pair.other))
        for place, (photo, name) in enumerate(zip(photos, (pair.key, pair.other), strict=True)):
            at = (left + place * (_PANEL_PX[0] + 2), top)
            _draw_panel(sheet, at, photo)
            below = top + _PANEL_PX[1] + 3
            draw.text((at[0], below), _short(name), fill=_INK, font=_font())
        draw.text((left, below + _LINE_PX), f"similarity {pair.similarity:.3f}", fill=_FAINT, font=_font())
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def picture_px(pairs: int) -> tuple[int, int]:
    """Width and height of the picture of so many pairs."""
    rows = max(1, -(-pairs // _STRIPS_PER_ROW))
    columns = min(max(1, pairs), _STRIPS_PER_ROW)
    return _GAP_PX + columns * _strip_px(), _GAP_PX + rows * (_PANEL_PX[1] + _CAPTION_PX + _GAP_PX)


def _strip_px() -> int:
    return 2 * _PANEL_PX[0] + 2 + 2 * _GAP_PX


def _draw_panel(sheet: Image.Image, at: tuple[int, int], photo: Photo) -> None:
    panel = Image.new("RGB", _PANEL_PX, _EMPTY)
    if photo is None:
        ImageDraw.Draw(panel).text((_PANEL_PX[0] // 2, _PANEL_PX[1] // 2), "not shown", _FAINT, _font(), anchor="mm")
    else:
        small = Image.fromarray(photo)
        small.thumbnail(_PANEL_PX, Image.Resampling.LANCZOS)
        panel.paste(small, ((_PANEL_PX[0] - small.width) // 2, (_PANEL_PX[1] - small.height) // 2))
    sheet.paste(panel, at)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_PX)


def _short(name: str) -> str:
    """The end of a name, which tells it from others, in letters that the font has."""
    plain = name.encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= _LONGEST_NAME else f"...{plain[3 - _LONGEST_NAME :]}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
