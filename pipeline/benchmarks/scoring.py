"""Scoring maps against masks: the loop of pysodmetrics, and an evaluation in this process and on two cores."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.benchmarks.benchmark import Case, Result, at_least_one, table_head

if TYPE_CHECKING:
    from pipeline.evaluation.pairs import Pair

LOOP, INLINE, RAY = "pysodmetrics' loop", "one process", "two processes (Ray)"
WAYS = (LOOP, INLINE, RAY)
_DISTINCT = 200
"""Pictures that are made; more images are these again, under other names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """All metrics for maps and masks in files, by each way in turn; times are without starting a cluster."""

    images: int = 64
    """Pairs of map and mask; DUTS-TE has 5,019."""
    side_px: int = 384
    """Height and width of each."""
    rounds: int = 1
    """Measurements of each way; the table has their medians."""

    def __post_init__(self) -> None:
        at_least_one(self, "images", "side_px", "rounds")

    def cases(self) -> list[Case]:
        """Ways in turn, so that a slow hour of the machine slows all of them."""
        sizes = {"images": self.images, "side_px": self.side_px}
        return [{"way": way, **sizes} for _ in range(self.rounds) for way in WAYS]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per way."""
        columns = ("", "images", "time", "times as fast", "CPU time per image", "peak memory", "largest difference")
        yield from table_head(*columns)
        of_way = {way: [result for result in results if result["way"] == way] for way in WAYS}
        seconds = {way: median(result["seconds"] for result in found) for way, found in of_way.items() if found}
        for way, found in of_way.items():
            if not found:
                continue
            off = max(_difference(result["figures"], of_way[LOOP][0]["figures"]) for result in found)
            yield (
                f"| {way} | {found[0]['images']:,} | {seconds[way]:.1f} s "
                f"| {seconds[LOOP] / seconds[way]:.1f} | {_cpu_of(way, found)} "
                f"| {max(result['peak_bytes'] for result in found) / 1e9:.2f} GB | {off:.1g} |"
            )


class Scored(NamedTuple):
    """What a way took, and found."""

    seconds: float
    cpu_s: float
    """Processor time of this process alone."""
    figures: dict[str, float]


def measure(folder: Path, *, way: str, images: int, side_px: int) -> dict[str, Any]:
    """Write maps and masks, then score them."""
    from pipeline.evaluation.pairs import pair_files
    from pipeline.replicas.usage import peak_rss_bytes

    _write(folder, images, side_px)
    pairs = pair_files(folder / "maps", folder / "masks")
    scored = _WAYS[way](pairs)
    return {"way": way, "images": images, "peak_bytes": peak_rss_bytes(), **scored._asdict()}


def _write(folder: Path, images: int, side_px: int) -> None:
    """Discs, and soft, noisy and shifted maps of them, as PNG."""
    import numpy as np

    from model.maps import encode_png

    draw = np.random.default_rng(0)
    columns = np.arange(side_px) / side_px
    rows = columns[:, None]
    contents: list[tuple[bytes, bytes]] = []
    for _ in range(min(images, _DISTINCT)):
        row, column, radius = draw.uniform((0.3, 0.3, 0.08), (0.7, 0.7, 0.35))
        far = np.hypot(rows - row, columns - column) - radius
        soft = 1 / (1 + np.exp(40 * (far + draw.uniform(-0.03, 0.03)))) + draw.normal(0, 0.01, far.shape)
        grey = (255 * soft.clip(0, 1)).astype(np.uint8)
        contents.append((encode_png(grey), encode_png((far < 0).astype(np.uint8) * np.uint8(255))))
    for place, name in enumerate(("maps", "masks")):
        (folder / name).mkdir()
        for number in range(images):
            (folder / name / f"{number:06d}.png").write_bytes(contents[number % len(contents)][place])


def _loop(pairs: "Sequence[Pair]") -> Scored:
    """Each metric steps through all images, as the examples of pysodmetrics do it."""
    import cv2
    import py_sod_metrics as library

    mae, s, e, weighted = library.MAE(), library.Smeasure(), library.Emeasure(), library.WeightedFmeasure()
    f = library.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=0.3)
    precision = library.PrecisionHandler(with_dynamic=True, with_adaptive=False)
    recall = library.RecallHandler(with_dynamic=True, with_adaptive=False)
    several = library.FmeasureV2({"f": f, "precision": precision, "recall": recall})
    started = _now()
    for pair in pairs:
        prediction, truth = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (pair.source, pair.mask))
        for metric in (mae, s, e, weighted, several):
            metric.step(prediction, truth)
    found_f, found_e = several.get_results()["f"], e.get_results()["em"]
    figures = {
        "mae": mae.get_results()["mae"],
        "s_measure": s.get_results()["sm"],
        "weighted_f": weighted.get_results()["wfm"],
        "max_f": found_f["dynamic"].max(),
        "mean_f": found_f["dynamic"].mean(),
        "adaptive_f": found_f["adaptive"],
        "max_e": found_e["curve"].max(),
        "mean_e": found_e["curve"].mean(),
        "adaptive_e": found_e["adp"],
    }
    return _scored(started, {name: float(value) for name, value in figures.items()})


def _inline(pairs: "Sequence[Pair]") -> Scored:
    return _evaluated(pairs, "inline")


def _on_ray(pairs: "Sequence[Pair]") -> Scored:
    from pipeline.replicas.on_ray.connection import connected

    with connected():
        _evaluated(pairs[:64], "ray")  # workers import what they need
        return _evaluated(pairs, "ray")


def _evaluated(pairs: "Sequence[Pair]", engine: Any) -> Scored:
    from pipeline.config import ClusterConfig
    from pipeline.evaluation.evaluate import evaluate_pairs
    from pipeline.evaluation.outcomes import How
    from pipeline.evaluation.summary import SCALARS

    started = _now()
    summary = evaluate_pairs(pairs, How(), ClusterConfig(engine=engine)).summary
    return _scored(started, {name: getattr(summary, name) for name in SCALARS})


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _scored(started: tuple[float, float], figures: dict[str, float]) -> Scored:
    return Scored(time.perf_counter() - started[0], time.process_time() - started[1], figures)


def _cpu_of(way: str, found: Sequence[Result]) -> str:
    """Ray's workers are processes of their own."""
    return "–" if way == RAY else f"{1e3 * median(result['cpu_s'] / result['images'] for result in found):.1f} ms"


def _difference(figures: Mapping[str, float], expected: Mapping[str, float]) -> float:
    return max(abs(figures[name] - value) for name, value in expected.items())


_WAYS: Mapping[str, "Callable[[Sequence[Pair]], Scored]"] = {
    LOOP: _loop,
    INLINE: _inline,
    RAY: _on_ray,
}
