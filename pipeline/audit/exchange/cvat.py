"""CVAT's "CVAT for images 1.1": an XML file of images, whose masks are run lengths of a rectangle, and tags.

A mask's `rle` has the lengths of runs without and with the object in turn, row by row from the top left of its
rectangle; the first may be 0. They must add up to width x height: CVAT takes others on import, and then fails to export
them as COCO. A tag is a label of the whole image: here the verdict.
Source: `load_anno` and `dump_as_cvat_annotation` in cvat/apps/dataset_manager/formats/cvat.py of CVAT, and
`encode_mask` and `decode_mask` of cvat-sdk 2.80, which agree with this module on every mask that was tried.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from pipeline.audit.answers import VERDICTS
from pipeline.audit.exchange.given import Given, Images, Reading, one_of, quoted, united
from pipeline.audit.exchange.task import HOW_TO_ANSWER, IMAGES, OBJECT, Task, Titled
from pipeline.audit.exchange.xml_elements import Element, elements
from pipeline.collection.outlines import read_outline
from pipeline.passes.mask_text import Rle, pixels_of, rle_of

ANNOTATIONS, CONSTRUCTOR = "annotations.xml", "labels.json"
MOST_BYTES = 256 << 20  # 256 MiB: 10,000 masks of 25 KB
_RUN_LENGTHS = re.compile(r"\s*\d{1,10}(?:\s*,\s*\d{1,10})*\s*", re.ASCII)
_PLAIN_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
_OTHER_SHAPES = ("box", "polyline", "points", "cuboid", "ellipse", "skeleton", "track")


def encode(tasks: Sequence[Task], titled: Titled) -> dict[str, bytes]:
    """Make the files of an export, beside the images: name → content."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", *_meta(titled)]
    for number, task in enumerate(tasks):
        facts = {"id": number, "name": task.file_name, "width": task.width, "height": task.height}
        lines.append(f"  <image {_attributes(facts)}>")
        if task.has_object:
            lines.append(f"    <mask {_attributes(_rectangle(task))}>\n    </mask>")
        lines.append("  </image>")
    return {
        ANNOTATIONS: "\n".join([*lines, "</annotations>", ""]).encode(),
        CONSTRUCTOR: json.dumps(_labels(), indent=1).encode(),
        "README.md": _README.encode(),
    }


def _labels() -> list[dict[str, Any]]:
    tags: list[dict[str, Any]] = [{"name": verdict, "type": "tag", "attributes": []} for verdict in VERDICTS]
    return [{"name": OBJECT, "type": "mask", "attributes": []}, *tags]


def _meta(titled: Titled) -> Iterator[str]:
    yield "  <meta>"
    yield "    <task>"
    yield f"      <name>Audit of {_text(titled.title)}</name>"
    yield "      <labels>"
    for label in _labels():
        named = f"<name>{label['name']}</name><type>{label['type']}</type>"
        yield f"        <label>{named}<attributes></attributes></label>"
    yield "      </labels>"
    yield "    </task>"
    yield "  </meta>"


def _text(text: str) -> str:
    return quoteattr(text)[1:-1]


def _attributes(facts: Mapping[str, object]) -> str:
    return " ".join(f"{name}={quoteattr(str(value))}" for name, value in facts.items())


def _rectangle(task: Task) -> dict[str, object]:
    """The attributes of a mask: its rectangle, and the run lengths in it."""
    pixels = pixels_of(task.mask)
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    flat = pixels[top:bottom, left:right].ravel()
    ends = np.flatnonzero(np.diff(flat, append=not flat[-1])) + 1
    runs = np.diff(ends, prepend=0).tolist()
    return {
        "label": OBJECT,
        "source": "file",
        "occluded": 0,
        "rle": ", ".join(map(str, [0, *runs] if flat[0] else runs)),
        "left": left,
        "top": top,
        "width": right - left,
        "height": bottom - top,
        "z_order": 0,
    }


def read(content: bytes, images: Images) -> Reading:
    """Read a file that CVAT has exported.

    Raises: ValueError, KeyError, TypeError: it is not one, or is not about the sample; the message names the image.
    """
    found = []
    for element in elements(content, root="annotations", of=("image", "track"), most_bytes=MOST_BYTES):
        if element.name == "track":
            raise ValueError('it has tracks of a video; export it as "CVAT for images 1.1"')
        found.append(element)
    keys = images.find_all([image.attributes["name"] for image in found])
    given = tuple(_given(keys[image.attributes["name"]], image, images) for image in found)
    return Reading(given=given, has_verdicts=True)


def _given(key: str, image: Element, images: Images) -> Given:
    width, height = (_number(image.attributes[side]) for side in ("width", "height"))
    images.require_size(key, height, width)
    masks, verdicts, is_exact = [], set(), True
    for name, attributes in image.inside:
        if name == "tag":
            verdicts.add(attributes["label"])
        elif name == "mask":
            masks.append(_mask(key, attributes, images.sizes[key]))
        elif name == "polygon":
            masks.append(_polygon(key, attributes["points"], images.sizes[key]))
            is_exact = False
        elif name in _OTHER_SHAPES:
            raise ValueError(f"{key} has a {name}; the object is to be a mask or a polygon")
    return Given(key=key, says=one_of(key, verdicts), mask=united(masks), is_exact=is_exact)


def _mask(key: str, attributes: Mapping[str, str], size: tuple[int, int]) -> Rle:
    left, top, width, height = (_number(attributes[name]) for name in ("left", "top", "width", "height"))
    if not (width and left + width <= size[1] and height and top + height <= size[0]):
        raise ValueError(
            f"{key} has a mask of {width} x {height} px at {left}, {top}, which is not inside its {size[1]} x {size[0]}"
        )
    text = attributes["rle"]
    runs = [int(run) for run in text.split(",")] if _RUN_LENGTHS.fullmatch(text) else None
    if runs is None or sum(runs) != width * height:
        found = "are no numbers" if runs is None else f"add up to {sum(runs)} px"
        raise ValueError(f"{key} has a mask of {width} x {height} px whose run lengths {found}: draw it again")
    pixels = np.zeros(size, dtype=np.bool_)
    is_inside = np.arange(len(runs)) % 2 == 1
    pixels[top : top + height, left : left + width] = np.repeat(is_inside, runs).reshape(height, width)
    return rle_of(pixels)


def _polygon(key: str, points: str, size: tuple[int, int]) -> Rle:
    outline = read_outline([re.split("[,;]", points)], *size)
    if outline.left_out:
        raise ValueError(f"{key} has a polygon that is {outline.left_out[0]}")
    return Rle(size=list(size), counts=outline.counts)


def _number(text: str) -> int:
    if not _PLAIN_NUMBER.fullmatch(text):
        raise ValueError(f"{quoted(text)} is no whole number of pixels")
    return int(text)


_README = f"""\
# CVAT

1. Create a task. Paste `{CONSTRUCTOR}` into the tab "Raw" of its labels, and add the images of the folder `{IMAGES}`.
2. In the task's menu, choose "Upload annotations", the format "CVAT 1.1", and `{ANNOTATIONS}`.
3. Judge. A verdict is a tag of the image; the mask `{OBJECT}` is changed with brush and eraser.
4. Export the annotations as "CVAT for images 1.1" and unpack them.

{HOW_TO_ANSWER}
Take the answers back with `sod audit import AUDIT annotations.xml --from cvat --rater NAME`.
"""
