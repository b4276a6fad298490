"""The annotation JSON of a collection that has none: its images with ids, names and sizes, as `coco.py` reads them.

Whoever wants to leave out images, add licences by hand, or open the collection in tools for COCO's format begins here.
A run with these annotations finds the same images, with the same sizes, as a run without any. Their ids and keys are
others, since a key from annotations is an id of 12 digits.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.collection.collection import MAX_NUMBER, Collection
from pipeline.collection.config import CollectConfig
from pipeline.collection.frames import default_frame
from pipeline.collection.gather import read_collection
from pipeline.collection.unannotated import has_number, key_and_id
from pipeline.errors import CollectionError, ConfigError
from pipeline.files import storage, urls
from pipeline.preconditions import require_target
from pipeline.records import Frame, Sample
from pipeline.shown import shown

log = logging.getLogger(__name__)

_INFO = {"description": "Images without annotations, listed by sod-benchmark. `orientation` is that of their sizes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What became of the images of a collection. The counts add up."""

    annotations: str
    """Absolute path or URL of the file that was written."""
    images: int
    collected: int
    failed: Mapping[str, int]
    """Reason → images that have no size, or can't be found again by their names; they are not in the file."""
    orientation: Frame
    """The frame of the sizes."""


def collect(config: CollectConfig) -> Collected:
    """Find all images of a place, and write the annotation JSON that lists them.

    Raises: ConfigError: the file exists, or can't be written. CollectionError: as `read_collection`; or no image has a
            size. StorageUnavailableError: a server can't be reached.
    """
    annotations = urls.absolute(config.out)
    _require_new(annotations)
    frame = default_frame(config.orientation, annotated=False)
    collection = read_collection(config.input)
    good = [sample for sample in collection.samples if not sample.problem]
    failed: dict[str, int] = {}
    for sample in collection.samples:
        if sample.problem:
            log.error("%s failed: %s: %s", sample.file_name, sample.problem, sample.problem_detail)
            failed[sample.problem] = failed.get(sample.problem, 0) + 1
    if not good:
        first = collection.samples[0]
        raise CollectionError(
            f"images {shown(config.images)!r}: none of the {len(collection.samples)} has a size that can be read. The "
            f"first, {first.problem}: {first.problem_detail}"
        )
    if not storage.create(annotations, annotation_json(collection, frame)):
        raise _exists(annotations)
    return Collected(
        annotations=annotations,
        images=len(collection.samples),
        collected=len(good),
        failed=failed,
        orientation=frame,
    )


def annotation_json(collection: Collection, frame: Frame) -> bytes:
    """The annotation JSON of the images without a problem: one image a line, in the order of their names.

    `annotations` and `categories` are there and empty, since tools for COCO's format ask for them. Equal collections
    give equal bytes.

    Args: frame: that of the samples' sizes; `info` states it.
    """
    samples = sorted(
        (sample for sample in collection.samples if not sample.problem), key=lambda sample: sample.file_name
    )
    ids = ids_of([sample.file_name for sample in samples])
    used = {sample.license_id for sample in samples}
    licenses = [asdict(licence) for number, licence in sorted(collection.licenses.items()) if number in used]
    images = [_entry(ids[sample.file_name], sample, collection) for sample in samples]
    lists = {"licenses": licenses, "images": images, "annotations": [], "categories": []}
    lines = [
        f'"info": {_line(_INFO | {"orientation": frame})}',
        *(f'"{name}": {_list(entries)}' for name, entries in lists.items()),
    ]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def ids_of(names: Sequence[str]) -> dict[str, int]:
    """Name → id of the image in annotations: at most 12 digits, and the same when images are added.

    It is the id that the image has without annotations, modulo 10^12; so a name like COCO's keeps COCO's id. Where two
    names share one, which happens in one of two hundred collections of 100,000 images, the later name gets the next
    that is free: a name that is added may then change one other id.
    """
    ids: dict[str, int] = {}
    taken: set[int] = set()
    for name in sorted(names, key=lambda name: (not has_number(name), name)):
        number = key_and_id(name)[1] % (MAX_NUMBER + 1)
        while number in taken:
            number = (number + 1) % (MAX_NUMBER + 1)
        taken.add(number)
        ids[name] = number
    return ids


def _entry(image_id: int, sample: Sample, collection: Collection) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": image_id,
        "file_name": sample.file_name,
        "width": sample.width,
        "height": sample.height,
    }
    if sample.license_id:
        entry["license"] = sample.license_id
    origin = collection.origins.get(sample.key)
    if origin and origin.author:
        entry["author"] = origin.author
    if origin and origin.source:
        entry["source"] = origin.source
    return entry


def _list(entries: Sequence[Mapping[str, Any]]) -> str:
    return "[\n" + ",\n".join(map(_line, entries)) + "\n]" if entries else "[]"


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False, allow_nan=False)


def _require_new(annotations: str) -> None:
    if annotations.startswith(("http://", "https://")):
        raise ConfigError(f"--out {shown(annotations)}: HTTP is for reading; give a path on a disk, or in a bucket")
    if storage.exists(annotations):
        raise _exists(annotations)
    if urls.is_local(annotations):
        require_target(Path(annotations).parent, "--out in the folder")


def _exists(annotations: str) -> ConfigError:
    return ConfigError(f"--out {shown(annotations)} exists, and is not replaced; give another name, or remove it")
