"""Where the time of an image goes, from its pixels to the bytes of its candidate."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from model.config import EnsembleConfig, ModelConfig
from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, table_head
from pipeline.benchmarks.model_work import Dtype, ModelWork, Size

if TYPE_CHECKING:
    from model.prediction import Prediction
    from pipeline.records import CandidateRow

PARTS = ("preprocess", "encode", "condition", "denoise", "decode", "reduce", "score", "store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Where the time of an image goes, from its pixels to the files of its candidate."""

    size: Size = "nano"
    """`full` has random weights and takes minutes."""
    dtype: Dtype = "float32"
    """Precision of weights and activations."""
    images: int = 12
    """Photographs of the sample."""
    work: ModelWork = field(default_factory=ModelWork)

    def __post_init__(self) -> None:
        at_least_one(self, "images")

    def cases(self) -> list[Case]:
        """A single case."""
        return [arguments_of(self)]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per part."""
        yield from table_head("part", "ms per image", "share")
        for result in results:
            rest = result["whole"] - sum(result["parts"].values())
            for part, seconds in [*result["parts"].items(), ("everything else", rest)]:
                yield f"| {part} | {1e3 * seconds:.1f} | {seconds / result['whole']:.1%} |"
            yield f"| all | {1e3 * result['whole']:.1f} | 100.0% |"


def measure(
    folder: Path,
    *,
    size: Size,
    dtype: Dtype,
    images: int,
    ensemble_size: int,
    denoise_steps: int,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Seconds per image of each part; in a run, the last two are done beside the model's work."""
    import torch

    from model.saliency import ready
    from pipeline.benchmarks.clock import now
    from pipeline.benchmarks.networks import measured_pipeline, sample_photos
    from pipeline.runs.candidates import encode_members
    from pipeline.selection.scores import score

    torch.set_num_threads(threads)
    config = ModelConfig(device=device, dtype=dtype, threads=threads)
    ensemble = EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps)
    model = ready(measured_pipeline(size, config), config, ensemble)
    spent: dict[str, float] = defaultdict(float)
    photos = sample_photos(images)
    began = now()
    with ExitStack() as patches:
        for owner, name, part in _watched(model.pipeline):
            patches.enter_context(patch.object(owner, name, _timed(getattr(owner, name), part, spent)))
        for first in range(0, images, ensemble.batch_images):
            batch = photos[first : first + ensemble.batch_images]
            predictions = model.predict([pixels for _, pixels in batch], [key for key, _ in batch])
            for (key, _), prediction in zip(batch, predictions, strict=True):
                row = _candidate_row(key, prediction, _timed(score, "score", spent)(prediction))
                _timed(encode_members, "store", spent)(row, prediction)
    whole = now() - began
    parts = {part: spent[part] / images for part in PARTS}
    return {"size": size, "dtype": dtype, "images": images, "parts": parts, "whole": whole / images}


def _watched(pipeline: Any) -> list[tuple[Any, str, str]]:
    """Owner and name of each function that is timed, and the part that it does."""
    from model import members

    return [
        (members, "preprocess", "preprocess"),
        (pipeline, "encode", "encode"),
        (pipeline.conditioner, "forward", "condition"),
        (pipeline, "denoise", "denoise"),
        (pipeline, "decode", "decode"),
        (members, "prediction_of", "reduce"),
    ]


def _candidate_row(key: str, prediction: "Prediction", scores: dict[str, float]) -> "CandidateRow":
    from pipeline.records import CandidateRow

    return CandidateRow(
        key=key,
        status="done",
        reason="",
        detail="",
        image_sha256="",
        image_bytes=0,
        members=len(prediction.members),
        fewer_at_once=0,
        scores=scores,
    )


def _timed(function: Callable[..., Any], part: str, spent: dict[str, float]) -> Callable[..., Any]:
    from pipeline.benchmarks.clock import now

    def call(*arguments: Any, **options: Any) -> Any:
        began = now()
        result = function(*arguments, **options)
        spent[part] += now() - began
        return result

    return call
