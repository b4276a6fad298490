"""A distillation, told as one story: label drawn maps, train the decoder, measure it, save it beside its VAE."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from model.checkpoint_facts import facts_of
from model.checkpoint_files import SAFETENSORS, load_network, read_tensors
from model.decoder_choice import MASK_DECODER, Stated
from model.diffusion import SODDiffusionPipeline
from model.documents import parse_object, read_document
from model.folders import SUMS, save_with_network, sums_with
from model.mask_decoder import MaskDecoder, seeded_mask_decoder, size_for
from model.saliency import load_pipeline, on_device
from model.vae_digest import digest_of_folder
from pipeline.distillation.agreement import measure_agreement, measure_on_photographs
from pipeline.distillation.config import DistillationConfig
from pipeline.distillation.examples import drawn_batch, labelled_parts, placed
from pipeline.distillation.folder import claim, compared, model_in, state_compared, worst_in
from pipeline.distillation.labelled import several_processes
from pipeline.distillation.loss import distillation_loss
from pipeline.distillation.photographs import choose_photographs, digest_of, readable
from pipeline.distillation.worst import draw_worst
from pipeline.embedded.loop import Schedule, TrainedGroup, run_stage, step_generator
from pipeline.errors import CollectionError, SampleError, StorageError
from pipeline.files.storage import publish
from pipeline.files.tars import encode_json
from pipeline.progress.stages import stage
from pipeline.runs.locking import locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """A finished distillation."""

    model: Path
    """The folder to use."""
    worst: Path
    """A picture of the held-out maps on which decoder and VAE agree least: of photographs, if they were given."""
    trained_px: int
    """Side of the images that the model was trained for."""
    stated: Stated
    """The agreement, and the VAE that it was measured with."""
    parameters: int


def distil(config: DistillationConfig) -> Distilled:
    """Do what is left to do, in a folder that `require_folder` has looked at.

    Raises: CheckpointError: the model can't be loaded. ValueError: nor can the device be used.
            StorageError: a file of the folder can't be read or written, or the photographs no longer can be read.
            RunBusyError: another session works in it.
            LeaseLostError: another one took over, as this one did not answer. RunMismatchError: one began something
            else there after `require_folder`.
    """
    torch.set_num_threads(config.threads)
    result = model_in(config.out)
    if not result.exists() or config.photographs is not None:
        with locked(str(config.out)) as lease:
            claim(config)
            if not result.exists():  # it may have been finished before this session held the folder
                _make(config, result, lease.check)
            if config.photographs is not None:
                _compare_photographs(config, result, config.photographs, lease.check)
    decoder: MaskDecoder = load_network(MaskDecoder, result / MASK_DECODER, weights=(SAFETENSORS,))
    trained_px = facts_of(config.source).trained_as["processing_res"]
    parameters = sum(parameter.numel() for parameter in decoder.parameters())
    return Distilled(
        model=result,
        worst=worst_in(config.out),
        trained_px=trained_px,
        stated=decoder.stated,
        parameters=parameters,
    )


def _make(config: DistillationConfig, result: Path, check: Callable[[], None]) -> None:
    pipeline = on_device(load_pipeline(config.source.folder), config.device)
    trained = train(config, pipeline, check)
    _measure(config, pipeline, trained)
    check()
    save_with_network(config.source.folder, MASK_DECODER, trained.cpu(), result)


def train(
    config: DistillationConfig, pipeline: SODDiffusionPipeline, check: Callable[[], None] = lambda: None
) -> MaskDecoder:
    """Label examples and train on them, from where an earlier session stopped.

    Args: pipeline: the teacher, on the device to work on. check: called before each part and step; it may raise.
    """
    pipeline.decode_with("vae")
    with several_processes(config.workers) as mapped:
        made = labelled_parts(
            config.out / "examples", pipeline, config.examples, config.seed, check=check, mapped=mapped
        )
    parts = placed(made, pipeline.device)
    decoder = _fresh(config, pipeline)
    decoder.to(pipeline.device, memory_format=torch.channels_last)

    def loss_of_step(step: int) -> Tensor:
        check()
        generator = step_generator(config.seed, "distillation", step)
        latents, maps = drawn_batch(parts, config.batch, generator, pipeline.device)
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
    return seeded_mask_decoder(config.seed, size, pipeline.vae.config.latent_channels)


def _measure(config: DistillationConfig, pipeline: SODDiffusionPipeline, decoder: MaskDecoder) -> None:
    """Round the decoder to the VAE's precision, in which it is saved, and measure it as it is then; draw the worst."""
    vae = config.source.folder / "vae"
    saved = next(iter(read_tensors(vae / SAFETENSORS).values())).dtype
    decoder.state((), digest_of_folder(vae))
    nn.Module.to(nn.Module.to(decoder, saved), torch.float32)  # diffusers' own `to` warns needlessly
    pipeline.register_modules(mask_decoder=decoder)
    with stage("comparing decoder and VAE on held-out maps"):
        found = measure_agreement(pipeline, config.held_out)
    decoder.state(found.agreement, decoder.stated.distilled_from)
    publish(str(worst_in(config.out)), draw_worst(found.worst))
    nn.Module.to(decoder, saved)


def _compare_photographs(config: DistillationConfig, result: Path, folder: Path, check: Callable[[], None]) -> None:
    """Compare the finished model's two decoders on photographs, and state that too, unless these were compared."""
    try:
        photographs = readable(choose_photographs(folder, config.held_out))
        digest = digest_of(photographs)
        if compared(config.out) == digest:
            return
        pipeline = on_device(load_pipeline(result), config.device)
        with stage("comparing decoder and VAE on photographs"):
            found = measure_on_photographs(pipeline, photographs, config.held_out)
    except (CollectionError, SampleError, OSError) as error:
        raise StorageError(
            f"{result} is finished, but photographs of {folder} could not be compared ({error}): "
            "put them back and run the same command again"
        ) from error
    name = f"{MASK_DECODER}/config.json"
    fields = parse_object(read_document(result / name))
    drawn = [one for one in Stated.of(fields.get("agreement"), None).agreement if one.maps_of == "drawn"]
    check()
    fields["agreement"] = [one.as_fields() for one in (*drawn, *found.agreement)]
    content = encode_json(fields)
    state_compared(config.out, "")  # after a kill between these files, all of them are written anew
    publish(str(result / name), content)
    publish(str(result / SUMS), sums_with(result, name, content))
    publish(str(worst_in(config.out)), draw_worst(found.worst))
    state_compared(config.out, digest)
