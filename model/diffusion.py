"""SODDiffusionPipeline: turns images into ensembles of saliency maps, in numbered steps from `__call__` on.

Owns latents and the denoising loop. Pixels and sizes belong to `geometry.py`, the reduction of members to
`ensemble.py`; files, the meaning of keys, and scores to `pipeline/`.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float, UInt8
from torch import Tensor

from model.attention import kernels
from model.axial import image_statistics
from model.conditioner import SaliencyConditioner
from model.config import AttentionKernels, EnsembleConfig, TimestepSpacing
from model.ensemble import reduce_members
from model.geometry import preprocess, processed_size, resize_map, without_padding
from model.inference_form import InferenceForm
from model.parts import member_parts
from model.prediction import Enough, Prediction
from model.rounds import rounds, variance_scale
from model.seeds import member_seed

_DEFAULT_PX = 384
_PX_PER_LATENT = 8


class SODDiffusionPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Salient-object detection by latent diffusion.

    Args:
        vae: converts images and masks to latents and back; 4 latent channels, 1/8 of the size.
        unet: 8 input channels (image latents, saliency latents), 4 output channels; attends to the context.
        scheduler: DDIM; its configuration determines prediction type and timestep spacing.
        conditioner: converts an image to context tokens.
        default_processing_res: height and width in pixels that the weights were trained for. It is kept in the UNet's
            configuration too, as the size of its latents; `None` takes it from there.
    Raises: ValueError: the UNet or the scheduler is of another kind.
    Source: SOD-diffusion, Computer Graphics Forum 43(7), e15251, 2024.
    """

    model_cpu_offload_seq = None
    """Not offered: a prediction swaps layers whose weights are merged on the networks' device (`inference_form.py`)."""

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        scheduler: DDIMScheduler,
        conditioner: SaliencyConditioner,
        default_processing_res: int | None = None,
    ) -> None:
        super().__init__()
        if unet.config.in_channels != 2 * vae.config.latent_channels:
            raise ValueError(
                f"unet has {unet.config.in_channels} input channels; image and saliency latents together have "
                f"{2 * vae.config.latent_channels}"
            )
        _require_ddim(scheduler)
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler, conditioner=conditioner)
        trained_latents = unet.config.sample_size or _DEFAULT_PX // _PX_PER_LATENT
        self.set_processing_res(default_processing_res or trained_latents * _PX_PER_LATENT)
        self.attention: AttentionKernels = "auto"
        """Kernels of the UNet. The autoencoder's single head of 512 channels is too wide for flash attention."""
        self._form: InferenceForm | None = None

    @property
    def inference_form(self) -> InferenceForm:
        """Gives UNet and VAE cheaper layers while it is active."""
        # torch.compile wraps a network; its layers are those of the network inside.
        unet, vae = (getattr(network, "_orig_mod", network) for network in (self.unet, self.vae))
        if self._form is None or not self._form.belongs_to(unet, vae):
            self._form = InferenceForm(unet, vae)
        return self._form

    def set_processing_res(self, side_px: int) -> None:
        """State for which height and width in pixels the weights were trained."""
        self.default_processing_res = side_px
        self.register_to_config(default_processing_res=side_px)
        self.unet.register_to_config(sample_size=side_px // _PX_PER_LATENT)

    def enable_model_cpu_offload(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: see `model_cpu_offload_seq`."""
        _refuse_offload()

    def enable_sequential_cpu_offload(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: see `model_cpu_offload_seq`."""
        _refuse_offload()

    def enable_group_offload(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: see `model_cpu_offload_seq`."""
        _refuse_offload()

    @torch.inference_mode()
    def __call__(
        self,
        images: Sequence[UInt8[np.ndarray, "_h _w 3"]],
        keys: Sequence[str],
        ensemble: EnsembleConfig,
        enough: Enough | None = None,
    ) -> list[Prediction]:
        """Predict N images with E members each, or with fewer where those are enough.

        Args:
            images: RGB, 0 to 255, each of its own height and width.
            keys: name of each image; with `ensemble.seed` it determines the noise of the image's members.
            ensemble: members, steps, resolution, seed, and how members become one map.
            enough: called with an image's members after each round but the last; without it, there is one round.
        Returns: one prediction per image, in order.
        Raises:  ModelOutputError: the members of an image contain NaN.
                 ValueError: an image is not RGB of 8 bits, or the scheduler has been replaced by one that is not DDIM.
        """
        _require_ddim(self.scheduler)
        if len(images) != len(keys):
            raise ValueError(f"{len(images)} images and {len(keys)} keys; each image needs a key")
        for image, key in zip(images, keys, strict=True):
            require_rgb(image, key)
        side_px = self.default_processing_res if ensemble.processing_res is None else ensemble.processing_res
        sizes = [processed_size(image.shape[:2], side_px) for image in images]
        predictions: dict[int, Prediction] = {}
        with self.inference_form.active():
            for size in dict.fromkeys(sizes):  # one, unless images are processed at their own sizes
                alike = [i for i, processed in enumerate(sizes) if processed == size]
                members = self._members([images[i] for i in alike], [keys[i] for i in alike], side_px, ensemble, enough)
                for i, own_members in zip(alike, members, strict=True):
                    predictions[i] = _prediction(own_members, images[i].shape[:2], ensemble)
        return [predictions[i] for i in range(len(images))]

    def _members(
        self,
        images: Sequence[UInt8[np.ndarray, "_h _w 3"]],
        keys: Sequence[str],
        side_px: int,
        ensemble: EnsembleConfig,
        enough: Enough | None,
    ) -> list[Float[Tensor, "_e ph pw"]]:
        """Members of N images of one processed size."""
        # 1. Bring all images to PH x PW pixels; at most `at_once` pass through a network together.
        at_once = ensemble.batch_size or len(images) * ensemble.ensemble_size
        pixels = preprocess(images, side_px).to(self.device, self.unet.dtype)  # [N, 3, PH, PW]
        parts = torch.split(pixels, at_once)
        # 2. Encode each image once, condition on it once.
        image_latents = torch.cat([self.encode(part) for part in parts])  # [N, 4, h, w]
        with image_statistics(self.conditioner, ensemble.batch_stats):
            tokens = torch.cat([self.conditioner(part).tokens for part in parts])  # [N, T, f]
        members: list[list[Tensor]] = [[] for _ in images]
        going = list(range(len(images)))
        for numbers in rounds(ensemble.ensemble_size) if enough else [range(ensemble.ensemble_size)]:
            # 3. Each (image, member) has noise of its own.
            latents = self._member_latents([keys[i] for i in going], numbers, ensemble.seed, image_latents)
            # 4. Denoise the members of all images together, in parts of at most `at_once`.
            chosen = going if len(going) < len(images) else slice(None)  # picking by a list would wait for a GPU
            latents = self._denoise_in_parts(latents, image_latents[chosen], tokens[chosen], ensemble, at_once)
            # 5. Decode the members of one image at a time. For four images of the nano model together, allocations
            # were so large that every layer mapped its memory anew (800,000 page faults instead of 4,000): a fifth
            # more time, and 1.8 GB instead of 1.1.
            for image, own_latents in zip(going, torch.split(latents, len(numbers)), strict=True):  # [e, 4, h, w]
                decoded = [self.decode(part) for part in torch.split(own_latents, at_once)]
                members[image].append(without_padding(torch.cat(decoded), images[image].shape[:2], side_px))
            # 6. An image continues until its own members are enough.
            if enough is None or numbers.stop == ensemble.ensemble_size:
                break
            going = [i for i in going if not enough(torch.cat(members[i]).float().cpu().numpy())]
            if not going:
                break
        return [torch.cat(own) for own in members]

    def _denoise_in_parts(
        self,
        latents: Float[Tensor, "ne 4 h w"],
        image_latents: Float[Tensor, "n 4 h w"],
        tokens: Float[Tensor, "n t f"],
        ensemble: EnsembleConfig,
        at_once: int,
    ) -> Float[Tensor, "ne 4 h w"]:
        images = len(image_latents)
        return torch.cat(
            [
                self.denoise(
                    latents[part.members],
                    image_latents[part.images],
                    tokens[part.images],
                    ensemble.denoise_steps,
                    ensemble.timestep_spacing,
                )
                for part in member_parts(images, len(latents) // images, at_once)
            ]
        )

    def encode(self, pixels: Float[Tensor, "b 3 ph pw"]) -> Float[Tensor, "b 4 h w"]:
        """Encode to mean latents, scaled. Images are in [0, 1], masks (three equal channels) in [-1, 1], as trained."""
        latents = self.vae.encode(pixels).latent_dist.mode()
        return latents * self.vae.config.scaling_factor  # type: ignore[no-any-return]

    def denoise(
        self,
        latents: Float[Tensor, "be 4 h w"],
        image_latents: Float[Tensor, "b 4 h w"],
        tokens: Float[Tensor, "b t f"],
        steps: int,
        spacing: TimestepSpacing = "trained",
    ) -> Float[Tensor, "be 4 h w"]:
        """Run the DDIM loop (eta 0) for E members of each of B images; members of one image are adjacent."""
        scheduler = self.scheduler
        if spacing != "trained":
            scheduler = DDIMScheduler.from_config(scheduler.config, timestep_spacing=spacing)
        scheduler.set_timesteps(steps)
        # With trailing spacing, rounding adds a timestep of -1 for 62 values of `steps`, the smallest of them 61.
        timesteps = scheduler.timesteps[:steps]
        # The scheduler indexes its tables by timestep; timesteps on a GPU would make it wait for the GPU at every step.
        with kernels(self.attention), self.inference_form.for_images(image_latents, tokens):
            for timestep, on_device in zip(timesteps, timesteps.to(latents.device, non_blocking=True), strict=True):
                output = self.unet(latents, on_device, encoder_hidden_states=tokens).sample
                latents = scheduler.step(output, timestep, latents).prev_sample
        return latents

    def decode(self, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b ph pw"]:
        """Decode to saliency in [0, 1]: the mean of the decoded channels, clipped to the masks' range of [-1, 1]."""
        with self.inference_form.active():
            decoded = self.vae.decode(latents / self.vae.config.scaling_factor).sample  # [B, 1, PH, PW]
        saliency: Tensor = (decoded[:, 0].clamp(-1, 1) + 1) / 2
        return saliency

    def _member_latents(
        self, keys: Sequence[str], numbers: range, seed: int, like: Float[Tensor, "_n 4 h w"]
    ) -> Float[Tensor, "ne 4 h w"]:
        _, channels, height, width = like.shape
        draws = [
            initial_latents(member_seed(seed, key, number), (channels, height, width))
            for key in keys
            for number in numbers
        ]
        latents: Tensor = torch.stack(draws).to(like) * self.scheduler.init_noise_sigma
        return latents


def require_rgb(image: Any, key: str) -> None:
    """Refuse an image that is not RGB of 8 bits: floats would be taken for values up to 255.

    Raises: ValueError: it has another type or shape.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image {key} is a {type(image).__name__}; give an array, as numpy.asarray(image)")
    if image.dtype != np.uint8:
        raise ValueError(
            f"image {key} has values of type {image.dtype}; it must be uint8, from 0 to 255: for values from 0 to 1, "
            "(255 * image).round().astype(numpy.uint8)"
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image {key} has the shape {image.shape}; it must be (height, width, 3)")


def _require_ddim(scheduler: Any) -> None:
    if not isinstance(scheduler, DDIMScheduler):
        name = type(scheduler).__name__
        raise ValueError(
            f"scheduler is {name}; it must be DDIMScheduler, since others scale their input, draw noise without the "
            f"members' seeds or take other numbers of steps: DDIMScheduler.from_config(scheduler.config)"
        )


def _refuse_offload() -> NoReturn:
    raise NotImplementedError(
        "SODDiffusionPipeline can't be offloaded: its predictions merge weights on the networks' device. To save "
        "memory, use bfloat16 or a smaller EnsembleConfig.batch_size"
    )


def initial_latents(seed: int, shape: tuple[int, int, int]) -> Float[Tensor, "c h w"]:
    """Standard normal latents, float32, drawn on the CPU so that every device starts from the same values."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def _prediction(
    members: Float[Tensor, "e ph pw"], height_width: tuple[int, int], ensemble: EnsembleConfig
) -> Prediction:
    """7. Reduce the members of one image; resize the maps to the image's own size."""
    reduced = reduce_members(
        members, reduction=ensemble.reduction, alignment=ensemble.alignment, stretch=ensemble.stretch
    )
    scale = variance_scale(len(members), ensemble.ensemble_size)
    saliency = resize_map(reduced.saliency, height_width, ensemble.resize_filter)
    variance = resize_map(reduced.variance, height_width, ensemble.resize_filter) * scale
    return Prediction(
        saliency=saliency.clamp(0, 1).cpu().numpy(),
        variance=variance.clamp(0, 0.25).cpu().numpy(),
        uncertainty=reduced.uncertainty.cpu().numpy(),
        members=members.float().cpu().numpy(),
        variance_scale=scale,
    )
