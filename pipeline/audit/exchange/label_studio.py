"""Label Studio's tasks and annotations: JSON with a brush per region, and a choice for the verdict.

An export has the release's mask as a prediction, from which the page starts an annotation. What comes back is the JSON
(not JSON-MIN) that the project's "Export" gives: a task has what we sent in `data`, and one annotation of the rater.
Source: `image2annotation` of label-studio-sdk 2.1.2, and Label Studio's documents on predictions and exports.
"""

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from model.documents import parse_json
from pipeline.audit.answers import VERDICTS
from pipeline.audit.exchange.brush_rle import decode_brush, encode_brush
from pipeline.audit.exchange.given import Given, Images, Reading, one_of, quoted, united
from pipeline.audit.exchange.task import HOW_TO_ANSWER, IMAGES, OBJECT, Task, Titled
from pipeline.passes.mask_text import Rle, pixels_of, rle_of

TASKS, INTERFACE = "tasks.json", "interface.xml"
MOST_BYTES = 256 << 20  # 256 MiB: 10,000 brushes of 25 KB
_BRUSH, _CHOICE, _IMAGE = "mask", "verdict", "image"
_MOST_SECONDS = 24 * 3600
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)Z", re.ASCII)


def encode(tasks: Sequence[Task], titled: Titled, folder: str) -> dict[str, bytes]:
    """Make the files of an export, beside the images: name → content.

    Args: folder: name of the export's folder, which Label Studio's addresses of local files begin with.
    """
    entries = [
        {
            "data": {
                _IMAGE: f"/data/local-files/?d={quote(folder)}/{IMAGES}/{task.file_name}",
                "key": task.key,
                "plan": titled.plan,
            },
            "predictions": [{"model_version": titled.title, "result": [_region(task)]}] if task.has_object else [],
        }
        for task in tasks
    ]
    return {
        TASKS: json.dumps(entries, separators=(",", ":")).encode(),
        INTERFACE: _INTERFACE.encode(),
        "README.md": _README.encode(),
    }


def _region(task: Task) -> dict[str, Any]:
    return {
        "id": task.key,
        "type": "brushlabels",
        "from_name": _BRUSH,
        "to_name": _IMAGE,
        "original_width": task.width,
        "original_height": task.height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_brush(pixels_of(task.mask)), "brushlabels": [OBJECT]},
    }


def read(content: bytes, images: Images) -> Reading:
    """Read a project's export.

    Raises: ValueError, KeyError, TypeError: it is not one, or is not about the sample; the message names the image.
    """
    entries = parse_json(content, most_bytes=MOST_BYTES)
    if not isinstance(entries, list):
        raise ValueError('it is no list of tasks; export the project as "JSON"')
    plans = [entry["data"].get("plan") for entry in entries]
    for plan in plans:
        images.require_plan(plan)
    keys = images.find_all([entry["data"]["key"] for entry in entries], are_keys=all(plans))
    given = tuple(_given(keys[entry["data"]["key"]], entry, images) for entry in entries)
    return Reading(given=given, has_verdicts=True)


def _given(key: str, entry: dict[str, Any], images: Images) -> Given:
    if "annotations" not in entry:
        raise ValueError(f"{key} has no annotations, as in the file that was exported to Label Studio")
    submitted = [annotation for annotation in entry["annotations"] if not annotation.get("was_cancelled")]
    if not submitted:  # what the button "Skip" leaves is an annotation that was cancelled
        return Given(key=key, says="skip" if entry["annotations"] else "")
    if len(submitted) > 1:
        raise ValueError(f"{key} has {len(submitted)} annotations: leave that of the rater alone")
    masks, verdicts = [], set()
    for region in submitted[0]["result"]:
        if region["type"] == "choices":
            verdicts |= {str(choice) for choice in region["value"]["choices"]}
        elif region["type"] == "brushlabels":
            masks.append(_mask(key, region, images))
        else:
            raise ValueError(f"{key} has a region of type {quoted(region['type'])}; the object is to be a brush")
    return Given(
        key=key,
        says=one_of(key, verdicts),
        mask=united(masks),
        seconds=_seconds(submitted[0].get("lead_time")),
        answered=_time(submitted[0].get("updated_at") or submitted[0].get("created_at")),
    )


def _mask(key: str, region: dict[str, Any], images: Images) -> Rle:
    if region.get("image_rotation"):
        raise ValueError(f"{key} was turned by {quoted(region['image_rotation'])} degrees; masks lie on it as it is")
    images.require_size(key, region["original_height"], region["original_width"])
    if region["value"].get("format") != "rle":
        raise ValueError(f"{key} has a brush of the format {quoted(region['value'].get('format'))}, not rle")
    try:
        return rle_of(decode_brush(region["value"]["rle"], *images.sizes[key]))
    except ValueError as error:
        raise ValueError(f"{key} has {error}") from error


def _seconds(stated: Any) -> float:
    """Time that a task was open; 0 if it is unknown, or so long that nobody was there."""
    return float(stated) if type(stated) in (int, float) and 0 <= stated < _MOST_SECONDS else 0.0


def _time(stated: object) -> str:
    found = _TIME.fullmatch(stated) if isinstance(stated, str) else None
    return f"{found[1]}Z" if found else ""


_CHOICES = "\n".join(f'    <Choice value="{label}" hotkey="{place}"/>' for place, label in enumerate(VERDICTS, start=1))
_INTERFACE = f"""\
<View>
  <Image name="{_IMAGE}" value="${_IMAGE}" zoom="true" zoomControl="true"/>
  <BrushLabels name="{_BRUSH}" toName="{_IMAGE}">
    <Label value="{OBJECT}"/>
  </BrushLabels>
  <Choices name="{_CHOICE}" toName="{_IMAGE}" choice="single-radio" required="true">
{_CHOICES}
  </Choices>
</View>
"""
_README = f"""\
# Label Studio

1. Start it with `LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true`, and `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT` as the
   folder that this folder lies in.
2. Create a project, and paste `{INTERFACE}` into "Labeling Setup", "Custom template".
3. Add the folder `{IMAGES}` under "Cloud Storage" as source storage "Local files", and do not sync it: that permits
   its files to be shown.
4. Import `{TASKS}`, and let predictions be shown when a task is opened.
5. Judge, then export as "JSON".

{HOW_TO_ANSWER}
Take the answers back with `sod audit import AUDIT FILE --from label-studio --rater NAME`.
"""
