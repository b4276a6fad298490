"""What a replica is made of: a model, and what it needs to know about the run."""

from dataclasses import dataclass

from model.config import EnsembleConfig, ModelConfig
from model.loading import load_model
from model.prediction import Enough
from pipeline.errors import ConfigError
from pipeline.records import Frame
from pipeline.replicas.usage import TimedModel
from pipeline.runs.machine import settle_machine
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.stopping_rule import stopping_rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """What `process_shard` needs besides the spec and the model; equal for all shards of a run."""

    run: str
    """The run's folder."""
    batch_images: int
    max_image_bytes: int
    max_image_pixels: int
    default_frame: Frame = "stored"
    """Of images whose annotated size does not tell their frame."""
    made_with: str = ""
    """SHA-256 of the run's fingerprint; the shard records carry it."""
    accept_mixed: bool = False
    """Replicas may run on machines whose last bits differ; the run notes which."""
    retry_failed: bool = False
    """Committed shards are handed out too: their images are kept, except for batches that have a failed image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSetup:
    """What a replica is made of, and what it works on."""

    model: ModelConfig
    ensemble: EnsembleConfig
    policy: PolicyConfig
    """Its bounds decide when an image of an adaptive ensemble has enough members."""
    work: ShardWork

    @property
    def enough(self) -> Enough | None:
        """The rule by which images stop early; None if they never do."""
        return stopping_rule(self.ensemble, self.policy)

    def load(self) -> TimedModel:
        """Load the model, on the kind of machine that the run was begun on.

        Raises: ConfigError: it can't be loaded as configured. RunMismatchError: the machine is of another kind.
        """
        try:
            model = load_model(self.model, self.ensemble, self.enough)
        except ValueError as error:
            raise ConfigError(f"--model {self.model.model}: {error}") from error
        settle_machine(self.work.run, model.device_kind, accept_mixed=self.work.accept_mixed)
        return TimedModel(model)
