"""Which image killed a replica: a journal that survives the process, and what follows from it.

The first time a shard loses its replica nothing is known. From then on its batches are noted before they are worked on,
so the next death leaves the names of a batch; its images are then worked on alone first, and the death after that
leaves one name. That image is skipped, and recorded as failed with the reason `kills_replica`.

A replica that dies may have had two shards in hand. Both count the death, both are handled with care after it, and with
care a shard is alone in its process: so a death that names images is never one of another shard's.

RUN/journal/000042.json   the keys in work, while shard 000042 is handled with care; removed when it is committed
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.errors import ReplicaError, SampleError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.records import ShardSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """How carefully a shard is worked on."""

    noted: bool = False
    """Batches are noted before they are worked on. Nothing is read ahead of them or left to be finished behind them,
    and no other shard is in work in the process."""
    alone: frozenset[str] = frozenset()
    """Images that are worked on alone before their batch is."""
    skipped: frozenset[str] = frozenset()
    """Images that are not touched any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What is known of a shard that has lost its replica."""

    deaths: int = 0
    """Since it was last known who is guilty."""
    caution: Caution = Caution()
    in_work: tuple[str, ...] = ()
    """What was noted at the last death."""

    def after_death(self, in_work: Sequence[str]) -> "Suspicion":
        """One more death, while these images were noted.

        An image is guilty if it was in work at two deaths, at the last one alone: a process that is killed from outside
        may have been at any image.
        """
        caution = replace(self.caution, noted=True)
        if len(in_work) == 1 and in_work[0] in self.caution.alone:
            found = replace(caution, skipped=caution.skipped | {in_work[0]})
            return Suspicion(caution=found, in_work=tuple(in_work))
        if self.caution.noted:
            caution = replace(caution, alone=caution.alone | frozenset(in_work))
        return Suspicion(deaths=self.deaths + 1, caution=caution, in_work=tuple(in_work))


class Suspects:
    """The shards of a run that have lost a replica, and what is known of each.

    Args:
        run: folder or URL, where the journals are.
        attempts: how often a shard may lose its replica before nobody can be blamed.
    """

    def __init__(self, run: str, attempts: int) -> None:
        self._run = run
        self._attempts = attempts
        self._known: dict[str, Suspicion] = {}

    def caution(self, shard: str) -> Caution:
        """How the shard is to be worked on."""
        return self._known.get(shard, Suspicion()).caution

    def after_death(self, specs: Sequence[ShardSpec], said: str) -> frozenset[str]:
        """A replica died that had these shards in hand.

        Whose image killed it is not known if there are several, so all of them are handled with care from then on: each
        has a replica for itself, and only what dies there is ever blamed on an image.

        Args:    said: how the process ended.
        Returns: the image that is found to be guilty, if one is.
        Raises:  ReplicaError: the attempts of a shard are used up.
        """
        found = frozenset[str]()
        for spec in specs:
            found |= self._one_more_death(spec)
        spent = [spec for spec in specs if self._known[spec.name].deaths >= self._attempts]
        if spent:
            suspicion = self._known[spent[0].name]
            keys = suspicion.in_work or (spent[0].samples[0].key, "…", spent[-1].samples[-1].key)
            raise ReplicaError(
                f"shard {' or '.join(spec.name for spec in spent)} lost its replica {suspicion.deaths} times, the last "
                f"time at the keys {', '.join(keys)}: one of these images may crash the process; take it out, or raise "
                f"--shard-attempts (3 find a single guilty image, which is then skipped). Last: {said}"
            )
        return found

    def _one_more_death(self, spec: ShardSpec) -> frozenset[str]:
        before = self._known.get(spec.name, Suspicion())
        suspicion = before.after_death(noted(self._run, spec.name) if before.caution.noted else ())
        # Or the next replica, if it dies before it has begun, would die at what this one was at.
        forget(self._run, spec.name)
        self._known[spec.name] = suspicion
        return suspicion.caution.skipped - before.caution.skipped


def kills_replica(key: str) -> SampleError:
    """What is wrong with an image that is skipped."""
    return SampleError("kills_replica", f"key {key}: the process died each time it worked on this image")


def note(run: str, shard: str, keys: Sequence[str]) -> None:
    """Write down what is about to be worked on."""
    storage.publish(_url(run, shard), encode_json({"keys": list(keys)}))


def noted(run: str, shard: str) -> tuple[str, ...]:
    """What was written down last; nothing if there is no journal."""
    if not storage.exists(_url(run, shard)):
        return ()
    return tuple(json.loads(storage.read(_url(run, shard)))["keys"])


def forget(run: str, shard: str) -> None:
    """Remove the journal of a shard, if it has one."""
    storage.remove(_url(run, shard))


def _url(run: str, shard: str) -> str:
    return storage.join(run, "journal", f"{shard}.json")
