"""Checks on the rows of a manifest: are images where they say, and do verdicts follow from scores?"""

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pipeline.collection.collection import NOBODY, Collection, license_of
from pipeline.collection.instances import Instances, cross_check, decode_counts
from pipeline.records import Verdict
from pipeline.release.check.containers import parquet_problem
from pipeline.release.check.images import is_said_released
from pipeline.release.check.release_json import StatedShard
from pipeline.release.check.samples import FoundSample
from pipeline.release.manifest import SCENE, considered_of, measured_scores
from pipeline.runs.binding import Bound, binding
from pipeline.selection.combination import NAME as COMBINATION
from pipeline.selection.combination import parse_combination
from pipeline.selection.policy import PolicyConfig, split_of
from pipeline.selection.scores import SCORE_TABLE, SCORES, Score
from pipeline.selection.verdicts import scene_of, select

Rows = Mapping[str, Mapping[str, Any]]
"""Key → row."""


def notes_in(manifest: bytes, metadata: Mapping[bytes, bytes], made_with: Mapping[str, str]) -> Iterator[str]:
    """What the file of a manifest has besides its rows; only that machines were mixed may be noted there.

    Raises: pa.ArrowException: it is not a parquet file.
    """
    if problem := parquet_problem(manifest):
        yield problem
    mixed = made_with.get("mixed", "")
    if metadata != ({b"mixed": mixed.encode()} if mixed else {}):
        yield f"has the metadata {ascii(metadata)[:300]}"


def misplaced(
    rows: Rows, samples: Mapping[str, FoundSample], unread: Container[str], shares: Mapping[str, float]
) -> Iterator[str]:
    """Accepted images that are not where their rows say, and other images that are in a tar.

    Args: unread: tars that could not be read; nothing is said about their images.
          shares: split → its share of the images.
    """
    for key, row in rows.items():
        found = samples.get(key)
        if (row["detail"] and row["verdict"] != "failed") or (row.get("maps_sha256") and row["verdict"] == "failed"):
            yield f"{key} is {row['verdict']}, but has details of a failure, or maps in spite of one"
        if row["verdict"] != "accepted":
            placed = (
                found
                or row["tar"]
                or row["split"]
                or row["mask_sha256"]
                or any(_place(row) or ())
                or is_said_released(row)
            )
            if placed or not row["reason"]:
                yield f"{key} is {row['verdict']}, but has a sample, or has no reason"
        elif found is None:
            if row["tar"] not in unread:
                yield f"{key} is accepted, but in no tar"
        elif (found.tar, found.mask_sha256) != (row["tar"], row["mask_sha256"]):
            yield f"{key}: its tar or the SHA-256 of its mask is not what the tars have"
        elif _place(row) not in (None, found.place):
            yield f"{key}: its offset and bytes are {_place(row)} in the manifest, and {found.place} in its tar"
        elif found.tar.split("/")[:-1] != ["data", row["split"]]:
            yield f"{key} has split {row['split']!r}, but is in {found.tar}"
        elif (expected := split_of(key, shares)) != row["split"]:
            yield f"{key} has split {row['split']!r}; by the shares that release.json states it belongs to {expected!r}"


def _place(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """Where a row has its sample in the tar; None before format 6."""
    return (row["sample_offset"], row["sample_bytes"]) if "sample_offset" in row else None


def misjudged(rows: Rows, policy: PolicyConfig, table: Mapping[str, Score] = SCORE_TABLE) -> Iterator[str]:
    """Verdicts that do not follow from the manifest's scores under the policy that the release states.

    Args: table: every score of the manifest.
    """
    whole, measured = {}, measured_scores(rows.values())
    for key, row in rows.items():
        failed, unknown = row["verdict"] == "failed", any(row[name] is None for name in measured)
        for name in _impossible(row, table):
            yield f"{key}: {name} is {row[name]!r}, which it can't be"
        yield from _miscombined(key, row, policy)
        checked = row["instance_iou"] is not None or row["categories"] or row["supercategory"]
        known = any(row[name] is not None for name in SCORES)
        if failed != unknown or (failed and (row["members"] or checked or known)):
            yield f"{key} is {row['verdict']}, which contradicts its scores"
        else:
            whole[key] = considered_of(row, table)
    for key, expected in select(list(whole.values()), policy, table).items():
        found = Verdict(decision=rows[key]["verdict"], reason=rows[key]["reason"])
        scene = scene_of(whole[key].scores, found, policy) if policy.keep_empty else None
        if rows[key].get(SCENE.name) != scene:
            yield f"{key} has the scene {rows[key].get(SCENE.name)!r}; its verdict and scores make it {scene!r}"
        if found != expected:
            wanted = f"{expected.decision} {expected.reason}".rstrip()
            stated = f"{found.decision} {found.reason}".rstrip()
            yield f"{key} is {stated}; under the policy its scores make it {wanted}"


def _miscombined(key: str, row: Mapping[str, Any], policy: PolicyConfig) -> Iterator[str]:
    """A combination that does not follow from the row's other scores; exponentials differ in their last bits."""
    if not policy.combination:
        return
    found, expected = row[COMBINATION], parse_combination(policy.combination).value(row)
    if (found is None) != (expected is None) or (found is not None and not abs(found - (expected or 0)) <= 1e-9):
        yield f"{key}: {COMBINATION} is {found!r}; by the policy's coefficients it is {expected!r}"


def _impossible(row: Mapping[str, Any], table: Mapping[str, Score]) -> Iterator[str]:
    """Scores outside their ranges; sums of floats may pass the end of a range by their last bits."""
    for score in table.values():
        value = row[score.name]
        if value is not None and not score.lowest - 1e-9 <= value <= score.highest + 1e-9:  # catches NaN
            yield score.name


def unbound(rows: Rows, shards: Sequence[StatedShard]) -> Iterator[str]:
    """Shards whose images, maps or scores are not those that were bound to each other when they were predicted.

    Args:   rows: in the manifest's order.
    Raises: ValueError: a score is not finite.
    """
    if sum(shard.images for shard in shards) != len(rows):
        yield f"has {len(rows)} images; the shards in release.json have {sum(shard.images for shard in shards)}"
        return
    remaining, measured = iter(rows.values()), measured_scores(rows.values())
    for shard in shards:
        found = binding(
            Bound(
                key=row["key"],
                image_sha256=row["image_sha256"],
                maps_sha256=row["maps_sha256"],
                members=row["members"],
                scores={name: row[name] for name in measured},
            )
            for row in islice(remaining, shard.images)
            if row["verdict"] != "failed"
        )
        if found != shard.binding:
            yield (
                f"images, maps or scores of shard {shard.shard} are not those that were bound to each other when they "
                "were predicted"
            )


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
