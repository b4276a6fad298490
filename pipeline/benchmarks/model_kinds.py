"""The kinds of measurement of the model alone; the form is that of `kinds.py`."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, Literal

from pipeline.benchmarks.kinds import Case, Found, at_least_one, head, not_empty, options

Size = Literal["nano", "full"]
"""Of the model: `full` is the architecture of the official weights, with random ones."""
Dtype = Literal["float32", "bfloat16", "float16"]
"""Precision of weights and activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is done to each image, and with what."""

    ensemble_size: int = 10
    """Members per image; at most, where the ensemble is adaptive."""
    denoise_steps: int = 10
    """Steps of each member."""
    threads: int = 2
    """CPU threads."""
    device: str = "cpu"
    """As the main job's --device."""

    def __post_init__(self) -> None:
        at_least_one(self, "ensemble_size", "denoise_steps", "threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Images/s of the reference's way of working (every member encodes, conditions, denoises and decodes by itself, in
    float32) and of ours, exact and adaptive, with the same weights."""

    sizes: tuple[Size, ...] = ("nano",)
    """`full` has random weights and takes a quarter of an hour on two cores; its reference is measured with one member,
    which counts as often as there are members."""
    dtypes: tuple[Dtype, ...] = ("float32",)
    """Of ours."""
    images: int = 12
    """Photographs of the sample; of the full size, one."""
    rounds: int = 3
    """How often each way is measured, in turn; the full size once."""
    work: Work = Work()

    def __post_init__(self) -> None:
        at_least_one(self, "images", "rounds")

    def cases(self) -> list[Case]:
        """Every way, one after the other, round by round. Random weights have no verdicts to be adaptive about."""
        cases = []
        for size in self.sizes:
            ways = [("reference", "float32")] + [("exact", dtype) for dtype in self.dtypes]
            ways += [("adaptive", dtype) for dtype in self.dtypes if size == "nano"]
            for _ in range(self.rounds if size == "nano" else 1):
                cases += [
                    {
                        "size": size,
                        "way": way,
                        "dtype": dtype,
                        "images": self.images if size == "nano" else 1,
                        **options(self.work),
                    }
                    for way, dtype in ways
                ]
        return cases

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per way: medians over the rounds."""
        yield from head(
            "model", "way", "precision", "members", "seconds per image", "images/s", "against the reference"
        )
        rows = defaultdict[tuple[str, str, str], list[Found]](list)
        for row in found:
            rows[row["size"], row["way"], row["dtype"]].append(row)
        for (size, way, dtype), same in rows.items():
            seconds = median(row["seconds_per_image"] for row in same)
            theirs = median(row["seconds_per_image"] for row in rows[size, "reference", "float32"])
            members = median(row["members"] for row in same)
            yield (
                f"| {size} | {way} | {dtype} | {members:.1f} | {seconds:.2f} s | {1 / seconds:.3f} "
                f"| {theirs / seconds:.2f} × |"
            )


Choice = Literal["bfloat16", "float16", "contiguous", "math", "compiled", "no-keep-memory"]
CHOICES: dict[Choice, dict[str, Any]] = {
    "bfloat16": {"dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
    "contiguous": {"memory_format": "contiguous"},
    "math": {"attention": "math"},
    "compiled": {"compile": True},
    "no-keep-memory": {"keep_memory": False},
}
"""Name → the fields of the model's configuration that differ from the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What numeric choices gain, and what they move: each against the defaults on the same photographs."""

    choices: tuple[Choice, ...] = ("bfloat16", "contiguous", "math", "compiled", "no-keep-memory")
    """Of the main job's options, what is not as by default."""
    size: Size = "nano"
    """`full` has random weights and takes a quarter of an hour per choice on two cores."""
    images: int = 12
    """Photographs of the sample; of the full size, one."""
    work: Work = Work()

    def __post_init__(self) -> None:
        at_least_one(self, "images")
        not_empty(self, "choices")

    def cases(self) -> list[Case]:
        """One per choice."""
        common = options(self) | {"images": self.images if self.size == "nano" else 1}
        return [{"choice": choice, **common} for choice in common.pop("choices")]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per choice."""
        yield from head(
            "choice",
            "seconds per image",
            "default",
            "of its time",
            "IoU of masks",
            "largest difference",
            "equal verdicts",
        )
        for row in found:
            seconds, default = row["seconds"], row["default_seconds"]
            yield (
                f"| {row['choice']} | {seconds:.2f} s | {default:.2f} s | {seconds / default:.2f} "
                f"| {mean(row['iou']):.4f}, least {min(row['iou']):.4f} | {row['difference']:.1e} "
                f"| {row['same_verdicts']} of {row['images']} |"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A pass of the UNet against the rate at which this machine multiplies matrices in the same precision."""

    sizes: tuple[Size, ...] = ("nano", "full")
    """`full` has random weights and takes minutes."""
    dtypes: tuple[Dtype, ...] = ("float32",)
    """Where a CPU has no instructions for bfloat16, both rates are low."""
    batch: int = 10
    """Members of one image that pass through together."""
    threads: int = 2
    """CPU threads."""
    device: str = "cpu"
    """As the main job's --device."""
    compiled: tuple[bool, ...] = (False,)
    """`False True` compares the UNet as it is with the compiled one."""

    def __post_init__(self) -> None:
        at_least_one(self, "batch", "threads")

    def cases(self) -> list[Case]:
        """One per size, precision and form."""
        return [
            {
                "size": size,
                "dtype": dtype,
                "batch": self.batch,
                "threads": self.threads,
                "device": self.device,
                "compiled": compiled,
            }
            for size in self.sizes
            for dtype in self.dtypes
            for compiled in self.compiled
        ]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per case."""
        yield from head(
            "model", "precision", "compiled", "first pass", "a pass", "operations", "rate", "matrix products", "share"
        )
        for row in found:
            yield (
                f"| {row['size']} | {row['dtype']} | {'yes' if row['compiled'] else 'no'} | {row['first_s']:.2f} s "
                f"| {row['pass_s']:.3f} s | {row['operations'] / 1e9:.1f} G | {row['pass_rate'] / 1e9:.0f} G/s "
                f"| {row['matrix_rate'] / 1e9:.0f} G/s | {row['share']:.0%} |"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Where the time of an image goes, from its pixels to the files of its candidate."""

    size: Size = "nano"
    """`full` has random weights and takes minutes."""
    dtype: Dtype = "float32"
    """Precision of weights and activations."""
    images: int = 12
    """Photographs of the sample."""
    work: Work = Work()

    def __post_init__(self) -> None:
        at_least_one(self, "images")

    def cases(self) -> list[Case]:
        """One."""
        return [options(self)]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per part."""
        yield from head("part", "ms per image", "share")
        for row in found:
            rest = row["whole"] - sum(row["parts"].values())
            for part, seconds in [*row["parts"].items(), ("everything else", rest)]:
                yield f"| {part} | {1e3 * seconds:.1f} | {seconds / row['whole']:.1%} |"
            yield f"| all | {1e3 * row['whole']:.1f} | 100.0% |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """What an adaptive ensemble of the embedded model saves, and what it changes: members, time, verdicts by the
    default policy, and errors against the sample's hand-drawn masks."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Each is another draw of all members."""
    images: int = 37
    """Photographs of the sample."""
    work: Work = Work()

    def __post_init__(self) -> None:
        at_least_one(self, "images")
        not_empty(self, "seeds")

    def cases(self) -> list[Case]:
        """One per seed."""
        common = options(self)
        return [{"seed": seed, **common} for seed in common.pop("seeds")]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per seed, and their means."""
        yield from head("seed", "members", "time", "equal verdicts", "S ↑", "MAE ↓")
        for row in found:
            yield _compared(str(row["seed"]), [row])
        yield _compared("all", found)


def _compared(label: str, rows: Sequence[Found]) -> str:
    def both(name: str) -> tuple[float, float]:
        whole, adaptive = (mean(row[way][name] for row in rows) for way in ("off", "on"))
        return whole, adaptive

    (most, members), (seconds, shorter) = both("members"), both("seconds")
    same, images = sum(row["same_verdicts"] for row in rows), sum(row["images"] for row in rows)
    cells = [
        label,
        f"{members:.1f} of {most:.0f}",
        f"{shorter / seconds:.2f} of {seconds:.2f} s",
        f"{same} of {images}",
        *(f"{adaptive:.4f}, whole {whole:.4f}" for whole, adaptive in (both("s_measure"), both("mae"))),
    ]
    return f"| {' | '.join(cells)} |"
