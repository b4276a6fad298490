"""Everything that can be set about a run. A room's own options live in that room and are put together here.

Defaults are written in these classes only. Field names are option names, and all share one namespace.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from model.config import EnsembleConfig, ModelConfig
from pipeline.collection.config import InputConfig
from pipeline.options import require_positive
from pipeline.selection.policy import PolicyConfig, parse_splits

_LONGEST_CREATOR = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Where the work runs. Nothing here changes a byte of the result."""

    engine: Literal["ray", "inline"] = "ray"
    """`ray`: replicas on a Ray cluster (that of RAY_ADDRESS, else one started here). `inline`: this process alone."""
    replicas: int = 0
    """Replicas of the model; 0 is one per GPU if there are GPUs, else one per `threads` CPU cores."""
    shard_attempts: int = 3
    """How often a shard may lose its replica before the run stops. Three find the image that is to blame, which is then
    recorded as failed and skipped."""
    stall_after_s: float = 1800.0
    """Seconds without a finished image after which a replica is replaced; loading the model counts."""
    progress_every_s: float = 5.0
    """Seconds between progress lines."""

    def __post_init__(self) -> None:
        require_positive(self, "shard_attempts", "stall_after_s", "progress_every_s")
        if self.replicas < 0:
            raise ValueError(f"replicas is {self.replicas}; it must be 0 (automatic) or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseConfig:
    """What the release is called."""

    name: str = "sod-benchmark"
    """Name of the release: letters, digits, dash and underscore."""
    version: str = "1.0.0"
    """Version of the release. A version is never changed: another policy needs another version."""
    tar_bytes: int = 1_000_000_000
    """Size in bytes at which a tar is closed and the next begun."""
    embed_images: bool = True
    """Put the original images into the tars; without them a release is masks, found by image id and SHA-256."""
    creator: str = ""
    """Who publishes the release, for card and Croissant."""
    published_on: str = ""
    """Day of publication, as in 2026-11-24: what you say, never this machine's clock."""
    homepage: str = ""
    """Address of a page that describes the release."""
    previous: str = ""
    """Folder or URL of an earlier release: CHANGELOG.md and changes.csv then say what was added, removed and changed
    since."""
    splits: tuple[str, ...] = ("test",)
    """Splits and their shares, as in `train=0.8 test=0.2`; the key decides where an image goes."""

    def __post_init__(self) -> None:
        require_positive(self, "tar_bytes")
        parse_splits(self.splits)
        if len(self.creator) > _LONGEST_CREATOR or not self.creator.isprintable():
            raise ValueError(f"creator is {self.creator!r}; it must be one line of at most {_LONGEST_CREATOR} letters")
        for name, form, example in (
            ("published_on", r"\d{4}-\d\d-\d\d", "2026-11-24"),
            ("homepage", r"https?://[\w.-]+(:\d+)?(/[\w./~%-]*)?", "https://example.org/sod"),
        ):
            value = getattr(self, name)
            if value and not re.fullmatch(form, value, re.ASCII):
                raise ValueError(f"{name} is {value!r}; it must be like {example}")
        for name, extra in (("name", "-_"), ("version", ".-+")):
            value = getattr(self, name)
            if not value or not all(c.isascii() and (c.isalnum() or c in extra) for c in value):
                raise ValueError(f"{name} is {value!r}; it must be of ASCII letters, digits and any of {extra!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Predict, score and select every image of a collection, and assemble a release of what was accepted.

    The same command goes on where an earlier one stopped. Exit codes: 0 done, 1 failed, 2 wrong request,
    3 finished with more failed images than allowed.
    """

    out: str
    """Folder of the run and its release; a path or an fsspec URL."""
    config: str = ""
    """TOML file with any of these options (underscores for dashes); the command line wins."""
    reference: bool = False
    """Predict as the released SOD-diffusion code does: the log says what is then set to what, and what it does.
    Options given beside it win."""
    input: InputConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    release: ReleaseConfig = field(default_factory=ReleaseConfig)
    shard_size: int = 64
    """Images per shard: the unit of progress. A replica that dies loses the two that it has in hand."""
    dry_run: bool = False
    """Write nothing: say what is done, what is left, and what it will take, after a pilot."""
    pilot_images: int = 8
    """Images that a dry run predicts to measure; 0 is none, and then there is no forecast of the time."""
    retry_failed: bool = False
    """Try the images again that failed in an earlier session, when what was wrong with them is mended. Their batches
    are computed again, so that the result is that of a run in which they never failed; other shards are not touched."""
    max_failed_share: float = 0.05
    """Share of failed images, 0 to 1, above which the job ends with exit code 3."""

    def __post_init__(self) -> None:
        require_positive(self, "shard_size")
        if self.ensemble.ensemble_size < 2:
            raise ValueError(f"ensemble_size is {self.ensemble.ensemble_size}; it must be at least 2 for a variance")
        if self.pilot_images < 0:
            raise ValueError(f"pilot_images is {self.pilot_images}; it must be 0 or more")
        if not 0 <= self.max_failed_share <= 1:
            raise ValueError(f"max_failed_share is {self.max_failed_share}; it must be from 0 to 1")
