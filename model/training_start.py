"""The starting weights of a training: Stable Diffusion 2's networks and a conditioner with a known backbone.

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
from model.checkpoint_files import (
    CheckpointError,
    check_same,
    load_network,
    network_files,
    read_tensors,
    reason,
    require_content,
)
from model.checkpoints import (
    LATENT_CHANNELS,
    PROCESSING_RES,
    assemble_pipeline,
    load_branch,
    load_vae_and_scheduler,
    require_unet,
    vae_and_scheduler_files,
)
from model.conditioner import SaliencyConditioner
from model.diffusion import SODDiffusionPipeline
from model.folders import origins, require_free, require_writable, save_pipeline
from model.official_names import IMAGENET_BACKBONE
from model.saliency import load_pipeline


def start_from_stable_diffusion(
    repo: Path, backbone: str | Path | None = IMAGENET_BACKBONE, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> SODDiffusionPipeline:
    """Build Stable Diffusion 2 with a wider input and a fresh conditioner, on the CPU, in evaluation mode.

    Args:
        repo: a folder that contains Stable Diffusion 2's folders `unet`, `vae` and `scheduler`.
        backbone: see `load_backbone`; `None` leaves it random too.
        seed: determines the conditioner's random weights.
    Raises: CheckpointError: a part is missing, torn, or another network; the backbone's weights are not available.
    """
    _start_files(repo)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        conditioner = swin_b_conditioner().eval()
    if backbone is not None:  # before the larger files: it may have to be downloaded
        load_backbone(conditioner, backbone)
    unet = load_network(UNet2DConditionModel, repo / "unet")
    require_unet(unet, repo / "unet", LATENT_CHANNELS, conditioner)
    vae, scheduler = load_vae_and_scheduler(repo)
    double_input(unet)
    unet.register_to_config(sample_size=PROCESSING_RES // 8)
    return assemble_pipeline(vae, unet, scheduler, conditioner, dtype)


def write_start(
    repo: Path, backbone: str | Path | None, out: Path, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> SODDiffusionPipeline:
    """Save the start of a training as a folder for `load_pipeline`; equal files and seeds give equal bytes.

    Returns: the pipeline as saved.
    Raises:  CheckpointError: see `start_from_stable_diffusion`; or `out` already holds something, or can't be written.
    """
    require_free(out)
    require_writable(out.parent)
    pipeline = start_from_stable_diffusion(repo, backbone, seed=seed, dtype=dtype)
    read = _start_files(repo)
    origin: dict[str, Any] = {"kind": "start of a training from Stable Diffusion 2", "seed": seed}
    if backbone is not None and Path(backbone).is_file():
        read["backbone"] = [Path(backbone)]
    else:
        origin["backbone"] = str(backbone or "random")
    save_pipeline(pipeline, out, {**origin, "files": origins(read)})
    return pipeline


def _start_files(repo: Path) -> dict[str, list[Path]]:
    """All files that are read from Stable Diffusion's folder, by part; refuses missing and empty ones."""
    return {"unet": list(network_files(repo / "unet")), **vae_and_scheduler_files(repo)}


def is_stable_diffusion(folder: Path) -> bool:
    """Whether a folder of weights is Stable Diffusion's rather than a model folder of this project."""
    return (folder / "unet").is_dir() and not (folder / "conditioner").is_dir()


def load_start(folder: Path, *, seed: int = 0) -> SODDiffusionPipeline:
    """Load a model folder, or start from Stable Diffusion 2's folder with a random conditioner.

    Raises: CheckpointError: the folder is neither.
    """
    return (
        start_from_stable_diffusion(folder, None, seed=seed) if is_stable_diffusion(folder) else load_pipeline(folder)
    )


def load_branch_or_backbone(conditioner: SaliencyConditioner, file: Path) -> None:
    """Give a conditioner the weights of a released branch, or its backbone those of a classifier.

    Raises: CheckpointError: the file is missing or torn, or holds neither.
    """
    require_content(file)
    is_branch = any(name.startswith("backbone.") for name in read_tensors(file, inside=("model", "state_dict")))
    if is_branch:
        load_branch(conditioner, file)
    else:
        load_backbone(conditioner, file)


@torch.no_grad()
def double_input(unet: Any) -> None:
    """Let a UNet take twice the channels: image latents and saliency latents, each with the trained weights, halved.

    For two equal halves the activations stay the same. The reference leaves this layer's weights random.
    Source: Ke et al. 2024, arXiv:2312.02145, section 3.2.
    """
    first: nn.Conv2d = unet.conv_in
    first.weight = nn.Parameter(first.weight.repeat(1, 2, 1, 1) / 2)
    first.in_channels *= 2
    unet.register_to_config(in_channels=first.in_channels)


def load_backbone(conditioner: SaliencyConditioner, backbone: str | Path) -> None:
    """Give a conditioner's Swin backbone the weights of a classifier, without its head and last norm.

    Args:
        backbone: a file with tensor names of timm or of Microsoft's release (`.pth` or `.safetensors`), or timm's name
            for pretrained weights of this backbone, which are then downloaded.
    Raises: CheckpointError: the file is torn, lacks tensors or has unknown ones; the name is unknown; the download
            fails.
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
    """A file's tensors under timm's names, with window position tables resized to the backbone's window."""
    with torch.device("meta"):  # timm's filter only looks at shapes
        whole = timm.create_model(name, pretrained=False, **arguments)
    tensors = read_tensors(Path(file), inside=("model", "state_dict"))
    try:
        return dict(checkpoint_filter_fn(tensors, whole))
    except Exception as error:  # the filter assumes that all layers and shapes are a Swin Transformer's
        raise CheckpointError(f"{file} holds no {name}: {reason(error)}") from error


def _fetched_tensors(weights: str | Path, name: str, arguments: dict[str, Any]) -> dict[str, Tensor]:
    known = timm.list_pretrained(f"{name}.*")
    if str(weights) not in known:
        raise CheckpointError(f"{weights} is neither a file nor one of timm's weights for {name}: {', '.join(known)}")
    try:
        return dict(timm.create_model(str(weights), pretrained=True, **arguments).state_dict())
    except Exception as error:  # from the Hugging Face client, its HTTP library, or the operating system
        raise CheckpointError(f"can't download {weights}; give a file instead: {reason(error)}") from error


def _whole_name(ours: str) -> str:
    """timm's name in the whole classifier for a tensor of its feature extractor."""
    return re.sub(r"^layers_(\d+)\.", r"layers.\1.", ours)
