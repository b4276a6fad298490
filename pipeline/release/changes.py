"""What is different from an earlier release: `CHANGELOG.md` for people, `changes.csv` with every image of it."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.collection.instances import decode_counts
from pipeline.errors import CollectionError, StorageError
from pipeline.files import storage
from pipeline.records import StoredFile
from pipeline.release.check.release_json import parse_release_json
from pipeline.release.coco_json import EncodedMask
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.templates import render

COLUMNS = ("key", "change", "iou", "reason")
FILES = ("CHANGELOG.md", "changes.csv")
GONE = "not_in_the_collection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An earlier release, as far as it is compared with."""

    name: str
    version: str
    sha256: str
    """Of its `release.json`."""
    masks: Mapping[str, tuple[tuple[int, int], str]]
    """Key → height and width, run lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One image that is not as it was."""

    key: str
    change: Literal["added", "removed", "changed"]
    iou: float | None = None
    """Of the two masks, of an image that changed."""
    reason: str = ""
    """Why it was removed, as the manifest has it."""


def read_earlier(release: str) -> Earlier:
    """The masks of a release, every file of them checked against its record.

    Raises: CollectionError: there is no release. StorageError: it is not what it should be.
    """
    url = storage.join(release, RELEASE_JSON)
    if not storage.is_file(url):
        raise CollectionError(f"--previous {release} is no complete release: there is no {url}")
    content = storage.read(url)
    masks: dict[str, tuple[tuple[int, int], str]] = {}
    try:
        stated = parse_release_json(content, lambda what: _refuse(f"its {RELEASE_JSON} {what}"))
        for file in stated.files.values():
            if file.name.startswith("annotations/"):
                masks |= _masks_of(release, file)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"--previous {release} is not what a release is ({type(error).__name__}: {str(error)[:200]}); "
            "jobs/verify_release.py says what is wrong"
        ) from error
    return Earlier(
        name=stated.release.name,
        version=stated.release.version,
        sha256=hashlib.sha256(content).hexdigest(),
        masks=masks,
    )


def _refuse(what: str) -> None:
    raise ValueError(what)


def _masks_of(release: str, file: StoredFile) -> dict[str, tuple[tuple[int, int], str]]:
    url = storage.join(release, file.name)
    if not storage.is_file(url):  # a pipe that nobody writes into
        raise ValueError(f"{file.name} is missing, or no plain file")
    masks = {}
    for annotation in json.loads(storage.read_checked(url, file))["annotations"]:
        height, width = annotation["segmentation"]["size"]
        masks[f"{annotation['image_id']:012d}"] = (height, width), annotation["segmentation"]["counts"]
    return masks


def changes_since(
    earlier: Earlier, rows: Sequence[Mapping[str, Any]], masks: Mapping[str, EncodedMask]
) -> list[Change]:
    """Every image that is not as it was, in the order of the keys.

    Args: rows: of the manifest. masks: by key, of accepted images at least.
    """
    found = [*_now(earlier, rows, masks)]
    accepted = {row["key"] for row in rows if row["verdict"] == "accepted"}
    reasons = {row["key"]: row["reason"] for row in rows}
    found += [
        Change(key=key, change="removed", reason=reasons.get(key, GONE)) for key in earlier.masks.keys() - accepted
    ]
    return sorted(found, key=lambda change: change.key)


def change_files(
    name: str, version: str, earlier: Earlier, changes: Sequence[Change], accepted: int
) -> dict[str, bytes]:
    """The two files."""
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
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for change in changes:
        iou = "" if change.iou is None else f"{change.iou:.6f}"
        writer.writerow((change.key, change.change, iou, change.reason))
    return dict(zip(FILES, (changelog, buffer.getvalue().encode()), strict=True))


def change_problems(content: bytes, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What in a `changes.csv` does not go with the manifest beside it; the earlier release is not looked at."""
    header, *lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
    if tuple(header) != COLUMNS:
        yield f"has the columns {header}, not {list(COLUMNS)}"
        return
    keys = [line[0] for line in lines]
    if keys != sorted(set(keys)):
        yield "its keys are not in order, or come twice"
    for key, change, iou, reason in lines:
        row = rows.get(key, {"verdict": "", "reason": GONE})
        is_here = row["verdict"] == "accepted"
        expected = ("", "changed" if iou else "added") if is_here else (row["reason"], "removed")
        if (reason, change) != expected or (iou and not (is_here and 0 <= float(iou) <= 1)):
            yield f"{key} is said to be {change} {iou} {reason}, which does not go with the manifest"


def changelog_problems(content: bytes, changes: bytes | None, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Numbers of a `CHANGELOG.md` that are not those of the `changes.csv` beside it."""
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
            yield f"does not say that {count} images are {words}, as changes.csv does"


def _now(earlier: Earlier, rows: Sequence[Mapping[str, Any]], masks: Mapping[str, EncodedMask]) -> Iterator[Change]:
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
    """0 where the image has another size now."""
    if size != (row["height"], row["width"]):
        return 0.0
    try:
        before, now = decode_counts(counts, *size), decode_counts(mask.counts, *size)
    except (ValueError, TypeError) as error:
        raise StorageError(f"--previous: the mask of {key} can't be read ({error})") from error
    union = int((before | now).sum())
    return int((before & now).sum()) / union if union else 1.0
