"""What a checkpoint says of its best use, in its `model_index.json`; light to import.

    "default_denoise_steps": 1, "default_ensemble_size": 10,
    "recommended_bounds": {"max_variance": 0.02, "max_variance_per_area": 0.1}

Whoever trains a checkpoint knows best how many steps it needs; whoever uses it need not.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from model.config import MOST_DENOISE_STEPS, EnsembleConfig, ModelConfig
from model.documents import parse_json, read_document

INDEX = "model_index.json"
MOST_MEMBERS = 1000
BOUNDS = MappingProxyType({"max_variance": 0.25, "max_variance_per_area": 250.0})
"""Options of a policy that a checkpoint may recommend a value for → their largest value. How far members differ, and by
how much that matters, depends on the weights and their steps."""


STATED = ("default_denoise_steps", "default_ensemble_size", "recommended_bounds")
"""Fields of a `model_index.json`."""
_DECIDES_VARIANCE = (
    *("denoise_steps", "timestep_spacing", "processing_res", "alignment", "reduction", "stretch", "batch_stats"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """How a checkpoint is used best. The defaults are those of the reference, for checkpoints that say nothing."""

    default_denoise_steps: int = 10
    default_ensemble_size: int = 10
    recommended_bounds: Mapping[str, int | float] = field(default_factory=dict)
    """Option of the policy → its bound, for the settings that are the checkpoint's own (`recommended_for`)."""
    trained_as: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Setting → what it stands for where it is left to the weights, as far as their files say so."""

    def __post_init__(self) -> None:
        _check("default_denoise_steps", self.default_denoise_steps, 1, MOST_DENOISE_STEPS)
        _check("default_ensemble_size", self.default_ensemble_size, 1, MOST_MEMBERS)
        for option, bound in self.recommended_bounds.items():
            if option not in BOUNDS:
                raise ValueError(f"recommended_bounds has {option!r}; it may have {', '.join(BOUNDS)}")
            _check(f"recommended_bounds: {option}", bound, 0, BOUNDS[option])

    @staticmethod
    def of(fields: Mapping[str, Any]) -> "CheckpointFacts":
        """Read the fields of a `model_index.json`; what is not there, or null, is left at its default.

        Raises: ValueError: a field has another type or is out of its range; the message names it and its value.
        """
        given = {name: fields[name] for name in STATED if fields.get(name) is not None}
        for name in ("default_denoise_steps", "default_ensemble_size"):
            if type(given.get(name, 1)) is not int:
                raise ValueError(f"{name} is {given[name]!r}; it must be a whole number")
        recommended = given.get("recommended_bounds", {})
        if not isinstance(recommended, Mapping) or not all(
            type(bound) in (int, float) for bound in recommended.values()
        ):
            raise ValueError(f"recommended_bounds is {recommended!r}; it must map options to numbers")
        return CheckpointFacts(**given)


def facts_of(config: ModelConfig) -> CheckpointFacts:
    """What the model on this machine that `config` names says of its best use.

    Raises: ValueError: it says what can't be; the message names the file. OSError: the file can't be read.
    """
    if config.is_fake:
        return CheckpointFacts()
    index = config.folder / INDEX
    try:
        fields = parse_json(read_document(index))
        if not isinstance(fields, dict):
            raise ValueError(f"it holds a {type(fields).__name__}, not an object")
        trained_as = {
            "processing_res": fields.get("default_processing_res"),
            "timestep_spacing": _spacing(config.folder),
        }
        return replace(CheckpointFacts.of(fields), trained_as=trained_as)
    except ValueError as error:
        raise ValueError(f"{index}: {error}") from error


def settled(ensemble: EnsembleConfig, facts: CheckpointFacts) -> EnsembleConfig:
    """The same with the checkpoint's numbers of members and steps where none were given."""
    return replace(
        ensemble,
        ensemble_size=facts.default_ensemble_size if ensemble.ensemble_size is None else ensemble.ensemble_size,
        denoise_steps=facts.default_denoise_steps if ensemble.denoise_steps is None else ensemble.denoise_steps,
    )


def recommended_for(ensemble: EnsembleConfig, facts: CheckpointFacts) -> Mapping[str, float]:
    """The bounds that a checkpoint recommends, if the ensemble is settled as the checkpoint says; otherwise none.

    The embedded model's variance is 2.5 times as high with ten steps as with two (medians of the sample). On every
    sixth of its photographs it was .8 to 8 times as high with leading timesteps, and 2.6 to 17 times at half the size.
    The number of members may differ: two had .5 to .8 of the variance of ten.
    """
    own = settled(EnsembleConfig(), facts)
    is_own = all(
        getattr(ensemble, name) in (getattr(own, name), facts.trained_as.get(name, getattr(own, name)))
        for name in _DECIDES_VARIANCE
    )
    return facts.recommended_bounds if is_own else {}


def _spacing(folder: Path) -> str:
    """The scheduler's timesteps; "" where its file does not say, which loading it will."""
    with suppress(OSError, ValueError):
        fields = parse_json(read_document(folder / "scheduler" / "scheduler_config.json"))
        return str(fields.get("timestep_spacing", "")) if isinstance(fields, dict) else ""
    return ""


def _check(name: str, value: int | float, least: int | float, most: int | float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}; it must be from {least:g} to {most:g}")
