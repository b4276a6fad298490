"""Load the official SOD-diffusion checkpoint, and convert it to a model folder that says what it was made from.

Owns which files make which part. `checkpoint_files.py` reads them, `official_names.py` knows the branch's names,
`folders.py` writes the result.
"""

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
    require_content,
)
from model.conditioner import SaliencyConditioner
from model.diffusion import SODDiffusionPipeline
from model.folders import origins, require_free, require_writable, save_pipeline
from model.official_names import is_unused, official_name

__all__ = ["CheckpointError", "OfficialFiles", "convert", "load_branch", "load_official"]

PROCESSING_RES = 384
"""Height and width in pixels that the official weights were trained for."""

LATENT_CHANNELS = 4
"""Latent channels of Stable Diffusion's VAE. The UNet takes those of image and mask, and returns those of the mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialFiles:
    """Where the parts of an official checkpoint are."""

    unet: Path
    """The diffusers folder of the UNet, or a folder that contains it as `unet`."""
    stable_diffusion: Path
    """A folder that contains Stable Diffusion 2's folders `vae` and `scheduler`."""
    branch: Path
    """The state dict of the Swin-B branch, `.pth` or `.safetensors`."""

    @property
    def unet_folder(self) -> Path:
        """The UNet's own folder."""
        return self.unet if (self.unet / "config.json").is_file() else self.unet / "unet"

    def by_part(self) -> dict[str, list[Path]]:
        """All files that are read, by part.

        Raises: CheckpointError: one of them is missing or empty.
        """
        unet = list(network_files(self.unet_folder))
        parts = {"unet": unet, **vae_and_scheduler_files(self.stable_diffusion), "branch": [self.branch]}
        require_content(self.branch)
        return parts


def load_official(files: OfficialFiles, dtype: torch.dtype = torch.float32) -> SODDiffusionPipeline:
    """Load the official checkpoint as our pipeline: in evaluation mode, without gradients, on the CPU.

    Raises: CheckpointError: a part is missing, torn, or not the official network.
    """
    files.by_part()
    unet = load_network(UNet2DConditionModel, files.unet_folder)
    if unet.config.in_channels == LATENT_CHANNELS:
        raise CheckpointError(
            f"{files.unet_folder} takes {LATENT_CHANNELS} channels, expected {2 * LATENT_CHANNELS}: it is Stable "
            "Diffusion's own UNet, never trained on masks; use --from-stable-diffusion to prepare a training from it"
        )
    conditioner = swin_b_conditioner()
    require_unet(unet, files.unet_folder, 2 * LATENT_CHANNELS, conditioner)
    vae, scheduler = load_vae_and_scheduler(files.stable_diffusion)
    load_branch(conditioner, files.branch)
    for network in (unet, vae, conditioner):
        network.eval().requires_grad_(False)
    return assemble_pipeline(vae, unet, scheduler, conditioner, dtype)


def load_branch(conditioner: SaliencyConditioner, file: Path) -> None:
    """Copy the official branch's tensors into a conditioner.

    The file may or may not hold the official tensors that our conditioner does not use (`official_names.UNUSED`).

    Raises: CheckpointError: a tensor is missing, unknown, or has another shape or dtype.
    """
    own = conditioner.state_dict()
    found = {name: value for name, value in read_tensors(file).items() if not is_unused(name)}
    check_same(found, {official_name(ours): value for ours, value in own.items()}, file)
    conditioner.load_state_dict({ours: found[official_name(ours)] for ours in own})


def convert(files: OfficialFiles, out: Path, dtype: torch.dtype = torch.float32) -> SODDiffusionPipeline:
    """Save the official checkpoint as a folder for `load_pipeline`; equal files give equal bytes.

    Returns: the pipeline as saved.
    Raises:  CheckpointError: see `load_official`; or `out` already holds something, or can't be written.
    """
    require_free(out)
    require_writable(out.parent)
    pipeline = load_official(files, dtype)
    kind = "official SOD-diffusion checkpoint"
    save_pipeline(pipeline, out, {"kind": kind, "files": origins(files.by_part())})
    return pipeline


# Parts of Stable Diffusion, also for the start of a training


def load_vae_and_scheduler(repo: Path) -> tuple[Any, Any]:
    """Load VAE and scheduler from Stable Diffusion's folder.

    Raises: CheckpointError: one of them is missing or torn, or the VAE has another number of latent channels.
    """
    vae = load_network(AutoencoderKL, repo / "vae")
    require_facts(vae, repo / "vae", {"latent_channels": LATENT_CHANNELS})
    return vae, load_scheduler(repo / "scheduler")


def vae_and_scheduler_files(repo: Path) -> dict[str, list[Path]]:
    """The files that `load_vae_and_scheduler` reads, by part.

    Raises: CheckpointError: one of them is missing or empty.
    """
    scheduler = repo / "scheduler" / "scheduler_config.json"
    require_content(scheduler)
    return {"vae": list(network_files(repo / "vae")), "scheduler": [scheduler]}


def require_unet(unet: Any, folder: Path, in_channels: int, conditioner: SaliencyConditioner) -> None:
    """Refuse a UNet whose inputs, outputs or context do not fit a pipeline with that conditioner.

    Raises: CheckpointError: one of them does not fit.
    """
    context_channels = conditioner.config.feature_channels * conditioner.config.context_repeats
    facts = {"in_channels": in_channels, "out_channels": LATENT_CHANNELS, "cross_attention_dim": context_channels}
    require_facts(unet, folder, facts)


def require_facts(network: Any, folder: Path, facts: Mapping[str, int]) -> None:
    """Refuse a network whose configuration has other values than expected; some fields hold one value per level.

    Raises: CheckpointError: a field has another value.
    """
    for name, expected in facts.items():
        found = network.config[name]
        if set(found if isinstance(found, list | tuple) else [found]) != {expected}:
            raise CheckpointError(f"{folder / 'config.json'}: {name} is {found}, expected {expected}")


def assemble_pipeline(
    vae: Any, unet: Any, scheduler: Any, conditioner: SaliencyConditioner, dtype: torch.dtype
) -> SODDiffusionPipeline:
    """Put a pipeline together in that precision, without a progress bar."""
    for network in (vae, unet, conditioner):
        nn.Module.to(network, dtype)  # diffusers' own `to` warns about modules to keep in float32 and names none
    pipeline = SODDiffusionPipeline(vae, unet, scheduler, conditioner, default_processing_res=PROCESSING_RES)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
