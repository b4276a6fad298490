"""What follows when replicas die: decided here, carried out by `cluster.py`.

Knows neither Ray nor storage, so any sequence of events can be tried without a cluster. The answer to a death is a
value: `Retry` or `GiveUp`. Two caps stop a run: a shard that loses its replica `shard_attempts` times without an image
to blame, and `DEATHS_IN_A_ROW` deaths per replica with no commit in between. A replica that stands still is found by
`stalls.py` and ended by `cluster.py`; its end then comes here as any other death.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.records import ShardSpec
from pipeline.replicas.suspects import Caution, Suspicion

DEATHS_IN_A_ROW = 3
"""Deaths per replica, with no shard committed in between, after which the run stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The run continues: a new replica takes the place of the dead one, and its shards are handed out again."""

    shards: tuple[ShardSpec, ...]
    """They go back to the head of the queue, in this order."""
    guilty: tuple[str, ...] = ()
    """Keys found to have killed the replica; they are skipped from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The run stops."""

    reason: str


Decision = Retry | GiveUp


class Failures:
    """What the deaths of a run have shown so far, and what to do after each.

    Args:
        replicas: how many the run has.
        shard_attempts: how often a shard may lose its replica without an image to blame.
    """

    def __init__(self, *, replicas: int, shard_attempts: int) -> None:
        self._most_in_a_row = DEATHS_IN_A_ROW * replicas
        self._shard_attempts = shard_attempts
        self._deaths_in_a_row = 0
        self._known: dict[str, Suspicion] = {}

    def caution(self, spec: ShardSpec) -> Caution:
        """How the shard is to be worked on."""
        return self._known.get(spec.name, Suspicion()).caution

    def needs_care(self, spec: ShardSpec) -> bool:
        """Whether the shard has lost a replica, so that it must be alone in its process."""
        return self.caution(spec).noted

    def after_commit(self) -> None:
        """A shard was committed, so the replicas can do their work: the deaths in a row start again from 0."""
        self._deaths_in_a_row = 0

    def after_death(self, lost: Sequence[ShardSpec], in_work: Mapping[str, Sequence[str]], said: str) -> Decision:
        """A replica died that had these shards in hand.

        If there were several, nothing tells whose image killed it, so all of them are handled with care from now on:
        each then has a replica for itself, and only what dies there is ever blamed on an image.

        Args:
            lost: the shards, first the one that was begun first.
            in_work: shard → keys that its journal names; counts only for a shard that was handled with care.
            said: how the process ended.
        """
        guilty = frozenset[str]()
        for spec in lost:
            before = self._known.get(spec.name, Suspicion())
            present = before.after_death(in_work.get(spec.name, ()) if before.caution.noted else ())
            guilty |= present.caution.skipped - before.caution.skipped
            self._known[spec.name] = present
        self._deaths_in_a_row = 0 if guilty else self._deaths_in_a_row + 1
        if spent := [spec for spec in lost if self._known[spec.name].deaths >= self._shard_attempts]:
            return GiveUp(reason=self._attempts_spent(spent, said))
        if self._deaths_in_a_row >= self._most_in_a_row:
            return GiveUp(
                reason=f"{self._deaths_in_a_row} replicas died in a row without committing a shard. Last: {said}"
            )
        return Retry(shards=tuple(lost), guilty=tuple(sorted(guilty)))

    def _attempts_spent(self, spent: Sequence[ShardSpec], said: str) -> str:
        suspicion = self._known[spent[0].name]
        keys = suspicion.in_work or (spent[0].samples[0].key, "…", spent[-1].samples[-1].key)
        return (
            f"shard {' or '.join(spec.name for spec in spent)} lost its replica {suspicion.deaths} times, the last "
            f"time at the keys {', '.join(keys)}. One of these images may crash the process: take it out, or raise "
            f"--shard-attempts (3 find a single guilty image, which is then skipped). Last: {said}"
        )
