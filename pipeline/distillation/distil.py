"""A distillation, told as one story: label drawn maps, train the decoder, measure it, save it beside its VAE."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from model.checkpoint_files import SAFETENSORS, load_network, read_tensors
from model.decoder_choice import MASK_DECODER, Agreement
from model.diffusion import SODDiffusionPipeline
from model.folders import save_with_network
from model.mask_decoder import MaskDecoder, build_mask_decoder, size_for
from model.saliency import load_pipeline, on_device
from pipeline.distillation.agreement import measure_agreement
from pipeline.distillation.config import DistillationConfig
from pipeline.distillation.folder import claim, model_in
from pipeline.distillation.labelled import Labelled, label
from pipeline.distillation.loss import distillation_loss
from pipeline.embedded.loop import Schedule, TrainedGroup, run_stage, step_generator
from pipeline.errors import StorageError
from pipeline.files.storage import publish
from pipeline.progress.stages import counted, stage

_PART = 256
"""Examples in a file."""
_SIDES = (1.0, 1.0, 1.0, 2 / 3, 1.0, 1.0, 1.0, 4 / 3)
"""Sides of the parts' maps in turn, as shares of the side that the model was trained for: people may choose others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """A finished distillation."""

    model: Path
    """The folder to use."""
    agreement: Agreement
    parameters: int


def distil(config: DistillationConfig) -> Distilled:
    """Do what is left to do, in a folder that `require_folder` has looked at.

    Raises: CheckpointError: the model can't be loaded. ValueError: nor can the device be used.
            StorageError: a file of the folder can't be read or written.
    """
    torch.set_num_threads(config.threads)
    result = model_in(config.out)
    if not result.exists():
        claim(config)
        pipeline = on_device(load_pipeline(config.source.folder), config.device)
        trained = train(config, pipeline)
        _measure(config, pipeline, trained)
        save_with_network(config.source.folder, MASK_DECODER, trained.cpu(), result)
    decoder: MaskDecoder = load_network(MaskDecoder, result / MASK_DECODER, weights=(SAFETENSORS,))
    assert decoder.agreement is not None  # it was stated before the decoder was saved
    return Distilled(model=result, agreement=decoder.agreement, parameters=_count(decoder))


def train(config: DistillationConfig, pipeline: SODDiffusionPipeline) -> MaskDecoder:
    """Label examples and train on them, from where an earlier session stopped.

    Args: pipeline: the teacher, on the device to work on.
    """
    pipeline.decode_with("vae")
    parts = _labelled_parts(config, pipeline)
    decoder = _fresh(config, pipeline)
    decoder.to(pipeline.device, memory_format=torch.channels_last)

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(config.seed, "distillation", step)
        part = parts[int(torch.randint(len(parts), (), generator=generator))]
        chosen = torch.randint(len(part.latents), (config.batch,), generator=generator)
        latents, maps = (values[chosen].to(pipeline.device).float() for values in (part.latents, part.maps))
        return distillation_loss(decoder(latents), maps)

    schedule = Schedule(
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        ema_decay=0.995,
        checkpoint_every=config.checkpoint_every,
    )
    groups = [TrainedGroup(parameters=list(decoder.parameters()))]
    run_stage(decoder, groups, loss_of_step, schedule, config.out / f"{MASK_DECODER}.pt")
    decoder.to(memory_format=torch.contiguous_format)
    decoder.eval().requires_grad_(False)
    return decoder


def _fresh(config: DistillationConfig, pipeline: SODDiffusionPipeline) -> MaskDecoder:
    size = size_for(pipeline.vae) if config.size == "auto" else config.size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_mask_decoder(size, pipeline.vae.config.latent_channels)


def _labelled_parts(config: DistillationConfig, teacher: SODDiffusionPipeline) -> Sequence[Labelled]:
    """All examples; those that are on disk are read, the others made and written."""
    folder = config.out / "examples"
    folder.mkdir(exist_ok=True)
    sizes = [min(_PART, config.examples - first) for first in range(0, config.examples, _PART)]
    numbered = counted("labelling drawn maps with the VAE", enumerate(sizes), len(sizes), "parts")
    return [_part(folder / f"{number:05d}.safetensors", config, teacher, number, count) for number, count in numbered]


def _part(path: Path, config: DistillationConfig, teacher: SODDiffusionPipeline, number: int, count: int) -> Labelled:
    if not path.exists():
        side_px = max(1, round(teacher.default_processing_res * _SIDES[number % len(_SIDES)] / 8)) * 8
        made = label(teacher, side_px, count, config.seed, f"part {number}")
        publish(str(path), save({"latents": made.latents.contiguous(), "maps": made.maps.contiguous()}))
    try:
        held = load(path.read_bytes())
        return Labelled(held["latents"], held["maps"])
    except Exception as error:
        raise StorageError(
            f"{path} is not a readable file of examples ({error}): delete it to make it again"
        ) from error


def _measure(config: DistillationConfig, pipeline: SODDiffusionPipeline, decoder: MaskDecoder) -> None:
    """Round the decoder to the VAE's precision, in which it is saved, and measure it as it is then."""
    held = read_tensors(config.source.folder / "vae" / SAFETENSORS)
    saved = next(iter(held.values())).dtype
    nn.Module.to(nn.Module.to(decoder, saved), torch.float32)  # diffusers' own `to` warns needlessly
    pipeline.register_modules(mask_decoder=decoder)
    with stage("comparing decoder and VAE on held-out maps"):
        decoder.state_agreement(measure_agreement(pipeline, config.held_out))
    nn.Module.to(decoder, saved)


def _count(decoder: MaskDecoder) -> int:
    return sum(parameter.numel() for parameter in decoder.parameters())
