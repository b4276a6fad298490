"""Losses, noise, and the moving average of weights in training.

Loops, checkpoints and data belong to `pipeline/training/`, and for the embedded model to `pipeline/embedded/`.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from model.conditioner import Conditioning, SaliencyConditioner
from model.config import AuxiliaryResize, LossConfig, NoiseCopies, TimestepDraw
from model.diffusion import SODDiffusionPipeline

KL_WEIGHT = 1e-6
"""Weight of the VAE's KL term, as in Rombach et al. 2022, arXiv:2112.10752."""
TIMESTEPS = 1000
"""Timesteps of the noise schedule."""
EDGE_WEIGHT = 1.0
"""Weight of the VAE's loss on differences between neighbouring pixels; without it the outlines of masks blur."""


def multires_noise(
    shape: Sequence[int],
    generator: torch.Generator,
    *,
    iterations: int = 6,
    discount: float = 0.3,
    copies: NoiseCopies = "reference",
    device: torch.device | None = None,
) -> Float[Tensor, "b c h w"]:
    """Noise with large-scale components: Gaussian noise plus ever coarser, weaker copies; standard deviation 1.

    Each copy is `discount` times as strong as the one before; `copies` determines the sizes (see `LossConfig`).

    Args: device: draws the values; other devices than the CPU draw others. `None`: the CPU, whatever trains.
    Source: "multi-resolution" (pyramid) noise as in Marigold, Ke et al. 2024, arXiv:2312.02145, section 3.3.
    """
    batch, channels, height, width = shape
    values = generator if device is None else _generator_on(device, generator)
    noise = torch.randn(tuple(shape), generator=values, device=values.device)
    sizes = _reference_sizes if copies == "reference" else _geometric_sizes
    for level, size in sizes((height, width), iterations, generator):
        coarse = torch.randn((batch, channels, *size), generator=values, device=values.device)
        noise += discount**level * functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return noise / noise.std()


def _generator_on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """A generator of that device, whose seed is drawn from another one; the CPU's stays the one that it is."""
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))


def _reference_sizes(
    height_width: tuple[int, int], iterations: int, generator: torch.Generator
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Level and size of each copy: from level 0, each 1, r, r^2 … times smaller than the one before, r from 2 to 4.

    A side of one pixel ends the sequence.
    """
    height, width = height_width
    for level in range(iterations):
        shrink = _drawn_shrink(generator) ** level
        height, width = max(1, int(height / shrink)), max(1, int(width / shrink))
        yield level, (height, width)
        if 1 in (height, width):
            return


def _geometric_sizes(
    height_width: tuple[int, int], iterations: int, generator: torch.Generator
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Level and size of each copy: from level 1, each r times smaller than the one before; one pixel is the last."""
    height, width = height_width[0] * 1.0, height_width[1] * 1.0
    for level in range(1, iterations + 1):
        shrink = _drawn_shrink(generator)
        height, width = height / shrink, width / shrink
        size = (max(1, int(height)), max(1, int(width)))
        yield level, size
        if size == (1, 1):
            return


def _drawn_shrink(generator: torch.Generator) -> float:
    return 2 + 2 * torch.rand((), generator=generator).item()


def vae_loss(vae: AutoencoderKL, pixels: Float[Tensor, "b 3 h w"], generator: torch.Generator) -> Float[Tensor, ""]:
    """Absolute error of the reconstruction and of its edges, plus a weak pull of the posterior towards N(0, 1)."""
    posterior = vae.encode(pixels).latent_dist
    draw = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
    decoded = vae.decode(posterior.mean + posterior.std * draw).sample
    reconstruction = functional.l1_loss(decoded, pixels)
    edges = sum(functional.l1_loss(decoded.diff(dim=axis), pixels.diff(dim=axis)) for axis in (2, 3))
    return reconstruction + EDGE_WEIGHT * edges + KL_WEIGHT * posterior.kl().mean()  # type: ignore[no-any-return]


def side_loss(conditioning: Conditioning, masks: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """Cross-entropy plus 1 - soft IoU of the decoder's side output against masks in [0, 1].

    The side output is resized to the masks' size first, so that outlines count at full resolution.
    """
    logits = functional.interpolate(
        conditioning.side_logits.float(), size=masks.shape[2:], mode="bilinear", align_corners=False
    )
    return functional.binary_cross_entropy_with_logits(logits, masks) + soft_iou_loss(logits.sigmoid(), masks)


def soft_iou_loss(maps: Float[Tensor, "b 1 h w"], masks: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """1 - soft IoU, the mean over a batch; values in [0, 1]."""
    shared = (maps * masks).sum((1, 2, 3))
    union = (maps + masks - maps * masks).sum((1, 2, 3))
    return (1 - (shared + 1) / (union + 1)).mean()


def auxiliary_loss(
    head: nn.Conv2d,
    features: Float[Tensor, "b f h w"],
    masks: Float[Tensor, "b 1 ph pw"],
    resize: AuxiliaryResize = "bilinear",
) -> Float[Tensor, ""]:
    """The reference's second loss: a 3x3 convolution of the conditioner's features against the mask at 1/8 size.

    Masks are given in [0, 1] and compared in the VAE's range of [-1, 1].
    """
    target = functional.interpolate(masks * 2 - 1, size=features.shape[2:], mode=resize)
    target = target.expand(-1, head.out_channels, -1, -1)
    return functional.mse_loss(head(features).float(), target.float())


def draw_timesteps(
    count: int, generator: torch.Generator, *, exponent: float = 1.0, draw: TimestepDraw = "even"
) -> Int[Tensor, " b"]:
    """Draw timesteps in [0, 999]; an exponent below 1 favours noisy ones, which determine the object's shape."""
    if draw == "even" and exponent == 1:
        return torch.randint(TIMESTEPS, (count,), generator=generator)
    skewed = torch.rand(count, generator=generator) ** exponent
    if draw == "rounded":
        return ((TIMESTEPS - 1) * skewed).round().long()
    return (TIMESTEPS * skewed).long().clamp(max=TIMESTEPS - 1)  # an exponent near 0 can round up to 1


def stretched(masks: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Stretch the values of a batch to the range from 0 to 1, as the reference does; a plain batch becomes black."""
    low, high = masks.aminmax()
    return (masks - low) / (high - low + 1e-5)


def diffusion_loss(
    pipeline: SODDiffusionPipeline,
    image_latents: Float[Tensor, "b 4 h w"],
    mask_latents: Float[Tensor, "b 4 h w"],
    context: Float[Tensor, "b t d"],
    generator: torch.Generator,
    losses: LossConfig,
    noise_device: torch.device | None = None,
) -> Float[Tensor, ""]:
    """Squared error against the scheduler's target (velocity or noise), with random timesteps and multires noise.

    Raises: ValueError: the scheduler's prediction type can't be trained.
    """
    scheduler: DDIMScheduler = pipeline.scheduler
    noise = multires_noise(
        mask_latents.shape,
        generator,
        iterations=losses.multires_noise_iterations,
        discount=losses.multires_noise_discount,
        copies=losses.multires_noise_copies,
        device=noise_device,
    ).to(mask_latents)
    timesteps = draw_timesteps(
        len(mask_latents), generator, exponent=losses.timestep_exponent, draw=losses.timestep_draw
    ).to(mask_latents.device)
    noisy = scheduler.add_noise(mask_latents, noise, timesteps)
    output = pipeline.unet(torch.cat([image_latents, noisy], 1), timesteps, encoder_hidden_states=context).sample
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(mask_latents, noise, timesteps)
    elif scheduler.config.prediction_type == "epsilon":
        target = noise
    else:
        raise ValueError(
            f"prediction_type {scheduler.config.prediction_type!r} can't be trained; use v_prediction or epsilon"
        )
    return functional.mse_loss(output.float(), target.float())


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, mean: Float[Tensor, " c"], std: Float[Tensor, " c"]) -> None:
    """Fold the latents' measured statistics into the VAE, so that `scaling_factor * latents` is N(0, 1) per channel.

    Without this, a small VAE's latents had standard deviations of .7 to 1.0 and means off zero, which makes the noise
    schedule wrong. `mean` and `std` are those of the unscaled latents before this call.
    """
    scale = 1 / (vae.config.scaling_factor * std)
    quant, post_quant = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    quant.bias[:channels] = (quant.bias[:channels] - mean) * scale
    quant.weight[:channels] *= scale[:, None, None, None]
    quant.bias[channels:] += 2 * scale.log()  # the other half is the log-variance
    post_quant.bias += (post_quant.weight[:, :, 0, 0] * mean).sum(1)
    post_quant.weight /= scale[None, :, None, None]


class MovingAverage:
    """Exponential moving average of trained weights.

    After n steps the decay is at most (1 + n) / (10 + n), as TensorFlow's `ExponentialMovingAverage` has it with
    `num_updates`: the average reaches back a ninth of the steps at most. Without that, one of 200 steps would still
    hold a fourth of the untrained weights after 284. A decay of .99 is reached at step 890, one of .995 at 1,790.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.parameters = list(parameters)
        self.shadow = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after `step` steps, the first of which is 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def write_to_model(self) -> None:
        """Overwrite the trained weights with the average."""
        for parameter, average in zip(self.parameters, self.shadow, strict=True):
            parameter.copy_(average)


def load_backbone_in_order(conditioner: SaliencyConditioner, weights: dict[str, Tensor]) -> None:
    """Copy a backbone checkpoint whose tensors are in timm's order but have other names.

    `weights` may hold further tensors after the backbone's (a classifier). `num_batches_tracked` is skipped in both.
    Raises: ValueError: a shape differs, or there are too few tensors.
    """
    own = {k: v for k, v in conditioner.backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = [(k, v) for k, v in weights.items() if not k.endswith("num_batches_tracked")]
    if len(given) < len(own):
        raise ValueError(f"the checkpoint holds {len(given)} tensors, the backbone needs {len(own)}")
    for (name, target), (given_name, value) in zip(own.items(), given, strict=False):
        if target.shape != value.shape:
            raise ValueError(f"{given_name} is {tuple(value.shape)}, {name} needs {tuple(target.shape)}")
        target.copy_(value)
