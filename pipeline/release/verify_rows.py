"""What a stranger checks about the rows of a manifest: where images are, whether verdicts follow from scores."""

from collections.abc import Container, Iterator, Mapping
from typing import Any

from pipeline.coco import Collection
from pipeline.config import PolicyConfig
from pipeline.records import Verdict
from pipeline.release.licenses import license_of
from pipeline.release.verify_samples import FoundSample
from pipeline.scores import SCORES
from pipeline.select import by_scores

Rows = Mapping[str, Mapping[str, Any]]
"""Key → row."""
_AFTER_SCORES = ("license_not_allowed", "beyond_target")
"""Reasons that scores alone can't tell."""


def misplaced(rows: Rows, samples: Mapping[str, FoundSample], unread: Container[str]) -> Iterator[str]:
    """Accepted images that are not where their rows say, and others that are anywhere; `unread` tars may have any."""
    for key, row in rows.items():
        found = samples.get(key)
        if row["verdict"] != "accepted":
            if found or row["tar"] or row["split"] or not row["reason"]:
                yield f"{key} is {row['verdict']}, but has a sample, or no reason"
        elif found is None:
            if row["tar"] not in unread:
                yield f"{key} is accepted, but no tar has it"
        elif (found.tar, found.mask_sha256) != (row["tar"], row["mask_sha256"]):
            yield f"{key}: its tar or the sum of its mask is not what the tars have"
        elif found.tar.split("/")[:-1] != ["data", row["split"]]:
            yield f"{key}: split {row['split']!r}, but it is in {found.tar}"


def misjudged(rows: Rows, policy: PolicyConfig) -> Iterator[str]:
    """Verdicts that do not follow from the scores under the policy which the release names."""
    for key, row in rows.items():
        scores = {name: row[name] for name in SCORES}
        if row["verdict"] == "failed" or None in scores.values():
            if row["verdict"] != "failed" or row["members"] or any(score is not None for score in scores.values()):
                yield f"{key} is {row['verdict']}, which does not go with its scores"
            continue
        expected, found = by_scores(scores, policy), Verdict(decision=row["verdict"], reason=row["reason"])
        if found != expected and not (expected.decision == "accepted" and found.reason in _AFTER_SCORES):
            wanted = f"{expected.decision} {expected.reason}".rstrip()
            yield f"{key} is {found.decision} {found.reason}; under the policy its scores make it {wanted}"


def rows_against(rows: Rows, collection: Collection) -> Iterator[str]:
    """Images, or facts of them, that are not those of the collection."""
    there = {sample.key: sample for sample in collection.samples}
    for key in sorted(there.keys() ^ rows.keys())[:3]:
        yield f"{key} is in {'the manifest' if key in rows else 'the annotations'} only"
    for key in sorted(there.keys() & rows.keys()):
        sample, licence = there[key], license_of(there[key], collection.licenses)
        facts = {name: getattr(sample, name) for name in ("image_id", "file_name", "width", "height", "license_id")}
        for name, value in (facts | {"license_name": licence.name, "license_url": licence.url}).items():
            if value != rows[key][name]:
                yield f"{key}: {name} is {rows[key][name]!r}, the annotations have {value!r}"
