"""How a training starts or resumes: length, weights, the claim on the output folder, the checkpoint."""

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from model.config import ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.documents import parse_json
from model.training_start import is_stable_diffusion, load_branch_or_backbone, load_start
from model.weights import weights_sha256
from pipeline.errors import ConfigError, RunMismatchError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.made_with import differences, refusal
from pipeline.progress.stages import say
from pipeline.progress.words import amount
from pipeline.training.config import TrainingConfig
from pipeline.training.pairs import TrainingPair
from pipeline.training.state import TrainingState, checkpoints

CLAIM = "training.json"
"""File in the output folder that says which training the folder belongs to."""

_TARGETS = ("v_prediction", "epsilon")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Length and learning rate of a training, from data, workers and configuration."""

    steps: int
    steps_per_epoch: int
    validation_steps: int
    learning_rate: float

    @classmethod
    def of(cls, config: TrainingConfig, pairs: int, world: int) -> "TrainingPlan":
        """Plan for a number of training pairs and a number of workers."""
        images_per_step = config.train_batch_size * config.optimiser.gradient_accumulation_steps * world
        steps_per_epoch = -(-pairs // images_per_step)
        return cls(
            steps=config.max_train_steps or config.num_train_epochs * steps_per_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=config.validation_steps or steps_per_epoch,
            learning_rate=config.optimiser.learning_rate * (images_per_step if config.optimiser.scale_lr else 1),
        )

    def in_words(self, pairs: int, config: TrainingConfig, world: int, device: str) -> str:
        """What will be done, for people."""
        per_step = config.train_batch_size * config.optimiser.gradient_accumulation_steps * world
        workers = f"{world} workers, the first on {device}" if world > 1 else device
        every = f"; a validation every {amount(self.validation_steps, 'steps')}" if config.data.val_img else ""
        return (
            f"{amount(pairs, 'photos')} with masks; {amount(self.steps, 'steps')} of {amount(per_step, 'photos')}, "
            f"{self.steps / self.steps_per_epoch:.3g} epochs{every}; on {workers}"
        )


def starting_weights(config: TrainingConfig) -> SODDiffusionPipeline:
    """Load the starting weights in float32, on the CPU, with the configured target and resolution.

    Raises: ConfigError: the weights do not exist or can't be trained.
    """
    with _starting_folder(config) as folder:
        pipeline = load_start(folder, seed=config.seed)
    if config.swinb_model_path is not None:
        with fault_of("--swinb-model-path"):
            load_branch_or_backbone(pipeline.conditioner, config.swinb_model_path)
    if config.loss.prediction_type:
        pipeline.scheduler.register_to_config(prediction_type=config.loss.prediction_type)
    if (found := pipeline.scheduler.config.prediction_type) not in _TARGETS:
        raise ConfigError(f"the weights' scheduler predicts {found!r}; give --prediction-type {' or '.join(_TARGETS)}")
    if config.processing_res:
        pipeline.set_processing_res(config.processing_res)
    return pipeline


@contextlib.contextmanager
def _starting_folder(config: TrainingConfig) -> Iterator[Path]:
    """The folder of the starting weights; errors inside the block name the option."""
    model = ModelConfig(model=config.pretrained_model_name_or_path)
    with fault_of(f"--pretrained-model-name-or-path {model.model}"):
        if model.is_fake:
            raise ValueError("the stand-in has no weights to train")
        if is_stable_diffusion(model.folder) and config.swinb_model_path is None:
            raise ValueError("it has no conditioner; give starting weights for one with --swinb-model-path")
        yield model.folder


@contextlib.contextmanager
def fault_of(option: str) -> Iterator[None]:
    """Turn errors inside the block into a ConfigError that names the option."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option}: {error}") from error


def claim_of(config: TrainingConfig, pairs: tuple[TrainingPair, ...], world: int) -> dict[str, Any]:
    """Everything that determines the losses; a training resumes only with an equal claim.

    Raises: ConfigError: the starting weights do not exist.
    """
    names = "".join(f"{pair.image}\0{pair.mask}\0" for pair in pairs)
    with _starting_folder(config) as folder:
        weights = weights_sha256(folder)
    with fault_of("--swinb-model-path"):
        branch = config.swinb_model_path and storage.stored_file_at(config.swinb_model_path).sha256
    claim = {
        "weights": weights,
        "swinb": branch,
        "pairs": len(pairs),
        "pairs_sha256": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        "flip": config.data.flip,
        "min_crop": config.data.min_crop,
        "masks": config.data.masks,
        "mask_resize": config.data.mask_resize,
        **asdict(config.optimiser),
        **asdict(config.loss),
        "workers": world,
        "seed": config.seed,
        "train_batch_size": config.train_batch_size,
        "processing_res": config.processing_res,
        "mixed_precision": config.mixed_precision,
    }
    if not config.optimiser.lr_scheduler.startswith("constant"):  # other schedules depend on the training's length
        claim |= {"max_train_steps": config.max_train_steps, "num_train_epochs": config.num_train_epochs}
    return claim


def claim_folder(config: TrainingConfig, claim: dict[str, Any]) -> None:
    """Write the claim into the output folder, or compare it with the existing one.

    Raises: RunMismatchError: the folder holds a training with other settings, or one that must not be resumed.
    """
    if not storage.create(storage.join(str(config.output_dir), CLAIM), encode_json(claim)):
        check_claim(config, claim)


def check_claim(config: TrainingConfig, claim: dict[str, Any]) -> None:
    """Compare the claim with the output folder's, if it has one; write nothing.

    Raises: RunMismatchError: see `claim_folder`.
    """
    url = storage.join(str(config.output_dir), CLAIM)
    if not storage.exists(url):
        return
    if config.resume_from_checkpoint == "none":
        raise RunMismatchError(
            f"{config.output_dir} holds a training; give another --output-dir, or --resume-from-checkpoint latest"
        )
    if found := differences(parse_json(storage.read(url)), claim):
        subject = f"{config.output_dir} holds a training with other settings"
        raise RunMismatchError(
            refusal(subject, found, "Use the settings it was begun with, or give another --output-dir")
        )


def resume(state: TrainingState, config: TrainingConfig) -> Path | None:
    """Load the checkpoint to resume from, and make it the newest.

    Returns: its folder; None at the start of a training.
    Raises: ConfigError: see `checkpoint_to_resume`. StorageError: the checkpoint is torn.
    """
    checkpoint = checkpoint_to_resume(config)
    if checkpoint is not None:
        state.load(checkpoint)
        _make_newest(checkpoint)
    return checkpoint


def resuming_from_newest(config: TrainingConfig) -> TrainingConfig:
    """Make the checkpoint to resume from the newest, so that workers that replace dead ones find what came after it.

    Returns: the configuration of all workers.
    Raises: ConfigError: see `checkpoint_to_resume`.
    """
    if (checkpoint := checkpoint_to_resume(config)) is not None:
        _make_newest(checkpoint)
    return replace(config, resume_from_checkpoint="latest")


def _make_newest(checkpoint: Path) -> None:
    """Rename later checkpoints. Those steps are taken again, and the old ones would pass for their newest result."""
    found = checkpoints(checkpoint.parent)
    later, ending = found[found.index(checkpoint) + 1 :], f".{uuid.uuid4().hex}.later"
    for path in later:
        path.rename(path.with_name(path.name + ending))
    if later:
        say(
            f"{', '.join(path.name for path in later)}: later than {checkpoint.name}, and so no longer used; kept in "
            f"{checkpoint.parent} with {ending} behind the name until you delete them"
        )


def checkpoint_to_resume(config: TrainingConfig) -> Path | None:
    """The newest checkpoint, or the configured one; None at the start of a training.

    Raises: ConfigError: there is no checkpoint of the configured name.
    """
    found, name = checkpoints(config.output_dir), config.resume_from_checkpoint
    if name in ("latest", "none"):
        return found[-1] if found else None
    for path in found:
        if path.name == name:
            return path
    names = ", ".join(path.name for path in found) or "no checkpoint"
    raise ConfigError(f"--resume-from-checkpoint {name}: {config.output_dir} has {names}")
