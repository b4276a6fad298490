"""What differs from an earlier release: `CHANGELOG.md` is a summary for people, `changes.csv` lists every image."""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from model.documents import MOST_BYTES as DOCUMENT_BYTES
from model.documents import parse_json
from pipeline.collection.instances import decode_counts
from pipeline.config import ReleaseConfig
from pipeline.errors import CollectionError, StorageError
from pipeline.files import storage
from pipeline.files.connections import require_reachable
from pipeline.files.csv_keys import key_from_csv, key_in_csv
from pipeline.files.parquet import read_parquet
from pipeline.files.tables import CsvTable, cell
from pipeline.records import StoredFile
from pipeline.release.check.release_json import parse_release_json
from pipeline.release.coco_json import EncodedMask, empty_counts
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.manifest import MANIFEST
from pipeline.release.templates import render

COLUMNS = ("key", "change", "iou", "reason")
CHANGELOG, CHANGES = "CHANGELOG.md", "changes.csv"
_SINCE = re.compile(r"^## .* since ([A-Za-z0-9._-]+) ([A-Za-z0-9._-]+)$", re.MULTILINE)
_OVERLAP = re.compile(r"(?<=is |nd )[01]\.\d{3}(?= on average| at the lowest)")
ANNOTATIONS_BYTES = 1 << 30  # 1 GiB: a million masks
GONE = "not_in_the_collection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What a comparison needs of an earlier release."""

    name: str
    version: str
    sha256: str
    """SHA-256 of its `release.json`."""
    masks: Mapping[str, tuple[tuple[int, int], str]]
    """Key → (height, width), run lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One image that differs between the two releases."""

    key: str
    change: Literal["added", "removed", "changed"]
    iou: float | None = None
    """Intersection over union of the two masks, if the mask changed."""
    reason: str = ""
    """Why it was removed: the reason in the manifest, or GONE."""


def read_earlier(release: str) -> Earlier:
    """Read the masks of a release, checking every file that has some against `release.json`.

    Raises: CollectionError: there is no complete release. StorageError: it can't be read as a release.
    """
    url = storage.join(release, RELEASE_JSON)
    if not storage.is_file(url):
        require_reachable(url)
        raise CollectionError(f"--previous {release} is not a complete release: {url} does not exist")
    content = storage.read(url, DOCUMENT_BYTES)
    masks: dict[str, tuple[tuple[int, int], str]] = {}
    try:
        stated = parse_release_json(content, lambda what: _refuse(f"its {RELEASE_JSON} {what}"))
        keys = _keys_of(release, stated.files[MANIFEST])
        for file in stated.files.values():
            if file.name.startswith("annotations/"):
                masks |= _masks_of(release, file, keys)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"--previous {release} can't be read as a release ({type(error).__name__}: {str(error)[:200]}). Run "
            "sod release verify on it to see what is wrong"
        ) from error
    return Earlier(
        name=stated.release.name,
        version=stated.release.version,
        sha256=hashlib.sha256(content).hexdigest(),
        masks=masks,
    )


def _refuse(what: str) -> None:
    raise ValueError(what)


def _keys_of(release: str, manifest: StoredFile) -> dict[int, str]:
    """Id of an image → its key."""
    table = read_parquet(_content(release, manifest))
    return dict(zip(table.column("image_id").to_pylist(), table.column("key").to_pylist(), strict=True))


def _masks_of(release: str, file: StoredFile, keys: Mapping[int, str]) -> dict[str, tuple[tuple[int, int], str]]:
    document = parse_json(_content(release, file), most_bytes=ANNOTATIONS_BYTES)
    masks = {}
    annotated = {annotation["image_id"] for annotation in document["annotations"]}
    for image in document.get("images", ()):
        if image["id"] not in annotated:  # an empty scene
            height, width = image["height"], image["width"]
            masks[keys[image["id"]]] = (height, width), empty_counts(height, width)
    for annotation in document["annotations"]:
        height, width = annotation["segmentation"]["size"]
        masks[keys[annotation["image_id"]]] = (height, width), annotation["segmentation"]["counts"]
    return masks


def _content(release: str, file: StoredFile) -> bytes:
    url = storage.join(release, file.name)
    if not storage.is_file(url):  # reading a pipe that nobody writes into would hang
        raise ValueError(f"{file.name} is missing or not a regular file")
    if file.file_bytes > ANNOTATIONS_BYTES:
        raise ValueError(f"{file.name} has {file.file_bytes:,} bytes; at most {ANNOTATIONS_BYTES:,} are read")
    return storage.read_checked(url, file)


def changes_since(
    earlier: Earlier, rows: Sequence[Mapping[str, Any]], masks: Mapping[str, EncodedMask]
) -> list[Change]:
    """Compare two releases; return every image that differs, in key order.

    Args: rows: manifest rows. masks: key → mask, at least for all accepted images.
    """
    found = [*_added_or_changed(earlier, rows, masks)]
    accepted = {row["key"] for row in rows if row["verdict"] == "accepted"}
    reasons = {row["key"]: row["reason"] for row in rows}
    found += [
        Change(key=key, change="removed", reason=reasons.get(key, GONE)) for key in earlier.masks.keys() - accepted
    ]
    return sorted(found, key=lambda change: change.key)


def change_files(
    name: str, version: str, earlier: Earlier, changes: Sequence[Change], accepted: int
) -> dict[str, bytes]:
    """Encode both files: name → content."""
    counts = {"added": 0, "removed": 0, "changed": 0} | Counter(change.change for change in changes)
    ious = [change.iou for change in changes if change.iou is not None]
    changelog = render(
        "changelog.md.jinja",
        name=name,
        version=version,
        earlier=earlier,
        counts=counts,
        unchanged=accepted - counts["added"] - counts["changed"],
        mean_iou=sum(ious) / len(ious) if ious else None,
        lowest_iou=min(ious, default=None),
        reasons=sorted(Counter(change.reason for change in changes if change.change == "removed").items()),
    )
    table = CsvTable(COLUMNS)
    for change in changes:
        iou = "" if change.iou is None else f"{change.iou:.6f}"
        table.add((key_in_csv(change.key), change.change, iou, change.reason))
    return {CHANGELOG: changelog, CHANGES: table.encode()}


def change_problems(content: bytes, rows: Mapping[str, Mapping[str, Any]], *, prefixed: bool = True) -> Iterator[str]:
    """Find lines of `changes.csv` that contradict the manifest beside it; the earlier release is not read.

    Args: prefixed: do keys have their prefix? Not in releases of format 2.
    """
    header, *lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
    if tuple(header) != COLUMNS:
        yield f"has the columns {header}, not {list(COLUMNS)}"
        return
    keys = [key_from_csv(line[0]) if prefixed else line[0] for line in lines]
    if keys != sorted(set(keys)):
        yield "its keys are out of order or repeated"
    for key, (_, change, iou, reason) in zip(keys, lines, strict=True):
        row = rows.get(key, {"verdict": "", "reason": GONE})
        is_here = row["verdict"] == "accepted"
        expected = ("", "changed" if iou else "added") if is_here else (cell(row["reason"]), "removed")
        if (reason, change) != expected or (iou and not (is_here and 0 <= float(iou) <= 1)):
            yield f"{key} is listed as {change} {iou} {reason}, which contradicts the manifest"


def changelog_problems(content: bytes, changes: bytes | None, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Find numbers in `CHANGELOG.md` that differ from those of the `changes.csv` beside it."""
    lines = list(csv.DictReader(io.StringIO((changes or b"").decode(), newline="")))
    counts = Counter(line["change"] for line in lines)
    accepted = sum(row["verdict"] == "accepted" for row in rows.values())
    for words, count in (
        ("added", counts["added"]),
        ("removed", counts["removed"]),
        ("with another mask", counts["changed"]),
        ("as before", accepted - counts["added"] - counts["changed"]),
    ):
        if f"\n| {words} | {count} |\n" not in content.decode():
            yield f"does not say that {count} images are {words}, as {CHANGES} does"


def says_more(content: bytes, changes: bytes, about: ReleaseConfig, previous_sha256: str, accepted: int) -> bool:
    """Whether `CHANGELOG.md` says anything but what this version writes for the `changes.csv` beside it.

    The earlier release is not read, so its name and version may be any. The table has rounded overlaps, so the last
    digit of their mean is not compared.

    Raises: ValueError, KeyError: one of them is malformed.
    """
    text = content.decode()
    earlier = _SINCE.search(text)
    if earlier is None:
        return True
    lines = csv.DictReader(io.StringIO(changes.decode(), newline=""))
    found = [
        Change(key=line["key"], change=line["change"], iou=float(line["iou"] or "nan"), reason=line["reason"])  # type: ignore[arg-type]
        for line in lines
    ]
    found = [replace(change, iou=None) if change.iou != change.iou else change for change in found]
    since = Earlier(name=earlier[1], version=earlier[2], sha256=previous_sha256, masks={})
    expected = change_files(about.name, about.version, since, found, accepted)[CHANGELOG].decode()
    return _OVERLAP.sub("", text) != _OVERLAP.sub("", expected)


def _added_or_changed(
    earlier: Earlier, rows: Sequence[Mapping[str, Any]], masks: Mapping[str, EncodedMask]
) -> Iterator[Change]:
    for row in rows:
        key = row["key"]
        if row["verdict"] != "accepted":
            continue
        if key not in earlier.masks:
            yield Change(key=key, change="added")
            continue
        size, counts = earlier.masks[key]
        if (size, counts) != ((row["height"], row["width"]), masks[key].counts):
            yield Change(key=key, change="changed", iou=_iou(key, size, counts, row, masks[key]))


def _iou(key: str, size: tuple[int, int], counts: str, row: Mapping[str, Any], mask: EncodedMask) -> float:
    """Intersection over union of an image's masks then and now; 0 if its size changed."""
    if size != (row["height"], row["width"]):
        return 0.0
    try:
        before, now = decode_counts(counts, *size), decode_counts(mask.counts, *size)
    except (ValueError, TypeError) as error:
        raise StorageError(f"--previous: the mask of {key} can't be decoded ({error})") from error
    union = int((before | now).sum())
    return int((before & now).sum()) / union if union else 1.0
