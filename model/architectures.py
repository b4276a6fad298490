"""The two sizes of SOD-diffusion, with random weights; the only module that holds architecture numbers."""

from typing import Literal

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from model.checkpoint_facts import CheckpointFacts
from model.conditioner import SaliencyConditioner
from model.diffusion import SODDiffusionPipeline

Architecture = Literal["full", "nano"]


NANO_FACTS = CheckpointFacts(
    default_denoise_steps=2, recommended_bounds={"max_variance": 0.008, "max_variance_per_area": 0.04}
)
"""Measured with the embedded weights (their card): two steps rank images by their errors as well as ten, and their
variance is 2.5 times smaller. With these bounds the same six of the sample's photographs are rejected as with 0.02 and
0.1 and ten steps."""


def build_pipeline(architecture: Architecture) -> SODDiffusionPipeline:
    """Build a float32 pipeline on the CPU, in evaluation mode; the weights come from torch's global generator."""
    pipeline = {"full": _full, "nano": _nano}[architecture]()
    for network in (pipeline.vae, pipeline.unet, pipeline.conditioner):
        network.eval()
    return pipeline


def _full() -> SODDiffusionPipeline:
    """Stable Diffusion 2 with 8 input channels (866 M), its VAE (84 M) and Swin-B; 384 x 384 px.

    Source: the configuration files of stabilityai/stable-diffusion-2; the reference's training code.
    """
    unet = UNet2DConditionModel(
        sample_size=48,
        in_channels=8,
        out_channels=4,
        block_out_channels=(320, 640, 1280, 1280),
        attention_head_dim=(5, 10, 20, 20),
        cross_attention_dim=1024,
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=768,
    )
    scheduler = _scheduler(timestep_spacing="leading", rescale_betas_zero_snr=False, set_alpha_to_one=False)
    return SODDiffusionPipeline(vae, unet, scheduler, swin_b_conditioner(), default_processing_res=384)


def swin_b_conditioner() -> SaliencyConditioner:
    """The reference's salient branch, 90.7 M parameters: Swin-B with windows of 12, context of 1,024 channels."""
    conditioner: SaliencyConditioner = SaliencyConditioner(
        backbone_name="swin_base_patch4_window12_384",
        backbone_args={
            "img_size": 384,
            "dynamic_img_size": True,  # other sizes too
            "always_partition": True,  # like the reference, shift windows in the last stage too
            "drop_path_rate": 0.2,
        },
        context_repeats=16,
        normalise_features=True,
    )
    return conditioner


def _nano() -> SODDiffusionPipeline:
    """About 9 M parameters; 192 x 192 px, latents of 24 x 24.

    Cross-attention is only at 12 x 12. At 160 px (10 x 10), a second one at 20 x 20 tripled the cost of a step and
    learned less per minute.
    """
    unet = UNet2DConditionModel(
        sample_size=24,
        in_channels=8,
        out_channels=4,
        block_out_channels=(48, 64, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(4, 4, 6),
        norm_num_groups=16,
        cross_attention_dim=64,
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=192,
    )
    conditioner = SaliencyConditioner(
        backbone_name="tf_efficientnet_lite2",
        position_code=True,
        image_mean=(127 / 255,) * 3,
        image_std=(128 / 255,) * 3,
    )
    scheduler = _scheduler(timestep_spacing="trailing", rescale_betas_zero_snr=True, set_alpha_to_one=True)
    pipeline = SODDiffusionPipeline(vae, unet, scheduler, conditioner, default_processing_res=192)
    pipeline.state_facts(NANO_FACTS)
    return pipeline


def _scheduler(*, timestep_spacing: str, rescale_betas_zero_snr: bool, set_alpha_to_one: bool) -> DDIMScheduler:
    """Stable Diffusion 2's noise schedule.

    Leading spacing is the reference's; trailing spacing with zero terminal SNR suits few steps (arXiv:2409.11355).
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=set_alpha_to_one,
        steps_offset=1,
        timestep_spacing=timestep_spacing,
        rescale_betas_zero_snr=rescale_betas_zero_snr,
    )
