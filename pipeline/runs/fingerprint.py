"""What a run was made with: everything that changes a byte of its candidates, so that a run never mixes."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import model
import pipeline
from model.config import EnsembleConfig, ModelConfig
from model.fake import FakeModel
from model.weights import weights_sha256
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, RunMismatchError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.runs.candidates import committed_shards
from pipeline.selection.stopping_rule import bounds_in_words

_LIBRARIES = ("diffusers", "numpy", "pillow", "timm", "torch")
_DEVICE_FILE = "device.json"
_PIPELINE_CODE = (
    "collection/images.py",
    "files/maps.py",
    "files/parquet.py",
    "files/tars.py",
    "records.py",
    "replicas/batches.py",
    "replicas/suspects.py",
    "replicas/work.py",
    "runs/candidates.py",
    "selection/scores.py",
    "selection/stopping_rule.py",
)
"""Modules of `pipeline/` that decide what a candidate is; those of `model/` all do."""


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Field → value, both text; two runs with equal fingerprints have equal candidates on one kind of device.

    The plan is added when it is cut. The device is not among the fields: `auto` and `cpu` may mean the same, so
    `settle_device` sees to it.

    Raises: ConfigError: there are no weights where the configuration says.
    """
    values = {
        "weights": _weights(config.model),
        "dtype": config.model.dtype,
        "threads": str(config.model.threads),
        "memory_format": config.model.memory_format,
        "attention": config.model.attention,
        "compile": str(config.model.compile),
        "stops_by": _stops_by(config),
        "shard_size": str(config.shard_size),
        "max_image_bytes": str(config.input.max_image_bytes),
        "max_image_pixels": str(config.input.max_image_pixels),
        "code": _code_sha256(),
    }
    values |= {name: str(value) for name, value in asdict(config.ensemble).items()}
    values |= {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return values


def refuse_other(run: str, stored: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Compare the fingerprint of a run with that of the request.

    Raises: RunMismatchError: they differ; the message names each field with both values.
    """
    names = sorted(stored.keys() | present.keys())
    differing = [name for name in names if stored.get(name) != present.get(name)]
    if differing:
        lines = [f"  {name}: the run has {stored.get(name)}, asked for is {present.get(name)}" for name in differing]
        raise RunMismatchError(
            f"{run} holds a run that was made with something else:\n"
            + "\n".join(lines)
            + f"\n{_advice(run, differing)}"
        )


def _advice(run: str, differing: Sequence[str]) -> str:
    if not committed_shards(run):
        return f"Nothing is committed there: remove {run}, or give another --out"
    if differing == ["stops_by"]:
        return (
            "Its images stopped when they stood clear of the bounds of its policy. For another policy make a release "
            f"of the run as it is (jobs/publish_release.py build {run}), or give another --out"
        )
    return "Ask for what the run has, or give another --out"


def settle_device(run: str, kind: str) -> None:
    """Fix the kind of device of a run: the first replica's stands, since `auto` is known only where replicas run.

    Args:   kind: as `SaliencyModel.device_kind`.
    Raises: RunMismatchError: the run was begun on another kind, whose last bits differ.
    """
    if storage.create(storage.join(run, _DEVICE_FILE), encode_json({"device": kind})):
        return
    begun_on = settled_device(run)
    if begun_on != kind:
        device, _, without = begun_on.partition(" ")
        remedy = (
            f"give --device {device}" if kind.split()[0] != device else f"have replicas {without or 'with one'} only"
        )
        raise RunMismatchError(f"{run} was begun on {begun_on}, this replica is on {kind}: {remedy}, or another --out")


def settled_device(run: str) -> str:
    """The kind of device that a run was begun on."""
    return str(json.loads(storage.read(storage.join(run, _DEVICE_FILE)))["device"])


def _stops_by(config: RunConfig) -> str:
    """The policy is no part of a run, but for the bounds by which images stop early."""
    if config.ensemble.adaptive == "off":
        return ""
    return bounds_in_words(config.policy)


def _weights(config: ModelConfig) -> str:
    try:
        if config.is_fake:
            FakeModel.from_name(config.model, EnsembleConfig())  # refuses unknown options here, not in every replica
            return "fake"
        return weights_sha256(config.folder)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(
            f"--model {config.model}: {error}; give `nano` or a folder saved by save_pretrained"
        ) from error


def _code_sha256() -> str:
    """Over the sources that decide what a candidate is."""
    model_folder, pipeline_folder = (Path(package.__file__ or "").parent for package in (model, pipeline))
    files = sorted(model_folder.glob("*.py")) + [pipeline_folder / name for name in _PIPELINE_CODE]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
