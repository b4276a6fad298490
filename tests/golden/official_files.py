"""An official checkpoint's folders and files: the golden pipeline's small UNet and VAE, and a branch of any size."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from model.checkpoints import OfficialFiles
from model.conditioner import SaliencyConditioner
from model.official_names import official_name
from tests.golden.fill import fill_

UNUSED_TENSORS = {
    "context1.branch0.conv.weight": torch.ones(64, 16, 1, 1),
    "backbone.norm0.bias": torch.ones(16),
    "attention2.threshold": torch.ones(1),
    "backbone.layers.0.blocks.0.attn.relative_position_index": torch.ones(4, 4, dtype=torch.int64),
}
"""Some tensors of the branch's file that our conditioner does not use."""


class Unpickled:
    """Creates a file when unpickled; no official file holds such an object."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def small_unet(**overrides):
    """The UNet of the golden pipeline files."""
    return filled(
        UNet2DConditionModel(
            **{
                "sample_size": 48,
                "in_channels": 8,
                "out_channels": 4,
                "block_out_channels": (32, 64, 64, 64),
                "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
                "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
                "layers_per_block": 1,
                "attention_head_dim": (2, 4, 4, 4),
                "norm_num_groups": 8,
                "cross_attention_dim": 1024,
                "use_linear_projection": True,
                **overrides,
            }
        )
    )


def small_vae(**overrides):
    """The VAE of the golden pipeline files."""
    return filled(
        AutoencoderKL(
            **{
                "block_out_channels": (16, 16, 32, 32),
                "down_block_types": ("DownEncoderBlock2D",) * 4,
                "up_block_types": ("UpDecoderBlock2D",) * 4,
                "layers_per_block": 1,
                "latent_channels": 4,
                "norm_num_groups": 8,
                **overrides,
            }
        )
    )


def filled(network):
    """Fill a network with the formula's weights."""
    fill_(network.state_dict())
    return network


def tiny_conditioner():
    """A conditioner like the official one, with the smallest Swin of its context width; random weights."""
    return SaliencyConditioner(
        backbone_name="swin_tiny_patch4_window7_224",
        backbone_args={"img_size": 64, "window_size": 2, "embed_dim": 16, "depths": [1] * 4, "num_heads": [1, 2, 4, 8]},
        context_repeats=16,
        normalise_features=True,
    )


def tiny_branch_state():
    """The tensors of an official file for `tiny_conditioner`, by formula."""
    own = tiny_conditioner().state_dict()
    return fill_({official_name(ours): value.clone() for ours, value in own.items()}) | UNUSED_TENSORS


def write_official(root, branch_state):
    """Write the official layout; as accelerate leaves it, the UNet is in a folder `unet` of the checkpoint."""
    files = OfficialFiles(unet=root / "checkpoint", stable_diffusion=root / "sd2", branch=root / "swinb.pth")
    small_unet().save_pretrained(files.unet / "unet")
    write_stable_diffusion(files.stable_diffusion)
    torch.save(branch_state, files.branch)
    return files


def write_stable_diffusion(folder):
    """Write Stable Diffusion 2's folders: a UNet of 4 channels, a VAE, a scheduler."""
    small_unet(in_channels=4, sample_size=96).save_pretrained(folder / "unet")
    small_vae().save_pretrained(folder / "vae")
    stable_diffusion_scheduler().save_pretrained(folder / "scheduler")


def stable_diffusion_scheduler(**overrides):
    """Stable Diffusion 2's scheduler, as its folder describes it."""
    return DDIMScheduler(
        **{
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "prediction_type": "v_prediction",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "steps_offset": 1,
            **overrides,
        }
    )
