"""What a training of the full model begins with: Stable Diffusion 2's networks, a conditioner with a known backbone.

Owns the widening of the UNet's input and the backbone's weights; the training itself belongs to `pipeline/training/`.
"""

import re
from pathlib import Path
from typing import Any

import timm
import torch
from diffusers import UNet2DConditionModel
from timm.models.swin_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from model.architectures import swin_b_conditioner
from model.checkpoint_files import CheckpointError, check_same, load_network, network_files, read_tensors, reason
from model.checkpoints import (
    LATENT_CHANNELS,
    PROCESSING_RES,
    assemble,
    load_branch,
    load_vae_and_scheduler,
    origins,
    require_free,
    require_unet,
    save,
    vae_and_scheduler_files,
)
from model.conditioner import SaliencyConditioner
from model.diffusion import SODDiffusionPipeline
from model.official_names import IMAGENET_BACKBONE
from model.saliency import load_pipeline


def start_from_stable_diffusion(
    repo: Path, backbone: str | Path | None = IMAGENET_BACKBONE, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> SODDiffusionPipeline:
    """Stable Diffusion 2 with a wider input and a fresh conditioner, on the CPU, in evaluation mode.

    Args:
        repo: a folder that has Stable Diffusion 2's folders `unet`, `vae` and `scheduler`.
        backbone: see `load_backbone`; `None` leaves it random too.
        seed: of the conditioner's random weights.
    Raises: CheckpointError: a part is missing, torn, or another network; the backbone's weights can't be had.
    """
    unet = load_network(UNet2DConditionModel, repo / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        conditioner = swin_b_conditioner().eval()
    require_unet(unet, repo / "unet", LATENT_CHANNELS, conditioner)
    vae, scheduler = load_vae_and_scheduler(repo)
    if backbone is not None:
        load_backbone(conditioner, backbone)
    double_input(unet)
    unet.register_to_config(sample_size=PROCESSING_RES // 8)
    return assemble(vae, unet, scheduler, conditioner, dtype)


def write_start(
    repo: Path, backbone: str | Path | None, out: Path, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> SODDiffusionPipeline:
    """Save the start of a training as a folder for `load_pipeline`; the same files and seed give the same bytes.

    Returns: the pipeline as saved.
    Raises:  CheckpointError: see `start_from_stable_diffusion`; or there is something in `out` already.
    """
    require_free(out)
    pipeline = start_from_stable_diffusion(repo, backbone, seed=seed, dtype=dtype)
    read = {"unet": list(network_files(repo / "unet")), **vae_and_scheduler_files(repo)}
    origin: dict[str, Any] = {"kind": "start of a training from Stable Diffusion 2", "seed": seed}
    if backbone is not None and Path(backbone).is_file():
        read["backbone"] = [Path(backbone)]
    else:
        origin["backbone"] = str(backbone or "random")
    save(pipeline, out, {**origin, "files": origins(read)})
    return pipeline


def is_stable_diffusion(folder: Path) -> bool:
    """Is a folder of weights Stable Diffusion's, and none of ours?"""
    return (folder / "unet").is_dir() and not (folder / "conditioner").is_dir()


def load_start(folder: Path, *, seed: int = 0) -> SODDiffusionPipeline:
    """The pipeline of a folder of ours, or what begins from Stable Diffusion 2's, with a random conditioner then.

    Raises: CheckpointError: the folder holds neither.
    """
    return (
        start_from_stable_diffusion(folder, None, seed=seed) if is_stable_diffusion(folder) else load_pipeline(folder)
    )


def load_branch_or_backbone(conditioner: SaliencyConditioner, file: Path) -> None:
    """Give a conditioner the weights of a released branch, or its backbone those of a classifier.

    Raises: CheckpointError: the file is torn, or holds neither; no file is there.
    """
    if not file.is_file():
        raise CheckpointError(f"there is no file {file}")
    is_branch = any(name.startswith("backbone.") for name in read_tensors(file, inside=("model", "state_dict")))
    if is_branch:
        load_branch(conditioner, file)
    else:
        load_backbone(conditioner, file)


@torch.no_grad()
def double_input(unet: Any) -> None:
    """Let a UNet take twice the channels: image latents and saliency latents, each with the trained weights, halved.

    For two equal halves the activations are those of before. The reference leaves this layer's weights random.
    Source: Ke et al. 2024, arXiv:2312.02145, section 3.2.
    """
    first: nn.Conv2d = unet.conv_in
    first.weight = nn.Parameter(first.weight.repeat(1, 2, 1, 1) / 2)
    first.in_channels *= 2
    unet.register_to_config(in_channels=first.in_channels)


def load_backbone(conditioner: SaliencyConditioner, backbone: str | Path) -> None:
    """Give a conditioner's Swin backbone the weights of a classifier, whose head and last norm are left over.

    Args:
        backbone: a file with the names of timm or of Microsoft's release (`.pth` or `.safetensors`), or the name of
            pretrained weights in timm for this very backbone, which are then fetched.
    Raises: CheckpointError: the file is torn, lacks tensors or has others; the name is unknown; nothing can be fetched.
    """
    name, arguments = conditioner.config.backbone_name, dict(conditioner.config.backbone_args or {})
    tensors = _file_tensors if Path(backbone).is_file() else _fetched_tensors
    found = {
        key: value
        for key, value in tensors(backbone, name, arguments).items()
        if not key.startswith("head.") and key not in ("norm.weight", "norm.bias")
    }
    own = conditioner.backbone.state_dict()
    check_same(found, {_whole_name(key): value for key, value in own.items()}, backbone)
    conditioner.backbone.load_state_dict({key: found[_whole_name(key)] for key in own})


def _file_tensors(file: str | Path, name: str, arguments: dict[str, Any]) -> dict[str, Tensor]:
    """A file's tensors with timm's names, tables of window positions brought to the backbone's window."""
    with torch.device("meta"):  # timm's filter only looks at shapes
        whole = timm.create_model(name, pretrained=False, **arguments)
    tensors = read_tensors(Path(file), inside=("model", "state_dict"))
    try:
        return dict(checkpoint_filter_fn(tensors, whole))
    except Exception as error:  # it takes for granted that all layers and shapes are those of a Swin Transformer
        raise CheckpointError(f"{file} holds no {name}: {reason(error)}") from error


def _fetched_tensors(weights: str | Path, name: str, arguments: dict[str, Any]) -> dict[str, Tensor]:
    known = timm.list_pretrained(f"{name}.*")
    if str(weights) not in known:
        raise CheckpointError(f"{weights} is neither a file nor one of timm's weights for {name}: {', '.join(known)}")
    try:
        return dict(timm.create_model(str(weights), pretrained=True, **arguments).state_dict())
    except Exception as error:  # of the Hugging Face client, of its HTTP library, of the operating system
        raise CheckpointError(f"{weights} can't be fetched, give a file instead: {reason(error)}") from error


def _whole_name(ours: str) -> str:
    """timm's name in the whole classifier of a tensor in its feature extractor."""
    return re.sub(r"^layers_(\d+)\.", r"layers.\1.", ours)
