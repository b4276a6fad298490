"""What the rows of a pass depend on besides the shard's own candidates: other passes, and earlier shards."""

import hashlib
from collections.abc import Callable, Sequence

from pipeline.passes.known import PASSES
from pipeline.runs.commits import committed_shards, read_shard_records


def builds_on(
    kind: str, needs: Sequence[str], shards: Sequence[str], folder_of: Callable[[str], str]
) -> dict[str, str]:
    """Shard → SHA-256 of the rows of other passes that its own rows depend on; "" if there are none.

    A pass that looks back depends on those of all earlier shards too. So a shard that changes later makes the rows of
    all shards after it outdated, and a run that grows at its end makes none.

    Args: needs: names of the other passes.
          shards: in their order.
          folder_of: where the pass of a name lies.
    """
    if not needs:
        return dict.fromkeys(shards, "")
    looks_back = kind in PASSES and PASSES[kind].looks_back
    found: dict[str, str] = {}
    needed = [_rows_of(folder_of(other), shards) for other in needs]
    digest = hashlib.sha256()
    for shard in shards:
        digest = digest if looks_back else hashlib.sha256()
        digest.update("".join(f"{shard} {rows.get(shard, '')}\n" for rows in needed).encode())
        found[shard] = digest.hexdigest()
    return found


def _rows_of(folder: str, shards: Sequence[str]) -> dict[str, str]:
    there = committed_shards(folder)
    records = read_shard_records(folder, [shard for shard in shards if shard in there])
    return {shard: record.rows.sha256 for shard, record in records.items()}
