"""A model at a URL: which files it has there, and how they come to this machine."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from model.config import ModelConfig
from model.weights import WEIGHT_SUFFIXES
from pipeline.errors import ConfigError, StorageError
from pipeline.files import model_cache, storage, urls
from pipeline.files.located import ask as ask_storage
from pipeline.files.model_cache import ReadChunk
from pipeline.files.ranges import read_range
from pipeline.files.trials import before_work
from pipeline.progress.stages import BYTES, stage
from pipeline.shown import shown

log = logging.getLogger(__name__)

_OF_THE_HUB = "hf://"
_WITHOUT_LISTINGS = ("http://", "https://")
_STAMPS = ("ETag", "etag", "mtime", "blob_id", "oid")
"""What changes with a file's content, by the names that file systems have for it."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of a model at a URL."""

    files: Mapping[str, int]
    """Name → size in bytes, of weights and configurations."""
    state: str
    """Another text once a file has changed; "" if the storage does not tell."""


def require_url(model: str) -> None:
    """Check that there is a model at a URL.

    Raises: ConfigError: there is none, nobody is let in there, or its files can't be listed. UsageError: it is no URL
            that can be read.
            StorageUnavailableError: its storage does not respond.
    """
    if model.startswith(_WITHOUT_LISTINGS):
        raise ConfigError(f"--model {shown(model)}: web servers don't tell what is in a folder; give s3://… or hf://…")
    if model.startswith(_OF_THE_HUB) and "/" not in model.removeprefix(_OF_THE_HUB).strip("/"):
        raise ConfigError(f"--model {shown(model)}: models on the Hub have an owner and a name; give hf://OWNER/NAME")
    with before_work("--model"):
        is_there = storage.is_file(storage.join(model, "model_index.json"))
    if not is_there:
        more = ", or it is not open to you (hf auth login)" if model.startswith(_OF_THE_HUB) else ""
        raise ConfigError(
            f"--model {shown(model)}: there is no model_index.json{more}; give the URL of a folder saved by "
            "save_pretrained"
        )


@before_work("--model")
def at_hand(model: ModelConfig) -> ModelConfig:
    """The same with a folder of this machine in place of a URL; what is not there yet is fetched.

    Raises: ConfigError, UsageError, StorageUnavailableError: as `require_url`. StorageError: it can't be kept here, or
            did not arrive whole.
    """
    if not model.is_url:
        return model
    if urls.is_local(model.model):
        return dataclasses.replace(model, model=urls.absolute(model.model))
    require_url(model.model)
    return dataclasses.replace(model, model=str(_fetched(model.model)))


def origin_of(model: ModelConfig) -> str:
    """The URL that a model at hand was fetched from, at a fixed commit if there is one; "" if it was not fetched."""
    folder = model.folder
    return model_cache.origin(folder.name)[0] if folder.parent == model_cache.models_folder() else ""


def _fetched(url: str) -> Path:
    place = pinned(url)
    listing = listed(place)
    if there := model_cache.fetched_from(place, listing.state):
        log.info("the model of %s is in %s", shown(place), there)
        return there
    with stage("fetching the model", sum(listing.files.values()), BYTES) as fetching:
        folder = model_cache.fetch(listing.files, reader(place), advance=fetching.advance)
    model_cache.note_origin(folder.name, place, listing.state)
    log.info("the model of %s was fetched into %s", shown(place), folder)
    return folder


def pinned(url: str) -> str:
    """The URL with the commit that it stands for now, if its storage has commits; otherwise as it is.

    Raises: StorageUnavailableError: the Hub does not respond. ConfigError: it has no such revision.
    """
    if not url.startswith(_OF_THE_HUB):
        return url
    from huggingface_hub import HfApi

    def ask(fs: Any, path: str) -> str:
        found = fs.resolve_path(path)
        commit = HfApi().repo_info(found.repo_id, repo_type=found.repo_type, revision=found.revision).sha
        return _OF_THE_HUB + str(dataclasses.replace(found, revision=commit, _raw_revision=None).unresolve())

    try:
        return ask_storage(url, ask)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"--model {shown(url)}: {' '.join(str(error).split())[:300]}") from error


def listed(url: str) -> Listing:
    """The weights and configurations at a URL.

    Raises: StorageUnavailableError: its storage does not respond.
    """

    def ask(fs: Any, path: str) -> dict[str, Any]:
        above = path.rstrip("/") + "/"
        return {str(name).removeprefix(above): info for name, info in fs.find(path, detail=True).items()}

    found = {
        name: info for name, info in ask_storage(url, ask).items() if PurePosixPath(name).suffix in WEIGHT_SUFFIXES
    }
    stamps = {name: next((str(info[key]) for key in _STAMPS if info.get(key)), "") for name, info in found.items()}
    files = {name: int(info["size"]) for name, info in sorted(found.items())}
    state = json.dumps([sorted(files.items()), sorted(stamps.items())])
    return Listing(files=files, state=hashlib.sha256(state.encode()).hexdigest() if all(stamps.values()) else "")


def reader(url: str) -> ReadChunk:
    """Reads a model's files at a URL. What it gives raises StorageError, StorageUnavailableError."""

    def read(name: str, start: int, length: int) -> bytes:
        place = storage.join(url, name)
        try:
            return ask_storage(place, lambda fs, path: read_range(fs, path, start, start + length))
        except FileNotFoundError as error:
            raise StorageError(f"{shown(place)} is missing") from error

    return read
