"""Which images are in work at a shard that is handled with care: a journal that survives the process.

RUN/journal/000042.json   the keys in work, while shard 000042 is handled with care; removed when it is committed
"""

from collections.abc import Sequence

from model.documents import parse_json
from pipeline.files import storage
from pipeline.files.tars import encode_json


def note(run: str, shard: str, keys: Sequence[str]) -> None:
    """Write down which images are about to be worked on."""
    storage.publish(_url(run, shard), encode_json({"keys": list(keys)}))


def noted(run: str, shard: str) -> tuple[str, ...]:
    """Read what was written down last; nothing if there is no journal."""
    if not storage.exists(_url(run, shard)):
        return ()
    return tuple(parse_json(storage.read(_url(run, shard)))["keys"])


def forget(run: str, shard: str) -> None:
    """Remove the journal of a shard, if it has one."""
    storage.remove(_url(run, shard))


def collect(run: str, shards: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read and remove the journals of shards that lost their replica; shard → the keys that were in work.

    They are removed because the next replica, if it dies before it begins, would otherwise seem to have died at them.
    """
    in_work = {shard: noted(run, shard) for shard in shards}
    for shard in shards:
        forget(run, shard)
    return in_work


def _url(run: str, shard: str) -> str:
    return storage.join(run, "journal", f"{shard}.json")
