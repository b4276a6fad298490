"""Options of the model and its ensemble; light to import, so that `--help` is instant."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

EMBEDDED_MODEL = Path(__file__).resolve().parent / "nano"
"""The weights embedded in the project."""

_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")

SIDE_MULTIPLE = 32
"""In training, height and width are multiples of this, the stride of the conditioner's coarsest map."""
LEAST_SIDE_PX = 8
"""Latents have an eighth of the height and width, rounded down."""
LEAST_SIDE_OF_STATISTICS_PX = 33
"""The conditioner's coarsest map has a 32nd of the height and width, rounded up, and a single position has no variance
to normalise by."""

MOST_DENOISE_STEPS = 999
"""One less than the timesteps of training: leading spacing begins below the last of them."""

MAX_IMAGE_PIXELS = 89_000_000
"""Default limit on height x width of an image: as RGB, 267 MB of memory."""

Reduction = Literal["mean", "median"]
Alignment = Literal["none", "affine", "reference"]
ResizeFilter = Literal["bilinear", "bicubic"]
TimestepSpacing = Literal["trained", "leading", "trailing"]
AttentionKernels = Literal["auto", "flash", "efficient", "math"]
NoiseCopies = Literal["reference", "geometric"]
TimestepDraw = Literal["even", "rounded"]
MaskRange = Literal["batch", "absolute"]
AuxiliaryResize = Literal["bilinear", "area"]
AuxiliaryInit = Literal["kaiming", "torch"]
WantedDecoder = Literal["auto", "vae", "mask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Which weights to use, on which device and in which precision."""

    model: str = "nano"
    """A folder saved by `save_pretrained`, or its URL (s3://…, gs://…, hf://ORGANISATION/NAME@REVISION), or `nano` for
    the embedded weights. A URL is fetched once per machine, into SOD_CACHE or ~/.cache/sod-benchmark. `fake` is an
    instant stand-in without weights, for trying out the pipeline (options: see model/fake.py)."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:0` …; `auto` is the GPU if torch sees one. GPU and CPU differ in the last bits,
    and in more where a GPU has TF32, with which torch convolves float32."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Precision of weights and activations. Half precision is faster where the device has instructions for it, and
    changes masks slightly. `auto`: `bfloat16` on processors and GPUs that multiply its matrices, else `float32`; a line
    says which. The machine that starts a run decides, and a run that is resumed keeps its own."""
    threads: int = 1
    """CPU threads per replica, at least 1. More threads leave room for fewer replicas. Changes the last bits."""
    memory_format: Literal["channels_last", "contiguous"] = "channels_last"
    """Memory layout of images and activations. `channels_last` suits tensor cores; on a CPU the nano model took 0.9 to
    0.95 of the time with it. Changes the last bits."""
    attention: AttentionKernels = "auto"
    """Attention kernels: torch's choice, or one kind only. The memory of `math` grows with the square of the pixels."""
    compile: bool = False
    """Compile the UNet on first use (torch.compile). This takes minutes for each new batch size and pays off in long
    runs. If it fails, the run continues uncompiled. Changes the last bits."""
    decoder: WantedDecoder = "auto"
    """What turns latents into masks. `vae`: the VAE's own decoder, as in the reference. `mask`: the model's mask
    decoder, which paints nothing but masks in a fraction of the time (sod distil makes one); one that was distilled
    from another VAE is refused. `auto`: that one if it is this VAE's and agrees with it at `processing_res`: the sides
    next to it that were measured, below and above, have masks with an IoU of .995 or more."""
    keep_memory: bool = True
    """On a CPU, keep freed memory for the next layer (glibc only, for the whole process): fewer page faults, 0.84 to
    0.92 of the time. Changes no result."""

    def __post_init__(self) -> None:
        at_least(self, 1, "threads")

    @property
    def is_fake(self) -> bool:
        """Whether the model is the stand-in."""
        return self.model.partition(":")[0] == "fake"

    @property
    def is_folder(self) -> bool:
        """Whether the model is a folder given by the user."""
        return self.model != "nano" and not self.is_fake and not self.is_url

    @property
    def is_url(self) -> bool:
        """Whether the model is a folder elsewhere, which has to be fetched before it is used."""
        return bool(_URL.match(self.model))

    @property
    def folder(self) -> Path:
        """The folder that holds the weights.

        Raises: ValueError: it is at a URL.
        """
        if self.is_url:
            raise ValueError("a URL can't be used here; give a folder")
        return Path(self.model) if self.is_folder else EMBEDDED_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleConfig:
    """How an image is predicted. Every field changes the result, so none may change within a run."""

    ensemble_size: int | None = None
    """Members per image, at least 1: denoising runs from different noise. More members take more time and make the
    variance steadier; a single member has no variance. If left out, as many as the weights are made for
    (`default_ensemble_size` in their model_index.json; 10 for the embedded ones, and where it is missing)."""
    adaptive: Literal["off", "on"] = "off"
    """`on`: members come in rounds (3, then 2 at a time), and an image stops once its verdict is clear of the policy's
    bounds: sure images cost 3 members, doubtful ones all of them. The candidates are then made for that policy; under
    another policy, their scores are only as good as so few members allow. Loose photos (sod predict) have no policy:
    there an image stops once its map hardly moves any more. `off`: every image gets the whole ensemble.
    """
    denoise_steps: int | None = None
    """DDIM steps per member, 1 to 999 (leading spacing does not allow 1000). Time grows with the steps. If left out, as
    many as the weights are best with (`default_denoise_steps` in their model_index.json; 2 for the embedded ones, 10
    where it is missing)."""
    timestep_spacing: TimestepSpacing = "trained"
    """Timesteps of the steps. `trained`: as in the weights' own scheduler (leading for Stable Diffusion 2, trailing for
    the embedded model). `trailing`: start at the noisiest timestep, which 1 to 4 steps need."""
    processing_res: int | None = None
    """Height and width in pixels that images are resized to, at least 8, with `batch_stats` at least 33; maps have this
    size rounded down to a multiple of 8, until they are resized back. If left out, the size that the weights were
    trained for. 0: each image's own size (its edges repeated up to a multiple of 64); time and memory grow with it."""
    batch_images: int = 4
    """Images predicted together, at least 1. More images use a GPU better and take more memory. Changes the last bits,
    so the plan cuts the batches, never the free resources. For loose photos (sod predict), `batch_size` sets the
    number instead."""
    batch_size: int | None = None
    """Ensemble members (of all images together) that the UNet and the decoder process at once. If left out, the whole
    batch; at images' own sizes, capped as for 0. 0: as many as fit in free memory, so the last bits depend on the
    machine. The number is halved when memory runs out."""
    seed: int = 0
    """Seed of the run, 0 to 2^63 - 1. Each (image, member) draws its own noise from it."""
    alignment: Alignment = "none"
    """`none`: members stay unchanged, so a saliency map has an absolute scale. `affine`: each member is scaled and
    shifted to agree with the others. `reference`: the same by the reference's optimiser, which rounding noise steers.
    """
    reduction: Reduction = "mean"
    """How members become one map: their mean, or their (lower) median at each pixel."""
    stretch: bool = False
    """Stretch each saliency map to the range from 0 to 1; every image then shows a salient object."""
    batch_stats: bool = False
    """Let the conditioner's axial layers normalise by the current image's statistics instead of the trained ones."""
    resize_filter: ResizeFilter = "bilinear"
    """Filter that resizes maps to the image's own size; `bicubic` can overshoot at edges and is cut at 0 and 1."""

    def __post_init__(self) -> None:
        at_least(self, 1, "ensemble_size", "batch_images")
        at_least(self, 0, "batch_size")
        if self.denoise_steps is not None and not 1 <= self.denoise_steps <= MOST_DENOISE_STEPS:
            raise ValueError(f"denoise_steps is {self.denoise_steps}; it must be from 1 to {MOST_DENOISE_STEPS}")
        check_side("processing_res", self.processing_res, batch_stats=self.batch_stats)
        check_seed(self.seed)
        if self.adaptive == "on" and (self.alignment, self.reduction, self.stretch) != ("none", "mean", False):
            raise ValueError(
                f"adaptive is 'on', which judges the mean of unchanged members: alignment is {self.alignment!r}, "
                f"reduction {self.reduction!r}, stretch {self.stretch}; set them to none, mean and False, or adaptive "
                "to off"
            )

    @property
    def members(self) -> int:
        """Members per image. Raises: ValueError: it is left to the weights, which were not asked yet (`settled`)."""
        return _known("ensemble_size", self.ensemble_size)

    @property
    def steps(self) -> int:
        """DDIM steps per member. Raises: as `members`."""
        return _known("denoise_steps", self.denoise_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """What a training step minimises. The defaults are the reference's formulas."""

    prediction_type: Literal["", "v_prediction", "epsilon"] = ""
    """What the UNet learns to predict; empty: as in the weights' scheduler (v for Stable Diffusion 2)."""
    multires_noise_iterations: int = 6
    """Coarser copies in the noise; 0 is plain Gaussian noise."""
    multires_noise_discount: float = 0.3
    """Strength of each copy relative to the one before, 0 to 1."""
    multires_noise_copies: NoiseCopies = "reference"
    """Sizes of the copies. `reference`: the first has full size, and then they shrink ever faster, so that most of the
    additional energy is in the mean of the whole map. `geometric`: each is 2 to 4 times smaller than the one before, so
    that the energy is spread over all large scales."""
    timestep_exponent: float = 1.0
    """Timesteps are 1000 u^exponent for uniform u; below 1 favours noisy timesteps. The reference draws evenly (1)."""
    timestep_draw: TimestepDraw = "even"
    """`even`: whole numbers below 1000; with exponent 1, each is equally frequent. `rounded`: 999 u^exponent, rounded:
    0 and 999 are half as frequent. The embedded model was trained with it."""
    mask_range: MaskRange = "batch"
    """`batch`: masks are stretched to the range from 0 to 1, by the least and greatest value of the whole batch.
    `absolute`: masks stay as they are: what a grey level means does not depend on the other masks of the batch."""
    auxiliary_weight: float = 1.0
    """Weight of the conditioner's own loss: a convolution of its features against the mask at an eighth of the size."""
    auxiliary_resize: AuxiliaryResize = "bilinear"
    """How the mask becomes an eighth. `bilinear`: the mean of the middle 2 x 2 of each 8 x 8 pixels. `area`: the mean
    of all of them, so that thin objects are not missed."""
    auxiliary_init: AuxiliaryInit = "kaiming"
    """First weights of that convolution. `kaiming`: normal, with a standard deviation of 0.059. `torch`: torch's
    default, of 0.024, with which the loss begins lower and moves the conditioner less."""

    def __post_init__(self) -> None:
        at_least(self, 0, "multires_noise_iterations", "multires_noise_discount", "auxiliary_weight")
        if not self.timestep_exponent > 0:
            raise ValueError(f"timestep_exponent is {self.timestep_exponent}; it must be above 0")


def check_together(model: ModelConfig, ensemble: EnsembleConfig) -> None:
    """Refuse options of model and ensemble that contradict each other.

    Raises: ValueError: they do.
    """
    if model.attention == "math" and 0 in (ensemble.batch_size, ensemble.processing_res):
        raise ValueError(
            "attention is 'math', whose memory grows with the square of the pixels and can't be estimated: set "
            "batch_size (members at once) and processing_res (one size for all images), neither of them to 0"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetOption:
    """One option of a preset, and its effect."""

    value: Any
    effect: str


REFERENCE_PRESET = {
    "ensemble_size": PresetOption(value=10, effect="each image has 10 members, whatever the weights are made for"),
    "denoise_steps": PresetOption(value=10, effect="each member takes 10 steps, however few the weights need"),
    "alignment": PresetOption(
        value="reference", effect="members are scaled and shifted towards each other, by an optimiser that noise steers"
    ),
    "reduction": PresetOption(value="median", effect="the map is the lower median of the members, not their mean"),
    "stretch": PresetOption(value=True, effect="every map is stretched from 0 to 1, with or without a salient object"),
    "batch_stats": PresetOption(
        value=True,
        effect="the conditioner's batch norm uses the current image's statistics, not the trained ones",
    ),
    "resize_filter": PresetOption(value="bicubic", effect="maps are resized to the image's size bicubically"),
}
"""Options of `EnsembleConfig` that reproduce the released SOD-diffusion code, where they differ from our defaults.
Its stochastic depth, which stays on during prediction, is left out: it is noise without a seed."""
REFERENCE_MODEL = {
    "decoder": PresetOption(value="vae", effect="the VAE decodes, even where the weights have a mask decoder"),
}
"""The same of `ModelConfig`."""


def _known(name: str, value: int | None) -> int:
    if value is None:
        raise ValueError(f"{name} is left to the weights, which were not asked yet")
    return value


def at_least(config: object, bound: int | float, *names: str) -> None:
    """Refuse fields below a bound; `None` passes.

    Raises: ValueError: a field is below it; the message gives its name, its value and the bound.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= bound:  # NaN isn't either
            raise ValueError(f"{name} is {value}; it must be at least {bound}")


def check_side(name: str, side_px: int | None, *, batch_stats: bool = False) -> None:
    """Refuse a processing resolution at which a network has nothing to see; 0, an image's own size, and `None` pass.

    Args:   name: of the resolution, for the message. batch_stats: see `EnsembleConfig`.
    Raises: ValueError: it is too small.
    """
    if side_px in (None, 0):
        return
    at_least_px = LEAST_SIDE_OF_STATISTICS_PX if batch_stats else LEAST_SIDE_PX
    if side_px < at_least_px:
        reason = "for an image to have statistics (batch_stats)" if batch_stats else "for latents of an eighth"
        raise ValueError(
            f"{name} is {side_px}; it must be at least {at_least_px} px {reason}, or 0 for each image's own size"
        )


def check_seed(seed: int) -> None:
    """Refuse an invalid seed.

    Raises: ValueError: it is out of range.
    """
    if not 0 <= seed < 1 << 63:
        raise ValueError(f"seed is {seed}; it must be from 0 to 2^63 - 1")
