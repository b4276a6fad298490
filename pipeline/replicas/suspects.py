"""Which image killed a replica: what follows from the keys that were in work at each death.

The first time a shard loses its replica, nothing is known. From then on its batches are noted before they are worked on
(`journal.py`), so the next death leaves the names of a batch; its images are then worked on alone first, and the death
after that leaves one name. That image is skipped, and recorded as failed with the reason `kills_replica`.

A replica that dies may have had two shards in hand. Both count the death, and both are handled with care after it. With
care, a shard is alone in its process, so a death that leaves names never belongs to another shard.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.errors import SampleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """How carefully a shard is worked on."""

    noted: bool = False
    """Each batch is noted before it is worked on. Nothing is read ahead or finished behind, and no other shard is in
    work in the process."""
    alone: frozenset[str] = frozenset()
    """Images that are worked on alone before their batch is."""
    skipped: frozenset[str] = frozenset()
    """Images that are not touched any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What is known about a shard that has lost its replica."""

    deaths: int = 0
    """Deaths since the last guilty image was found."""
    caution: Caution = Caution()
    in_work: tuple[str, ...] = ()
    """What was noted at the last death."""

    def after_death(self, in_work: Sequence[str]) -> "Suspicion":
        """One more death, while these images were noted.

        An image is guilty if it was in work at two deaths, at the second one alone: a process that is killed from
        outside may have been at any image.
        """
        caution = replace(self.caution, noted=True)
        if len(in_work) == 1 and in_work[0] in self.caution.alone:
            found = replace(caution, skipped=caution.skipped | {in_work[0]})
            return Suspicion(caution=found, in_work=tuple(in_work))
        if self.caution.noted:
            caution = replace(caution, alone=caution.alone | frozenset(in_work))
        return Suspicion(deaths=self.deaths + 1, caution=caution, in_work=tuple(in_work))


def kills_replica(key: str) -> SampleError:
    """The error of an image that is skipped."""
    return SampleError("kills_replica", f"key {key}: the process died each time it worked on this image")
