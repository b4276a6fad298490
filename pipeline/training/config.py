"""Options of a training; names and defaults are the reference's where it has them."""

import importlib.util
import math
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from model.config import (
    MAX_IMAGE_PIXELS,
    MOST_DENOISE_STEPS,
    SIDE_MULTIPLE,
    LossConfig,
    ModelConfig,
    at_least,
    check_seed,
)
from pipeline.collection.config import require_pixel_limit
from pipeline.devices import gpus_here
from pipeline.errors import ConfigError
from pipeline.options import require_positive
from pipeline.preconditions import has_cluster, require_target, require_there

LearningRateSchedule = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"
]
_POLYNOMIAL_END = 1e-7
"""Final learning rate of diffusers' polynomial schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Training data: two list files, two folders, or a release of this project."""

    train_img_list: Path | None = None
    """Text file with one image path per line; relative paths are relative to the file's folder."""
    train_gt_list: Path | None = None
    """Text file with one mask path per line, in the order of the images."""
    train_img: Path | None = None
    """Folder of images, instead of lists; masks have the same names up to the suffix."""
    train_gt: Path | None = None
    """Folder of masks."""
    train_release: Path | None = None
    """Folder of a release of this project, whose tars are read, instead of lists or folders."""
    val_img: Path | None = None
    """Folder of validation images; without it, nothing is validated and only the last weights are kept."""
    val_gt: Path | None = None
    """Folder of validation masks."""
    max_image_pixels: int = MAX_IMAGE_PIXELS
    """Images and masks of more pixels are refused. At most 500,000,000."""
    flip: bool = False
    """Mirror half of the training images at random. The reference does not."""
    min_crop: float = 1.0
    """Smallest side of a random crop relative to the image's, above 0 to 1; 1 means no crops, as in the reference."""
    masks: Literal["grey", "binary"] = "grey"
    """`grey`: masks keep their grey levels, as in the reference. `binary`: what is above half of the range is salient,
    the rest is not, as in an evaluation; grey edges of JPEGs then teach nothing."""
    mask_resize: Literal["bicubic", "bilinear"] = "bicubic"
    """How masks are resized. `bicubic`, as in the reference; `bilinear` adds no dark and bright seams to grey masks."""
    dataloader_num_workers: int = 0
    """Processes per worker that read and decode ahead; 0 reads between steps. Changes no result."""

    def __post_init__(self) -> None:
        sources = {
            "--train-img-list and --train-gt-list": (self.train_img_list, self.train_gt_list),
            "--train-img and --train-gt": (self.train_img, self.train_gt),
            "--train-release": (self.train_release,),
        }
        given = [name for name, paths in sources.items() if any(paths)]
        if len(given) != 1:
            raise ValueError(f"training data is given {len(given)} times; give one of: {'; '.join(sources)}")
        for name, paths in {**sources, "--val-img and --val-gt": (self.val_img, self.val_gt)}.items():
            if any(paths) and not all(paths):
                raise ValueError(f"{name} belong together; one of them is missing")
        if not 0 < self.min_crop <= 1:
            raise ValueError(f"min_crop is {self.min_crop}; it must be above 0 and at most 1")
        at_least(self, 0, "dataloader_num_workers")
        require_pixel_limit(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """How losses change the weights."""

    learning_rate: float = 3e-5
    """Peak of AdamW's learning rate."""
    conditioner_rate_share: float = 1.0
    """The conditioner learns at this share of the rate; 0 freezes it."""
    scale_lr: bool = False
    """Multiply the learning rate by batch size, accumulated batches and workers."""
    lr_scheduler: LearningRateSchedule = "constant"
    """Schedule of the learning rate, one of diffusers'."""
    lr_warmup_steps: int = 500
    """Steps over which schedules with a warm-up raise the rate from 0."""
    adam_beta1: float = 0.9
    """AdamW's decay of the gradient's moving average."""
    adam_beta2: float = 0.999
    """AdamW's decay of the squared gradient's moving average."""
    adam_weight_decay: float = 1e-2
    """AdamW's weight decay."""
    adam_epsilon: float = 1e-8
    """AdamW's term against division by 0."""
    max_grad_norm: float = 1.0
    """Norm to which longer gradients of the UNet are cut (1e9: none); as in the reference, only the UNet's are."""
    gradient_accumulation_steps: int = 1
    """Batches whose gradients are added up for one step."""
    use_ema: bool = False
    """Keep a moving average of the weights; validation and the saved model then use it."""
    ema_decay: float = 0.9999
    """Share of itself that the average keeps at each step, 0 to 1; it rises to this value over the first steps."""

    def __post_init__(self) -> None:
        at_least(self, 1, "gradient_accumulation_steps")
        at_least(self, 0, "lr_warmup_steps", "conditioner_rate_share", "adam_weight_decay")
        require_positive(self, "learning_rate", "adam_epsilon", "max_grad_norm")
        if self.max_grad_norm == math.inf:  # JSON, which the claim is, has no infinity
            raise ValueError("max_grad_norm is inf; to cut no gradient, give a norm that none has, such as 1e9")
        for name in ("adam_beta1", "adam_beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if self.lr_scheduler == "polynomial" and not self.scale_lr and self.learning_rate <= _POLYNOMIAL_END:
            raise ValueError(
                f"learning_rate is {self.learning_rate}; it must be above {_POLYNOMIAL_END}, where lr_scheduler "
                "polynomial ends"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersConfig:
    """Where it runs. Workers change the effective batch, threads the last bits; the rest changes no result."""

    engine: Literal["ray", "inline"] = "ray"
    """`ray`: workers of Ray Train, on the cluster of RAY_ADDRESS or one started here. `inline`: this process alone."""
    workers: int = 0
    """Number of workers, each with a GPU if the cluster has any; 0 is one per GPU, or a single one without GPUs."""
    threads: int = 0
    """CPU threads per worker; 0 is all cores."""
    max_failures: int = 3
    """How often workers may die; each time, training resumes from the last checkpoint."""

    def __post_init__(self) -> None:
        at_least(self, 0, "workers", "threads", "max_failures")
        if self.engine == "inline" and self.workers > 1:
            raise ValueError(f"workers is {self.workers}; engine inline is this process alone: use engine ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Where metrics go, in addition to OUTPUT_DIR/metrics.csv, which is always written."""

    report_to: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    """Where to report, too. A resumed training is another run of wandb."""
    logging_dir: Path = Path("tensorboard")
    """Folder of TensorBoard's files, relative to the output folder."""
    tracker_project_name: str | None = None
    """Project in wandb. If left out, salient-detection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredConfig:
    """Options of the reference without effect here; accepted so that its command lines run."""

    enable_xformers_memory_efficient_attention: bool = False
    """Ignored: torch's own attention saves the same memory."""
    local_rank: int = -1
    """Ignored: Ray Train numbers the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Fine-tune SOD-diffusion: the UNet and the conditioner learn, the VAE is frozen.

    The result is OUTPUT_DIR/model, for --model. After an interruption, run the same command again to resume from the
    newest checkpoint.
    """

    pretrained_model_name_or_path: str = "nano"
    """Starting weights: a model folder, `nano`, or Stable Diffusion 2's folder together with `swinb_model_path`."""
    swinb_model_path: Path | None = None
    """Starting weights of the conditioner, `.pth` or `.safetensors`: a whole branch of SOD-diffusion, or a Swin-B
    classifier for its backbone. Required with Stable Diffusion 2's own folder, which has no conditioner."""
    output_dir: Path
    """Folder for checkpoints, metrics, pictures and the model."""
    data: DataConfig
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    cluster: WorkersConfig = field(default_factory=WorkersConfig)
    seed: int = 0
    """Determines order, crops, noise and timesteps; 0 to 2^63 - 1."""
    train_batch_size: int = 4
    """Images per worker and batch."""
    num_train_epochs: int = 500
    """Passes over the training data, unless `max_train_steps` is given."""
    max_train_steps: int | None = None
    """Optimiser steps; overrides the epochs."""
    processing_res: int | None = None
    """Height and width in pixels that images and masks are resized to, a multiple of 32; if left out, the size that the
    weights were trained for (384 for the reference)."""
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    """Precision of activations; weights stay in float32. fp16 scales the loss."""
    checkpointing_steps: int = 1000
    """Steps between checkpoints."""
    checkpoints_total_limit: int | None = 3
    """How many of the newest checkpoints to keep. `None` keeps all."""
    resume_from_checkpoint: str = "latest"
    """`latest`, the name of a checkpoint in the output folder (later ones are renamed and no longer used), or `none` to
    start a new training in an empty folder."""
    validation_steps: int | None = None
    """Steps between validations; if left out, one per epoch."""
    best_by: Literal["mae", "s_measure", "max_f"] = "mae"
    """Measure that decides which model OUTPUT_DIR/best keeps."""
    validation_ensemble_size: int = 1
    """Members per image in a validation."""
    validation_denoise_steps: int | None = None
    """DDIM steps per member in a validation, 1 to 999. If left out, as many as the weights say that they need: the
    saved models will say the same."""
    gradient_checkpointing: bool = False
    """Compute the UNet's activations twice instead of keeping them: less memory, a third more time."""
    save_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the saved models."""
    reports: ReportConfig = field(default_factory=ReportConfig)
    ignored: IgnoredConfig = field(default_factory=IgnoredConfig)

    def __post_init__(self) -> None:
        at_least(self, 1, "train_batch_size", "num_train_epochs", "checkpointing_steps", "validation_ensemble_size")
        at_least(self, 1, "max_train_steps", "checkpoints_total_limit", "validation_steps")
        if self.validation_denoise_steps is not None and not 1 <= self.validation_denoise_steps <= MOST_DENOISE_STEPS:
            raise ValueError(f"validation_denoise_steps is {self.validation_denoise_steps}; it must be from 1 to 999")
        if self.processing_res is not None and (self.processing_res < 1 or self.processing_res % SIDE_MULTIPLE):
            raise ValueError(f"processing_res is {self.processing_res}; it must be a multiple of {SIDE_MULTIPLE}")
        check_seed(self.seed)


def with_absolute_paths(config: TrainingConfig) -> TrainingConfig:
    """Make all paths absolute: workers have another working folder than the command."""
    values = {option.name: getattr(config.data, option.name) for option in fields(config.data)}
    data: dict[str, Any] = {name: value.absolute() for name, value in values.items() if isinstance(value, Path)}
    model = ModelConfig(model=config.pretrained_model_name_or_path)
    return replace(
        config,
        data=replace(config.data, **data),
        swinb_model_path=config.swinb_model_path and config.swinb_model_path.absolute(),
        output_dir=config.output_dir.absolute(),
        pretrained_model_name_or_path=str(model.folder.absolute()) if model.is_folder else model.model,
    )


def without_effect(config: TrainingConfig) -> list[str]:
    """The given options that do nothing in this training, each with the reason."""
    given = {
        "--enable-xformers-memory-efficient-attention (torch's own attention saves the same memory)": (
            config.ignored.enable_xformers_memory_efficient_attention
        ),
        "--local-rank (Ray Train numbers the workers)": config.ignored.local_rank != -1,
        "--tracker-project-name (only wandb has projects)": (
            config.reports.tracker_project_name is not None and config.reports.report_to != "wandb"
        ),
        "--logging-dir (only TensorBoard writes there)": (
            config.reports.logging_dir != ReportConfig().logging_dir and config.reports.report_to != "tensorboard"
        ),
    }
    return [option for option, is_given in given.items() if is_given]


def require_packages(config: TrainingConfig) -> None:
    """Refuse a training whose optional packages are not installed.

    Raises: ConfigError: some are missing; the message gives the command that installs them.
    """
    needed = dict.fromkeys(("pandas", "pydantic", "requests"), "'ray[train]'") | {"py_sod_metrics": "pysodmetrics"}
    if config.reports.report_to != "none":
        needed[config.reports.report_to] = config.reports.report_to
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        command = " ".join(["pip install", *dict.fromkeys(needed[name] for name in missing)])
        if missing != ["wandb"]:
            command += ", or the whole extra, in the project's folder: pip install '.[train]'"
        raise ConfigError(f"training needs {', '.join(missing)}, which can't be found: {command}")


def require_places(config: TrainingConfig) -> None:
    """Refuse a training whose data or weights are not there, or whose folder can't be written to, before torch loads.

    Raises: CollectionError: a file or folder is missing. ConfigError: the weights are, or nothing can be written.
    """
    for option in fields(config.data):
        if isinstance(place := getattr(config.data, option.name), Path):
            require_there(place, f"--{option.name.replace('_', '-')}")
    if config.swinb_model_path is not None:
        require_there(config.swinb_model_path, "--swinb-model-path")
    if ModelConfig(model=config.pretrained_model_name_or_path).is_folder:
        require_there(config.pretrained_model_name_or_path, "--pretrained-model-name-or-path")
    require_target(config.output_dir, "--output-dir")
    most = os.cpu_count() or 1
    if config.cluster.engine == "ray" and not has_cluster() and config.cluster.workers > max(most, gpus_here()):
        raise ConfigError(
            f"--workers {config.cluster.workers}: this machine has {most} CPUs and {gpus_here()} GPUs, one per worker; "
            f"give at most {max(most, gpus_here())}, or connect to a cluster (RAY_ADDRESS)"
        )
