"""The images that a release's policy has rejected, with the masks that they would have had, from the run's candidates.

A release shows what its policy left. How a model does on the rest tells whether the policy kept what is easy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import CollectionError, RunMismatchError, StorageError
from pipeline.evaluation.sources import Runs
from pipeline.files import urls
from pipeline.files.maps import decode_png, mask_of
from pipeline.files.parquet import read_parquet
from pipeline.made_with import differences, refusal
from pipeline.passes.mask_text import rle_of
from pipeline.records import ShardRecord
from pipeline.release.check.against_run import require_records
from pipeline.release.check.limits import most_rows
from pipeline.release.identity import candidates_digest
from pipeline.release.manifest import MANIFEST
from pipeline.release.opened import OpenedRelease
from pipeline.runs.candidates import read_members
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.runs.run_file import newest_document
from pipeline.selection.policy import split_of

_ADVICE = "Give the run that the release was made from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The rejected images of a release, and the run that has their maps."""

    run: str
    records: Sequence[ShardRecord] = field(repr=False)
    rows: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """Key → row of the manifest, sorted by key."""

    def outlines(self) -> dict[str, Runs]:
        """Key → a mask without pixels, which tells the size of the image."""
        return {key: Runs(label=key, height_px=row["height"], width_px=row["width"]) for key, row in self.rows.items()}

    def masks(self, keys: Iterable[str]) -> dict[str, Runs]:
        """Read the masks of some of the images: where the saliency of the candidate is at least 0.5.

        One shard is in memory at a time.

        Raises: StorageError: a candidate is missing or torn, or its map has another size than the image.
        """
        wanted = set(keys)
        found: dict[str, Runs] = {}
        for record in self.records:
            if len(found) == len(wanted):
                break
            members = read_members(self.run, record)
            for key in sorted(wanted & members.keys()):
                found[key] = self._mask(key, members[key]["saliency.png"])
        if missing := sorted(wanted - found.keys()):
            raise StorageError(f"{self.run} has no map of {missing[0]}, which the release says was predicted")
        return dict(sorted(found.items()))

    def _mask(self, key: str, saliency_png: bytes) -> Runs:
        rle = rle_of(mask_of(decode_png(saliency_png)))
        height_px, width_px = rle["size"]
        row = self.rows[key]
        if (height_px, width_px) != (row["height"], row["width"]):
            raise StorageError(
                f"{self.run}: the map of {key} has {width_px} x {height_px} px, its image {row['width']} x "
                f"{row['height']}; sod run verify finds what is damaged"
            )
        return Runs(label=key, height_px=height_px, width_px=width_px, counts=rle["counts"])


def open_rejected(run: str, opened: OpenedRelease, splits: Sequence[str]) -> Rejected:
    """List the rejected images of a release, after checking that the run is the one that it was made from.

    Args:   run: folder or URL. splits: the splits that count; an image would have been in the one that its key decides.
    Raises: CollectionError: it is not a run. RunMismatchError: the release was made from other candidates, and what
            differs is named. StorageError: a file is torn.
    """
    folder = urls.absolute(run)
    require_records(folder)
    records = _require_candidates(folder, opened)
    content = opened.content(MANIFEST)
    try:
        listed = read_parquet(content, most_rows=most_rows(content)).to_pylist()
        rows = {
            row["key"]: row for row in sorted(listed, key=lambda row: str(row["key"])) if row["verdict"] == "rejected"
        }
    except (KeyError, ValueError) as error:
        raise CollectionError(f"{opened.folder}/{MANIFEST} is malformed: {error}") from error
    shares = opened.stated.shares
    return Rejected(
        run=folder,
        records=records,
        rows={key: row for key, row in rows.items() if split_of(key, shares) in splits},
    )


def _require_candidates(run: str, opened: OpenedRelease) -> list[ShardRecord]:
    """The records of the shards that the release was made from."""
    newest = committed_shards(run)
    shards = [shard.shard for shard in opened.stated.shards or ()] or sorted(newest)
    records = [*read_shard_records(run, [shard for shard in shards if shard in newest]).values()]
    if len(records) == len(shards) and candidates_digest(records) == opened.stated.candidates:
        return records
    subject = f"--run {run} has other candidates than {opened.title} was made from"
    _, made_with, _ = newest_document(run)
    # A release also states the machines of its run, and the plan grows.
    names = made_with.keys() - {"plan"}
    stated = opened.stated.made_with
    found = differences({name: made_with[name] for name in names}, {name: stated.get(name) for name in names})
    if found:
        raise RunMismatchError(refusal(subject, found, _ADVICE))
    if missing := [shard for shard in shards if shard not in newest]:
        raise RunMismatchError(f"{subject}: it has no shard {missing[0]}. {_ADVICE}")
    if any(record.number for record in records):
        raise RunMismatchError(
            f"{subject}: it has tried images again since then. Build another --version of the release from it"
        )
    raise RunMismatchError(f"{subject}, although both were made alike. {_ADVICE}")
