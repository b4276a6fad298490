"""Read a COCO annotation JSON: its images in the order of their ids, with licences and origins.

The annotations are right, or wrong as a whole (`AnnotationError`). `gather.py` finds the images.
"""

import logging
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, get_args
from urllib.parse import urlsplit

from model.documents import DocumentError, parse_json
from pipeline.collection.collection import MAX_NUMBER, Collection, Origin
from pipeline.collection.licensing import Licensing, licensing_of
from pipeline.collection.names import safe_name
from pipeline.collection.places import CANNOT_OPEN
from pipeline.errors import AnnotationError, SampleError, UsageError
from pipeline.files import urls
from pipeline.files.bounded import read_at_most
from pipeline.files.connections import connected
from pipeline.files.patience import persist
from pipeline.records import Frame, Sample
from pipeline.shown import shown, text_as_utf8

log = logging.getLogger(__name__)

_SOURCE_FIELDS = ("flickr_url", "source", "url", "coco_url")
_LONGEST_ORIGIN = 2000
_MOST_BYTES = 4 << 30  # 4 GiB of annotations: those of train2017 are 0.45


def read_annotations(annotations: str) -> Collection:
    """Read the annotations without looking for the images: no sample has a location.

    Raises: AnnotationError: the JSON can't be read as COCO annotations.
    """
    dropped = with_outline = False

    def drop_annotation(entry: dict[str, Any]) -> dict[str, Any] | None:
        """Drop annotations during parsing: the polygons of train2017 would take gigabytes."""
        nonlocal dropped, with_outline
        if is_annotation(entry):
            dropped, with_outline = True, with_outline or bool(entry.get("segmentation"))
        return None if "image_id" in entry and not ("file_name" in entry or "width" in entry) else entry

    annotation_bytes = read_annotation_bytes(annotations)
    document = parse_document(annotations, annotation_bytes, drop_annotation)
    licensing = licensing_of(document)
    samples = _images(annotations, document, licensing)
    for remark in licensing.remarks():
        log.warning("%s: %s", _named(annotations), remark)
    found = document.get("annotations")
    if found and not isinstance(found, list) and not dropped:
        log.warning(
            "%s: `annotations` is %s, not a list, and no annotation was found in it: masks are compared with none",
            _named(annotations),
            _of(found),
        )
    return Collection(
        samples=tuple(samples),
        licenses=licensing.licenses,
        origins={f"{entry['id']:012d}": origin for entry in document["images"] if (origin := _origin(entry))},
        has_annotations=dropped,
        has_instances=with_outline,
        orientation=_orientation(document.get("info")),
        name=_of_info(document, "description"),
        url=_of_info(document, "url"),
    )


def _of_info(document: Mapping[str, Any], field: str) -> str:
    """What the document says of the whole collection, in one line; "" if it says nothing, or no text."""
    info = document.get("info")
    said = info.get(field) if isinstance(info, dict) else None
    return " ".join(text_as_utf8(said).split())[:_LONGEST_ORIGIN] if isinstance(said, str) else ""


def is_annotation(entry: Mapping[str, Any]) -> bool:
    """Is this object of the document the annotation of a thing: its outline, its box, or at least its category?"""
    return "image_id" in entry and ("segmentation" in entry or "bbox" in entry or "category_id" in entry)


def read_annotation_bytes(annotations: str) -> bytes:
    """The annotation JSON as it is stored.

    Raises: AnnotationError: it can't be read. StorageUnavailableError: its server can't be reached.
    """
    try:
        fs, path = urls.resolve(annotations, chained=True)
        with connected(f"annotations {shown(annotations)!r}", fs):
            return persist(annotations, lambda: read_at_most(fs, path, _MOST_BYTES))
    except UsageError as error:
        raise AnnotationError(f"annotations {error}") from error
    except CANNOT_OPEN as error:
        raise AnnotationError(f"{_named(annotations)}: {error}; give a COCO annotation JSON") from error


def parse_document(
    annotations: str, annotation_bytes: bytes, keep: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> dict[str, Any]:
    """Parse the annotation JSON.

    Args:   annotations: where it comes from, for messages.
            keep: called with every object in it as soon as it is read; returns what replaces it.
    Raises: AnnotationError: it is not JSON, or not an object.
    """
    try:
        document = parse_json(annotation_bytes, keep, most_bytes=_MOST_BYTES, finite=False)
    except DocumentError as error:
        found = f"found {len(annotation_bytes)} bytes"
        raise AnnotationError(f"{_named(annotations)}: {error}; {found}") from error
    if not isinstance(document, dict):
        found = f"found {type(document).__name__}"
        raise AnnotationError(f"{_named(annotations)}: a JSON object with `images` is needed, {found}")
    return document


def _images(annotations: str, document: dict[str, Any], licensing: Licensing) -> list[Sample]:
    entries = document.get("images")
    if not isinstance(entries, list) or not entries:
        found = _of(entries) if "images" in document else f"an object without them, of {len(document)} entries"
        raise AnnotationError(f"{_named(annotations)}: `images` must be a list of at least one image, found {found}")
    by_id: dict[int, tuple[int, Sample]] = {}
    for index, entry in enumerate(entries):
        sample = _sample(f"{_named(annotations)}: images[{index}]", entry, licensing)
        if sample.image_id in by_id:
            first = by_id[sample.image_id][0]
            raise AnnotationError(
                f"{_named(annotations)}: images[{first}] and images[{index}] both have id {sample.image_id}; "
                "ids must be unique: remove or renumber one"
            )
        by_id[sample.image_id] = index, sample
    return [by_id[image_id][1] for image_id in sorted(by_id)]


def _sample(where: str, entry: object, licensing: Licensing) -> Sample:
    if not isinstance(entry, dict):
        raise AnnotationError(f"{where}: an object is needed, found {_of(entry)}; correct or remove the entry")
    image_id = _number(where, entry, "id", 0)
    where = f"{where} (id {image_id})"
    width, height = _number(where, entry, "width", 1), _number(where, entry, "height", 1)
    name = _file_name(where, entry)
    problem, detail = _unusable(name)
    return Sample(
        key=f"{image_id:012d}",
        image_id=image_id,
        file_name=text_as_utf8(name),
        width=width,
        height=height,
        license_id=licensing.id_of(entry.get("license"), image_id),
        location=None,
        problem=problem,
        problem_detail=detail,
    )


def _unusable(name: str) -> tuple[str, str]:
    """Reason and detail of a name that is not valid text: its escapes would be looked for as if they were folders."""
    try:
        if text_as_utf8(name) != name:
            safe_name(name)
    except SampleError as error:
        return error.reason, error.detail
    return "", ""


def _origin(entry: Mapping[str, Any]) -> Origin | None:
    """Values that are not text, or are longer than any name or address, are ignored."""
    said = {name: value for name, value in entry.items() if isinstance(value, str) and len(value) < _LONGEST_ORIGIN}
    source = next((said[name] for name in _SOURCE_FIELDS if said.get(name)), "")
    author = said.get("author", "")
    return Origin(author=text_as_utf8(author), source=shown(text_as_utf8(source))) if author or source else None


def _file_name(where: str, entry: dict[str, Any]) -> str:
    """The name of an image's file. LVIS has an address alone, whose last folder is that of the file in COCO."""
    address = entry.get("coco_url")
    if entry.get("file_name") is None and isinstance(address, str) and "://" in address:
        try:
            path = urlsplit(address).path
        except ValueError as error:
            found = f"is {_of(address)}, which is no address"
            raise AnnotationError(f"{where}: `coco_url` {found}: correct or remove the entry") from error
        return "/".join(path.split("/")[-2:])
    return _text(where, entry, "file_name")


def _orientation(info: object) -> str:
    stated = info.get("orientation") if isinstance(info, dict) else None
    return str(stated) if stated in get_args(Frame) else ""


def _number(where: str, entry: dict[str, Any], field: str, least: int) -> int:
    value = entry.get(field)
    # type(): a bool is an int to isinstance.
    if type(value) is not int or not least <= value <= MAX_NUMBER:
        found = f"is {_of(value)}" if field in entry else f"is missing; the entry has {sorted(entry)[:10]}"
        wanted = f"a whole number from {least} to {MAX_NUMBER} is needed"
        raise AnnotationError(f"{where}: `{field}` {found}; {wanted}: correct or remove the entry")
    return value


def _text(where: str, entry: dict[str, Any], field: str) -> str:
    """A text field, in which there may be half a surrogate pair, valid in JSON but not in UTF-8."""
    value = entry.get(field)
    if not isinstance(value, str):
        found = f"is {_of(value)}" if field in entry else f"is missing; the entry has {sorted(entry)[:10]}"
        raise AnnotationError(f"{where}: `{field}` {found}; a text is needed: correct or remove the entry")
    return value


def _named(annotations: str) -> str:
    return f"annotations {shown(annotations)!r}"


def _of(value: object) -> str:
    """The type and the first characters of an offending value."""
    return f"{type(value).__name__} {reprlib.repr(value)}"
