"""What an adaptive ensemble saves and what it changes: the sample's photographs, predicted both ways in turn."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from model.config import EnsembleConfig, ModelConfig, check_seed
from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, not_empty, table_head
from pipeline.benchmarks.model_work import ModelWork
from pipeline.extras import require_extra

if TYPE_CHECKING:
    from model.saliency import DiffusionModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """What an adaptive ensemble of the embedded model saves, and what it changes: members, time, verdicts by the
    default policy, and errors against the sample's hand-drawn masks."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed draws all members anew."""
    images: int = 37
    """Photographs of the sample."""
    work: ModelWork = field(default_factory=ModelWork)

    def __post_init__(self) -> None:
        at_least_one(self, "images")
        not_empty(self, "seeds")
        for seed in self.seeds:
            check_seed(seed)

    def cases(self) -> list[Case]:
        """One case per seed.

        Raises: ConfigError: the packages that compare maps with masks are not installed.
        """
        require_extra("eval", "py_sod_metrics", "cv2")
        common = arguments_of(self)
        return [{"seed": seed, **common} for seed in common.pop("seeds")]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per seed, and one of their means."""
        yield from table_head("seed", "members", "time", "equal verdicts", "S ↑", "MAE ↓")
        for result in results:
            yield _compared(str(result["seed"]), [result])
        yield _compared("all", results)


def measure(
    folder: Path, *, seed: int, images: int, ensemble_size: int, denoise_steps: int, threads: int, device: str
) -> dict[str, Any]:
    """Members, verdicts by the default policy, seconds, and errors against the hand-drawn masks; means over images."""
    from model.saliency import ready
    from pipeline.benchmarks.networks import measured_pipeline, sample_photos
    from pipeline.selection.policy import PolicyConfig
    from pipeline.selection.stopping_rule import stopping_rule

    config = ModelConfig(device=device, threads=threads)
    whole = EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps, seed=seed)
    models = {
        ensemble.adaptive: ready(
            measured_pipeline("nano", config), config, ensemble, stopping_rule(ensemble, PolicyConfig())
        )
        for ensemble in (whole, replace(whole, adaptive="on"))
    }
    photos = sample_photos(images)
    for model in models.values():
        model.predict([photos[0][1]], [photos[0][0]])  # warm up
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, pixels in photos:
        for adaptive, model in models.items():
            found[adaptive].append(_predicted(model, key, pixels))
    same = [off["verdict"] == on["verdict"] for off, on in zip(found["off"], found["on"], strict=True)]
    numbers = ("members", "seconds", "s_measure", "mae")
    return {
        "seed": seed,
        "images": images,
        "same_verdicts": sum(same),
        **{way: {name: mean(image[name] for image in found[way]) for name in numbers} for way in found},
    }


def _predicted(model: "DiffusionModel", key: str, pixels: Any) -> dict[str, Any]:
    from model.maps import quantise_saliency
    from pipeline.benchmarks.networks import SAMPLE
    from pipeline.evaluation.measures import measure as measure_map
    from pipeline.evaluation.truth import read_truth
    from pipeline.selection.policy import PolicyConfig
    from pipeline.selection.scores import score
    from pipeline.selection.verdicts import by_scores

    began = time.perf_counter()
    (prediction,) = model.predict([pixels], [key])
    seconds = time.perf_counter() - began
    truth = read_truth(SAMPLE / "masks" / f"{key}.png")
    errors = measure_map(quantise_saliency(prediction.saliency), truth, metrics=("mae", "s_measure"))
    return {
        "seconds": seconds,
        "members": len(prediction.members),
        "verdict": by_scores(score(prediction), PolicyConfig()),
        "s_measure": errors.s_measure,
        "mae": errors.mae,
    }


def _compared(label: str, results: Sequence[Result]) -> str:
    def both(name: str) -> tuple[float, float]:
        whole, adaptive = (mean(result[way][name] for result in results) for way in ("off", "on"))
        return whole, adaptive

    (most, members), (seconds, shorter) = both("members"), both("seconds")
    same, images = (sum(result[name] for result in results) for name in ("same_verdicts", "images"))
    cells = [
        label,
        f"{members:.1f} of {most:.0f}",
        f"{shorter / seconds:.2f} of {seconds:.2f} s",
        f"{same} of {images}",
        *(f"{adaptive:.4f}, whole {whole:.4f}" for whole, adaptive in (both("s_measure"), both("mae"))),
    ]
    return f"| {' | '.join(cells)} |"
