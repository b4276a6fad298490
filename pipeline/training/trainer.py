"""The training loop of one worker, alone or among others.

The seed and the number of the batch determine all random numbers, so a training that was killed and resumed takes
exactly the same steps as an uninterrupted one.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.fine_tuning import FineTuning
from model.seeds import member_seed
from pipeline.errors import ConfigError, ModelError, StorageError, UsageError, kept
from pipeline.progress.stages import say, stage
from pipeline.training.config import TrainingConfig
from pipeline.training.dataset import BatchNumbers, Draws, batches
from pipeline.training.pairs import TrainingPair, find_pairs
from pipeline.training.preflight import check_request
from pipeline.training.start import TrainingPlan, check_claim, claim_folder, claim_of, resume, starting_weights
from pipeline.training.state import TrainingState, checkpoints
from pipeline.training.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process of a training, and how it cooperates with the others; by default alone on the CPU."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    wrap: Callable[[nn.Module], nn.Module] = lambda networks: networks
    """Averages the gradients of all workers (torch's DistributedDataParallel)."""
    report: Callable[[dict[str, float]], None] = lambda values: None
    """Called by the first worker with each row of metrics."""
    wait: Callable[[], Any] = lambda: None
    """Returns once all workers have called it."""


def train_in_worker(config: TrainingConfig, worker: Worker) -> Path:
    """Train to the end, from the newest checkpoint if there is one.

    Returns: the folder of the finished model.
    Raises:  UsageError: data, weights, precision or output folder can't be used; nothing was begun.
             StorageError: a checkpoint or an image is torn. ModelError: the loss is no longer finite.
    """
    first = worker.rank == 0
    with stage("reading the headers of all photos and masks"):
        pairs = check_request(config) if first else find_pairs(config.data)
    _check_precision(config, worker.device)
    with stage("reading the starting weights"):
        claim = claim_of(config, pairs, worker.world) if first else {}  # hashes gigabytes of weights
    if first:
        check_claim(config, claim)
    plan = TrainingPlan.of(config, len(pairs), worker.world)
    if first:
        say(plan.in_words(len(pairs), config, worker.world, str(worker.device)))
    with stage("loading the starting weights"):
        state = _initial_state(config, plan, worker)
    if first:
        claim_folder(config, claim)  # last of all: a refused training claims no folder
    try:
        if checkpoint := resume(state, config):
            say(f"resuming from {checkpoint}, at step {state.step} of {plan.steps}")
        _take_steps(state, pairs, config, worker, plan, claim)
    except UsageError as error:  # a file that turned out bad: the training has begun, so the request is not refused
        raise StorageError(f"{error}; once that is fixed, run the same command again to resume") from error
    worker.wait()
    return config.output_dir / "model"


def _take_steps(
    state: TrainingState,
    pairs: Sequence[TrainingPair],
    config: TrainingConfig,
    worker: Worker,
    plan: TrainingPlan,
    claim: dict[str, Any],
) -> None:
    """Take the remaining steps; the first worker shows them, and does what is due between them."""
    steps = _steps(state, pairs, config, worker, plan.steps)
    if worker.rank > 0:
        for _ in steps:
            pass
        return
    watch = Watch(config, plan, state, claim, worker.report)
    first = state.step + 1
    with (
        kept(lambda: "Checkpoints stay" if checkpoints(config.output_dir) else ""),
        stage("training", plan.steps, "steps", done=state.step) as training,
    ):
        training.note("the first step is under way")
        for _ in steps:
            loss = f"loss {state.pending[-1][0]:.4f}"
            if state.step == first:
                say(f"step {first} of {plan.steps}: {loss}")
            training.advance(notes=loss)
            watch.after_step()  # meanwhile the others wait for this worker's next gradients
        watch.finish()


def _check_precision(config: TrainingConfig, device: torch.device) -> None:
    """Refuse a precision that the device lacks."""
    try:
        _autocast(config, device)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--mixed-precision {config.mixed_precision} can't be used on {device}: {str(error).splitlines()[0]}"
        ) from error


def _initial_state(config: TrainingConfig, plan: TrainingPlan, worker: Worker) -> TrainingState:
    pipeline = starting_weights(config).to(worker.device)
    if config.gradient_checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
    torch.manual_seed(config.seed)  # for the auxiliary convolution's initial weights
    learns = config.optimiser.conditioner_rate_share > 0
    networks = FineTuning(pipeline, config.loss, conditioner_learns=learns).to(worker.device).train()
    return TrainingState(networks, config, plan.learning_rate, plan.steps)


def _steps(
    state: TrainingState, pairs: Sequence[TrainingPair], config: TrainingConfig, worker: Worker, end: int
) -> Iterator[None]:
    """Take the remaining steps, and yield after each."""
    accumulated = config.optimiser.gradient_accumulation_steps
    numbers = BatchNumbers(
        batch=config.train_batch_size,
        rank=worker.rank,
        world=worker.world,
        first=state.step * accumulated,
        end=end * accumulated,
    )
    side_px = config.processing_res or state.networks.pipeline.default_processing_res
    coming = batches(Draws(pairs, side_px, config.data, config.seed), numbers, config.data.dataloader_num_workers)
    learning = worker.wrap(state.networks)
    while state.step < end:
        losses = [_learn(next(coming), learning, state, config, worker, part) for part in range(accumulated)]
        mean: Tensor = torch.tensor(losses, dtype=torch.float64).mean(0)
        if not math.isfinite(mean[0]):
            raise ModelError(
                f"the loss of step {state.step} is {mean[0].item()}; start again in another --output-dir with a lower "
                "--learning-rate"
            )
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
    """Add the gradients of one batch, part `part` of a step; return total, diffusion and auxiliary loss."""
    accumulated = config.optimiser.gradient_accumulation_steps
    seed = member_seed(config.seed, f"noise/{worker.rank}", state.step * accumulated + part)
    torch.manual_seed(seed)  # for stochastic depth
    images, masks = (values.to(worker.device) for values in batch)
    # Workers exchange gradients once per step, with the last of its batches.
    apart = getattr(learning, "no_sync", contextlib.nullcontext) if part < accumulated - 1 else contextlib.nullcontext
    with apart():
        with _autocast(config, worker.device):
            losses = learning(images, masks, seed)
        state.scaler.scale(losses.total / accumulated).backward()
    return [losses.total.item(), losses.diffusion.item(), losses.auxiliary.item()]


def _autocast(config: TrainingConfig, device: torch.device) -> Any:
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(config.mixed_precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
