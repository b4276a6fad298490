"""Checks on the samples of a release: every member of every tar."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from pycocotools import mask as coco_mask

from model.documents import parse_json
from pipeline.errors import SampleError
from pipeline.files.maps import decode_png
from pipeline.files.pictures import decoded
from pipeline.files.tars import encode_json
from pipeline.release.check.containers import png_problem
from pipeline.release.check.drawn import drawn_problems
from pipeline.release.check.images import image_problems, is_said_released
from pipeline.release.check.recomputed import score_problems
from pipeline.release.check.release_json import StatedRelease
from pipeline.release.coco_json import CATEGORY
from pipeline.release.croissant_texts import pictures_of
from pipeline.release.tar_series import tar_member_bytes
from pipeline.runs.binding import maps_sha256
from pipeline.selection.scores import SCORES

FACTS = {
    "key": str,
    "image_id": int,
    "file_name": str,
    "width": int,
    "height": int,
    "license_id": int,
    "license_name": str,
    "license_url": str,
    "image_sha256": str,
    "members": int,
    "scores": dict,
}
"""Keys and types of every `KEY.json`: loaders infer the types of all samples from the first five."""

_IMAGE: Mapping[str, Any] = dict.fromkeys(("id", "file_name", "collection_file_name", "width", "height", "license"))
_ANNOTATION: Mapping[str, Any] = {
    **dict.fromkeys(("id", "segmentation", "area", "bbox")),
    "category_id": CATEGORY["id"],
    "iscrowd": 0,
}
"""Names in an entry of the annotations → the value that it always has, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSample:
    """What was found in a sample."""

    tar: str
    place: tuple[int, int]
    """Byte of the tar at which its files begin, and bytes that they take."""
    mask_sha256: str
    counts: str
    """COCO run lengths of the mask; "" if the mask can't be read."""


def check_sample(
    key: str,
    members: Mapping[str, bytes],
    row: Mapping[str, Any],
    tar: str,
    offset: int,
    stated: StatedRelease,
    tell: Callable[[str], None],
) -> FoundSample:
    """Compare a sample with its manifest row, and its members with each other.

    Args: offset: where it begins in the tar.
          tell: called with each thing that is wrong; the text begins with the key.
    """
    expected = {*pictures_of(stated.release), "json"}
    if members.keys() != expected:
        tell(f"{key} has the members {sorted(members)}, not {sorted(expected)}")
    for problem in _facts_against(members.get("json", b""), row):
        tell(f"{key}.json: {problem}")
    for problem in image_problems(members["jpg"], row) if "jpg" in members else ():
        tell(f"{key}.jpg {problem}")
    if not stated.release.embed_images and is_said_released(row):
        tell(f"{key}: the manifest says what was released of its image, though this release has masks alone")
    if row.get("maps_sha256") not in (None, maps_sha256(members)):
        tell(f"{key}: its saliency or variance is not the one that was predicted for it: the manifest has another sum")
    maps: dict[str, UInt8[np.ndarray, "h w"]] = {}
    for name in [name for name in pictures_of(stated.release) if name != "jpg"]:
        try:
            maps[name] = _decoded(members.get(name, b""), (row["width"], row["height"]))
        except ValueError as error:
            tell(f"{key}.{name}: {error}")
    mask = maps.get("mask.png")
    for problem in drawn_problems(maps, row, stated.release):
        tell(f"{key}.{problem}")
    if "saliency.png" in maps and "variance.png" in maps:
        for problem in score_problems(maps["saliency.png"], maps["variance.png"], row, stated.made_with):
            tell(f"{key}: {problem}")
    return FoundSample(
        tar=tar,
        place=(offset, sample_bytes_of(members)),
        mask_sha256=hashlib.sha256(members.get("mask.png", b"")).hexdigest(),
        counts="" if mask is None else _counts(mask),
    )


def sample_bytes_of(members: Mapping[str, bytes]) -> int:
    """Bytes that a sample takes in a tar."""
    return sum(tar_member_bytes(len(content)) for content in members.values())


def mask_against(
    image: Mapping[str, Any],
    annotation: Mapping[str, Any] | None,
    row: Mapping[str, Any],
    samples: Mapping[str, FoundSample],
) -> Iterator[str]:
    """What is wrong with an image's entries in the COCO annotations, compared with its manifest row and its mask.

    Args: annotation: None for an empty scene.
    """
    names = {"collection_file_name": "file_name", "width": "width", "height": "height", "license": "license_id"}
    if {name: image[name] for name in names} != {name: row[column] for name, column in names.items()}:
        yield "its name, size or licence differs from the manifest's"
    yield from _unlike(image, _IMAGE)
    if annotation is None:
        return
    rle = annotation["segmentation"]
    yield from _unlike(annotation, {**_ANNOTATION, "image_id": row["image_id"]})
    if rle["size"] != [row["height"], row["width"]]:
        yield f"its mask has the size {rle['size']}; the image has {[row['height'], row['width']]}"
        return
    found = samples.get(row["key"])
    if found is None:
        return  # already reported; and run lengths that are not a mask's may crash COCO's tools
    if rle["counts"] != found.counts:
        yield "its run lengths differ from the mask's PNG"
        return
    area, bbox = int(coco_mask.area(rle)), [float(value) for value in coco_mask.toBbox(rle)]
    if (annotation["area"], annotation["bbox"]) != (area, bbox):
        yield f"area {annotation['area']} and bbox {annotation['bbox']}; the mask has {area} and {bbox}"


def _unlike(entry: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """What an entry of the annotations has, or lacks, unlike those of every release; None stands for any value."""
    if entry.keys() != expected.keys():
        yield f"its entry has {sorted(entry)}, not {sorted(expected)}"
    for name, value in expected.items():
        if value is not None and name in entry and entry[name] != value:
            yield f"its {name} is {entry[name]!r}, not {value!r}"


def _facts_against(content: bytes, row: Mapping[str, Any]) -> Iterator[str]:
    try:
        facts = parse_json(content)
        types = {name: type(value) for name, value in facts.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        yield f"not a JSON object ({error})"
        return
    if types != FACTS:
        names = sorted(name for name in types.keys() | FACTS.keys() if types.get(name) != FACTS.get(name))
        yield f"{', '.join(names)}: missing, unknown, or of the wrong type"
        return
    if content != encode_json(facts):
        yield "written otherwise than releases write it, perhaps with a name twice"
    scores = facts.pop("scores")
    known = sorted(name for name in SCORES if row[name] is not None)  # a run of an earlier version has fewer
    if list(scores) != known or not all(type(value) is float for value in scores.values()):
        yield f"scores are {sorted(scores)}, not floats named {known}"
        return
    for name, value in (facts | scores).items():
        if row[name] != value:
            yield f"{name} is {value!r}; the manifest has {row[name]!r}"


def _counts(mask: UInt8[np.ndarray, "h w"]) -> str:
    rle = coco_mask.encode(np.asfortranarray(mask == 255, dtype=np.uint8))  # pycocotools refuses C order
    return str(rle["counts"].decode("ascii"))


def _decoded(content: bytes, size_px: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """The map, if it has that width and height; the size is checked before anything is unpacked."""
    try:
        found = decoded("map", content, lambda image: image.size, max_pixels=None, formats=("PNG",))
    except SampleError as error:
        raise ValueError(f"not a PNG: {error.detail}") from error
    if found != size_px:
        raise ValueError(f"{found[0]} x {found[1]} px; the image has {size_px[0]} x {size_px[1]}")
    if problem := png_problem(content, size_px):
        raise ValueError(f"the PNG {problem}")
    return decode_png(content)
