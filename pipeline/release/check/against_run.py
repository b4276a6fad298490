"""Compares a release with the records of the run that it was made from: they are older, and lie elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import CollectionError
from pipeline.release.check.release_json import StatedShard
from pipeline.runs.candidates import committed_shards, read_shard_record


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardComparison:
    """Shards of a release that are not what the run says they are."""

    unknown: tuple[str, ...]
    """Shards that the run does not have, or has with other images, maps or scores."""
    unbound: tuple[str, ...]
    """Shards whose records bind nothing: an earlier version of this tool wrote them."""


def require_records(run: str) -> None:
    """Check that a run can be compared with.

    Raises: CollectionError: it does not exist, or nothing of it is committed.
    """
    if not committed_shards(run):
        raise CollectionError(
            f"--run {run} is not a run, or nothing of it is committed: give the folder or URL of a run"
        )


def compare_shards(run: str, shards: Sequence[StatedShard]) -> ShardComparison:
    """Compare the bindings of a release with those in the run's records.

    A shard may have several records, since failed images can be tried again after a release was made.

    Raises: StorageError: a record can't be read.
    """
    newest = committed_shards(run)
    unknown, unbound = list[str](), list[str]()
    for shard in shards:
        numbers = range(newest[shard.shard] + 1) if shard.shard in newest else ()
        bindings = [read_shard_record(run, shard.shard, number).binding for number in numbers]
        if shard.binding not in bindings:
            (unbound if "" in bindings else unknown).append(shard.shard)
    return ShardComparison(unknown=tuple(unknown), unbound=tuple(unbound))
