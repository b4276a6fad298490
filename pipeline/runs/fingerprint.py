"""What a run was made with: everything that changes a byte of its candidates, so that no run mixes two makings."""

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
from pipeline.made_with import differences, refusal
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
    "replicas/reading.py",
    "replicas/setup.py",
    "replicas/suspects.py",
    "replicas/work.py",
    "runs/candidates.py",
    "selection/scores.py",
    "selection/stopping_rule.py",
)
"""Modules of `pipeline/` that decide the bytes of candidates; all of `model/` does. A test compares the list with what
`process_shard` imports, and names the modules left out with the reason."""


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Field → value, both text; two runs with equal fingerprints have equal candidates on one kind of device.

    The digest of the plan is added once the plan is made. The device is not a field, since `auto` and `cpu` may mean
    the same: `settle_device` takes care of it.

    Raises: ConfigError: the configured weights do not exist.
    """
    values = {
        "weights": _weights(config.model),
        "dtype": config.model.dtype,
        "threads": str(config.model.threads),
        "memory_format": config.model.memory_format,
        "attention": config.model.attention,
        "compile": str(config.model.compile),
        # The only part of the policy that a run depends on: the bounds by which images stop early.
        "stops_by": "" if config.ensemble.adaptive == "off" else bounds_in_words(config.policy),
        "shard_size": str(config.shard_size),
        "max_image_bytes": str(config.input.max_image_bytes),
        "max_image_pixels": str(config.input.max_image_pixels),
        "code": _code_sha256(),
    }
    values |= {name: str(value) for name, value in asdict(config.ensemble).items()}
    values |= {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return values


def check_fingerprint(run: str, stored: Mapping[str, str], requested: Mapping[str, str]) -> None:
    """Compare the fingerprint of a run with that of the request.

    Raises: RunMismatchError: they differ; the message names each field with both values.
    """
    if found := differences(stored, requested):
        advice = _advice(run, [difference.name for difference in found])
        raise RunMismatchError(refusal(f"{run} holds a run that was made with something else", found, advice))


def _advice(run: str, differing: Sequence[str]) -> str:
    if not committed_shards(run):
        return f"Nothing is committed there: remove {run}, or give another --out"
    if differing == ["stops_by"]:
        return (
            "Its images stopped once they were clear of its policy's bounds. For another policy, make a release of the "
            f"run as it is (jobs/publish_release.py build {run}), or give another --out"
        )
    return "Request what the run was made with, or give another --out"


def settle_device(run: str, kind: str) -> None:
    """Fix the kind of device of a run: the first replica decides, since only a replica knows what `auto` means.

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
    """Read the kind of device that a run was begun on."""
    return str(json.loads(storage.read(storage.join(run, _DEVICE_FILE)))["device"])


def _weights(config: ModelConfig) -> str:
    try:
        if config.is_fake:
            FakeModel.from_name(config.model, EnsembleConfig())  # refuse unknown options here, not in every replica
            return "fake"
        return weights_sha256(config.folder)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(
            f"--model {config.model}: {error}; give `nano` or a folder saved by save_pretrained"
        ) from error


def _code_sha256() -> str:
    """SHA-256 of the sources that decide the bytes of candidates."""
    model_folder, pipeline_folder = (Path(package.__file__ or "").parent for package in (model, pipeline))
    files = sorted(model_folder.glob("*.py")) + [pipeline_folder / name for name in _PIPELINE_CODE]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
