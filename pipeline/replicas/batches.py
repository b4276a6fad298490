"""Batches of images: read ahead of the model, predicted so that a bad image costs only itself, finished behind it."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from model.prediction import ModelMemoryError, ModelOutputError, Prediction, SaliencyModel
from pipeline.errors import SampleError

DECODE_THREADS = 2
BATCHES_AHEAD = 2
"""Batches that are decoded while one is predicted: enough to hide a disk, few enough to stay small in memory."""
ENCODE_THREADS = 2
"""Two keep up with 120 images/s of 640 x 480 px on two CPU cores (`jobs/benchmark.py orchestration`)."""
BATCHES_BEHIND = 1
"""Batches that are encoded while one is predicted; a thread takes a whole batch, as in reading."""

Item = TypeVar("Item")
Read = TypeVar("Read")
Finished = TypeVar("Finished")


def read_ahead(items: Sequence[Item], read: Callable[[Item], Read], batch_images: int) -> Generator[list[Read]]:
    """Cut items into batches by position, and read them in threads while the caller works on earlier batches."""
    batches = [items[i : i + batch_images] for i in range(0, len(items), batch_images)]
    has_ended = threading.Event()

    def read_batch(batch: Sequence[Item]) -> list[Read]:
        return [read(item) for item in batch if not has_ended.is_set()]

    # A thread takes a whole batch, not one image: 2,048 small images (64 x 48 px) took 2.0 to 2.7 ms each instead of
    # 2.7 to 3.2, because threads spent the difference on waking each other.
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        waiting: deque[Future[list[Read]]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(read_batch, batch))
                if len(waiting) > BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            has_ended.set()
            pool.shutdown(wait=False, cancel_futures=True)


def finish_behind(items: Iterable[Item], finish: Callable[[Item], Finished], most_behind: int) -> Generator[Finished]:
    """Apply `finish` to each item in threads while the next items are made; results come in order.

    Args: most_behind: items that may be unfinished when the next one is requested.
    """
    with ThreadPoolExecutor(ENCODE_THREADS, thread_name_prefix="encode") as pool:
        waiting: deque[Future[Finished]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(finish, item))
                if len(waiting) > most_behind:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def predict_batch(
    model: SaliencyModel,
    pixels: Mapping[str, UInt8[np.ndarray, "_h _w 3"]],
    key_of: Callable[[str], str] = lambda name: name,
) -> dict[str, Prediction | SampleError]:
    """Name → its prediction, or why it has none. If the batch fails, each image is tried alone.

    Args: key_of: an image's name → the key that decides its noise.
    """
    if not pixels:
        return {}
    try:
        found = model.predict(list(pixels.values()), [key_of(name) for name in pixels])
        return dict(zip(pixels, found, strict=True))
    except (ModelOutputError, ModelMemoryError):
        return {name: _predict_alone(model, name, key_of(name), image) for name, image in pixels.items()}


def _predict_alone(
    model: SaliencyModel, name: str, key: str, pixels: UInt8[np.ndarray, "h w 3"]
) -> Prediction | SampleError:
    try:
        return model.predict([pixels], [key])[0]
    except ModelOutputError as error:
        return SampleError("model_output", f"key {name}: {error}")
    except ModelMemoryError as error:
        return SampleError("model_memory", f"key {name}: {error}")
