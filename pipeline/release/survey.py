"""The first pass over the candidates: collects what verdicts, plans and annotations need, and draws tiles.

Each task covers whole sheets, so the sheets are the same however the work is spread.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from pipeline.collection.instances import CrossCheck, Instance, cross_check
from pipeline.config import ReleaseConfig, RunConfig
from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.maps import decode_png
from pipeline.records import StoredFile
from pipeline.release.coco_json import EncodedMask, encode_mask
from pipeline.release.page.tiles import TILES_PER_SHEET, decode_small, draw_tile, encode_sheet, sheet_name
from pipeline.release.pictures import NOTHING_KNOWN, Known, mask_in, pictures_from
from pipeline.release.released import NOT_RELEASED, Released, released_image
from pipeline.release.source import Picked, Portion, ReleaseSource, original_bytes, portions, read_portions
from pipeline.release.tar_series import tar_member_bytes
from pipeline.runs.binding import maps_sha256
from pipeline.selection.verdicts import is_allowed

SHEETS_PER_TASK = 8
"""About 200 images, a few seconds of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyTask:
    """The images of some sheets."""

    folder: str
    """Where the release is made; sheets are written into it."""
    first_sheet: int
    portions: tuple[Portion, ...]
    instances: Mapping[str, tuple[Instance, ...]]
    shown: frozenset[str]
    """Keys of images whose photo may be shown."""
    max_image_bytes: int
    release: ReleaseConfig
    known: Mapping[str, Known]
    """Key → what decides its pictures besides its maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """Findings about the maps of a predicted image."""

    key: str
    mask: EncodedMask
    mask_sha256: str
    """SHA-256 of the mask's PNG."""
    maps_sha256: str
    """See `runs/binding.py`."""
    map_bytes: int
    """Bytes that the image's pictures but its photo take in a tar."""
    released: Released
    """What the release has of the image, if it is accepted; nothing if its photo is not shown."""
    checked: CrossCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The answer of one task."""

    images: tuple[Surveyed, ...]
    sheets: tuple[StoredFile, ...]
    """Names are relative to the release."""
    without_photo: tuple[str, ...]
    """Keys of images whose photo should be shown but has disappeared or changed."""


def plan_survey(
    source: ReleaseSource, folder: str, shown: frozenset[str], known: Mapping[str, Known], config: RunConfig
) -> list[SurveyTask]:
    """Cut the survey into tasks; every predicted image is in exactly one."""
    keys = [row.key for _, row in source.images() if row.members]
    per_task = TILES_PER_SHEET * SHEETS_PER_TASK
    groups = [keys[start : start + per_task] for start in range(0, len(keys), per_task)]
    return [
        SurveyTask(
            folder=folder,
            first_sheet=number * SHEETS_PER_TASK,
            portions=found,
            instances={key: source.instances.of[key] for key in group if key in source.instances.of},
            shown=shown.intersection(group),
            max_image_bytes=config.input.max_image_bytes,
            release=config.release,
            known={key: known[key] for key in group if key in known},
        )
        for number, (group, found) in enumerate(zip(groups, portions(source, groups), strict=True))
    ]


def survey(task: SurveyTask) -> Survey:
    """Survey every image of a task and publish the task's sheets.

    Raises: StorageError: candidates do not match their shard record.
    """
    images, tiles, sheets, without_photo = [], [], list[StoredFile](), list[str]()
    last = task.portions[-1].images[-1]
    for image, members in read_portions(task.portions):
        saliency, variance = (decode_png(members[f"{name}.png"]) for name in ("saliency", "variance"))
        key = image.sample.key
        known = task.known.get(key, NOTHING_KNOWN)
        pictures, mask = pictures_from(members, task.release, known), mask_in(saliency, known)
        photo, released = _photo(image, task)
        images.append(
            Surveyed(
                key=key,
                mask=encode_mask(mask),
                mask_sha256=hashlib.sha256(pictures["mask.png"]).hexdigest(),
                maps_sha256=maps_sha256(members),
                map_bytes=sum(tar_member_bytes(len(content)) for content in pictures.values()),
                released=released,
                checked=cross_check(mask, task.instances.get(key, ())),
            )
        )
        if photo is None and key in task.shown:
            without_photo.append(key)
        tiles.append(draw_tile(photo, saliency, variance, has_mask=not known.is_empty))
        if len(tiles) == TILES_PER_SHEET or image is last:
            name = sheet_name(task.first_sheet + len(sheets))
            sheets.append(replace(storage.add(storage.join(task.folder, name), encode_sheet(tiles)), name=name))
            tiles.clear()
    return Survey(images=tuple(images), sheets=tuple(sheets), without_photo=tuple(without_photo))


def _photo(image: Picked, task: SurveyTask) -> tuple[UInt8[np.ndarray, "h w 3"] | None, Released]:
    """None: it may not be shown, or has disappeared or changed; a missing thumbnail is no reason to fail."""
    if image.sample.key not in task.shown:
        return None, NOT_RELEASED
    try:
        content = original_bytes(image, task.max_image_bytes)
    except StorageUnavailableError:
        raise
    except StorageError:
        return None, NOT_RELEASED
    most_pixels = image.sample.width * image.sample.height
    small = decode_small(image.sample.key, content, most_pixels, image.row.frame or "stored")
    return small, released_image(image, content)[0]


def shown_photos(source: ReleaseSource, config: RunConfig) -> frozenset[str]:
    """Keys of the predicted images whose pixels may be in the release; none in a release of masks alone."""
    if not config.release.embed_images:
        return frozenset()
    return frozenset(
        sample.key
        for sample, row in source.images()
        if row.members and is_allowed(sample.license_id, source.license_of(sample).url, config.policy)
    )
