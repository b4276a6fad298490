"""The stages that make a model: conditioner, VAE, cached latents, diffusion, and last the whole ensemble.

Each writes a checkpoint to the training's folder and is skipped once that is complete: run the same command again to
resume. Conditioner and VAE do not depend on each other and may run side by side in two processes.
"""

import hashlib
import logging
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from model.architectures import build_pipeline
from model.conditioner import SaliencyConditioner
from model.config import LossConfig
from model.diffusion import SODDiffusionPipeline
from model.ensemble_training import denoised, ensemble_loss
from model.training import diffusion_loss, side_loss, standardise_latents, vae_loss
from pipeline.embedded.loop import Schedule, TrainedGroup, run_stage, step_generator
from pipeline.embedded.views import Views
from pipeline.files.storage import publish

log = logging.getLogger(__name__)

BACKBONE_RATE_SHARE = 0.1
"""Learning rate of the pretrained backbone, as a share of that of the new layers."""
DIFFUSION_LOSS = LossConfig(
    multires_noise_iterations=6,
    multires_noise_discount=0.3,
    multires_noise_copies="geometric",
    timestep_exponent=0.6,
    timestep_draw="rounded",
)
"""What the UNet learns from: written out, so that the same weights come out whatever the defaults of training are."""
STATISTICS_MASKS = 512
"""Masks whose latents are measured in order to standardise latents."""
PART_VIEWS = 500
"""Views in a file of cached latents."""
AT_ONCE = 100
"""Views that are encoded together."""
MEMBERS = 4
"""Members of each view in the last stage."""
STEP_CHOICES = (1, 2, 2, 2)
"""Denoising steps of the last stage, drawn anew for each batch: two are what the weights take if nothing is said."""
KEPT_WEIGHT, SIDE_WEIGHT = 0.5, 0.1
"""In the last stage, weights of what the stages before learnt: of velocity and of masks, and of the side output."""
SLOW_RATE_SHARE = 0.2
"""In the last stage, the conditioner's learning rate as a share of the UNet's."""


def train_conditioner(pipeline: SODDiffusionPipeline, data: Views, schedule: Schedule, folder: Path, seed: int) -> None:
    """Fit the side output to the masks; batch norm in the pretrained backbone stays as it is."""
    conditioner, side_px = _with_fixed_statistics(pipeline.conditioner), pipeline.default_processing_res

    def loss_of_step(step: int) -> Tensor:
        images, masks = data.draw(schedule.batch, side_px, step_generator(seed, "conditioner", step))
        return side_loss(conditioner(images), masks)

    run_stage(conditioner, _conditioner_groups(conditioner, 1.0), loss_of_step, schedule, folder / "conditioner.pt")
    conditioner.eval()


def train_vae(pipeline: SODDiffusionPipeline, data: Views, schedule: Schedule, folder: Path, seed: int) -> None:
    """Learn to reconstruct images in [0, 1] and masks in [-1, 1], half a batch each; then standardise the latents."""
    vae, side_px = pipeline.vae.train(), pipeline.default_processing_res

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(seed, "vae", step)
        # With views at 5/8 of the side, the VAE sees twice as many in the same time.
        images, masks = data.draw(schedule.batch, side_px * 5 // 8 // 8 * 8, generator)
        half = schedule.batch // 2
        return vae_loss(vae, torch.cat([images[:half], _as_vae_input(masks[half:])]), generator)

    run_stage(vae, [TrainedGroup(parameters=list(vae.parameters()))], loss_of_step, schedule, folder / "vae.pt")
    vae.eval()
    standardise_latents(vae, *_latent_statistics(pipeline, data))


@torch.no_grad()
def cache_latents(
    pipeline: SODDiffusionPipeline, data: Views, count: int, folder: Path, seed: int
) -> dict[str, Tensor]:
    """Compute image latents, mask latents and context of random views, float16, and keep a file per part on disk.

    The folder's name is the digest of the weights that made the files, so that latents of other weights are never used.
    """
    folder = folder / weights_digest(pipeline.vae, pipeline.conditioner)
    parts = []
    for number, first in enumerate(range(0, count, PART_VIEWS)):
        path = folder / f"{number:05d}.safetensors"
        if not path.exists():
            generator = step_generator(seed, "latents", number)
            publish(str(path), save(_encode_part(pipeline, data, min(PART_VIEWS, count - first), generator)))
            log.info("cached latents of part %d", number)
        parts.append(load_file(path, device=str(pipeline.device)))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def train_diffusion(
    pipeline: SODDiffusionPipeline, cached: dict[str, Tensor], schedule: Schedule, folder: Path, seed: int
) -> None:
    """Train the UNet on cached latents and context, for which VAE and conditioner are frozen."""
    unet = pipeline.unet.train()

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(seed, "diffusion", step)
        chosen = torch.randint(len(cached["context"]), (schedule.batch,), generator=generator)
        batch = {name: values[chosen.to(values.device)].float() for name, values in cached.items()}
        latents = batch["image_latents"], batch["mask_latents"]
        device = pipeline.device
        return diffusion_loss(pipeline, *latents, batch["context"], generator, DIFFUSION_LOSS, noise_device=device)

    run_stage(unet, [TrainedGroup(parameters=list(unet.parameters()))], loss_of_step, schedule, folder / "diffusion.pt")
    unet.eval()


def train_ensemble(pipeline: SODDiffusionPipeline, data: Views, schedule: Schedule, folder: Path, seed: int) -> None:
    """Train conditioner, UNet and the VAE's decoder together, by the masks that an ensemble of members ends in.

    The VAE's encoder stays, and so do the latents that the UNet knows.
    """
    conditioner, unet, vae = _with_fixed_statistics(pipeline.conditioner), pipeline.unet.train(), pipeline.vae.train()
    decoder = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    side_px = pipeline.default_processing_res

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(seed, "ensemble", step)
        images, masks = data.draw(schedule.batch, side_px, generator)
        steps = STEP_CHOICES[int(torch.randint(len(STEP_CHOICES), (), generator=generator))]
        with torch.no_grad():
            image_latents, mask_latents = pipeline.encode(images), pipeline.encode(_as_vae_input(masks))
        conditioning = conditioner(images)
        context = conditioning.context
        noise = torch.randn((len(images) * MEMBERS, *mask_latents.shape[1:]), generator=generator)
        image, tokens = (values.repeat_interleave(MEMBERS, 0) for values in (image_latents, context))
        latents = denoised(pipeline, noise.to(images.device), image, tokens, steps)
        members = _saliency(pipeline, latents).reshape(len(images), MEMBERS, side_px, side_px)
        loss = ensemble_loss(members, masks) + SIDE_WEIGHT * side_loss(conditioning, masks)
        velocity = diffusion_loss(
            pipeline, image_latents, mask_latents, context, generator, DIFFUSION_LOSS, noise_device=images.device
        )
        kept = functional.l1_loss(_saliency(pipeline, mask_latents), masks[:, 0])
        return loss + KEPT_WEIGHT * (velocity + kept)

    groups = [
        TrainedGroup(parameters=list(unet.parameters())),
        TrainedGroup(parameters=decoder),
        *_conditioner_groups(conditioner, SLOW_RATE_SHARE),
    ]
    run_stage(nn.ModuleList([conditioner, unet, vae]), groups, loss_of_step, schedule, folder / "ensemble.pt")
    for network in (conditioner, unet, vae):
        network.eval()


def new_pipeline(seed: int, side_px: int) -> SODDiffusionPipeline:
    """The nano architecture with weights drawn from `seed`, to be trained for square images of that side."""
    torch.manual_seed(seed)
    pipeline = build_pipeline("nano")
    pipeline.set_processing_res(side_px)
    return pipeline


def _with_fixed_statistics(conditioner: SaliencyConditioner) -> SaliencyConditioner:
    """The conditioner in training mode, but for its backbone's batch norm."""
    conditioner.train()
    for module in conditioner.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return conditioner


def _conditioner_groups(conditioner: SaliencyConditioner, share: float) -> list[TrainedGroup]:
    pretrained = list(conditioner.backbone.parameters())
    new = [p for name, p in conditioner.named_parameters() if not name.startswith("backbone.")]
    return [
        TrainedGroup(parameters=new, rate_share=share),
        TrainedGroup(parameters=pretrained, rate_share=share * BACKBONE_RATE_SHARE),
    ]


def painted(pipeline: SODDiffusionPipeline, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b 1 ph pw"]:
    """What the VAE paints, in the masks' range of [-1, 1], not clipped; with a gradient."""
    decoded: Tensor = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    return decoded.mean(1, keepdim=True)


def _saliency(pipeline: SODDiffusionPipeline, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b ph pw"]:
    """As `SODDiffusionPipeline.decode`, with a gradient."""
    return (painted(pipeline, latents)[:, 0].clamp(-1, 1) + 1) / 2


def _as_vae_input(masks: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 3 h w"]:
    return (masks * 2 - 1).expand(-1, 3, -1, -1)


def weights_digest(*networks: nn.Module) -> str:
    """A name for files that were made with these weights."""
    digest = hashlib.sha256()
    for network in networks:
        for name, value in network.state_dict().items():
            digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _encode_part(
    pipeline: SODDiffusionPipeline, data: Views, count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    encoded: dict[str, list[Tensor]] = {"image_latents": [], "mask_latents": [], "context": []}
    for first in range(0, count, AT_ONCE):
        pixels, mask = data.draw(min(AT_ONCE, count - first), pipeline.default_processing_res, generator)
        encoded["image_latents"].append(pipeline.encode(pixels).half())
        encoded["mask_latents"].append(pipeline.encode(_as_vae_input(mask)).half())
        encoded["context"].append(pipeline.conditioner(pixels).context.half())
    # safetensors requires contiguous tensors; a network in channels_last produces others.
    return {name: torch.cat(values).contiguous().cpu() for name, values in encoded.items()}


@torch.no_grad()
def _latent_statistics(pipeline: SODDiffusionPipeline, data: Views) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of the unscaled latents of masks, since noise is added to those."""
    generator = torch.Generator().manual_seed(0)
    latents = []
    for first in range(0, STATISTICS_MASKS, AT_ONCE):
        count = min(AT_ONCE, STATISTICS_MASKS - first)
        _, masks = data.draw(count, pipeline.default_processing_res, generator)
        latents.append(pipeline.vae.encode(_as_vae_input(masks)).latent_dist.mode())
    values = torch.cat(latents)
    return values.mean((0, 2, 3)), values.std((0, 2, 3))
