"""What a training begins or goes on with: weights, data, the claim on the output folder, the newest checkpoint."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.config import ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.training_start import is_stable_diffusion, load_branch_or_backbone, load_start
from model.weights import weights_sha256
from pipeline.errors import ConfigError, RunMismatchError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.made_with import differences, refusal
from pipeline.training.config import TrainingConfig
from pipeline.training.pairs import TrainingPair
from pipeline.training.state import TrainingState, checkpoints

_CLAIM = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a training is and how fast; follows from data, workers and configuration."""

    steps: int
    steps_per_epoch: int
    validation_steps: int
    learning_rate: float

    @classmethod
    def of(cls, config: TrainingConfig, pairs: int, world: int) -> "Plan":
        """For a number of training pairs and of workers."""
        images_per_step = config.train_batch_size * config.optimiser.gradient_accumulation_steps * world
        steps_per_epoch = -(-pairs // images_per_step)
        return cls(
            steps=config.max_train_steps or config.num_train_epochs * steps_per_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=config.validation_steps or steps_per_epoch,
            learning_rate=config.optimiser.learning_rate * (images_per_step if config.optimiser.scale_lr else 1),
        )


def starting_weights(config: TrainingConfig) -> SODDiffusionPipeline:
    """In float32, on the CPU, with the target and the resolution that were asked for.

    Raises: ConfigError: there are no such weights.
    """
    with _named_in_errors(config) as folder:
        pipeline = load_start(folder, seed=config.seed)
    if config.swinb_model_path is not None:
        with _fault_of("--swinb-model-path"):
            load_branch_or_backbone(pipeline.conditioner, config.swinb_model_path)
    if config.loss.prediction_type:
        pipeline.scheduler.register_to_config(prediction_type=config.loss.prediction_type)
    if config.processing_res:
        pipeline.default_processing_res = config.processing_res
        pipeline.register_to_config(default_processing_res=config.processing_res)
    return pipeline


@contextlib.contextmanager
def _named_in_errors(config: TrainingConfig) -> Iterator[Path]:
    """The folder of the weights to begin with; what goes wrong with it inside the block is the option's fault."""
    model = ModelConfig(model=config.pretrained_model_name_or_path)
    with _fault_of(f"--pretrained-model-name-or-path {model.model}"):
        if model.is_fake:
            raise ValueError("the stand-in has no weights to learn")
        if is_stable_diffusion(model.folder) and config.swinb_model_path is None:
            raise ValueError("it has no conditioner; weights to begin one with go to --swinb-model-path")
        yield model.folder


@contextlib.contextmanager
def _fault_of(option: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option}: {error}") from error


def claim_of(config: TrainingConfig, pairs: tuple[TrainingPair, ...], world: int) -> dict[str, Any]:
    """What decides the losses: a training goes on only with the same.

    Raises: ConfigError: there are no such weights.
    """
    names = "".join(f"{pair.image}\0{pair.mask}\0" for pair in pairs)
    with _named_in_errors(config) as folder:
        weights = weights_sha256(folder)
    with _fault_of("--swinb-model-path"):
        branch = config.swinb_model_path and storage.stored_file_at(config.swinb_model_path).sha256
    claim = {
        "weights": weights,
        "swinb": branch,
        "pairs": len(pairs),
        "pairs_sha256": hashlib.sha256(names.encode()).hexdigest(),
        "flip": config.data.flip,
        "min_crop": config.data.min_crop,
        **asdict(config.optimiser),
        **asdict(config.loss),
        "workers": world,
        "seed": config.seed,
        "train_batch_size": config.train_batch_size,
        "processing_res": config.processing_res,
        "mixed_precision": config.mixed_precision,
    }
    if not config.optimiser.lr_scheduler.startswith("constant"):  # the others end with the training
        claim |= {"max_train_steps": config.max_train_steps, "num_train_epochs": config.num_train_epochs}
    return claim


def settle_claim(config: TrainingConfig, claim: dict[str, Any]) -> None:
    """Write the claim into an output folder, or compare with the one that is there.

    Raises: RunMismatchError: the folder holds a training with other settings, or one that was not to be gone on with.
    """
    if not storage.create(storage.join(str(config.output_dir), _CLAIM), encode_json(claim)):
        check_claim(config, claim)


def check_claim(config: TrainingConfig, claim: dict[str, Any]) -> None:
    """Compare the claim with one that is in the output folder, if one is, and write nothing.

    Raises: RunMismatchError: as `settle_claim`.
    """
    url = storage.join(str(config.output_dir), _CLAIM)
    if not storage.exists(url):
        return
    if config.resume_from_checkpoint == "none":
        raise RunMismatchError(f"{config.output_dir} holds a training; give another --output-dir, or let it go on")
    if found := differences(json.loads(storage.read(url)), claim):
        subject = f"{config.output_dir} holds a training with other settings"
        raise RunMismatchError(refusal(subject, found, "Request its settings, or give another --output-dir"))


def resume(state: TrainingState, config: TrainingConfig) -> Path | None:
    """Load the checkpoint to go on from: the newest, or the one that is named.

    Returns: its folder; None at the beginning.
    Raises: ConfigError: there is no checkpoint of that name. StorageError: it is torn.
    """
    there = checkpoints(config.output_dir)
    if config.resume_from_checkpoint in ("latest", "none"):
        checkpoint = there[-1] if there else None
    else:
        checkpoint = next((path for path in there if path.name == config.resume_from_checkpoint), None)
        if checkpoint is None:
            names = ", ".join(path.name for path in there) or "none"
            raise ConfigError(
                f"--resume-from-checkpoint {config.resume_from_checkpoint}: {config.output_dir} has {names}"
            )
    if checkpoint is not None:
        state.load(checkpoint)
    return checkpoint
