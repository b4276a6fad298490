"""All options of a run. Each room defines its own options; RunConfig puts them together.

Defaults are written only in these classes. Field names are option names, and all share one namespace.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, get_args

from model.config import EnsembleConfig, ModelConfig
from model.disk import LONGEST_NAME_BYTES
from pipeline.collection.config import InputConfig
from pipeline.errors import ConfigError
from pipeline.options import require_positive
from pipeline.selection.policy import PolicyConfig, parse_splits

_LONGEST_NAME = 200
_URL = r"https?://[\w.-]+(:\d+)?(/[\w./~%-]*)?"
_MAIL = r"[\w.+-]+@[\w-]+(\.[\w-]+)+"
MaskLicense = Literal["CC-BY-4.0", "CC0-1.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Where the work runs. These options do not change a byte of the result."""

    engine: Literal["ray", "inline"] = "ray"
    """`ray`: replicas on a Ray cluster: that of RAY_ADDRESS (HOST:PORT, set in a submitted job), or one that is started
    here (`local`, or nothing). `inline`: this process only."""
    replicas: int = 0
    """Number of replicas of the model. 0: as many as the cluster has room for, within `min_replicas` and
    `max_replicas`: one per GPU; without GPUs, one per `threads` CPU cores. Nodes that join later get replicas, too."""
    min_replicas: int = 1
    """Replicas that are asked for even if there is no room: an autoscaler then adds nodes. Work begins with the first
    one that is ready."""
    max_replicas: int = 0
    """Most replicas. An autoscaler is asked for as many while there is work for them. 0: as many as there is room
    for."""
    gpus_per_replica: float = 1.0
    """GPUs of a replica on a cluster with GPUs; 0.5: two replicas share one."""
    resources: tuple[str, ...] = ()
    """Further resources that a replica takes from its node, such as `memory=8e9 spot=1`, by the names of `ray
    status`."""
    labels: tuple[str, ...] = ()
    """Labels that a replica's node must have, such as `ray.io/accelerator-type=H100`."""
    nodes_patience_s: float = 1800.0
    """Seconds that a run waits for a place for its replicas when it has none."""
    storage_patience_s: float = 600.0
    """Seconds that a run waits for storage that does not respond, before it ends."""
    shard_attempts: int = 3
    """Number of times that a shard may lose its replica before the run stops. Three are enough to find the image that
    causes it, which is then recorded as failed and skipped."""
    stall_after_s: float = 1800.0
    """Seconds without a finished image after which a replica is replaced; loading the model counts as well."""
    progress_every_s: float = 5.0
    """Seconds between progress lines in a log; after ten minutes they come once a minute at most."""
    live_every_s: float = 15.0
    """Seconds between updates of the live page, `live/index.html` in the run's folder; 0: no page."""

    def __post_init__(self) -> None:
        require_positive(self, "min_replicas", "gpus_per_replica", "shard_attempts", "stall_after_s")
        require_positive(self, "progress_every_s")
        for name in ("replicas", "max_replicas", "nodes_patience_s", "storage_patience_s", "live_every_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if self.replicas and (self.min_replicas != 1 or self.max_replicas):
            raise ValueError(f"replicas is {self.replicas}; with it, min_replicas and max_replicas can't be given")
        if self.max_replicas and self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas is {self.min_replicas}; it must be at most max_replicas, {self.max_replicas}"
            )
        if self.gpus_per_replica > 1 and self.gpus_per_replica % 1:
            raise ValueError(f"gpus_per_replica is {self.gpus_per_replica}; it must be a whole number, or less than 1")
        amounts_of(self.resources)
        labels_of(self.labels)

    @property
    def least_and_most(self) -> tuple[int, int]:
        """Bounds of the number of replicas; the second is 0 if only the room on the cluster bounds it."""
        return (self.replicas, self.replicas) if self.replicas else (self.min_replicas, self.max_replicas)


def amounts_of(resources: Sequence[str]) -> dict[str, float]:
    """Resource → amount, of texts such as `memory=8e9`.

    Raises: ValueError: one has no such form, or the amount is not above 0.
    """
    amounts = {}
    for text in resources:
        name, _, amount = text.partition("=")
        if name in amounts:
            raise ValueError(f"resources has {name} twice")
        try:
            amounts[name] = float(amount)
        except ValueError:
            amounts[name] = 0
        if not name or not 0 < amounts[name] < math.inf:
            raise ValueError(f"resources has {text!r}; it must be a name and an amount, such as memory=8e9")
        if name in ("CPU", "GPU"):
            raise ValueError(f"resources has {text!r}; give --threads for CPU cores, --gpus-per-replica for GPUs")
    return amounts


def labels_of(labels: Sequence[str]) -> dict[str, str]:
    """Label → value, of texts such as `ray.io/accelerator-type=H100`.

    Raises: ValueError: one has no such form.
    """
    values = dict[str, str]()
    for text in labels:
        name, is_there, value = text.partition("=")
        if name in values:
            raise ValueError(f"labels has {name} twice")
        values[name] = value
        if not (name and is_there and value):
            raise ValueError(f"labels has {text!r}; it must be a label and its value, such as market=spot")
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseConfig:
    """Name, contents and description of the release."""

    name: str = "sod-benchmark"
    """Name of the release: letters, digits, dash and underscore."""
    version: str = "1.0.0"
    """Version of the release. A version never changes: another policy needs another version."""
    tar_bytes: int = 1_000_000_000
    """Size in bytes at which a tar is closed and the next one started."""
    embed_images: bool = True
    """Include the original images in the tars. Without them, users find the image of a mask by its id and SHA-256."""
    creator: str = ""
    """Publisher of the release, for card and Croissant."""
    published_on: str = ""
    """Day of publication, as in 2026-11-24. It is never taken from the clock."""
    homepage: str = ""
    """URL of a page that describes the release."""
    errata: str = ""
    """Where users report errors and ask for removals: a URL or a mail address. The card names it."""
    mask_license: MaskLicense = "CC-BY-4.0"
    """Licence of masks, maps and scores, by its SPDX name. `none`: the release states none, so others may only look at
    them. Images keep the licences of their owners."""
    model_name: str = ""
    """Name and revision of the model that made the masks, for the card, such as `org/sod-diffusion at 1a2b3c4`. The
    embedded model is named without it; the digest of the weights is always there."""
    model_url: str = ""
    """URL at which that model is found."""
    collection_name: str = ""
    """Name of the collection that the images come from, for the card, such as `COCO 2017, validation`. Without it and
    without `collection_url`, the card has what the annotations say of themselves (`info`)."""
    collection_url: str = ""
    """URL of that collection."""
    tool_url: str = ""
    """URL of the sources of this tool that made the release, for the card."""
    previous: str = ""
    """Folder or URL of an earlier release. CHANGELOG.md and changes.csv then list what was added, removed and changed
    since."""
    passes: tuple[str, ...] = ()
    """Score passes of the run whose columns the release has, besides those whose scores the policy names."""
    alternatives: str = ""
    """Score pass of kind `modes`: every sample gets a second mask, mask_2.png, that of the second mode; it equals the
    mask where the members see one thing."""
    trimap: bool = False
    """Every sample gets a trimap.png: 0 sure background (saliency up to 0.2), 255 sure foreground (at least 0.8), 128
    unsure."""
    allow_empty: bool = False
    """Make a release even if it accepts no image, or if its policy names a score that the run does not have."""
    splits: tuple[str, ...] = ("test",)
    """Splits and their shares, as in `train=0.8 test=0.2`; an image's key decides its split."""

    def __post_init__(self) -> None:
        require_positive(self, "tar_bytes")
        parse_splits(self.splits)
        for name in ("creator", "model_name", "collection_name"):
            value = getattr(self, name)
            if len(value) > _LONGEST_NAME or not value.isprintable():
                raise ValueError(f"{name} is {value!r}; it must be one line of at most {_LONGEST_NAME} characters")
        for name, form, example in (
            ("published_on", r"\d{4}-\d\d-\d\d", "2026-11-24"),
            *(
                (name, _URL, "https://example.org/sod")
                for name in ("homepage", "model_url", "collection_url", "tool_url")
            ),
            ("errata", f"{_URL}|{_MAIL}", "https://example.org/sod/errata or errata@example.org"),
        ):
            value = getattr(self, name)
            if value and not re.fullmatch(form, value, re.ASCII):
                raise ValueError(f"{name} is {value!r}; it must be like {example}")
        if self.published_on:
            try:
                date.fromisoformat(self.published_on)
            except ValueError as error:
                raise ValueError(
                    f"published_on is {self.published_on!r}, which is no day; it must be like 2026-11-24"
                ) from error
        if self.mask_license not in get_args(MaskLicense):
            raise ValueError(
                f"mask_license is {self.mask_license!r}; it must be one of {', '.join(get_args(MaskLicense))}"
            )
        for name, extra in (("name", "-_"), ("version", ".-+")):
            value = getattr(self, name)
            if not value or not all(c.isascii() and (c.isalnum() or c in extra) for c in value):
                raise ValueError(f"{name} is {value!r}; it must consist of ASCII letters, digits and any of {extra!r}")
        if len(folder := f"{self.name}-{self.version}") > LONGEST_NAME_BYTES:
            longer = "name" if len(self.name) > len(self.version) else "version"
            raise ValueError(
                f"{longer} is {getattr(self, longer)!r}; name, a hyphen and version name a folder and may have at most "
                f"{LONGEST_NAME_BYTES} characters together, not {len(folder)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Predict, score and select every image of a collection, and assemble a release of the accepted ones.

    Run the same command again to resume. Exit codes: 0 done, 1 failed, 2 wrong request, 3 finished with more failed
    images than allowed.
    """

    out: str
    """Folder for the run and its release; a path or an fsspec URL."""
    config: str = ""
    """TOML file with any of these options (underscores for dashes). The command line takes precedence."""
    reference: bool = False
    """Predict as the released SOD-diffusion code does. The log lists the options that this sets, and what each does.
    Options given explicitly take precedence."""
    input: InputConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    release: ReleaseConfig = field(default_factory=ReleaseConfig)
    shard_size: int = 64
    """Images per shard: the unit of progress. A replica that dies loses at most two shards of work."""
    keep_members: bool = False
    """Store the mask of each ensemble member with the candidates, in one bit per pixel at processing size: 4 KB per
    image for ten members of the nano model. The score pass `modes` needs them. No run can change it later."""
    dry_run: bool = False
    """Write nothing. Report what is done and what is left, and forecast the time after a pilot."""
    pilot_images: int = 8
    """Images that a dry run predicts to measure the speed; 0: none, without a forecast of the time."""
    retry_failed: bool = False
    """Retry images that failed in an earlier session, after the cause has been fixed. Their batches are computed again,
    so the result equals that of a run in which they never failed; other shards are not touched."""
    accept_mixed: bool = False
    """Let machines and sessions take part whose library versions or instruction sets differ from those that the run was
    begun with. Last bits of maps may differ between images then; manifest and card say so."""
    max_failed_share: float = 0.05
    """Share of failed images, 0 to 1, above which the job exits with code 3."""

    def __post_init__(self) -> None:
        require_positive(self, "shard_size")
        if self.pilot_images < 0:
            raise ValueError(f"pilot_images is {self.pilot_images}; it must be 0 or more")
        if not 0 <= self.max_failed_share <= 1:
            raise ValueError(f"max_failed_share is {self.max_failed_share}; it must be from 0 to 1")

    def check(self, whose: str = "--ensemble-size is") -> None:
        """Check that a release could be made of the run.

        Not part of construction: an evaluation predicts without making a release.
        Args:   whose: how the message begins; a checkpoint's own number is known once it is at hand.
        Raises: ConfigError: it could not.
        """
        members = self.ensemble.ensemble_size
        if members is not None and members < 2:
            raise ConfigError(
                f"{whose} {members}; it must be at least 2: a run accepts images by how far their members agree. For "
                "the maps of single members, use sod predict or sod evaluate"
            )
