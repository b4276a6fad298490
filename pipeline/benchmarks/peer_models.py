"""The model and diffusers' Marigold pipeline around the same UNet and VAE, with the same photographs."""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from model.config import EnsembleConfig, ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.runtime import keep_freed_memory
from model.saliency import on_device, ready
from pipeline.benchmarks import networks
from pipeline.benchmarks.clock import now
from pipeline.benchmarks.model_work import Size

Photo = UInt8[np.ndarray, "_p _p 3"]
EMPTY_PROMPT_TOKENS = 2
"""Beginning and end of a text."""


def predict_photos(way: str, size: Size, config: ModelConfig, ensemble: EnsembleConfig, photos: int) -> dict[str, Any]:
    """Seconds per photo, one photo at a time; how many of them go into aligning members; and the processor time, whose
    ratio says the same where others keep the machine busy, but nothing about a GPU.

    One photo warms up; not for the full size on a CPU, where that takes minutes.
    """
    torch.set_num_threads(config.threads)
    pipeline = networks.measured_pipeline(size, config)
    if config.device == "cpu":
        keep_freed_memory()  # for every way: by itself it makes either of them faster
    aligned_s: list[float] = []
    if way == "ours":
        predict = _ours(pipeline, config, ensemble)
    else:
        predict = _marigolds(marigold(on_device(pipeline, config.device)), way, ensemble, aligned_s)
    chosen = [(key, squared_photo(pixels)) for key, pixels in networks.sample_photos(photos)]
    if size == "nano" or config.device != "cpu":
        predict(*chosen[0])
    aligned_s.clear()
    began, cpu_began = now(), time.process_time()
    for key, photo in chosen:
        predict(key, photo)
    photo_s, cpu_s = (now() - began) / photos, (time.process_time() - cpu_began) / photos
    return {"photo_s": photo_s, "cpu_s": cpu_s, "align_s": sum(aligned_s) / photos}


def squared_photo(pixels: UInt8[np.ndarray, "_h _w 3"]) -> Photo:
    """The middle of a photograph, as large a square as there is."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def _ours(
    pipeline: SODDiffusionPipeline, config: ModelConfig, ensemble: EnsembleConfig
) -> Callable[[str, Photo], object]:
    model = ready(pipeline, config, ensemble)
    return lambda key, photo: model.predict([photo], [key])


def _marigolds(
    pipeline: Any, way: str, ensemble: EnsembleConfig, aligned_s: list[float]
) -> Callable[[str, Photo], Any]:
    align = pipeline.ensemble_depth

    def timed(*arguments: Any, **options: Any) -> Any:
        began = now()
        result = align(*arguments, **options)
        aligned_s.append(now() - began)
        return result

    pipeline.ensemble_depth = timed

    def predict(_key: str, photo: Photo) -> Any:
        return pipeline(
            Image.fromarray(photo),
            num_inference_steps=ensemble.steps,
            ensemble_size=ensemble.members,
            batch_size=ensemble.members if way == "marigold, one batch" else 1,
            output_uncertainty=ensemble.members > 1,
            generator=torch.Generator().manual_seed(0),
        )

    return predict


def marigold(ours: SODDiffusionPipeline) -> Any:
    """diffusers' pipeline for depth with our UNet, VAE, scheduler and processing resolution.

    The text encoder would be asked once for the embedding of an empty prompt, so it is left out and the embedding
    given: zeros, of the shape that the encoder's would have.
    """
    with _without_transformers():
        from diffusers.pipelines.marigold.pipeline_marigold_depth import MarigoldDepthPipeline
    pipeline = MarigoldDepthPipeline(
        unet=ours.unet,
        vae=ours.vae,
        scheduler=ours.scheduler,
        text_encoder=None,
        tokenizer=None,
        prediction_type="depth",
        default_processing_resolution=ours.default_processing_res,
    )
    width = ours.unet.config.cross_attention_dim
    pipeline.empty_text_embedding = torch.zeros(1, EMPTY_PROMPT_TOKENS, width)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def _without_transformers() -> Iterator[None]:
    """Let Marigold be imported where transformers is not installed: it only names two of its classes."""
    if importlib.util.find_spec("transformers") is not None:
        yield
        return
    stand_in = ModuleType("transformers")
    stand_in.CLIPTextModel = stand_in.CLIPTokenizer = object  # type: ignore[attr-defined]
    sys.modules["transformers"] = stand_in
    try:
        yield
    finally:
        del sys.modules["transformers"]
