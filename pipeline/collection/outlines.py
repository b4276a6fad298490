"""One outline of the annotations: from the forms in which tools write it to COCO's compressed run lengths.

COCO's form is a list of polygons, each a list of coordinates, or run lengths with their size. What has one plain
meaning is read as well: one polygon without the list around it, corners as pairs, numbers as text. A part that can't be
read is left out, with a reason in words, and costs no other part. Everything is checked before it is drawn, because
COCO's tools do not check their input.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from pycocotools import mask as coco_mask

from pipeline.collection.spelled_numbers import number_in, whole_number

_LONGEST_OUTLINE_PX = 200_000
"""Limit on all outlines of one instance together, as COCO's tools store five points per pixel. Honest instances have a
few thousand."""
MOST_PX = 1 << 28
"""Limit on an image. COCO's tools have room for six letters per run length, and from differences of 2^29 on write
seven, beyond their memory: a process that had made some of them was aborted minutes later. Nor do they check whether
allocation succeeded."""
_DEEPEST = 4
"""Lists in lists: COCO's form has two levels, corners as pairs have three, and some tools add one around everything."""
NO_PIXEL = "without a pixel inside the image"
"""Why an outline that can be read is left out."""
_BYTES_LITERALS = ("b'", 'b"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What was read of an outline."""

    counts: str
    """COCO's compressed run lengths of the union of all parts that can be drawn; "" if there are none."""
    left_out: tuple[str, ...]
    """Why parts were left out, in words that go on after "it is" or "they are"; one for each part."""


def read_outline(segmentation: object, height: int, width: int) -> Outline:
    """Read the outline of an instance in an image of that size."""
    if height * width > MOST_PX:
        return _nothing("in an image that is too large to draw")
    polygons, drawn, left_out = list[list[float]](), list[Any](), list[str]()
    longest = 0.0
    for part in _parts(segmentation):
        try:
            if isinstance(part, Mapping):
                drawn.append(_encoded(_runs(part, height, width), height, width))
            else:
                corners = _clipped(part, height, width)
                longest += _outline_px(corners)
                polygons.append(corners.ravel().tolist())
        except ValueError as error:
            left_out.append(str(error))
    if longest > _LONGEST_OUTLINE_PX:
        return _nothing(f"longer than {_LONGEST_OUTLINE_PX} pixels")
    drawn += coco_mask.frPyObjects(polygons, height, width) if polygons else []
    if not drawn:
        return Outline(counts="", left_out=tuple(left_out))
    union = drawn[0] if len(drawn) == 1 else coco_mask.merge(drawn)
    if not int(coco_mask.area(union)):
        return _nothing(NO_PIXEL)
    return Outline(counts=str(union["counts"].decode("ascii")), left_out=tuple(left_out))


def read_run_lengths(text: str) -> list[int] | None:
    """Read COCO's compressed form; COCO's own tools write out of bounds if runs are longer than the mask.

    A character holds six bits, from code 48 on: five of a number, lowest first, and one that says whether it continues;
    the top bit of its last five is the sign. From the fourth number on, the difference to the last but one is stored.
    Source: rleFrString of pycocotools 2.0.11.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift > 60:
                return None
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return None if shift else runs


def _nothing(why: str) -> Outline:
    return Outline(counts="", left_out=(why,))


def _parts(segmentation: object, depth: int = 1) -> Iterator[object]:
    """Polygons as flat lists, run lengths as mappings, and whatever else is there."""
    if isinstance(segmentation, str) and depth == 1:
        with suppress(ValueError, RecursionError):
            segmentation = json.loads(segmentation)  # as tables hold it
    if not isinstance(segmentation, list) or depth > _DEEPEST or _is_flat(segmentation):
        yield segmentation
    elif len(segmentation) >= 3 and all(map(_is_corner, segmentation)):
        yield [value for corner in segmentation for value in _corner(corner)]
    else:
        for part in segmentation:
            yield from _parts(part, depth + 1)


def _is_flat(values: list[Any]) -> bool:
    return not any(isinstance(value, list | dict) for value in values)


def _is_corner(value: object) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"x", "y"}
    return isinstance(value, list) and len(value) == 2 and _is_flat(value)


def _corner(value: Any) -> tuple[object, object]:
    return (value["x"], value["y"]) if isinstance(value, dict) else (value[0], value[1])


def _clipped(polygon: object, height: int, width: int) -> Float[np.ndarray, "n 2"]:
    """Corners moved into the image, because COCO's tools walk along every edge, however far out it leads.

    Raises: ValueError: it is no polygon; says what it is.
    """
    if not isinstance(polygon, list):
        raise ValueError("missing" if polygon in (None, "") else "neither polygons nor run lengths")
    if not polygon:
        raise ValueError("empty")
    numbers = [number_in(value) for value in polygon]
    if None in numbers:
        raise ValueError("polygons with a coordinate that is not a number")
    if len(numbers) % 2:
        raise ValueError("polygons with an odd number of coordinates")
    if len(numbers) < 6:
        raise ValueError("polygons of fewer than three corners")
    corners: Float[np.ndarray, "n 2"] = np.array(numbers, dtype=np.float64).reshape(-1, 2).clip(0, (width, height))
    return corners


def _outline_px(corners: Float[np.ndarray, "n 2"]) -> float:
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())


def _runs(rle: Mapping[str, Any], height: int, width: int) -> list[int]:
    """Run lengths of an image of that size.

    Raises: ValueError: they are of another one, or can't be read; says which.
    """
    stated, counts = rle.get("size"), rle.get("counts")
    if not isinstance(stated, list) or counts is None:
        raise ValueError("run lengths without `size` or `counts`")
    size = [whole_number(side) for side in stated]
    if size != [height, width]:
        # Both meanings exist: a mask stored row by row, and one whose size alone is written the other way round.
        is_swapped = size == [width, height]
        raise ValueError(
            "run lengths whose size is [width, height] instead of [height, width]"
            if is_swapped
            else "run lengths of another size than the image's"
        )
    runs = read_run_lengths(_without_quotes(counts)) if isinstance(counts, str) else _whole_numbers(counts)
    if runs is None or not all(0 <= run < 2**32 for run in runs):
        raise ValueError("run lengths that can't be read")
    if sum(runs) != height * width:
        raise ValueError("run lengths that do not add up to the image's pixels")
    return runs


def _without_quotes(counts: str) -> str:
    """Without the quotes of Python's `str(rle["counts"])` around it: no run length has a quotation mark."""
    if not counts.startswith(_BYTES_LITERALS):
        return counts
    try:
        return str(ast.literal_eval(counts).decode("ascii"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return counts


def _whole_numbers(values: object) -> list[int] | None:
    if not isinstance(values, list):
        return None
    numbers = [number for value in values if (number := whole_number(value)) is not None]
    return numbers if len(numbers) == len(values) else None


def _encoded(runs: list[int], height: int, width: int) -> Any:
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
