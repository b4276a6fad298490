"""The official SOD-diffusion checkpoint as a pipeline of ours, and as a folder that says what it was made from.

Owns which files make which part. Reading them is `checkpoint_files.py`'s, the branch's names are `official_names.py`'s.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from model.architectures import swin_b_conditioner
from model.checkpoint_files import (
    CheckpointError,
    check_same,
    load_network,
    load_scheduler,
    network_files,
    read_tensors,
)
from model.conditioner import SaliencyConditioner
from model.diffusion import SODDiffusionPipeline
from model.official_names import is_unused, official_name

__all__ = ["CheckpointError", "OfficialFiles", "convert", "load_branch", "load_official"]

PROCESSING_RES = 384
"""Height and width in pixels that the official weights were trained for."""

LATENT_CHANNELS = 4
"""Of Stable Diffusion's VAE. The UNet takes those of the image and of the mask, and gives those of the mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialFiles:
    """Where the parts of an official checkpoint lie."""

    unet: Path
    """The folder of diffusers' with the UNet, or a folder that has it as `unet`."""
    stable_diffusion: Path
    """A folder that has Stable Diffusion 2's folders `vae` and `scheduler`."""
    branch: Path
    """The state dict of the Swin-B branch, `.pth` or `.safetensors`."""

    @property
    def unet_folder(self) -> Path:
        """The UNet's own folder."""
        return self.unet if (self.unet / "config.json").is_file() else self.unet / "unet"


def load_official(files: OfficialFiles, dtype: torch.dtype = torch.float32) -> SODDiffusionPipeline:
    """The official checkpoint as a pipeline of ours: in evaluation mode, without gradients, on the CPU.

    Raises: CheckpointError: a part is missing, torn, or another network than the official one.
    """
    unet = load_network(UNet2DConditionModel, files.unet_folder)
    if unet.config.in_channels == LATENT_CHANNELS:
        raise CheckpointError(
            f"{files.unet_folder} takes {LATENT_CHANNELS} channels, expected {2 * LATENT_CHANNELS}: it is Stable "
            "Diffusion's own UNet, never trained on masks; --from-stable-diffusion makes the start of a training of it"
        )
    conditioner = swin_b_conditioner()
    require_unet(unet, files.unet_folder, 2 * LATENT_CHANNELS, conditioner)
    vae, scheduler = load_vae_and_scheduler(files.stable_diffusion)
    load_branch(conditioner, files.branch)
    for network in (unet, vae, conditioner):
        network.eval().requires_grad_(False)
    return assemble(vae, unet, scheduler, conditioner, dtype)


def load_branch(conditioner: SaliencyConditioner, file: Path) -> None:
    """Copy the official branch's tensors into a conditioner, each to its one place.

    Official tensors that nobody uses may be in the file or not (`official_names.UNUSED`).

    Raises: CheckpointError: a tensor is missing, unknown, or of another shape or dtype.
    """
    own = conditioner.state_dict()
    found = {name: value for name, value in read_tensors(file).items() if not is_unused(name)}
    check_same(found, {official_name(ours): value for ours, value in own.items()}, file)
    conditioner.load_state_dict({ours: found[official_name(ours)] for ours in own})


def convert(files: OfficialFiles, out: Path, dtype: torch.dtype = torch.float32) -> SODDiffusionPipeline:
    """Save the official checkpoint as a folder for `load_pipeline`; the same files give the same bytes.

    Returns: the pipeline as saved.
    Raises:  CheckpointError: see `load_official`; or there is something in `out` already.
    """
    require_free(out)
    pipeline = load_official(files, dtype)
    read = {
        "unet": list(network_files(files.unet_folder)),
        **vae_and_scheduler_files(files.stable_diffusion),
        "branch": [files.branch],
    }
    save(pipeline, out, {"kind": "official SOD-diffusion checkpoint", "files": origins(read)})
    return pipeline


# Parts of Stable Diffusion, for a start of a training too


def load_vae_and_scheduler(repo: Path) -> tuple[Any, Any]:
    """From Stable Diffusion's folder.

    Raises: CheckpointError: one of them is missing or torn, or the VAE has another number of latent channels.
    """
    vae = load_network(AutoencoderKL, repo / "vae")
    require_facts(vae, repo / "vae", {"latent_channels": LATENT_CHANNELS})
    return vae, load_scheduler(repo / "scheduler")


def vae_and_scheduler_files(repo: Path) -> dict[str, list[Path]]:
    """What `load_vae_and_scheduler` reads, by part."""
    return {"vae": list(network_files(repo / "vae")), "scheduler": [repo / "scheduler" / "scheduler_config.json"]}


def require_unet(unet: Any, folder: Path, in_channels: int, conditioner: SaliencyConditioner) -> None:
    """The UNet has the inputs, outputs and context of a pipeline with that conditioner.

    Raises: CheckpointError: it has not.
    """
    context_channels = conditioner.config.feature_channels * conditioner.config.context_repeats
    facts = {"in_channels": in_channels, "out_channels": LATENT_CHANNELS, "cross_attention_dim": context_channels}
    require_facts(unet, folder, facts)


def require_facts(network: Any, folder: Path, facts: Mapping[str, int]) -> None:
    """Fields of a configuration, of which some can have a value per level, are what they must be.

    Raises: CheckpointError: one is not.
    """
    for name, expected in facts.items():
        found = network.config[name]
        if set(found if isinstance(found, list | tuple) else [found]) != {expected}:
            raise CheckpointError(f"{folder / 'config.json'}: {name} is {found}, expected {expected}")


def assemble(
    vae: Any, unet: Any, scheduler: Any, conditioner: SaliencyConditioner, dtype: torch.dtype
) -> SODDiffusionPipeline:
    """The pipeline in that precision, quiet."""
    for network in (vae, unet, conditioner):
        nn.Module.to(network, dtype)  # diffusers' own `to` warns of modules to be kept in float32, and names none
    pipeline = SODDiffusionPipeline(vae, unet, scheduler, conditioner, default_processing_res=PROCESSING_RES)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# Folders of ours


def require_free(out: Path) -> None:
    """There is nothing to lose.

    Raises: CheckpointError: `out` is a file, or a folder with something in it.
    """
    if out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
        raise CheckpointError(f"{out} is there already and not an empty folder; give another one")


def origins(files: Mapping[str, list[Path]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Names without folders, sizes and SHA-256 of the files that each part was read from."""
    return {part: {path.name: _fingerprint(path) for path in paths} for part, paths in files.items()}


def save(pipeline: SODDiffusionPipeline, out: Path, origin: Mapping[str, Any], *, replace: bool = False) -> None:
    """A folder of the pipeline, `origin.json` and `SHA256SUMS`; it gets its name last, when all of it is on the disk.

    Args:   replace: throw away what is in `out`, once there is something to put in its place.
    Raises: CheckpointError: there is something in `out` already, and it is to stay.
    """
    out = out.absolute()
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a conversion that was killed
    try:
        pipeline.save_pretrained(partial, safe_serialization=True)
        origin = {"dtype": str(pipeline.unet.dtype).removeprefix("torch."), **origin}
        (partial / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        sums = [f"{_fingerprint(path)['sha256']}  {path.relative_to(partial).as_posix()}\n" for path in files]
        (partial / "SHA256SUMS").write_text("".join(sums))
        _sync([*files, partial / "SHA256SUMS"])
        if replace:
            shutil.rmtree(out, ignore_errors=True)
        require_free(out)
        os.replace(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sync(files: list[Path]) -> None:
    """Through to the disk: a power cut after the renaming must not leave a whole-looking folder of empty files."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
