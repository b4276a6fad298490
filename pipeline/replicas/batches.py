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
MOST_PIXELS_AHEAD = 100_000_000
"""Decoded pixels that may wait for the model, 300 MB; batches of larger images are read when their turn comes."""
ENCODE_THREADS = 2
"""Two keep up with 120 images/s of 640 x 480 px on two CPU cores (`sod bench orchestration`)."""
BATCHES_BEHIND = 1
"""Batches that are encoded while one is predicted; a thread takes a whole batch, as in reading."""

Item = TypeVar("Item")
Read = TypeVar("Read")
Finished = TypeVar("Finished")


class _Ahead:
    """What was read, and the caller has not finished. While that is much, only the caller's batch is read."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pixels = 0
        self._awaited = 0
        self._has_ended = False

    def may_read(self, batch: int) -> bool:
        """Wait until the next image of a batch may be read; False once the caller has left."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._has_ended or batch <= self._awaited or self._pixels <= MOST_PIXELS_AHEAD
            )
            return not self._has_ended

    def add(self, pixels: int) -> None:
        with self._changed:
            self._pixels += pixels

    def finish(self, batch: int, pixels: int) -> None:
        """The caller is done with a batch of so many pixels and waits for the next one."""
        with self._changed:
            self._pixels -= pixels
            self._awaited = batch + 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()


def read_ahead(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    batch_images: int,
    pixels_of: Callable[[Read], int] = lambda _: 0,
) -> Generator[list[Read]]:
    """Cut items into batches by position, and read them in threads while the caller works on earlier batches.

    Args: pixels_of: how many pixels an item has that was read. Beyond `MOST_PIXELS_AHEAD`, only the batch that the
                     caller waits for is read.
    """
    batches = [items[i : i + batch_images] for i in range(0, len(items), batch_images)]
    return read_batches_ahead(batches, read, pixels_of)


def read_batches_ahead(
    batches: Sequence[Sequence[Item]], read: Callable[[Item], Read], pixels_of: Callable[[Read], int] = lambda _: 0
) -> Generator[list[Read]]:
    """Do what `read_ahead` does, with batches that are cut already."""
    ahead = _Ahead()

    def read_batch(number: int, batch: Sequence[Item]) -> list[Read]:
        done = []
        for item in batch:
            if not ahead.may_read(number):
                break
            done.append(read(item))
            ahead.add(pixels_of(done[-1]))
        return done

    def in_turn(waiting: deque[Future[list[Read]]], number: int) -> Generator[list[Read]]:
        batch = waiting.popleft().result()
        pixels = sum(pixels_of(item) for item in batch)
        yield batch
        del batch
        ahead.finish(number, pixels)

    # A thread takes a whole batch, not one image: 2,048 small images (64 x 48 px) took 2.0 to 2.7 ms each instead of
    # 2.7 to 3.2, because threads spent the difference on waking each other.
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        _start_threads(pool, DECODE_THREADS)
        waiting: deque[Future[list[Read]]] = deque()
        try:
            for number, batch in enumerate(batches):
                waiting.append(pool.submit(read_batch, number, batch))
                if len(waiting) > BATCHES_AHEAD:
                    yield from in_turn(waiting, number - BATCHES_AHEAD)
            while waiting:
                yield from in_turn(waiting, len(batches) - len(waiting))
        finally:
            ahead.end()
            pool.shutdown(wait=False, cancel_futures=True)


def finish_behind(items: Iterable[Item], finish: Callable[[Item], Finished], most_behind: int) -> Generator[Finished]:
    """Apply `finish` to each item in threads while the next items are made; results come in order.

    Args: most_behind: items that may be unfinished when the next one is requested.
    """
    with ThreadPoolExecutor(ENCODE_THREADS, thread_name_prefix="encode") as pool:
        _start_threads(pool, ENCODE_THREADS)
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


def _start_threads(pool: ThreadPoolExecutor, threads: int) -> None:
    """Start all threads of a pool before they have work: once images have taken the memory, no thread may start."""
    all_there = threading.Barrier(threads + 1)
    try:
        for _ in range(threads):
            pool.submit(all_there.wait)
        all_there.wait()
    except BaseException:  # Ctrl-C too: the others must not wait for one that never comes
        all_there.abort()
        raise


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
