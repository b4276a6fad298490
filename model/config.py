"""What can be set about the model and its ensemble; light to import, so that `--help` is instant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

EMBEDDED_MODEL = Path(__file__).resolve().parent / "nano"
"""The weights that come with the project."""

SIDE_MULTIPLE = 32
"""Processed height and width are multiples of this: the conditioner's coarsest map has stride 32."""

Reduction = Literal["mean", "median"]
Alignment = Literal["none", "affine", "reference"]
ResizeFilter = Literal["bilinear", "bicubic"]
TimestepSpacing = Literal["trained", "leading", "trailing"]
AttentionKernels = Literal["auto", "flash", "efficient", "math"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Which weights, where, and in which precision."""

    model: str = "nano"
    """A folder saved by `save_pretrained`, or `nano` for the weights that come with the project. `fake` is an instant
    stand-in without weights, for trying out the pipeline (options: see model/fake.py)."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:0` …; `auto` is the GPU if torch sees one. A GPU and a CPU differ in the last bits."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of weights and activations. Half precision is faster on GPUs and moves masks a little."""
    threads: int = 1
    """CPU threads of one replica, at least 1. More threads, fewer replicas; it changes the last bits of a result."""
    memory_format: Literal["channels_last", "contiguous"] = "channels_last"
    """How images lie in memory; changes the last bits. `channels_last` is what tensor cores want; on a CPU it took the
    nano model 0.9 to 0.95 of the time."""
    attention: AttentionKernels = "auto"
    """Kernels for attention: torch's choice, or one kind only. `math` takes memory for every pair of places."""
    compile: bool = False
    """Compile the UNet when it first runs (torch.compile): minutes for each new size of batch, paid back by long runs.
    Where that fails, work goes on without. Changes the last bits."""
    keep_memory: bool = True
    """On a CPU, keep memory that was freed for the next layer (glibc only, for the whole process): fewer page faults,
    0.84 to 0.92 of the time. Changes no result."""

    def __post_init__(self) -> None:
        at_least(self, 1, "threads")

    @property
    def is_fake(self) -> bool:
        """Is the stand-in meant?"""
        return self.model.partition(":")[0] == "fake"

    @property
    def is_folder(self) -> bool:
        """Is a folder of the user's meant?"""
        return self.model != "nano" and not self.is_fake

    @property
    def folder(self) -> Path:
        """Where the weights lie."""
        return Path(self.model) if self.is_folder else EMBEDDED_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleConfig:
    """How an image is predicted. Every field changes what is computed, so none may change within a run."""

    ensemble_size: int = 10
    """Members per image, at least 1: denoising runs from different noise. Time grows with it, the variance steadies;
    one member has none."""
    adaptive: Literal["off", "on"] = "off"
    """`on`: members come in rounds (3, then 2 at a time), and an image stops once its verdict stands clear of the
    policy's bounds: sure images cost 3 members, doubtful ones all. The candidates are then made for that policy; under
    another one, their scores are as good as so many members make them. `off`: every image has the whole ensemble."""
    denoise_steps: int = 10
    """DDIM steps of a member, 1 to 999: leading spacing has no 1000. Time grows with it."""
    timestep_spacing: TimestepSpacing = "trained"
    """Which timesteps the steps are at: `trained` is what the weights' own scheduler says (leading for Stable Diffusion
    2, trailing for the embedded model). `trailing` begins at the noisiest one, which 1 to 4 steps need."""
    processing_res: int | None = None
    """Height and width in pixels that images are resized to, a multiple of 32. `None` is what the weights were trained
    for; 0 is each image's own size (its edges repeated up to a multiple of 64), where time and memory grow with it."""
    batch_images: int = 4
    """Images predicted together, at least 1. More fill a GPU better and take memory; it changes the last bits of a
    result, so batches are cut by the plan, never by what is free. Of loose photos (jobs/predict.py) it follows from
    `batch_size` instead."""
    batch_size: int | None = None
    """Ensemble members (of all images together) that the UNet and the decoder see at once. `None` is all of a batch,
    but at images' own sizes no more than 0 would be; 0 is as many as the free memory holds, so that the last bits of a
    result follow from the machine. Where memory runs out, it is halved."""
    seed: int = 0
    """Seed of the run, 0 to 2^63 - 1. Each (image, member) draws its own noise from it."""
    alignment: Alignment = "none"
    """`none`: members count as they are, a saliency map has an absolute scale. `affine`: each member is scaled and
    shifted to agree with the others. `reference`: the same by the reference's optimiser, steered by rounding noise."""
    reduction: Reduction = "mean"
    """How members become one map: their mean or (the lower) median at each pixel."""
    stretch: bool = False
    """Stretch each saliency map to the range from 0 to 1, so that every image shows a salient object."""
    batch_stats: bool = False
    """The conditioner's axial layers normalise by the statistics of the image at hand instead of the trained ones."""
    resize_filter: ResizeFilter = "bilinear"
    """How maps come back to the image's own size; `bicubic` can overshoot at edges and is cut at 0 and 1."""

    def __post_init__(self) -> None:
        at_least(self, 1, "ensemble_size", "batch_images")
        at_least(self, 0, "batch_size")
        if not 1 <= self.denoise_steps <= 999:
            raise ValueError(f"denoise_steps is {self.denoise_steps}; it must be from 1 to 999")
        if self.processing_res is not None and (self.processing_res < 0 or self.processing_res % SIDE_MULTIPLE):
            raise ValueError(f"processing_res is {self.processing_res}; it must be 0 or a multiple of {SIDE_MULTIPLE}")
        check_seed(self.seed)
        if self.adaptive == "on" and (self.alignment, self.reduction, self.stretch) != ("none", "mean", False):
            raise ValueError(
                f"adaptive is 'on', which judges the mean of the members as they are: alignment is {self.alignment!r}, "
                f"reduction {self.reduction!r}, stretch {self.stretch}; have them none, mean and False, or adaptive off"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """What a step of training minimises."""

    prediction_type: Literal["", "v_prediction", "epsilon"] = ""
    """What the UNet learns to give; empty is what the scheduler of the weights says (v for Stable Diffusion 2)."""
    multires_noise_iterations: int = 6
    """Coarser copies in the noise; 0 is plain Gaussian noise."""
    multires_noise_discount: float = 0.3
    """Strength of each copy as a share of the one before, 0 to 1."""
    timestep_exponent: float = 1.0
    """Timesteps are 999 u^exponent of a uniform u: below 1 leans towards noise. The reference draws them evenly."""
    auxiliary_weight: float = 1.0
    """Weight of the conditioner's own loss: a convolution of its features against the mask at an eighth of the size."""

    def __post_init__(self) -> None:
        at_least(self, 0, "multires_noise_iterations", "multires_noise_discount", "auxiliary_weight")
        if self.timestep_exponent <= 0:
            raise ValueError(f"timestep_exponent is {self.timestep_exponent}; it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetOption:
    """One option of a preset, and what it does."""

    value: Any
    effect: str


REFERENCE_PRESET = {
    "alignment": PresetOption(
        value="reference", effect="members are scaled and shifted towards each other, by an optimiser that noise steers"
    ),
    "reduction": PresetOption(value="median", effect="the map is the lower median of the members, not their mean"),
    "stretch": PresetOption(value=True, effect="every map is stretched from 0 to 1, with or without a salient object"),
    "batch_stats": PresetOption(
        value=True,
        effect="the conditioner's batch norm takes the statistics of the image at hand, not the trained ones",
    ),
    "resize_filter": PresetOption(value="bicubic", effect="maps come back to the image's size bicubically"),
}
"""The options of `EnsembleConfig` with which the released SOD-diffusion code works, as far as they differ from ours.
Its stochastic depth, which stays on while it predicts, is not among them: it is noise without a seed."""


def at_least(config: object, bound: int | float, *names: str) -> None:
    """Refuse fields below a bound; `None` is no value to compare.

    Raises: ValueError: a field is; the message has its name, its value and the bound.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < bound:
            raise ValueError(f"{name} is {value}; it must be at least {bound}")


def check_seed(seed: int) -> None:
    """Refuse what is no seed.

    Raises: ValueError: it is out of range.
    """
    if not 0 <= seed < 1 << 63:
        raise ValueError(f"seed is {seed}; it must be from 0 to 2^63 - 1")
