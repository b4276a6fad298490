"""One resumable stretch of training: optimiser, schedule, checkpoints, moving average.

The caller passes what a step computes as a function of the step's number, from which all randomness is drawn: so a run
that is killed and resumed takes exactly the steps that an uninterrupted one takes.
"""

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.seeds import member_seed
from model.training import MovingAverage
from pipeline.errors import RunMismatchError, StorageError
from pipeline.progress.stages import stage

log = logging.getLogger(__name__)

LOSSES = 50
"""The shown loss is the mean of so many steps."""
FETCHED_TOGETHER = 25
"""A GPU's losses are fetched after so many steps, and before a checkpoint: whoever asks for one waits for the GPU."""
CHECKPOINT_KEYS = frozenset({"step", "steps", "module", "optimiser", "average"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast a stage trains."""

    steps: int
    """Optimiser steps in the stage."""
    batch: int
    """Images per step."""
    learning_rate: float
    """Peak of AdamW's learning rate; linear warm-up, then cosine to zero."""
    warmup_steps: int = 50
    max_grad_norm: float = 1.0
    ema_decay: float = 0.99
    """Decay of the weights' moving average, which is the result of a stage; it reaches back 1/(1 - decay) steps, fewer
    while few have been taken."""
    checkpoint_every: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedGroup:
    """Parameters that share a learning rate, as a share of the schedule's."""

    parameters: Sequence[nn.Parameter]
    rate_share: float = 1.0


def step_generator(seed: int, stage: str, step: int) -> torch.Generator:
    """The randomness of one step; the same whenever and wherever that step is taken."""
    return torch.Generator().manual_seed(member_seed(seed, stage, step))


def run_stage(
    module: nn.Module,
    groups: Sequence[TrainedGroup],
    loss_of_step: Callable[[int], Tensor],
    schedule: Schedule,
    checkpoint: Path,
) -> None:
    """Train `module` in place, from `checkpoint` if it exists; at the end it holds the averaged weights.

    Raises: RunMismatchError: the checkpoint is from a training of another length.
            StorageError: the checkpoint can't be read.
            FloatingPointError: the loss is not finite.
    """
    parameters = [p for group in groups for p in group.parameters]
    optimiser = torch.optim.AdamW([{"params": list(g.parameters), "rate_share": g.rate_share} for g in groups], lr=0.0)
    average = MovingAverage(parameters, schedule.ema_decay)
    first = _resume(checkpoint, module, optimiser, average, schedule)
    losses = _Losses(at=first)
    with stage(f"training {checkpoint.stem}", schedule.steps, "steps", done=first) as training:
        for step in range(first, schedule.steps):
            done, loss = step + 1, loss_of_step(step)
            is_kept = done % schedule.checkpoint_every == 0 or done == schedule.steps
            losses.add(loss.detach())
            if is_kept or _is_at_hand(loss) or done % FETCHED_TOGETHER == 0:
                losses.fetch()
            _take_step(loss, parameters, optimiser, schedule, step)
            average.update(done)
            training.reach(done, losses.shown)
            if is_kept:
                _save_checkpoint(checkpoint, module, optimiser, average, schedule, done)
    average.write_to_model()


class _Losses:
    """The losses of the last steps, some of which a GPU may still be computing."""

    def __init__(self, at: int) -> None:
        self._step, self._waiting = at, list[Tensor]()
        self._last = deque[float](maxlen=LOSSES)

    def add(self, loss: Tensor) -> None:
        """Take note of the next step's loss; nobody waits for it."""
        self._waiting.append(loss)

    def fetch(self) -> None:
        """Wait for all of them. Raises: FloatingPointError: one is not finite."""
        for value in torch.stack(self._waiting).tolist():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss of step {self._step} is {value}, and would be again: begin in another --out, with "
                    "another --seed or, for sod distil, a lower --learning-rate"
                )
            self._last.append(value)
            self._step += 1
        self._waiting.clear()

    @property
    def shown(self) -> str:
        """The mean of those that were fetched, in words."""
        return f"loss {sum(self._last) / len(self._last):.4f}" if self._last else ""


def _is_at_hand(loss: Tensor) -> bool:
    """Whether nobody has to wait for it."""
    return loss.device.type == "cpu"


def _take_step(
    loss: Tensor, parameters: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer, schedule: Schedule, step: int
) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["rate_share"] * learning_rate(schedule, step)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, schedule.max_grad_norm)
    optimiser.step()


def learning_rate(schedule: Schedule, step: int) -> float:
    """Linear from zero over `warmup_steps`, then half a cosine down to zero at `steps`."""
    if step < schedule.warmup_steps:
        return schedule.learning_rate * (step + 1) / schedule.warmup_steps
    done = (step - schedule.warmup_steps) / max(1, schedule.steps - schedule.warmup_steps)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _save_checkpoint(
    checkpoint: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: MovingAverage,
    schedule: Schedule,
    step: int,
) -> None:
    state = {
        "step": step,
        "steps": schedule.steps,
        "module": module.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average.shadow,
    }
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    beside = checkpoint.with_suffix(".tmp")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(checkpoint)


def is_complete(checkpoint: Path, steps: int) -> bool:
    """Whether a stage of this many steps has taken them all; its checkpoint may be missing.

    Raises: RunMismatchError, StorageError: as `run_stage`.
    """
    return checkpoint.exists() and bool(_read_checkpoint(checkpoint, steps)["step"] == steps)


def _resume(
    checkpoint: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: MovingAverage,
    schedule: Schedule,
) -> int:
    if not checkpoint.exists():
        return 0
    state = _read_checkpoint(checkpoint, schedule.steps)
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
    for shadow, saved in zip(average.shadow, state["average"], strict=True):
        shadow.copy_(saved)
    log.info("%s: resuming at step %d of %d", checkpoint.stem, state["step"], schedule.steps)
    return int(state["step"])


def _read_checkpoint(checkpoint: Path, steps: int) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location="cpu")
    except Exception as error:
        raise StorageError(f"{checkpoint} is not a readable checkpoint ({error}): delete it to start again") from error
    missing = CHECKPOINT_KEYS - state.keys() if isinstance(state, dict) else CHECKPOINT_KEYS
    if missing:
        raise StorageError(
            f"{checkpoint} is not one of our checkpoints, it lacks {sorted(missing)}: delete it to start again"
        )
    if state["steps"] != steps:
        raise RunMismatchError(
            f"{checkpoint} is from a training of {state['steps']} steps, this one has {steps}: "
            "give another --out, or delete the file to start this stage again"
        )
    return state
