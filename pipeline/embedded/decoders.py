"""The last stage: a mask decoder and the VAE's own, trained until they paint the same.

`sod distil` has the mask decoder follow a VAE that stays as it is. Here both may move: the VAE's decoder is the larger
network, so it can follow the mask decoder where that one can't follow it.
"""

from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from model.diffusion import SODDiffusionPipeline
from model.mask_decoder import MaskDecoder, seeded_mask_decoder
from model.vae_digest import digest_of_network
from pipeline.distillation.agreement import measure_agreement, measure_on_photographs
from pipeline.distillation.examples import drawn_batch, labelled_parts, placed
from pipeline.distillation.labelled import Labelled, several_processes
from pipeline.distillation.loss import distillation_loss
from pipeline.distillation.photographs import choose_photographs
from pipeline.embedded.loop import Schedule, TrainedGroup, is_complete, run_stage, step_generator
from pipeline.embedded.stages import painted, weights_digest
from pipeline.embedded.views import Views

DRAWN, SEEN = 6144, 2048
"""Examples: drawn maps, and candidates' maps of views."""
FOLLOWS = 4.0
"""Weight of the VAE's distance to the mask decoder at the end; it grows from 0, and that to the maps falls to 0."""
HELD_OUT = 256
SAMPLE = Path(__file__).resolve().parents[1] / "sample" / "images"
_AT_ONCE = 64


def train_decoders(
    pipeline: SODDiffusionPipeline, data: Views, schedule: Schedule, folder: Path, seed: int, workers: int = 1
) -> None:
    """Give the pipeline a mask decoder, and train it together with the VAE's decoder; the encoder stays."""
    is_done = is_complete(folder / "decoders.pt", schedule.steps)
    parts = placed([] if is_done else _examples(pipeline, data, folder, seed, workers), pipeline.device)
    vae, decoder = pipeline.vae.train(), seeded_mask_decoder(seed, "small").to(pipeline.device).train()
    of_vae = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(seed, "decoders", step)
        latents, maps = drawn_batch(parts, schedule.batch, generator, pipeline.device)
        own, vaes = decoder(latents), painted(pipeline, latents)
        progress = step / schedule.steps
        target = ((own[:, 0] + 1) / 2).clamp(0, 1).detach()
        follows = FOLLOWS * progress * distillation_loss(vaes, target) + (1 - progress) * distillation_loss(vaes, maps)
        return distillation_loss(own, maps) + follows

    groups = [TrainedGroup(parameters=list(decoder.parameters())), TrainedGroup(parameters=of_vae, rate_share=0.5)]
    run_stage(nn.ModuleList([decoder, vae]), groups, loss_of_step, schedule, folder / "decoders.pt")
    for network in (decoder, vae):
        network.eval()
    pipeline.register_modules(mask_decoder=decoder)


def state_agreement(pipeline: SODDiffusionPipeline) -> None:
    """Measure how well the two agree, in the precision in which they are saved, and state it.

    The photographs are those of the sample, which no stage learns from.
    """
    decoder: MaskDecoder = pipeline.mask_decoder
    decoder.state((), digest_of_network(pipeline.vae))
    photographs = choose_photographs(SAMPLE, HELD_OUT)
    found = (
        measure_agreement(pipeline, HELD_OUT).agreement,
        measure_on_photographs(pipeline, photographs, HELD_OUT).agreement,
    )
    decoder.state([*chain.from_iterable(found)], digest_of_network(pipeline.vae))
    pipeline.decode_with("auto")


def _examples(pipeline: SODDiffusionPipeline, data: Views, folder: Path, seed: int, workers: int) -> list[Labelled]:
    """Drawn maps, and what one member of each of many views ends in; the VAE as it is now paints their maps."""
    pipeline.decode_with("vae")
    with several_processes(workers) as mapped:
        parts = labelled_parts(folder / "maps" / weights_digest(pipeline.vae), pipeline, DRAWN, seed, mapped=mapped)
    return [*parts, *_seen(pipeline, data, seed)]


@torch.inference_mode()
def _seen(pipeline: SODDiffusionPipeline, data: Views, seed: int) -> list[Labelled]:
    parts = []
    for number in range(SEEN // _AT_ONCE):
        generator = step_generator(seed, "seen", number)
        images, _ = data.draw(_AT_ONCE, pipeline.default_processing_res, generator)
        image_latents, context = pipeline.encode(images), pipeline.conditioner(images).context
        noise = torch.randn(image_latents.shape, generator=generator).to(image_latents)
        latents = pipeline.denoise(noise, image_latents, context, pipeline.facts.default_denoise_steps).half()
        parts.append(Labelled(latents.cpu(), pipeline.decode(latents.float()).half().cpu()))
    return [
        Labelled(torch.cat([part.latents for part in chosen]), torch.cat([part.maps for part in chosen]))
        for chosen in (parts[first : first + 4] for first in range(0, len(parts), 4))
    ]
