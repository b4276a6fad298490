"""The training loop of one worker: batches and steps; the same alone and among others.

All random numbers follow from the seed and the number of the batch, so a training that was killed and resumed takes
exactly the steps that an uninterrupted one takes.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.fine_tuning import FineTuning
from model.seeds import member_seed
from pipeline.errors import ModelError
from pipeline.training.config import TrainingConfig
from pipeline.training.dataset import BatchNumbers, Draws, batches
from pipeline.training.pairs import check_sizes, find_pairs
from pipeline.training.start import Plan, check_claim, claim_of, resume, settle_claim, starting_weights
from pipeline.training.state import TrainingState
from pipeline.training.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process of a training, and how it works with the others; by default it is alone on the CPU."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    wrap: Callable[[nn.Module], nn.Module] = lambda networks: networks
    """Makes the gradients of all workers one (torch's DistributedDataParallel)."""
    report: Callable[[dict[str, float]], None] = lambda values: None
    """Called by the first worker with the numbers of each row of metrics."""
    wait: Callable[[], None] = lambda: None
    """Returns when all workers have come to it."""


def train(config: TrainingConfig, worker: Worker) -> Path:
    """Train to the end, from the newest checkpoint if there is one.

    Returns: the folder of the finished model.
    Raises:  UsageError: data, weights or output folder are not what was asked for.
             StorageError: a checkpoint is torn. ModelError: the loss is no number any more.
    """
    pairs = find_pairs(config.data)
    claim = claim_of(config, pairs, worker.world) if worker.rank == 0 else None  # hashes gigabytes of weights
    if claim is not None:
        check_sizes(pairs)
        check_claim(config, claim)
    pipeline = starting_weights(config).to(worker.device)
    if claim is not None:
        settle_claim(config, claim)  # weights that can't be loaded have claimed no folder
    if config.gradient_checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
    torch.manual_seed(config.seed)  # of the auxiliary convolution's first weights
    learns = config.optimiser.conditioner_rate_share > 0
    networks = FineTuning(pipeline, config.loss, conditioner_learns=learns).to(worker.device).train()
    plan = Plan.of(config, len(pairs), worker.world)
    state = TrainingState(networks, config, plan.learning_rate, plan.steps)
    resume(state, config)
    watch = Watch(config, plan, state, claim, worker.report) if claim is not None else None
    draws = Draws(pairs, config.processing_res or pipeline.default_processing_res, config.data, config.seed)
    for _ in _steps(state, draws, config, worker, plan.steps):
        if watch is not None:
            watch.after_step()  # the others wait for this worker's next gradients meanwhile
    if watch is not None:
        watch.finish()
    worker.wait()
    return config.output_dir / "model"


def _steps(state: TrainingState, draws: Draws, config: TrainingConfig, worker: Worker, end: int) -> Iterator[None]:
    """Take the steps that are left, and yield after each."""
    accumulated = config.optimiser.gradient_accumulation_steps
    numbers = BatchNumbers(
        batch=config.train_batch_size,
        rank=worker.rank,
        world=worker.world,
        first=state.step * accumulated,
        end=end * accumulated,
    )
    coming = batches(draws, numbers, config.data.dataloader_num_workers)
    learning = worker.wrap(state.networks)
    while state.step < end:
        losses = [_learn(next(coming), learning, state, config, worker, part) for part in range(accumulated)]
        mean: Tensor = torch.tensor(losses, dtype=torch.float64).mean(0)
        if not math.isfinite(mean[0]):
            raise ModelError(f"the loss of step {state.step} is {mean[0].item()}; go on with a lower --learning-rate")
        state.scaler.unscale_(state.optimiser)
        torch.nn.utils.clip_grad_norm_(state.networks.unet.parameters(), config.optimiser.max_grad_norm)
        state.take_step()
        state.pending.append(mean.tolist())
        yield


def _learn(
    batch: tuple[Tensor, Tensor],
    learning: nn.Module,
    state: TrainingState,
    config: TrainingConfig,
    worker: Worker,
    part: int,
) -> list[float]:
    """Add the gradients of one batch, part `part` of a step; gives total, diffusion and auxiliary loss."""
    accumulated = config.optimiser.gradient_accumulation_steps
    seed = member_seed(config.seed, f"noise/{worker.rank}", state.step * accumulated + part)
    torch.manual_seed(seed)  # of stochastic depth
    images, masks = (values.to(worker.device) for values in batch)
    # Workers exchange gradients once per step, with the last of its batches.
    apart = getattr(learning, "no_sync", contextlib.nullcontext) if part < accumulated - 1 else contextlib.nullcontext
    with apart():
        with _precision(config, worker.device):
            losses = learning(images, masks, seed)
        state.scaler.scale(losses.total / accumulated).backward()
    return [losses.total.item(), losses.diffusion.item(), losses.auxiliary.item()]


def _precision(config: TrainingConfig, device: torch.device) -> Any:
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(config.mixed_precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
