"""Everything that can be set about a run: frozen parts, read from a TOML file and the command line.

Defaults are written here and in `model/config.py` only. Field names are the options' names, all in one namespace.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from model.config import REFERENCE_PRESET, EnsembleConfig, ModelConfig
from pipeline.errors import ConfigError
from pipeline.selection.policy import RankingScore, Strata, parse_splits, parse_threshold

_LONGEST_CREATOR = 200
MAX_IMAGE_BYTES = 64 << 20
"""Default limit on an image file, and on the part of an archive that it takes: 64 MiB."""
MAX_IMAGE_PIXELS = 89_000_000
"""Default limit on height x width: just below Pillow's own; as RGB this is 267 MB of memory per image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputConfig:
    """What is segmented."""

    images: str
    """Folder of images, or a zip of the official kind (read without unpacking); a path or an fsspec URL."""
    annotations: str
    """COCO annotation JSON that lists the images; a path or an fsspec URL."""
    max_image_bytes: int = MAX_IMAGE_BYTES
    """Larger files become failed rows."""
    max_image_pixels: int = MAX_IMAGE_PIXELS
    """Images that claim more pixels become failed rows; they are not decoded."""

    def __post_init__(self) -> None:
        _positive(self, "max_image_bytes", "max_image_pixels")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Which images are accepted. Scores are stored, so another policy costs no prediction; with `--adaptive on` its
    bounds decide how many members an image gets, and belong to the run."""

    max_variance: float = 0.02
    """Largest accepted `ensemble_variance`, 0 to 0.25. Lower: fewer images, on which the members agree more."""
    max_variance_per_area: float = 0.1
    """Largest accepted `ensemble_variance_per_area`, 0 to 250: catches small objects on which the members disagree,
    whose variance is small because they are."""
    min_area: float = 0.005
    """Smallest accepted share of the image that the mask covers, 0 to 1; below it there is no salient object."""
    max_area: float = 0.95
    """Largest accepted share of the image that the mask covers, 0 to 1."""
    thresholds: tuple[str, ...] = ()
    """More bounds, on any score, as in `pairwise_iou>=0.9` or `border<=0.3`."""
    allowed_licenses: tuple[int, ...] = ()
    """Ids of licences, as the annotations number them; images of other ones are rejected. None: all are allowed."""
    commercial: bool = False
    """Accept images only whose licence is known to allow commercial use and changes: the URL of the annotations'
    licence is that of CC BY, CC BY-SA, CC0, a public domain mark, Flickr Commons or a work of the US government."""
    target_images: int = 0
    """Accept so many images at most, the best by `rank_by`; 0 is all that pass."""
    rank_by: RankingScore = "ensemble_variance_per_area"
    """Score by which the best are chosen; ties are broken by key, and what has no such score comes last."""
    strata: Strata = "none"
    """Share the target out among COCO's supercategories (of the annotated things that the mask covers) and sizes of
    object (up to 32 x 32 px, up to 96 x 96 px, larger): `even`, as many of each kind as there are, or `proportional`;
    `none` looks at the score alone."""

    def __post_init__(self) -> None:
        for name, bound in (
            ("max_variance", 0.25),
            ("max_variance_per_area", 250.0),
            ("min_area", 1.0),
            ("max_area", 1.0),
        ):
            value = getattr(self, name)
            if not 0 <= value <= bound:
                raise ValueError(f"{name} is {value}; it must be from 0 to {bound}")
        if self.min_area > self.max_area:
            raise ValueError(f"min_area is {self.min_area}; it must be at most max_area, which is {self.max_area}")
        # In one form and order, however they were written: the first bound that an image fails is its reason.
        thresholds = {str(parse_threshold(text)) for text in self.thresholds}
        object.__setattr__(self, "thresholds", tuple(sorted(thresholds)))
        object.__setattr__(self, "allowed_licenses", tuple(sorted(set(self.allowed_licenses))))
        if self.target_images < 0:
            raise ValueError(f"target_images is {self.target_images}; it must be 0 (all) or more")
        if self.strata != "none" and not self.target_images:
            raise ValueError(f"strata is {self.strata!r}, but target_images is 0: give the number that is shared out")


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
        _positive(self, "shard_attempts", "stall_after_s", "progress_every_s")
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
        _positive(self, "tar_bytes")
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
        _positive(self, "shard_size")
        if self.ensemble.ensemble_size < 2:
            raise ValueError(f"ensemble_size is {self.ensemble.ensemble_size}; it must be at least 2 for a variance")
        if self.pilot_images < 0:
            raise ValueError(f"pilot_images is {self.pilot_images}; it must be 0 or more")
        if not 0 <= self.max_failed_share <= 1:
            raise ValueError(f"max_failed_share is {self.max_failed_share}; it must be from 0 to 1")


def read_toml(path: str, kind: type = RunConfig, named_by: str = "--config") -> dict[str, Any]:
    """The options in a TOML file, flat, as on the command line of the job that takes `kind`.

    Raises: ConfigError: no such file, no TOML, an unknown option, or a value of another type than the option's or
            out of its bounds.
    """
    where = f"{named_by} {path}"
    try:
        options = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    known = option_types(kind)
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f"{where}: there is no option {name!r}; there are {', '.join(sorted(known))}")
        _check_type(where, name, value, known[name])
        if known[name] is float:
            options[name] = float(value)  # 1 and 1.0 mean the same, and are to be stored the same
        if isinstance(value, list):
            options[name] = tuple(value)
    try:
        from_options(kind, options, missing="")
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    return options


def with_preset(options: Mapping[str, Any], reference: bool) -> dict[str, Any]:
    """Flat options, with those of the reference preset where it is wanted and they do not say otherwise."""
    preset = {name: option.value for name, option in REFERENCE_PRESET.items()} if reference else {}
    return {**preset, **options, "reference": reference}


def option_types(config: type) -> dict[str, Any]:
    """Option name → type, over a configuration class and its parts."""
    types: dict[str, Any] = {}
    for option in fields(config):
        if is_dataclass(option.type):
            types |= option_types(option.type)  # type: ignore[arg-type]
        else:
            types[option.name] = option.type
    return types


def from_options(config: type, options: Mapping[str, Any], missing: Any) -> Any:
    """Build a configuration and its parts from flat options; required ones that are not there become `missing`."""
    values: dict[str, Any] = {}
    for option in fields(config):
        if is_dataclass(option.type):
            values[option.name] = from_options(option.type, options, missing)  # type: ignore[arg-type]
        elif option.name in options:
            values[option.name] = options[option.name]
        elif option.default is MISSING:
            values[option.name] = missing
    return config(**values)


def as_values(config: Any) -> dict[str, Any]:
    """A configuration part as plain JSON values."""
    return asdict(config)


def _check_type(where: str, name: str, value: Any, wanted: Any) -> None:
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise ConfigError(f"{where}: {name} is {value!r}; it must be one of {', '.join(get_args(wanted))}")
        return
    if isinstance(wanted, UnionType):  # `int | None`: TOML has no None, leaving the option out means it
        (wanted,) = (kind for kind in get_args(wanted) if kind is not type(None))
    if get_origin(wanted) is tuple:
        wanted = get_args(wanted)[0]
        if not isinstance(value, list) or not all(type(item) is wanted for item in value):
            raise ConfigError(f"{where}: {name} is {value!r}; it must be a list of {wanted.__name__}")
        return
    allowed = (int, float) if wanted is float else wanted
    if not isinstance(value, allowed) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"{where}: {name} is {value!r}; it must be {wanted.__name__}")


def _positive(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} is {getattr(config, name)}; it must be above 0")
