"""What a model's mask decoder gains over its VAE, and how far it moves the masks: photographs of the sample."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from model.config import EnsembleConfig, ModelConfig, WantedDecoder
from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, table_head
from pipeline.benchmarks.model_work import ModelWork
from pipeline.errors import ConfigError
from pipeline.preconditions import require_target

if TYPE_CHECKING:
    from model.prediction import Prediction

_DECODERS: tuple[WantedDecoder, ...] = ("vae", "mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoders:
    """What a mask decoder gains, and how far it moves the masks: each photograph with the VAE and with it, in turn."""

    model: str = "nano"
    """A folder with a mask decoder, or `nano` for the embedded weights."""
    images: int = 37
    """Photographs of the sample; 37 are all of them."""
    rounds: int = 3
    """How often each photograph is predicted both ways."""
    worst: Path | None = None
    """PNG to write: the eight photographs on which the two masks agree least, and where they differ."""
    work: ModelWork = field(default_factory=lambda: ModelWork(denoise_steps=2))

    def __post_init__(self) -> None:
        at_least_one(self, "images", "rounds")

    def cases(self) -> list[Case]:
        """A single case.

        Raises: ConfigError: the picture can't be written there.
        """
        if self.worst is None:
            return [arguments_of(self)]
        require_target(self.worst.parent, "--worst")
        if self.worst.is_dir():
            raise ConfigError(f"--worst {self.worst} is a folder; give a file")
        # It is measured in a process that works elsewhere.
        return [arguments_of(self) | {"worst": str(self.worst.absolute())}]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per model: times, the masks of both compared, and both against the hand-drawn masks."""
        yield from table_head(
            "model", "VAE", "mask decoder", "of its time", "IoU with the VAE's masks", "MAE of maps", "S of both", "MAE"
        )
        for found in results:
            seconds, s_measure, mae = found["seconds"], found["s_measure"], found["mae"]
            yield (
                f"| {found['model']} | {seconds['vae']:.3f} s | {seconds['mask']:.3f} s | {found['ratio']:.2f} "
                f"| {mean(found['iou']):.4f}, least {min(found['iou']):.4f} | {mean(found['difference']):.4f} "
                f"| {s_measure['vae']:.4f}, {s_measure['mask']:.4f} | {mae['vae']:.4f}, {mae['mask']:.4f} |"
            )


def measure(
    folder: Path,
    *,
    model: str,
    images: int,
    rounds: int,
    worst: str | None,
    ensemble_size: int,
    denoise_steps: int,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Median seconds of a photograph both ways and the median of their ratios; the maps compared, also with masks."""
    from model.saliency import load_diffusion_model
    from pipeline.benchmarks.networks import sample_photos

    ensemble = EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps)
    config = ModelConfig(model=model, device=device, threads=threads, decoder="mask")
    loaded = load_diffusion_model(config, ensemble)
    photos = sample_photos(images)
    seconds: dict[str, list[float]] = {name: [] for name in _DECODERS}
    found: dict[str, dict[str, Prediction]] = {name: {} for name in _DECODERS}
    for number in range(-1, rounds):  # the round before the first one warms up, with one photograph
        for key, pixels in photos[:1] if number < 0 else photos:
            for name in _DECODERS if number % 2 else _DECODERS[::-1]:
                loaded.pipeline.decode_with(name)
                began = time.perf_counter()
                (found[name][key],) = loaded.predict([pixels], [key])
                if number >= 0:
                    seconds[name].append(time.perf_counter() - began)
    pairs = [tuple(found[name][key] for name in _DECODERS) for key in dict(photos)]
    compared = _compare(pairs)
    if worst is not None:
        _write_worst(worst, pairs, list(dict(photos)), compared["iou"])
    # Within a round a photograph's two times follow one another, and so do they in both lists.
    ratios = [mask / vae for vae, mask in zip(seconds["vae"], seconds["mask"], strict=True)]
    return {
        "model": model,
        "seconds": {name: median(values) for name, values in seconds.items()},
        "ratio": median(ratios),
        **compared,
        **_against_masks(found),
    }


def _compare(pairs: Sequence[tuple["Prediction", ...]]) -> dict[str, Any]:
    """IoU of the masks, and mean absolute difference of the maps, of each photograph."""
    import numpy as np

    from model.maps import quantise_saliency
    from pipeline.files.maps import mask_of
    from pipeline.selection.scores import pairwise_iou

    ious = [pairwise_iou(np.stack([mask_of(quantise_saliency(one.saliency)) for one in pair])) for pair in pairs]
    differences = [float(np.abs(pair[0].saliency - pair[1].saliency).mean()) for pair in pairs]
    return {"iou": ious, "difference": differences}


def _write_worst(
    file: str, pairs: Sequence[tuple["Prediction", ...]], keys: Sequence[str], ious: Sequence[float]
) -> None:
    """Draw the photographs on which the masks agree least, the worst first."""
    from pipeline.distillation.worst import Painted, draw_worst
    from pipeline.files.storage import publish

    painted = [
        Painted(name=key, iou=iou, own=mask.saliency, vaes=vae.saliency)
        for key, iou, (vae, mask) in zip(keys, ious, pairs, strict=True)
    ]
    publish(file, draw_worst(sorted(painted, key=lambda one: one.iou)))


def _against_masks(found: dict[str, dict[str, "Prediction"]]) -> dict[str, Any]:
    """S-measure and MAE of each decoder's maps against the hand-drawn masks, as the card has them."""
    from model.maps import quantise_saliency
    from pipeline.benchmarks.networks import SAMPLE
    from pipeline.evaluation.measures import measure as measured
    from pipeline.evaluation.truth import read_truth

    measures = {
        name: [
            measured(
                quantise_saliency(prediction.saliency),
                read_truth(SAMPLE / "masks" / f"{key}.png"),
                metrics=("s_measure", "mae"),
            )
            for key, prediction in predictions.items()
        ]
        for name, predictions in found.items()
    }
    return {
        metric: {name: mean(getattr(one, metric) for one in own) for name, own in measures.items()}
        for metric in ("s_measure", "mae")
    }
