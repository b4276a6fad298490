"""Predictions in COCO's format: a list of results, or a data set with `images` and `annotations`.

All annotations of an image are united; scores and categories do not matter. An image of a data set that has no
annotation was predicted to have no object. A list of results can't say that, so there the image has no prediction.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.documents import DocumentError, parse_json, read_document
from pipeline.collection.outlines import NO_PIXEL, read_outline
from pipeline.collection.spelled_numbers import whole_number
from pipeline.errors import CollectionError
from pipeline.evaluation.on_release.names import Matched, match
from pipeline.evaluation.sources import Runs, Source
from pipeline.release.changes import ANNOTATIONS_BYTES
from pipeline.release.coco_json import empty_counts
from pipeline.release.image_names import ImageNames

_FORM = "give COCO's list of results, [{image_id, segmentation}, …], or a data set with images and annotations"


def read_results(path: Path, names: ImageNames, masks: Mapping[str, Runs], ids: Mapping[int, str]) -> Matched[Source]:
    """Read the masks of a JSON.

    Images of a data set are known by their file names, since its ids may be its own. Those of a list of results are
    known by the ids of the release.

    Raises: CollectionError: it is no such JSON, or a file name means several images.
    """
    try:
        document = parse_json(read_document(path, ANNOTATIONS_BYTES), most_bytes=ANNOTATIONS_BYTES)
        outlines: defaultdict[int, list[Any]] = defaultdict(list)
        for annotation in document if isinstance(document, list) else document["annotations"]:
            outlines[_id(annotation["image_id"])].append(annotation["segmentation"])
        if isinstance(document, list):
            found = _by_id(outlines, ids)
        else:
            listed = [(str(image["file_name"]), _id(image["id"])) for image in document["images"]]
            found = match(listed, names, masks.keys(), str(path))
            _require_known(outlines, {number for _, number in listed})
    except DocumentError as error:
        raise CollectionError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CollectionError(f"{path} is not in COCO's format ({type(error).__name__}: {error}); {_FORM}") from error
    of = {key: _drawn(f"{path.name}, image {number}", outlines[number], masks[key]) for key, number in found.of.items()}
    return Matched(of=of, surplus=found.surplus)


def _id(value: Any) -> Any:
    """Ids are numbers, also where a tool has written them as text."""
    number = whole_number(value)
    return value if number is None else number


def _by_id(outlines: Mapping[int, Any], ids: Mapping[int, str]) -> Matched[int]:
    of = {ids[number]: number for number in outlines if number in ids}
    return Matched(
        of=dict(sorted(of.items())), surplus=tuple(sorted(f"image {n}" for n in outlines.keys() - ids.keys()))
    )


def _require_known(outlines: Mapping[int, Any], listed: set[int]) -> None:
    if unknown := outlines.keys() - listed:
        raise ValueError(f"an annotation is of image {next(iter(unknown))!r}, which `images` does not list")


def _drawn(label: str, segmentations: list[Any], mask: Runs) -> Runs:
    """The union of some outlines; if one of them can't be read, none counts."""
    from pycocotools import mask as coco_mask

    height, width = mask.height_px, mask.width_px
    drawn, problem = list[Any](), ""
    for segmentation in segmentations:
        outline = read_outline(segmentation, height, width)
        unread = [why for why in outline.left_out if why != NO_PIXEL]
        if unread:
            problem = f"a segmentation is {unread[0]}"
        if outline.counts:
            drawn.append({"size": [height, width], "counts": outline.counts.encode()})
    counts = coco_mask.merge(drawn)["counts"].decode("ascii") if drawn else empty_counts(height, width)
    return Runs(label=label, height_px=height, width_px=width, counts=counts, problem=problem)
