"""SODDiffusionPipeline: turns images into ensembles of saliency maps, in numbered steps from `_members` on.

Owns latents and the denoising loop. Pixels and sizes belong to `geometry.py`, the members' noise to `noise.py`, their
reduction to `outputs.py`; what people give as images to `images.py`. Runs call `predict`, people the pipeline itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float, UInt8
from torch import Tensor

from model.attention import kernels
from model.checkpoint_facts import CheckpointFacts, settled
from model.chosen_decoder import ChoosesDecoder
from model.conditioner import SaliencyConditioner
from model.config import AttentionKernels, EnsembleConfig, TimestepSpacing
from model.copies import on_its_way, pinned
from model.decoder_choice import MASK_DECODER
from model.images import as_list, pixels_of, require_images, require_rgb
from model.inference_form import InferenceForm
from model.mask_decoder import MaskDecoder
from model.members import count_steps, predict_images
from model.named_options import ensemble_of
from model.noise import Generators, draw_for, initial_latents
from model.outputs import OutputType, SODPipelineOutput, as_output, require_output_type
from model.prediction import Enough, Prediction
from model.seeds import member_seed
from model.steps import TENSORS, Callback, StepWatch, require_callback
from model.vae_memory import SavesVaeMemory
from model.without_offload import WithoutOffload

_DEFAULT_PX = 384
_PX_PER_LATENT = 8


class SODDiffusionPipeline(ChoosesDecoder, WithoutOffload, SavesVaeMemory, DiffusionPipeline):  # type: ignore[misc]
    """Salient-object detection by latent diffusion.

    Args:
        vae: converts images and masks to latents and back; 4 latent channels, 1/8 of the size.
        unet: 8 input channels (image latents, saliency latents), 4 output channels; attends to the context.
        scheduler: DDIM; its configuration determines prediction type and timestep spacing.
        conditioner: converts an image to context tokens.
        default_processing_res: height and width in pixels that the weights were trained for. It is kept in the UNet's
            configuration too, as the size of its latents; `None` takes it from there.
        default_denoise_steps, default_ensemble_size, recommended_bounds: see `CheckpointFacts`, whose defaults `None`
            stands for.
        mask_decoder: decodes in place of the VAE, see `decode_with`; checkpoints may have none.
    Raises: ValueError: the UNet or the scheduler is of another kind.
    Source: SOD-diffusion, Computer Graphics Forum 43(7), e15251, 2024.
    """

    _callback_tensor_inputs = TENSORS
    _optional_components = [MASK_DECODER]  # noqa: RUF012 (diffusers wants a list)

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        scheduler: DDIMScheduler,
        conditioner: SaliencyConditioner,
        default_processing_res: int | None = None,
        default_denoise_steps: int | None = None,
        default_ensemble_size: int | None = None,
        recommended_bounds: Mapping[str, float] | None = None,
        mask_decoder: MaskDecoder | None = None,
    ) -> None:
        super().__init__()
        if unet.config.in_channels != 2 * vae.config.latent_channels:
            raise ValueError(
                f"unet has {unet.config.in_channels} input channels; image and saliency latents together have "
                f"{2 * vae.config.latent_channels}"
            )
        if mask_decoder and mask_decoder.config.latent_channels != (channels := vae.config.latent_channels):
            raise ValueError(f"mask_decoder was distilled from another VAE, which has not {channels} latent channels")
        _require_ddim(scheduler)
        self.register_modules(
            vae=vae, unet=unet, scheduler=scheduler, conditioner=conditioner, mask_decoder=mask_decoder
        )
        trained_latents = unet.config.sample_size or _DEFAULT_PX // _PX_PER_LATENT
        self.set_processing_res(default_processing_res or trained_latents * _PX_PER_LATENT)
        given = {
            "default_denoise_steps": default_denoise_steps,
            "default_ensemble_size": default_ensemble_size,
            "recommended_bounds": recommended_bounds,
        }
        self.state_facts(CheckpointFacts.of(given))
        self.attention: AttentionKernels = "auto"
        """Kernels of the UNet. The autoencoder's single head of 512 channels is too wide for flash attention."""
        self._choose_decoder("auto")
        self._form: InferenceForm | None = None
        self._interrupt, self._num_timesteps = False, 0

    @property
    def inference_form(self) -> InferenceForm:
        """Gives UNet and VAE cheaper layers while it is active."""
        # torch.compile wraps a network; its layers are those of the network inside.
        unet, vae = (getattr(network, "_orig_mod", network) for network in (self.unet, self.vae))
        if self._form is None or not self._form.belongs_to(unet, vae):
            self._form = InferenceForm(unet, vae)
        return self._form

    @property
    def num_timesteps(self) -> int:
        """Steps of the last call; callbacks tell by it which step is the last."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Should the steps end? A callback sets `_interrupt`; the members are decoded as they are then."""
        return self._interrupt

    def set_processing_res(self, side_px: int) -> None:
        """State for which height and width in pixels the weights were trained."""
        self.default_processing_res = side_px
        self.register_to_config(default_processing_res=side_px)
        self.unet.register_to_config(sample_size=side_px // _PX_PER_LATENT)

    def state_facts(self, facts: CheckpointFacts) -> None:
        """State how the weights are used best; `save_pretrained` writes it down."""
        self.facts = facts
        self.register_to_config(
            default_denoise_steps=facts.default_denoise_steps,
            default_ensemble_size=facts.default_ensemble_size,
            recommended_bounds=dict(facts.recommended_bounds),
        )

    def __call__(
        self,
        image: Any,
        num_inference_steps: int | None = None,
        ensemble_size: int | None = None,
        processing_resolution: int | None = None,
        batch_size: int | None = None,
        ensembling_kwargs: Mapping[str, Any] | None = None,
        latents: Float[Tensor, "_ne 4 _h _w"] | None = None,
        generator: Generators = None,
        output_type: OutputType = "np",
        return_dict: bool = True,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> SODPipelineOutput | tuple[Any, ...]:
        """Segment images as other pipelines of diffusers are called; names are those of Marigold's.

        Args:
            image: a path, a Pillow image, an array of uint8 [H, W, 3], or several: a list of these, or [N, H, W, 3].
            num_inference_steps, ensemble_size, processing_resolution: see `denoise_steps`, `ensemble_size` and
                `processing_res` of `EnsembleConfig`; `None` leaves them to the weights.
            batch_size: members that pass through the networks at once; `None`: all of them.
            ensembling_kwargs: other fields of `EnsembleConfig`, such as `{"reduction": "median"}`.
            latents: noise of the N E members, image by image, instead of a generator.
            generator: draws the noise: one for all, one for each image, or one for each member. `None`: torch's own.
            callback_on_step_end: called as `callback(pipeline, step, timestep, {"latents": …})` after each step of each
                batch; it may return a dictionary with other latents, and set `pipeline._interrupt` to end the steps.
        Returns: `SODPipelineOutput`, or the tuple of its fields that are not None.
        Raises:  TypeError, ValueError, OSError: an argument is not what it should be; the message says what to give.
                 ModelOutputError: the members of an image contain NaN.
        """
        _require_ddim(self.scheduler)
        require_callback(callback_on_step_end, callback_on_step_end_tensor_inputs)
        require_output_type(output_type)
        given, _ = as_list(image)
        require_images(given)
        ensemble = ensemble_of(
            {} if ensembling_kwargs is None else ensembling_kwargs,
            denoise_steps=num_inference_steps,
            ensemble_size=ensemble_size,
            processing_res=processing_resolution,
            batch_size=batch_size,
        )
        ensemble = settled(ensemble, self.facts)
        self._decode_at(ensemble.processing_res)
        draw = draw_for(len(given), ensemble.members, generator=generator, latents=latents)
        images = [pixels_of(one) for one in given]
        self._interrupt, self._num_timesteps = False, ensemble.steps
        try:
            with self.progress_bar(total=count_steps(self, images, ensemble)) as bar:
                tensors = callback_on_step_end_tensor_inputs
                watch = StepWatch(pipeline=self, bar=bar, callback=callback_on_step_end, tensors=tensors)
                predictions = predict_images(self, images, ensemble, draw, watch=watch)
        finally:
            self._interrupt = False
        output = as_output(predictions, output_type, self.device)
        return output if return_dict else output.to_tuple()

    def predict(
        self,
        images: Sequence[UInt8[np.ndarray, "_h _w 3"]],
        keys: Sequence[str],
        ensemble: EnsembleConfig,
        enough: Enough | None = None,
        watch: StepWatch | None = None,
    ) -> list[Prediction]:
        """Predict N images with E members each, or with fewer where those are enough; the noise follows from the keys.

        Args:
            images: RGB, 0 to 255, each of its own height and width.
            keys: name of each image; with `ensemble.seed` it determines the noise of the image's members.
            ensemble: members, steps, resolution, seed, and how members become one map.
            enough: called with an image's members after each round but the last; without it, there is one round.
            watch: gets to see each step.
        Returns: one prediction per image, in order.
        Raises:  ModelOutputError: the members of an image contain NaN.
                 TypeError, ValueError: an image is not RGB of 8 bits, or the scheduler is not DDIM.
        """
        _require_ddim(self.scheduler)
        self._interrupt = False
        if len(images) != len(keys):
            raise ValueError(f"{len(images)} images and {len(keys)} keys; each image needs a key")
        ensemble = settled(ensemble, self.facts)
        self._decode_at(ensemble.processing_res)
        for image, key in zip(images, keys, strict=True):
            require_rgb(image, f"image {key}")

        def draw(chosen: Sequence[int], numbers: range, like: Tensor) -> Tensor:
            return self._member_latents([keys[i] for i in chosen], numbers, ensemble.seed, like)

        return predict_images(self, images, ensemble, draw, enough=enough, watch=watch)

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
        *,
        watch: StepWatch | None = None,
    ) -> Float[Tensor, "be 4 h w"]:
        """Run the DDIM loop (eta 0) for E members of each of B images; members of one image are adjacent.

        Args: watch: gets to see each step, and may replace the latents or end the loop.
        """
        scheduler = self.scheduler
        if spacing != "trained":
            scheduler = DDIMScheduler.from_config(scheduler.config, timestep_spacing=spacing)
        scheduler.set_timesteps(steps)
        # With trailing spacing, rounding adds a timestep of -1 for 62 values of `steps`, the smallest of them 61.
        timesteps = scheduler.timesteps[:steps]
        # The scheduler indexes its tables by timestep; timesteps on a GPU would make it wait for the GPU at every step.
        with kernels(self.attention), self.inference_form.for_images(image_latents, tokens):
            on_device = timesteps.to(latents.device, non_blocking=latents.device.type == "cuda")
            for number, timestep in enumerate(timesteps):
                output = self.unet(latents, on_device[number], encoder_hidden_states=tokens).sample
                latents = scheduler.step(output, timestep, latents).prev_sample
                if watch is not None:
                    latents = watch(number, timestep, latents)
                    if watch.is_interrupted:
                        break
        return latents

    def decode(self, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b ph pw"]:
        """Decode to saliency in [0, 1]: the mean of the decoded channels, clipped to the masks' range of [-1, 1]."""
        if self.decoder == "mask":
            decoded = self.mask_decoder(latents)  # [B, 1, PH, PW]
        else:
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
        stacked = torch.stack(draws, out=pinned((len(draws), channels, height, width), like.device))
        latents: Tensor = on_its_way(stacked, like.device, like.dtype) * self.scheduler.init_noise_sigma
        return latents


def _require_ddim(scheduler: Any) -> None:
    if not isinstance(scheduler, DDIMScheduler):
        name = type(scheduler).__name__
        raise ValueError(
            f"scheduler is {name}; it must be DDIMScheduler, since others scale their input, draw noise without the "
            f"members' seeds or take other numbers of steps: DDIMScheduler.from_config(scheduler.config)"
        )
