"""From a model's name and options by name to a `Segmenter`."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from model.api.cores import usable_cores
from model.api.hub import fetched, is_repository
from model.api.segmenter import Segmenter
from model.checkpoint_facts import facts_of, settled
from model.config import EnsembleConfig, ModelConfig
from model.loading import load_model
from model.named_options import made_of, require_known

_OF_RUNS = ("adaptive", "batch_images")
"""Fields of `EnsembleConfig` that a run's policy and its plan give a meaning."""


def load(model: Any, options: Mapping[str, Any]) -> Segmenter:
    """See `model.load`."""
    if not isinstance(model, str | os.PathLike):
        raise TypeError(f"model is of type {type(model).__name__}; give 'nano', a folder, or 'organisation/name'")
    of_model = _names(ModelConfig, without=("model",))
    of_ensemble = _names(EnsembleConfig, without=_OF_RUNS)
    require_known(options, ["revision", *of_ensemble, *of_model])
    default_threads = min(usable_cores(), torch.get_num_threads())
    given = {"threads": default_threads, **{name: _named(options[name]) for name in options if name in of_model}}
    config = made_of(ModelConfig, {"model": os.fspath(model), **given})
    ensemble = made_of(EnsembleConfig, {"batch_size": 0, **{k: v for k, v in options.items() if k in of_ensemble}})
    revision = options.get("revision")
    if not isinstance(revision, str | None):
        raise TypeError(f"revision is {revision!r}; give a branch, tag or commit as a string, or None")
    folder = _folder(os.fspath(model), revision)
    here = made_of(ModelConfig, {"model": folder, **given})
    return Segmenter(load_model(here, ensemble), config, settled(ensemble, facts_of(here)))


def _named(value: Any) -> Any:
    """torch's own devices and dtypes by their names; anything else as it is."""
    return str(value).removeprefix("torch.") if isinstance(value, torch.device | torch.dtype) else value


def _names(kind: type, without: tuple[str, ...]) -> list[str]:
    return [field.name for field in fields(kind) if field.name not in without]


def _of_url(url: str, revision: str | None) -> str:
    """The folder of a repository named as `hf://organisation/name@revision`.

    Raises: ValueError: it is another kind of URL, or names two revisions.
    """
    name, _, at = url.removeprefix("hf://").partition("@")
    if not url.startswith("hf://") or not is_repository(name):
        raise ValueError(f"{url} can't be loaded; give 'nano', a folder, or a repository as 'organisation/name'")
    if at and revision not in (None, at):
        raise ValueError(f"revision is {revision!r}, and {url} names another; give it once")
    return str(fetched(name, at or revision))


def _folder(model: str, revision: str | None) -> str:
    """What `ModelConfig` takes as a model.

    Raises: ValueError: there is no such folder and no such repository, or a revision is given of neither.
    """
    named = ModelConfig(model=model)
    if named.is_url:
        return _of_url(model, revision)
    if named.is_folder and not Path(model).exists() and is_repository(model):
        return str(fetched(model, revision))
    if revision is not None:
        raise ValueError(f"revision is {revision!r}, but {model} is no repository of the Hub; leave it out")
    if named.is_folder and not Path(model).is_dir():
        raise ValueError(f"there is no folder {model!r} here; give one, 'nano', or a repository as 'organisation/name'")
    return model
