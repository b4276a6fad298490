"""SODDiffusionPipeline: images to ensembles of saliency maps, one numbered story in `__call__`.

Owns geometry, latents and the denoising loop. Files, keys' meaning and scores belong to `pipeline/`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from model.conditioner import SaliencyConditioner
from model.config import SIDE_MULTIPLE, EnsembleConfig
from model.ensemble import reduce_members
from model.prediction import Prediction
from model.seeds import member_seed


class SODDiffusionPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Salient-object detection by latent diffusion.

    Args:
        vae: image and mask to latents and back; 4 latent channels, 1/8 of the size.
        unet: 8 input channels (image latents, saliency latents), 4 output channels; attends to the context.
        scheduler: its configuration decides prediction type and timestep spacing.
        conditioner: image to context tokens.
        default_processing_res: height and width in pixels that the weights were trained for.
    Source: SOD-diffusion, Computer Graphics Forum 43(7), e15251, 2024.
    """

    model_cpu_offload_seq = "conditioner->vae->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        scheduler: DDIMScheduler,
        conditioner: SaliencyConditioner,
        default_processing_res: int = 384,
    ) -> None:
        super().__init__()
        if unet.config.in_channels != 2 * vae.config.latent_channels:
            raise ValueError(
                f"unet takes {unet.config.in_channels} channels; image and saliency latents together have "
                f"{2 * vae.config.latent_channels}"
            )
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler, conditioner=conditioner)
        self.register_to_config(default_processing_res=default_processing_res)
        self.default_processing_res = default_processing_res

    @torch.inference_mode()
    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], keys: Sequence[str], ensemble: EnsembleConfig
    ) -> list[Prediction]:
        """Predict N images with E members each.

        Args:
            images: RGB, 0 to 255, each of its own height and width.
            keys: name of each image; with `ensemble.seed` it decides the noise of its members.
            ensemble: members, steps, resolution, seed.
        Returns: one prediction per image, in order.
        Raises:  ModelOutputError: the members of an image hold NaN.
        """
        # 1. Resize all images to one square: N images of PH = PW pixels.
        side_px = ensemble.processing_res or self.default_processing_res
        pixels = preprocess(images, side_px).to(self.device, self.unet.dtype)  # [N, 3, PH, PW]
        # 2. Encode each image once, condition on it once.
        image_latents = self.encode(pixels)  # [N, 4, h, w]
        context = self.conditioner(pixels).context  # [N, T, D]
        # 3. Each (image, member) has noise of its own.
        latents = self._member_latents(keys, ensemble, image_latents)  # [N*E, 4, h, w]
        # 4. Denoise all members of all images together.
        latents = self.denoise(latents, image_latents, context, ensemble.denoise_steps)
        # 5. Decode and reduce the members of each image; maps go back to the image's own size. One image at a time:
        # for four of the nano model together, allocations were so large that every layer mapped its memory anew
        # (800,000 page faults instead of 4,000), which took a fifth more time and 1.8 GB instead of 1.1.
        own_latents = torch.split(latents, ensemble.ensemble_size)  # N x [E, 4, h, w]
        return [
            _prediction(self.decode(members), image.shape[:2])
            for members, image in zip(own_latents, images, strict=True)
        ]

    def encode(self, pixels: Float[Tensor, "b 3 ph pw"]) -> Float[Tensor, "b 4 h w"]:
        """Mean latents, scaled. Images come in [0, 1], masks (three equal channels) in [-1, 1], as trained."""
        latents = self.vae.encode(pixels).latent_dist.mode()
        return latents * self.vae.config.scaling_factor  # type: ignore[no-any-return]

    def denoise(
        self,
        latents: Float[Tensor, "be 4 h w"],
        image_latents: Float[Tensor, "b 4 h w"],
        context: Float[Tensor, "b t d"],
        steps: int,
    ) -> Float[Tensor, "be 4 h w"]:
        """Run the DDIM loop (eta 0) for E members of each of B images; members of an image stand together."""
        members = latents.shape[0] // image_latents.shape[0]
        image_latents = image_latents.repeat_interleave(members, 0)
        context = context.repeat_interleave(members, 0)
        self.scheduler.set_timesteps(steps, device=latents.device)
        # With trailing spacing, rounding adds a timestep of -1 for 62 numbers of steps, 61 the smallest.
        for timestep in self.scheduler.timesteps[:steps]:
            model_input = torch.cat([image_latents, latents], dim=1)  # [N*E, 8, h, w]
            output = self.unet(model_input, timestep, encoder_hidden_states=context).sample
            latents = self.scheduler.step(output, timestep, latents).prev_sample
        return latents

    def decode(self, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b ph pw"]:
        """Saliency in [0, 1]: the mean of the decoded channels, clipped to the masks' range of [-1, 1]."""
        decoded = self.vae.decode(latents / self.vae.config.scaling_factor).sample  # [B, 3, PH, PW]
        saliency: Tensor = (decoded.mean(dim=1).clamp(-1, 1) + 1) / 2
        return saliency

    def _member_latents(
        self, keys: Sequence[str], ensemble: EnsembleConfig, like: Float[Tensor, "n 4 h w"]
    ) -> Float[Tensor, "ne 4 h w"]:
        _, channels, height, width = like.shape
        draws = [
            initial_latents(member_seed(ensemble.seed, key, member), (channels, height, width))
            for key in keys
            for member in range(ensemble.ensemble_size)
        ]
        latents: Tensor = torch.stack(draws).to(like) * self.scheduler.init_noise_sigma
        return latents


def initial_latents(seed: int, shape: tuple[int, int, int]) -> Float[Tensor, "c h w"]:
    """Standard normal latents, float32, drawn on the CPU so that every device starts from the same ones."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def preprocess(images: Sequence[UInt8[np.ndarray, "_h _w 3"]], side_px: int) -> Float[Tensor, "n 3 p p"]:
    """Resize to a square (bicubic, the aspect ratio given up, as in the reference); values in [0, 1]."""
    if side_px <= 0 or side_px % SIDE_MULTIPLE:
        raise ValueError(f"processing resolution is {side_px} px; it must be a positive multiple of {SIDE_MULTIPLE}")
    resized = [
        np.asarray(Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BICUBIC)) for image in images
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255


def resize_map(values: Float[Tensor, "h w"], height_width: tuple[int, int]) -> Float[Tensor, "h2 w2"]:
    """Bilinear, so the range of the values is kept; antialiased where it gets smaller."""
    if tuple(values.shape) == height_width:
        return values
    return functional.interpolate(values[None, None], height_width, mode="bilinear", antialias=True)[0, 0]


def _prediction(members: Float[Tensor, "e ph pw"], height_width: tuple[int, int]) -> Prediction:
    ensemble = reduce_members(members)
    return Prediction(
        saliency=resize_map(ensemble.saliency, height_width).clamp(0, 1).cpu().numpy(),
        variance=resize_map(ensemble.variance, height_width).clamp(0, 0.25).cpu().numpy(),
        members=members.float().cpu().numpy(),
    )
