"""COCO's annotation file: one annotation per image that has an object, its category a verdict or the object itself.

COCO knows no verdict of an image. So each verdict is a category, which every tool for COCO can give; `verdict` of an
image's entry or of an annotation's `attributes` (CVAT's and Datumaro's extension) says the same. pycocotools 2.0.11
loads the file.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from model.documents import parse_object
from pipeline.audit.answers import VERDICTS
from pipeline.audit.exchange.given import Given, Images, Reading, one_of, quoted, united
from pipeline.audit.exchange.task import HOW_TO_ANSWER, IMAGES, LABELS, OBJECT, Task, Titled
from pipeline.collection.outlines import read_outline
from pipeline.files.tars import encode_json
from pipeline.passes.mask_text import Rle, pixels_of
from pipeline.release.coco_json import encode_mask

ANNOTATIONS = "annotations/instances_default.json"
"""Where CVAT and Datumaro look for it, beside `IMAGES`."""
MOST_BYTES = 256 << 20  # 256 MiB: 10,000 masks of 25 KB


def encode(tasks: Sequence[Task], titled: Titled) -> dict[str, bytes]:
    """Make the files of an export, beside the images: name → content."""
    numbers = {label: number for number, label in enumerate(LABELS, start=1)}
    categories = [{"id": numbers[label], "name": label, "supercategory": ""} for label in LABELS]
    with_object = [task for task in tasks if task.has_object]
    document = {
        "info": {"description": f"Audit of {titled.title}", "plan": titled.plan},
        "licenses": [],
        "categories": categories,
        "images": [
            {
                "id": task.image_id,
                "file_name": task.file_name,
                "width": task.width,
                "height": task.height,
                "verdict": "",
            }
            for task in tasks
        ],
        "annotations": [_annotation(number, task, numbers[OBJECT]) for number, task in enumerate(with_object, start=1)],
    }
    return {ANNOTATIONS: encode_json(document), "README.md": _README.encode()}


def _annotation(number: int, task: Task, category: int) -> dict[str, Any]:
    mask = encode_mask(pixels_of(task.mask))
    return {
        "id": number,
        "image_id": task.image_id,
        "category_id": category,
        "segmentation": dict(task.mask),
        "area": mask.area_px,
        "bbox": list(mask.bbox),
        "iscrowd": 0,
        "attributes": {"verdict": ""},
    }


def read(content: bytes, images: Images) -> Reading:
    """Read a file that a tool has written, or anybody.

    Raises: ValueError, KeyError, TypeError: it is not one, or is not about the sample; the message names the image.
    """
    document = parse_object(content, most_bytes=MOST_BYTES)
    plan = (document.get("info") or {}).get("plan")
    images.require_plan(plan)
    categories = {category["id"]: str(category["name"]) for category in document.get("categories") or ()}
    entries = {}
    for entry in document["images"]:
        if entry["id"] in entries:
            raise ValueError(f"two images have the id {quoted(entry['id'])}")
        entries[entry["id"]] = entry
    of_image: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        if annotation["image_id"] not in entries:
            raise ValueError(f"an annotation is of the image {quoted(annotation['image_id'])}, which is not listed")
        of_image[annotation["image_id"]].append(annotation)
    keys = images.find_all([entry["file_name"] for entry in entries.values()], are_keys=bool(plan))
    given = [
        _given(keys[entry["file_name"]], entry, of_image[number], categories, images)
        for number, entry in entries.items()
    ]
    has_verdicts = bool(set(VERDICTS) & set(categories.values())) or any(one.says for one in given)
    return Reading(given=tuple(given), has_verdicts=has_verdicts)


def _given(
    key: str, entry: dict[str, Any], annotations: list[dict[str, Any]], categories: dict[Any, str], images: Images
) -> Given:
    images.require_size(key, entry.get("height"), entry.get("width"))
    verdicts = {_text(key, entry.get("verdict"))}
    masks, is_exact = [], True
    for annotation in annotations:
        category = categories.get(annotation.get("category_id"), "")
        verdicts |= {_text(key, (annotation.get("attributes") or {}).get("verdict"))}
        verdicts |= {category} if category in VERDICTS else set()
        if annotation.get("segmentation"):
            masks.append(_mask(key, annotation["segmentation"], images.sizes[key]))
            is_exact &= isinstance(annotation["segmentation"], dict)
        elif category not in VERDICTS:
            raise ValueError(f"{key} has an annotation without a mask")
    return Given(key=key, says=one_of(key, verdicts), mask=united(masks), is_exact=is_exact)


def _text(key: str, verdict: object) -> str:
    if not isinstance(verdict, str | None):
        raise ValueError(f"{key} has the verdict {quoted(verdict)}, which is no text")
    return verdict or ""


def _mask(key: str, segmentation: object, size: tuple[int, int]) -> Rle:
    """The pixels of an annotation: compressed or plain run lengths, or polygons."""
    outline = read_outline(segmentation, *size)
    if outline.left_out:
        raise ValueError(f"{key} has an annotation whose mask is {outline.left_out[0]}")
    return Rle(size=list(size), counts=outline.counts)


_README = f"""\
# COCO

`{ANNOTATIONS}` lists the images of the folder `{IMAGES}`, with one mask of the category `{OBJECT}` for each that has
an object. To answer, give the annotation another category, or write the verdict into `verdict`: of the image's entry,
or of the annotation's `attributes`.

Tools that turn masks into polygons (Datumaro does) move their edges by a pixel, which lowers the IoU of a `fix`. CVAT's
and Label Studio's own formats lose none.

{HOW_TO_ANSWER}
Take the answers back with `sod audit import AUDIT FILE --from coco --rater NAME`.
"""
