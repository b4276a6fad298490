"""Options of a score pass that do not depend on which pass it is; light to import."""

from dataclasses import dataclass, field

from model.config import ModelConfig, at_least
from pipeline.config import ClusterConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PassConfig:
    """Which run, and how its images are scored."""

    run: str
    """Folder of the run; a path or an fsspec URL."""
    kind: str
    """A name of `PASSES`, or `module:Class`."""
    name: str = ""
    """What the run calls the pass, so that it can have two of one kind: lower-case letters, digits and _, at most 20.
    By default the name of the pass; of your own, that of its class in lower case."""
    images: str = ""
    """Where the images are, if they have moved since the run."""
    annotations: str = ""
    """COCO annotation JSON, if it has moved since the run."""
    batch_images: int = 4
    """Images scored together, at least 1. Changes the last bits of what a model predicts."""
    retry_failed: bool = False
    """Try images again that could not be scored."""
    accept_mixed: bool = False
    """Let machines and sessions take part whose library versions or instruction sets differ."""
    model: ModelConfig = field(default_factory=ModelConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        at_least(self, 1, "batch_images")

    @property
    def called(self) -> str:
        """The name under which the run keeps the pass."""
        return self.name or self.kind.rpartition(":")[2].lower()
