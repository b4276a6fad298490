"""What a run was made with: everything that changes a byte of its candidates, so that no run mixes two makings."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

import model
import pipeline
from model.checkpoint_facts import CheckpointFacts, facts_of, settled
from model.config import EnsembleConfig, ModelConfig
from model.decoder_choice import decoder_of
from model.fake import FakeModel
from model.weights import weights_sha256
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, RunMismatchError
from pipeline.files.tars import encode_json
from pipeline.made_with import differences, refusal
from pipeline.precision import with_precision
from pipeline.runs.commits import committed_shards
from pipeline.runs.machine import LIBRARIES, library_versions
from pipeline.selection.stopping_rule import bounds_in_words

_PIPELINE_CODE = (
    "collection/addresses.py",
    "collection/colours.py",
    "collection/folders.py",
    "collection/frames.py",
    "collection/images.py",
    "collection/names.py",
    "collection/parquet.py",
    "collection/stores.py",
    "collection/tars.py",
    "collection/whole.py",
    "collection/zips.py",
    "files/cells.py",
    "files/formats.py",
    "files/in_flight.py",
    "files/maps.py",
    "files/orientation.py",
    "files/parquet.py",
    "files/parquet_streams.py",
    "files/pictures.py",
    "files/ranges.py",
    "files/safe_hosts.py",
    "files/scan/bmp.py",
    "files/scan/boxes.py",
    "files/scan/gif.py",
    "files/scan/jpeg.py",
    "files/scan/jpeg2000.py",
    "files/scan/jpegxl.py",
    "files/scan/limits.py",
    "files/scan/png.py",
    "files/scan/tiff.py",
    "files/scan/webp.py",
    "files/tars.py",
    "files/web.py",
    "files/web_request.py",
    "records.py",
    "replicas/batches.py",
    "replicas/reading.py",
    "replicas/setup.py",
    "replicas/shard_work.py",
    "replicas/shards.py",
    "replicas/suspects.py",
    "replicas/work.py",
    "runs/binding.py",
    "runs/candidates.py",
    "selection/scores.py",
    "selection/stopping_rule.py",
)
"""Modules of `pipeline/` that decide the bytes of candidates; all of `model/` does. A test compares the list with what
`process_shard` imports, and names the modules left out with the reason."""


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Field → value, both text; two runs with equal fingerprints have equal candidates on one kind of device.

    The digest of the plan is added once the plan is made. The device is not a field, since `auto` and `cpu` may mean
    the same: `runs/machine.py` takes care of it.

    Raises: ConfigError: the configured weights do not exist.
    """
    values = {
        **model_fields(config.model, config.ensemble.processing_res),
        # The only part of the policy that a run depends on: the bounds by which images stop early.
        "stops_by": "" if config.ensemble.adaptive == "off" else bounds_in_words(config.policy),
        "shard_size": str(config.shard_size),
        "max_image_bytes": str(config.input.max_image_bytes),
        "max_image_pixels": str(config.input.max_image_pixels),
        "orientation": config.input.orientation,
        "code": code_sha256(),
        **ensemble_fields(settled(config.ensemble, facts_of_model(config.model))),
    }
    if config.keep_members:  # no field otherwise, as in runs of earlier versions, which kept none
        values["keep_members"] = str(config.keep_members)
    return values | library_versions()


def facts_of_model(model: ModelConfig) -> CheckpointFacts:
    """What a model at hand says of its best use.

    Raises: ConfigError: it says what can't be, or does not exist.
    """
    try:
        return facts_of(model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--model {model.model}: {error}") from error


def digest_of(made_with: Mapping[str, str]) -> str:
    """SHA-256 of a fingerprint: what the records of a run's shards carry.

    Without the plan, which grows, and the versions of libraries, which may be mixed on request.
    """
    values = {name: value for name, value in made_with.items() if name not in ("plan", *LIBRARIES)}
    return hashlib.sha256(encode_json(values)).hexdigest()


def check_fingerprint(
    run: str,
    stored: Mapping[str, str],
    requested: Mapping[str, str],
    made_by: Mapping[str, str] = MappingProxyType({}),
    *,
    accept_mixed: bool = False,
) -> dict[str, str]:
    """Compare the fingerprint of a run with that of the request.

    Args:    made_by: version and commit of the code that began the run, as far as they are known.
             accept_mixed: libraries may have other versions.
    Returns: the requested versions of libraries that differ and were accepted.
    Raises:  RunMismatchError: they differ; the message names each field with both values.
    """
    found = differences({"decoder": "vae", **stored}, {"decoder": "vae", **requested})  # no field: see `model_fields`
    accepted = {difference.name: str(difference.requested) for difference in found if difference.name in LIBRARIES}
    if accept_mixed and len(accepted) == len(found):
        return accepted
    if found:
        advice = _advice(run, [difference.name for difference in found], made_by)
        raise RunMismatchError(refusal(f"{run} holds a run that was made with something else", found, advice))
    return {}


def _advice(run: str, differing: Sequence[str], made_by: Mapping[str, str]) -> str:
    if not committed_shards(run):
        return f"Nothing is committed there: remove {run}, or give another --out"
    if differing == ["stops_by"]:
        return (
            "Its images stopped once they were clear of its policy's bounds. For another policy, make a release of the "
            f"run as it is (sod release build {run}), or give another --out"
        )
    if set(differing) <= set(LIBRARIES):
        return "Install these versions, accept different last bits with --accept-mixed, or give another --out"
    if "code" in differing:
        others = " Request what else differs, too." if len(differing) > 1 else ""
        return f"{_of_code(made_by)}{others} Or give another --out. Releases need no such code: sod release build {run}"
    return "Request what the run was made with, or give another --out"


def _of_code(made_by: Mapping[str, str]) -> str:
    """Where the code of a run is to be found."""
    version = f"version {made_by['version']}" if "version" in made_by else ""
    commit, _, changed = made_by.get("commit", "").partition(", ")
    if commit:
        edits = " with edits that were never committed" if changed else ""
        return (
            f"The run was begun with {f'{version}, ' if version else ''}commit {commit}{edits}. To go on with it: git "
            f"checkout {commit}."
        )
    if version:
        return (
            f"The run was begun with {version}, from a folder without history: to go on with it, use the code of that "
            "time."
        )
    return "The run was begun with the code of an earlier version: to go on with it, use that."


def model_fields(config: ModelConfig, processing_res: int | None = None) -> dict[str, str]:
    """What a model's predictions depend on, besides the ensemble: digest of the weights, precision, kernels, decoder.

    Args:   processing_res: as in `EnsembleConfig`; the decoder may depend on it.
    Raises: ConfigError: the configured weights do not exist.
    """
    fields = {
        "weights": _weights(config),
        "dtype": with_precision(config).dtype,  # never `auto`
        "threads": str(config.threads),
        "memory_format": config.memory_format,
        "attention": config.attention,
        "compile": str(config.compile),
    }
    # No field otherwise, as in runs of earlier versions, which had no other.
    if (decoder := _decoder(config, processing_res)) != "vae":
        fields["decoder"] = decoder
    return fields


def ensemble_fields(ensemble: EnsembleConfig) -> dict[str, str]:
    """What predictions depend on in the ensemble: all of it, as text.

    Args: ensemble: settled, so that two ways of asking for the same are one.
    """
    return {name: str(value) for name, value in asdict(ensemble).items()}


def processing_res_in(made_with: Mapping[str, str]) -> int | None:
    """The processing resolution of a run by its fingerprint; None: that of its weights."""
    stated = made_with.get("processing_res", "")
    return int(stated) if stated.isdecimal() else None


def _decoder(config: ModelConfig, processing_res: int | None) -> str:
    """The decoder that will be used, never `auto`: another measurement of the same decoder may settle it otherwise."""
    try:
        return decoder_of(config, processing_res)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--model {config.model}: {error}") from error


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


def code_sha256(more: Sequence[str] = ()) -> str:
    """SHA-256 of the sources that decide the bytes of candidates.

    Args: more: further modules of `pipeline/`.
    """
    model_folder, pipeline_folder = (Path(package.__file__ or "").parent for package in (model, pipeline))
    files = sorted(model_folder.glob("*.py")) + [pipeline_folder / name for name in (*_PIPELINE_CODE, *more)]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
