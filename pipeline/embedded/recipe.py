"""The recipe of the embedded model: which stages, how long, at which rates."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.diffusion import SODDiffusionPipeline
from model.saliency import resolve_device
from model.training import load_backbone_in_order
from pipeline.embedded.config import EmbeddedTrainingConfig
from pipeline.embedded.data import Pairs
from pipeline.embedded.decoders import state_agreement, train_decoders
from pipeline.embedded.loop import Schedule, is_complete
from pipeline.embedded.sources import backbone_weights
from pipeline.embedded.stages import (
    cache_latents,
    new_pipeline,
    train_conditioner,
    train_diffusion,
    train_ensemble,
    train_vae,
)
from pipeline.embedded.views import Folder, Views
from pipeline.errors import ConfigError, ModelError, RunMismatchError
from pipeline.files.storage import publish, stored_file_at
from pipeline.made_with import differences, refusal

log = logging.getLogger(__name__)

COMPOSITES_SHARE = 0.5
"""Of the views that a stage sees; the others are of photographs."""
_STAGES: dict[str, tuple[int, float, float]] = {
    "conditioner": (192, 2e-3, 0.995),
    "vae": (128, 2e-3, 0.99),
    "diffusion": (256, 2e-3, 0.995),
    "ensemble": (48, 4e-4, 0.99),
    "decoders": (32, 2e-3, 0.995),
}
"""Views of a step, peak of the learning rate, decay of the moving average; the first two stages need no other."""
RECIPE_VERSION = 3  # raise it when the same request gives other weights


def train_embedded(config: EmbeddedTrainingConfig) -> Path | None:
    """Train every stage that is not complete yet.

    Returns: the folder of the finished model, None after a single stage.
    Raises: CollectionError: there are no composites. ConfigError: the backbone's file does not exist.
            RunMismatchError: `config.out` was begun with something else: another seed, side, recipe or number of steps,
                other composites or photographs; or a stage is missing that later ones were trained after.
            StorageError: a checkpoint can't be read. ModelError: the backbone's weights can't be read.
    """
    torch.set_num_threads(config.threads)
    if config.backbone is not None and not config.backbone.is_file():
        raise ConfigError(f"--backbone {config.backbone}: there is no such file; leave it out to fetch the weights")
    _refuse_later_stages(config)
    device = torch.device(resolve_device(config.device))
    folders = [Folder(Pairs.open(config.data, device), COMPOSITES_SHARE)]
    if config.photographs is not None:
        folders.append(Folder(Pairs.open(config.photographs, device), 1 - COMPOSITES_SHARE))
    data = Views(folders)
    _claim(config)
    pipeline = new_pipeline(config.seed, config.side_px)
    _load_backbone(pipeline, config.backbone or backbone_weights(config.data / "cache"))
    _put_on(device, pipeline)
    for stage, train in (("conditioner", train_conditioner), ("vae", train_vae)):
        if config.stage in ("all", stage):
            train(pipeline, data, _schedule(config, stage), config.out, config.seed)
    if config.stage != "all":
        return None
    cached = {}
    if not is_complete(config.out / "diffusion.pt", config.diffusion_steps):
        cached = cache_latents(pipeline, data, config.cached_views, config.out / "latents", config.seed)
    train_diffusion(pipeline, cached, _schedule(config, "diffusion"), config.out, config.seed)
    del cached
    train_ensemble(pipeline, data, _schedule(config, "ensemble"), config.out, config.seed)
    train_decoders(pipeline, data, _schedule(config, "decoders"), config.out, config.seed, config.workers)
    return _save_model(pipeline, config.out / "model")


def _refuse_later_stages(config: EmbeddedTrainingConfig) -> None:
    """Refuse to train a stage where later ones have been trained: their checkpoints hold its networks too."""
    complete = {stage: is_complete(config.out / f"{stage}.pt", steps) for stage, steps in _steps_of(config).items()}
    for stage in [stage for stage, done in complete.items() if not done]:
        follow = list(_STAGES)[max(2, list(_STAGES).index(stage) + 1) :]  # conditioner and VAE do not follow each other
        if later := [f"{one}.pt" for one in follow if (config.out / f"{one}.pt").exists()]:
            raise RunMismatchError(
                f"{config.out} holds {', '.join(later)}, trained after a {stage} stage that is not complete there: "
                "delete these files too, or give another --out"
            )


def _put_on(device: torch.device, pipeline: SODDiffusionPipeline) -> None:
    pipeline.to(device)
    if device.type == "cpu":
        for network in (pipeline.conditioner, pipeline.vae):
            network.to(memory_format=torch.channels_last)  # a fifth to a quarter faster per step
    else:
        torch.set_float32_matmul_precision("high")


def _schedule(config: EmbeddedTrainingConfig, stage: str) -> Schedule:
    batch, learning_rate, ema_decay = _STAGES[stage]
    return Schedule(steps=_steps_of(config)[stage], batch=batch, learning_rate=learning_rate, ema_decay=ema_decay)


def _steps_of(config: EmbeddedTrainingConfig) -> dict[str, int]:
    """Stage → its steps, for the stages that will be trained."""
    steps = {stage: getattr(config, f"{stage}_steps") for stage in _STAGES}
    return steps if config.stage == "all" else {config.stage: steps[config.stage]}


def _claim(config: EmbeddedTrainingConfig) -> None:
    """Refuse a folder that was begun with something else, whose checkpoints would be taken for this training's."""
    path, photographs = config.out / "training.json", config.photographs
    request: dict[str, Any] = {
        "recipe": RECIPE_VERSION,
        "seed": config.seed,
        "side_px": config.side_px,
        "composites_sha256": stored_file_at(config.data / "recipe.json").sha256,
        "photographs_sha256": photographs and stored_file_at(photographs / "recipe.json").sha256,
    }
    if config.stage == "all":
        request["cached_views"] = config.cached_views
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    # Training one stage does not record how many views are cached.
    asked = {name: value for name, value in request.items() if name in before or name != "cached_views"}
    if before and (found := differences({name: before.get(name) for name in asked}, asked)):
        raise RunMismatchError(refusal(f"{config.out} was begun with something else", found, "Give another --out"))
    publish(str(path), json.dumps(before | request, indent=1, sort_keys=True).encode())


def _load_backbone(pipeline: SODDiffusionPipeline, path: Path) -> None:
    try:
        weights = torch.load(path, weights_only=True, map_location="cpu")
        load_backbone_in_order(pipeline.conditioner, weights)
    except Exception as error:
        raise ModelError(f"{path} does not hold the backbone's weights: {error}") from error
    log.info("backbone weights from %s", path)


def _save_model(pipeline: SODDiffusionPipeline, folder: Path) -> Path:
    """Save in half precision: half the file, and masks differ by less than their 8-bit steps."""
    pipeline.to("cpu")
    for network in (pipeline.conditioner, pipeline.vae):
        network.to(memory_format=torch.contiguous_format)
    pipeline.state_facts(replace(pipeline.facts, recommended_bounds={}))  # those of other weights
    pipeline.to(dtype=torch.float16).to(dtype=torch.float32)
    state_agreement(pipeline)  # of the weights as they are saved
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    log.info("saved the model in %s", folder)
    return folder
