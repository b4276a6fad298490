"""Figures that papers give of the public test sets, and how far ours are from them.

`published_figures.toml` holds them, and says where each is from and where the paper's own would go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast

from model.documents import DocumentError, parse_toml
from pipeline.errors import ConfigError
from pipeline.evaluation.config import DATASET_NAMES, DatasetName
from pipeline.evaluation.datasets import DATASETS
from pipeline.evaluation.summary import SCALARS

FILE = "pipeline/evaluation/published_figures.toml"
REFERENCE = "SOD-diffusion"
"""The name of the model whose figures are to be reproduced."""
_FIELDS = {"name", "source", "figures"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The figures of one model, as one source gives them."""

    name: str
    source: str
    figures: Mapping[str, Mapping[str, float]]
    """Dataset → figure, one of SCALARS → value in [0, 1]."""


def read_published(content: bytes | None = None) -> tuple[Published, ...]:
    """Read the table of published figures.

    Args:   content: TOML; that of `published_figures.toml` if left out.
    Raises: ConfigError: it is malformed. The message names model, dataset and figure.
    """
    if content is None:
        content = (files("pipeline.evaluation") / "published_figures.toml").read_bytes()
    try:
        document = parse_toml(content)
        found = tuple(_published(entry) for entry in document["models"])
    except (DocumentError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{FILE} is malformed ({type(error).__name__}: {error}); its head says what it has"
        ) from error
    known: set[tuple[str, str]] = set()
    for model in found:
        if (model.name, model.source) in known:
            raise ConfigError(f"{FILE} has {model.name} of {model.source} twice; put the figures together")
        known.add((model.name, model.source))
    return found


def beside_published(
    dataset: str, ours: Mapping[str, float], images: int, published: tuple[Published, ...]
) -> dict[str, Any] | None:
    """Set the figures of a dataset beside the published ones.

    Args:    ours: figure, one of SCALARS → value. images: so many of the dataset were to be measured.
    Returns: what `evaluation.json` has of it; `difference` is ours minus the published figure. None if nothing is
             published of this dataset.
    """
    of_dataset = [(model, figures) for model in published if (figures := model.figures.get(dataset))]
    if not of_dataset:
        return None
    return {
        "images": images,
        "images_of_the_dataset": DATASETS[cast(DatasetName, dataset)].count,
        "models": [
            {
                "name": model.name,
                "source": model.source,
                "figures": {name: _beside(ours[name], value) for name, value in figures.items()},
            }
            for model, figures in of_dataset
        ],
    }


def _beside(ours: float, value: float) -> dict[str, Any]:
    return {"ours": ours, "published": value, "difference": ours - value}


def _published(entry: Mapping[str, Any]) -> Published:
    if unknown := set(entry) - _FIELDS:
        raise ConfigError(f"{FILE}: unknown field {sorted(unknown)[0]}; a model has {', '.join(sorted(_FIELDS))}")
    name, source = entry["name"], entry["source"]
    if not (isinstance(name, str) and name and isinstance(source, str) and source):
        raise ConfigError(f"{FILE}: a model has no name or no source; say whose figures they are, and where they stand")
    for dataset, figures in entry["figures"].items():
        if dataset not in DATASET_NAMES:
            raise ConfigError(f"{FILE}: {name} has figures of {dataset}; datasets are {', '.join(DATASET_NAMES)}")
        for figure, value in figures.items():
            _require_figure(f"{FILE}: {name} on {dataset}", figure, value)
    return Published(name=name, source=source, figures=entry["figures"])


def _require_figure(where: str, figure: str, value: Any) -> None:
    if figure not in SCALARS:
        raise ConfigError(f"{where}: there is no figure {figure}; figures are {', '.join(SCALARS)}")
    if not isinstance(value, float) or not 0 <= value <= 1:
        raise ConfigError(f"{where}: {figure} is {value!r}; it must be a number from 0 to 1, such as 0.019")
