"""The state of a training (weights, optimiser, learning rate, moving average, step) and its checkpoints.

A checkpoint is a folder that gets its name when it is complete. It stores no random state: the step determines all
random numbers.
"""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from model.checkpoint_files import load_torch
from model.fine_tuning import FineTuning
from pipeline.errors import StorageError
from pipeline.files import local_disk
from pipeline.training.config import OptimiserConfig, TrainingConfig

_NAME = re.compile(r"checkpoint-(\d+)")
_PARTIAL = ".partial"
_FILES = ("networks.safetensors", "optimiser.pt")


class TrainingState:
    """The networks in training, and everything that their optimiser remembers."""

    def __init__(self, networks: FineTuning, config: TrainingConfig, learning_rate: float, steps: int) -> None:
        options = config.optimiser
        self.networks = networks
        self.step = 0
        """Steps taken so far."""
        self.pending: list[list[float]] = []
        """Losses (total, diffusion, auxiliary) since the last row of metrics."""
        self.optimiser = torch.optim.AdamW(
            list(_groups(networks, options, learning_rate)),
            lr=learning_rate,
            betas=(options.adam_beta1, options.adam_beta2),
            weight_decay=options.adam_weight_decay,
            eps=options.adam_epsilon,
        )
        self.schedule: Any = get_scheduler(
            options.lr_scheduler,
            self.optimiser,
            num_warmup_steps=options.lr_warmup_steps,
            num_training_steps=steps,
        )
        self._device = next(networks.parameters()).device
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=config.mixed_precision == "fp16")
        self.average: Any = EMAModel(list(networks.parameters()), decay=options.ema_decay) if options.use_ema else None

    def take_step(self) -> None:
        """Update the weights with the accumulated gradients, then the moving average."""
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.scaler.get_scale() >= scale:  # else fp16 overflowed: the weights stayed, and the rate stays too
            self.schedule.step()
        self.optimiser.zero_grad()
        if self.average is not None:
            self.average.step(self.networks.parameters())
        self.step += 1

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the networks their averaged weights inside the block, if there is an average."""
        if self.average is None:
            yield
            return
        self.average.store(self.networks.parameters())
        self.average.copy_to(self.networks.parameters())
        try:
            yield
        finally:
            self.average.restore(self.networks.parameters())

    def save(self, folder: Path, limit: int | None) -> Path:
        """Write `folder/checkpoint-STEP`, then remove the oldest checkpoints beyond the limit."""
        final = folder / f"checkpoint-{self.step}"
        partial = final.with_name(final.name + _PARTIAL)
        for unfinished in folder.glob(f"checkpoint-*{_PARTIAL}"):  # left by a training that was killed
            _remove_files(unfinished)
        partial.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.contiguous() for name, value in self.networks.state_dict().items()}
        save_file(tensors, partial / _FILES[0])
        torch.save(self._memory(), partial / _FILES[1])
        for path in (partial / name for name in _FILES):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        replaced = [_without_name(final)] if final.exists() else []
        local_disk.rename_folder(partial, final)
        for old in checkpoints(folder)[: -limit if limit else 0]:
            replaced.append(_without_name(old))
        for old in replaced:
            _remove_files(old)
        return final

    def load(self, checkpoint: Path) -> None:
        """Restore a checkpoint of the same networks and settings.

        Raises: StorageError: it is torn, or of other networks.
        """
        try:
            tensors = load_file(checkpoint / _FILES[0])
            memory: dict[str, Any] = load_torch(checkpoint / _FILES[1])
            self.networks.load_state_dict(tensors)
            self.optimiser.load_state_dict(memory["optimiser"])
            self.schedule.load_state_dict(memory["schedule"])
            self.scaler.load_state_dict(memory["scaler"])
            if self.average is not None:
                self.average.load_state_dict(memory["average"])
                self.average.to(self._device)
            self.step, self.pending = int(memory["step"]), memory["pending"]
        except Exception as error:  # truncated or changed files raise errors of a dozen classes
            raise StorageError(f"can't resume from {checkpoint} ({error}): delete it to use the one before") from error

    def _memory(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "pending": self.pending,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
        }


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a folder, oldest first."""
    found = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def _without_name(checkpoint: Path) -> Path:
    """Rename it, so that it no longer counts as a checkpoint if the training is killed while it is removed."""
    return checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.{uuid.uuid4().hex}{_PARTIAL}"))


def _remove_files(folder: Path) -> None:
    """Remove what `save` wrote into a folder, and the folder too, unless the user keeps something in it."""
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _groups(networks: FineTuning, options: OptimiserConfig, learning_rate: float) -> Iterator[dict[str, Any]]:
    """Parameter groups: the UNet with the auxiliary convolution, and the conditioner, which may have another rate."""
    yield {"params": [*networks.unet.parameters(), *networks.auxiliary_head.parameters()]}
    if networks.conditioner_learns:
        rate = learning_rate * options.conditioner_rate_share
        yield {"params": list(networks.conditioner.parameters()), "lr": rate}
