"""Where the time of an image goes, from its pixels to the bytes of its candidate."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from model import diffusion
from model.config import EnsembleConfig, ModelConfig
from model.prediction import Prediction
from model.saliency import ready
from pipeline.benchmarks.clock import now
from pipeline.benchmarks.model_kinds import Dtype, Size
from pipeline.benchmarks.networks import load, sample_photos
from pipeline.records import CandidateRow
from pipeline.runs.candidates import encode_members
from pipeline.selection.scores import score

PARTS = ("preprocess", "encode", "condition", "denoise", "decode", "reduce", "score", "store")


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
    torch.set_num_threads(threads)
    config = ModelConfig(device=device, dtype=dtype, threads=threads)
    ensemble = EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps)
    model = ready(load(size, config), config, ensemble)
    spent: dict[str, float] = defaultdict(float)
    pipeline = model.pipeline
    watched: list[tuple[Any, str, str]] = [
        (diffusion, "preprocess", "preprocess"),
        (pipeline, "encode", "encode"),
        (pipeline.conditioner, "forward", "condition"),
        (pipeline, "denoise", "denoise"),
        (pipeline, "decode", "decode"),
        (diffusion, "_prediction", "reduce"),
    ]
    photos = sample_photos(images)
    began = now()
    with ExitStack() as patches:
        for owner, name, part in watched:
            patches.enter_context(patch.object(owner, name, _timed(getattr(owner, name), part, spent)))
        for first in range(0, images, ensemble.batch_images):
            batch = photos[first : first + ensemble.batch_images]
            predictions = model.predict([pixels for _, pixels in batch], [key for key, _ in batch])
            for (key, _), prediction in zip(batch, predictions, strict=True):
                row = _row(key, prediction, _timed(score, "score", spent)(prediction))
                _timed(encode_members, "store", spent)(row, prediction)
    whole = now() - began
    parts = {part: spent[part] / images for part in PARTS}
    return {"size": size, "dtype": dtype, "images": images, "parts": parts, "whole": whole / images}


def _row(key: str, prediction: Prediction, scores: dict[str, float]) -> CandidateRow:
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
    def call(*arguments: Any, **options: Any) -> Any:
        began = now()
        result = function(*arguments, **options)
        spent[part] += now() - began
        return result

    return call
