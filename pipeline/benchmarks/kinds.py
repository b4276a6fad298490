"""The kinds of measurement: what can be set of each, the cases that are measured side by side, and their table.

A kind is a class here, and a module of its name beside this file with `measure(folder, **case)`, which is called in a
process of its own for each case, in order.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from itertools import product
from statistics import median
from typing import Any, Literal, Protocol

Case = dict[str, Any]
Found = Mapping[str, Any]


class Kind(Protocol):
    """What every kind can tell."""

    def cases(self) -> list[Case]:
        """The arguments of each measurement; JSON values."""

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """Lines of Markdown, from what was found in each case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Finding out what is left of a run, for several numbers of committed shards."""

    shards: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Synthetic, with true records and a true plan."""
    images_per_shard: int = 1
    """More images make a larger plan."""

    def __post_init__(self) -> None:
        at_least_one(self, "shards", "images_per_shard")

    def cases(self) -> list[Case]:
        """One per number of shards."""
        return [{"shards": shards, "images_per_shard": self.images_per_shard} for shards in self.shards]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per case."""
        yield from head("committed shards", "seconds until work begins", "per shard", "memory of it")
        for row in found:
            each_ms = 1e3 * row["seconds"] / row["shards"]
            yield f"| {row['shards']:,} | {row['seconds']:.2f} s | {each_ms:.3f} ms | {row['bytes'] / 1e6:.0f} MB |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Assembling a release from candidates, and checking it, for several numbers of images."""

    images: tuple[int, ...] = (1_000, 10_000)
    """640 x 480 px, 140 KB each with its maps."""
    engine: Literal["ray", "inline"] = "inline"
    """`ray`: assembled by tasks on a cluster. `inline`: by one process."""

    def __post_init__(self) -> None:
        at_least_one(self, "images")

    def cases(self) -> list[Case]:
        """One per number of images."""
        return [{"images": images, "engine": self.engine} for images in self.images]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per case."""
        yield from head("candidates", "accepted", "release", "assembled", "rate", "memory of it", "checked")
        for row in found:
            yield (
                f"| {row['images']:,} | {row['accepted']:,} | {row['release_bytes'] / 1e9:.2f} GB "
                f"| {row['assemble_s']:.1f} s | {row['images'] / row['assemble_s']:.0f} images/s "
                f"| {row['assemble_bytes'] / 1e6:.0f} MB | {row['verify_s']:.1f} s |"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """The share of a replica's time in which its model works; the rest is waiting for images, disks and the driver."""

    images: int = 256
    """640 x 480 px."""
    shard_size: int = 16
    """Images per shard; fewer than a run's default, so that many borders of shards are among them."""
    model: str = "nano"
    """As the main job's --model."""
    ensemble_size: int = 10
    """Members per image."""
    denoise_steps: int = 10
    """Steps of each member."""
    replicas: int = 1
    """On Ray."""
    threads: int = 1
    """CPU threads of each."""

    def __post_init__(self) -> None:
        at_least_one(self, "images", "shard_size", "ensemble_size", "denoise_steps", "replicas", "threads")

    def cases(self) -> list[Case]:
        """On Ray, where shards overlap, and in one process, where they do not."""
        return [{**options(self), "engine": engine} for engine in ("ray", "inline")]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per case."""
        yield from head("engine", "images", "shards", "the model works", "images/s of a replica", "with its start")
        for row in found:
            yield (
                f"| {row['engine']} | {row['images']:,} | {row['shards']:,} | {row['busy']:.1%} of the time "
                f"| {row['images_per_s']:.2f} | {row['busy_with_start']:.1%}, {row['images_per_s_with_start']:.2f} |"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestration:
    """What everything around the model costs: images/s of one replica with the fake model, in the pipeline on Ray and
    in one process, through Ray Data, and in a plain loop of one thread."""

    images: int = 2_048
    """Of each size; a quarter of them is run before and taken off, and with it what starting takes."""
    widths_px: tuple[int, ...] = (64, 640)
    """Of the images; heights are three quarters of them."""
    rounds: int = 3
    """How often each way is measured, in turn."""
    ensemble_size: int = 3
    """Members per image, which the fake model draws: that time is part of the rates."""

    def __post_init__(self) -> None:
        at_least_one(self, "widths_px", "rounds", "ensemble_size")
        if self.images < 4:
            raise ValueError(f"images is {self.images}; it must be at least 4")

    def cases(self) -> list[Case]:
        """Every way of doing the work, one after the other, round by round."""
        common = {"images": self.images, "ensemble_size": self.ensemble_size}
        return [
            {**common, "width": width, "height": width * 3 // 4, "way": way}
            for width, _, way in product(self.widths_px, range(self.rounds), ("ray", "inline", "ray data", "loop"))
        ]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per size and way: medians over the rounds."""
        yield from head("images", "way", "images/s of a replica", "lowest to highest", "against Ray Data", "start")
        rows = defaultdict[tuple[int, int, str], list[Found]](list)
        for row in found:
            rows[row["width"], row["height"], row["way"]].append(row)
        for (width, height, way), same in rows.items():
            rates = [row["images_per_s"] for row in same]
            theirs = median(row["images_per_s"] for row in rows[width, height, "ray data"])
            start_s = median(row["start_s"] for row in same)
            yield (
                f"| {width} x {height} px | {way} | {median(rates):.0f} | {min(rates):.0f} to {max(rates):.0f} "
                f"| {median(rates) / theirs:.2f} | {start_s:.1f} s |"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What a shard costs as their number grows: time, and memory of the driver, with the fake model."""

    shards: tuple[int, ...] = (100, 1_000, 10_000)
    """One image of 32 x 24 px in each."""
    engine: Literal["ray", "inline"] = "ray"
    """As the main job's --engine."""

    def __post_init__(self) -> None:
        at_least_one(self, "shards")

    def cases(self) -> list[Case]:
        """One per number of shards."""
        return [{"shards": shards, "engine": self.engine} for shards in self.shards]

    def table(self, found: Sequence[Found]) -> Iterator[str]:
        """One row per case."""
        yield from head("shards", "listed and planned", "worked on", "per shard", "memory of the driver", "per shard")
        for row in found:
            each_ms, each_kb = 1e3 * row["work_s"] / row["shards"], row["bytes"] / 1e3 / row["shards"]
            yield (
                f"| {row['shards']:,} | {row['plan_s']:.2f} s | {row['work_s']:.1f} s | {each_ms:.1f} ms "
                f"| {row['bytes'] / 1e6:.0f} MB | {each_kb:.1f} KB |"
            )


def options(kind: Any) -> Case:
    """All that was set of a kind, and of the groups of options in it, as the arguments of one measurement."""
    found: Case = {}
    for name in kind.__slots__:
        value = getattr(kind, name)
        found |= options(value) if is_dataclass(value) else {name: value}
    return found


def head(*columns: str) -> Iterator[str]:
    """The first two lines of a table."""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)


def at_least_one(kind: Any, *names: str) -> None:
    """Refuse options that are no positive numbers, or none at all.

    Raises: ValueError: one is below 1, or empty.
    """
    for name in names:
        value = getattr(kind, name)
        values = value if isinstance(value, tuple) else (value,)
        if not values or min(values) < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


def not_empty(kind: Any, name: str) -> None:
    """Refuse an option of several values that has none.

    Raises: ValueError: it is so.
    """
    if not getattr(kind, name):
        raise ValueError(f"{name} is (); give at least one")
