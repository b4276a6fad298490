"""What follows for shards and images when replicas die: decided here, carried out by `dispatcher.py`.

Knows neither Ray nor storage, so any sequence of events can be tried without a cluster. An image is blamed only by
deaths of its own process on a node that lives on. When a machine is taken away its processes often die first, seconds
before anybody hears of the machine; so a death that would blame an image, or end the run, waits until its node has
proven to be alive, and deaths shortly before the end of their node are excused afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.records import ShardSpec
from pipeline.replicas.suspects import Caution, Suspicion

EXCUSED_S = 60.0
"""Deaths on a node in so many seconds before its own end are excused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The process of a replica ended while its node seemed to be well."""

    lost: tuple[ShardSpec, ...]
    """What it had in hand, first the shard that was begun first."""
    in_work: Mapping[str, Sequence[str]]
    """Shard → keys that its journal names; counts only for a shard that was handled with care."""
    node: str
    at_s: float
    said: str
    """How it ended, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The run continues, and the shards are handed out again."""

    shards: tuple[ShardSpec, ...]
    """They go back to the head of the queue, in this order."""
    guilty: tuple[str, ...] = ()
    """Keys found to have killed the replica; they are skipped from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing is decided before it is sure that the node lives on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The run stops."""

    reason: str


Decision = Retry | Wait | GiveUp


class Failures:
    """What the deaths of a run have shown so far, and what to do after each.

    Args: shard_attempts: how often a shard may lose its replica without an image to blame.
    """

    def __init__(self, *, shard_attempts: int) -> None:
        self._shard_attempts = shard_attempts
        self._deaths: dict[str, list[Death]] = {}
        self._known: dict[str, Suspicion] = {}

    def caution(self, spec: ShardSpec) -> Caution:
        """How the shard is to be worked on."""
        return self._known[spec.name].caution if spec.name in self._known else Caution()

    def needs_care(self, spec: ShardSpec) -> bool:
        """Whether the shard has lost a replica, so that it must be alone in its process."""
        return spec.name in self._known and self._known[spec.name].caution.noted

    def after_commit(self, spec: ShardSpec) -> None:
        """The shard is done: nothing about it matters any more."""
        self._deaths.pop(spec.name, None)
        self._known.pop(spec.name, None)

    def after_death(self, death: Death, *, is_sure: bool) -> Decision:
        """A replica died.

        If it had several shards in hand, nothing tells whose image killed it, so all of them are handled with care from
        now on: each then has a replica for itself, and only what dies there is ever blamed on an image.

        Args: is_sure: its node is known to live on.
        """
        present = {spec.name: _after(self._known.get(spec.name, Suspicion()), spec.name, death) for spec in death.lost}
        guilty = {key for spec in death.lost for key in present[spec.name].caution.skipped - self.caution(spec).skipped}
        spent = [spec for spec in death.lost if present[spec.name].deaths >= self._shard_attempts]
        if (guilty or spent) and not is_sure:
            return Wait()
        self._known |= present
        for spec in death.lost:
            self._deaths.setdefault(spec.name, []).append(death)
        if spent:
            return GiveUp(reason=self._attempts_spent(spent, death.said))
        return Retry(shards=death.lost, guilty=tuple(sorted(guilty)))

    def excuse(self, node: str, now_s: float) -> None:
        """The node is gone or about to go: what died there of late says nothing about images.

        Who was found guilty stays so: that was decided when the node was known to be alive.
        """
        for shard, deaths in self._deaths.items():
            kept = [death for death in deaths if death.node != node or now_s - death.at_s > EXCUSED_S]
            if len(kept) == len(deaths):
                continue
            skipped = self._known[shard].caution.skipped
            self._deaths[shard] = kept
            known = Suspicion(caution=Caution(noted=bool(skipped), skipped=skipped))
            for death in kept:
                known = _after(known, shard, death)
            self._known[shard] = known

    def _attempts_spent(self, spent: Sequence[ShardSpec], said: str) -> str:
        suspicion = self._known[spent[0].name]
        keys = suspicion.in_work or (spent[0].samples[0].key, "…", spent[-1].samples[-1].key)
        return (
            f"shard {' or '.join(spec.name for spec in spent)} lost its replica {suspicion.deaths} times, the last "
            f"time at the keys {', '.join(keys)}. One of these images may crash the process: take it out, or raise "
            f"--shard-attempts (3 find a single guilty image, which is then skipped). Last: {said}"
        )


def _after(before: Suspicion, shard: str, death: Death) -> Suspicion:
    return before.after_death(death.in_work.get(shard, ()) if before.caution.noted else ())
