"""Batches of images: read ahead of the model, and predicted so that one bad image costs only itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from model.prediction import ModelMemoryError, ModelOutputError, Prediction, SaliencyModel
from pipeline.errors import SampleError

DECODE_THREADS = 2
BATCHES_AHEAD = 2
"""Batches that are decoded while one is predicted: enough to hide a disk, little enough to stay small in memory."""

Item = TypeVar("Item")
Read = TypeVar("Read")


def read_ahead(items: Sequence[Item], read: Callable[[Item], Read], batch_images: int) -> Iterator[list[Read]]:
    """Items in batches, cut by position and read in threads while the caller works on the batches before."""
    batches = [items[i : i + batch_images] for i in range(0, len(items), batch_images)]
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        waiting: list[list[Future[Read]]] = []
        try:
            for batch in batches:
                waiting.append([pool.submit(read, item) for item in batch])
                if len(waiting) > BATCHES_AHEAD:
                    yield [future.result() for future in waiting.pop(0)]
            for futures in waiting:
                yield [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def predict_batch(
    model: SaliencyModel, pixels: Mapping[str, UInt8[np.ndarray, "_h _w 3"]]
) -> dict[str, Prediction | SampleError]:
    """Key → its prediction, or why there is none. After a batch broke, each image is tried alone."""
    if not pixels:
        return {}
    try:
        return dict(zip(pixels, model.predict(list(pixels.values()), list(pixels)), strict=True))
    except (ModelOutputError, ModelMemoryError):
        return {key: _predict_alone(model, key, image) for key, image in pixels.items()}


def _predict_alone(model: SaliencyModel, key: str, pixels: UInt8[np.ndarray, "h w 3"]) -> Prediction | SampleError:
    try:
        return model.predict([pixels], [key])[0]
    except ModelOutputError as error:
        return SampleError("model_output", f"key {key}: {error}")
    except ModelMemoryError as error:
        return SampleError("model_memory", f"key {key}: {error}")
