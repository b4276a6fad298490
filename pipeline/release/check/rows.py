"""Checks on the rows of a manifest: are images where they say, and do verdicts follow from scores?"""

from collections.abc import Container, Iterator, Mapping
from typing import Any

from pipeline.collection.coco import NOBODY, Collection, license_of
from pipeline.collection.instances import Instances, cross_check, decode_counts
from pipeline.records import Verdict
from pipeline.release.check.samples import FoundSample
from pipeline.release.manifest import considered_of
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.scores import SCORES
from pipeline.selection.verdicts import select

Rows = Mapping[str, Mapping[str, Any]]
"""Key → row."""


def misplaced(rows: Rows, samples: Mapping[str, FoundSample], unread: Container[str]) -> Iterator[str]:
    """Accepted images that are not where their rows say, and other images that are in a tar.

    Args: unread: tars that could not be read; nothing is said about their images.
    """
    for key, row in rows.items():
        found = samples.get(key)
        if row["verdict"] != "accepted":
            if found or row["tar"] or row["split"] or not row["reason"]:
                yield f"{key} is {row['verdict']}, but has a sample, or has no reason"
        elif found is None:
            if row["tar"] not in unread:
                yield f"{key} is accepted, but in no tar"
        elif (found.tar, found.mask_sha256) != (row["tar"], row["mask_sha256"]):
            yield f"{key}: its tar or the SHA-256 of its mask is not what the tars have"
        elif found.tar.split("/")[:-1] != ["data", row["split"]]:
            yield f"{key} has split {row['split']!r}, but is in {found.tar}"


def misjudged(rows: Rows, policy: PolicyConfig) -> Iterator[str]:
    """Verdicts that do not follow from the manifest's scores under the policy that the release states."""
    whole = {}
    for key, row in rows.items():
        failed, scores = row["verdict"] == "failed", [row[name] for name in SCORES]
        checked = row["instance_iou"] is not None or row["categories"] or row["supercategory"]
        if failed != (None in scores) or (failed and (row["members"] or checked or set(scores) != {None})):
            yield f"{key} is {row['verdict']}, which contradicts its scores"
        else:
            whole[key] = considered_of(row)
    for key, expected in select(list(whole.values()), policy).items():
        found = Verdict(decision=rows[key]["verdict"], reason=rows[key]["reason"])
        if found != expected:
            wanted = f"{expected.decision} {expected.reason}".rstrip()
            stated = f"{found.decision} {found.reason}".rstrip()
            yield f"{key} is {stated}; under the policy its scores make it {wanted}"


def rows_against(rows: Rows, collection: Collection) -> Iterator[str]:
    """Images, and facts about them, that differ from the collection."""
    there = {sample.key: sample for sample in collection.samples}
    for key in sorted(there.keys() ^ rows.keys())[:3]:
        yield f"{key} is only in {'the manifest' if key in rows else 'the annotations'}"
    for key in sorted(there.keys() & rows.keys()):
        sample = there[key]
        licence, origin = license_of(sample, collection.licenses), collection.origins.get(key, NOBODY)
        facts = {name: getattr(sample, name) for name in ("image_id", "file_name", "width", "height", "license_id")}
        facts |= {"license_name": licence.name, "license_url": licence.url}
        for name, value in (facts | {"author": origin.author, "source": origin.source}).items():
            if name in rows[key] and value != rows[key][name]:  # format 2 has neither author nor source
                yield f"{key}: {name} is {rows[key][name]!r}; the annotations have {value!r}"


def cross_checks_against(rows: Rows, samples: Mapping[str, FoundSample], instances: Instances) -> Iterator[str]:
    """Stated agreement with the annotations' instances that differs from what the masks give.

    Args: samples: those whose masks are compared. instances: those of all images that were predicted.
    """
    for key, row in rows.items():
        ignored = instances.ignored.get(key, 0)
        if row.get("instances_ignored", ignored) != ignored:  # format 2 does not say
            yield f"{key}: instances_ignored is {row['instances_ignored']}; the annotations give {ignored}"
    for key, sample in samples.items():
        row = rows[key]
        if not sample.counts:
            continue
        mask = decode_counts(sample.counts, row["height"], row["width"])
        checked = cross_check(mask, instances.of.get(key, ()))
        said = (row["instance_iou"], tuple(row["categories"]), row["supercategory"])
        if said != (checked.instance_iou, checked.categories, checked.supercategory):
            yield (
                f"{key}: agreement with the annotations' instances is stated as {said[0]} "
                f"({', '.join(said[1]) or 'none'}); the mask gives {checked.instance_iou} "
                f"({', '.join(checked.categories) or 'none'})"
            )
