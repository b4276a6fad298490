"""What a replica is made of, and what it does: `Setup` for any work, `ReplicaSetup` for predicting a run."""

from dataclasses import dataclass, field, replace
from typing import Protocol

from model.config import EnsembleConfig, ModelConfig
from model.loading import load_model
from model.prediction import Enough
from pipeline.errors import ConfigError
from pipeline.records import ShardSpec
from pipeline.replicas.proof import Expected, prove
from pipeline.replicas.seat import Seat
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.shards import ShardResult, Shared
from pipeline.replicas.suspects import Caution
from pipeline.replicas.usage import ReplicaUsage, TimedModel
from pipeline.replicas.weights import Weights, at_seat
from pipeline.replicas.work import process_shard
from pipeline.runs.machine import settle_machine
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.stopping_rule import stopping_rule


class Loaded(Protocol):
    """A replica that is ready to work."""

    @property
    def device_kind(self) -> str:
        """As `SaliencyModel.device_kind`."""

    def process(self, spec: ShardSpec, caution: Caution, shared: Shared) -> ShardResult:
        """Carry out and commit one shard; a plain call, as `process_shard` is."""

    def usage(self) -> ReplicaUsage:
        """What it has used so far."""


class Setup(Protocol):
    """What a replica is made of; small enough to send to a worker."""

    @property
    def model(self) -> ModelConfig:
        """Device and threads decide what a replica takes from its node."""

    @property
    def work(self) -> ShardWork:
        """What it works on."""

    def on(self, device: str) -> "Setup":
        """The same with this device where `auto` was asked for."""

    @property
    def expected(self) -> Expected:
        """What every replica on a cluster proves to have."""

    @property
    def weights(self) -> Weights | None:
        """What it loads; None if it loads no model of `model/`."""

    def load(self, seat: Seat | None = None) -> Loaded:
        """Prove that this machine can do the work, and load what takes time. Args, Raises: as `ReplicaSetup.load`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSetup:
    """What a replica that predicts is made of, and what it works on."""

    model: ModelConfig
    ensemble: EnsembleConfig
    policy: PolicyConfig
    """Its bounds decide when an image of an adaptive ensemble has enough members."""
    work: ShardWork
    expected: Expected = field(default_factory=Expected)
    """What every replica on a cluster proves to have."""
    weights: Weights | None = None
    """What it loads, or fetches first; None: whatever its folder has."""

    @property
    def enough(self) -> Enough | None:
        """The rule by which images stop early; None if they never do."""
        return stopping_rule(self.ensemble, self.policy)

    def on(self, device: str) -> "ReplicaSetup":
        """See `Setup`."""
        return replace(self, model=replace(self.model, device=device)) if self.model.device == "auto" else self

    def load(self, seat: Seat | None = None) -> "Predicting":
        """Load the model, on the kind of machine that the run was begun on.

        Args:   seat: where on a cluster this is; the replica proves then what it has. None: the driver's own process.
        Raises: NodeUnfitError: this node has something else than the driver, or does not see the images.
                ConfigError: the model can't be loaded as configured. RunMismatchError: the machine is of another kind.
                StorageUnavailableError, OSError: the storage of images or weights does not respond.
        """
        config = self.model
        if seat:
            prove(self.expected, self.work, seat, "cpu" if config.is_fake else config.device)
            config = at_seat(self.weights, config, seat)
        try:
            model = load_model(config, self.ensemble, self.enough)
        except ValueError as error:
            raise ConfigError(f"--model {self.model.model}: {error}") from error
        settle_machine(self.work.run, model.device_kind, accept_mixed=self.work.accept_mixed)
        return Predicting(TimedModel(model), self.work)


class Predicting:
    """A loaded model with its work; fulfils `Loaded`."""

    def __init__(self, model: TimedModel, work: ShardWork) -> None:
        self._model, self._work = model, work

    @property
    def device_kind(self) -> str:
        """The model's kind of device."""
        return self._model.device_kind

    def process(self, spec: ShardSpec, caution: Caution, shared: Shared) -> ShardResult:
        """Predict and commit one shard."""
        return process_shard(spec, self._model, self._work, caution, shared)

    def usage(self) -> ReplicaUsage:
        """What the model has used so far."""
        return self._model.usage()
