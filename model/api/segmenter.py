"""A loaded model as a function: photos in, results out, with a bar for whoever waits."""

import os
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from model.api.bar import StepsOfBatch, photo_bar
from model.api.result import SaliencyResult
from model.config import EnsembleConfig, ModelConfig
from model.images import Pixels, as_iterable, as_list, name_of, pixels_of, require_images
from model.prediction import Prediction, SaliencyModel, ShowsSteps
from model.seeds import key_of

Several = list[Any] | tuple[Any, ...] | Iterator[Any]
OneImage = str | os.PathLike[str] | Image.Image | UInt8[np.ndarray, "_h _w 3"]


class Segmenter:
    """A loaded model with its settings, ready to segment photos; `model.load` makes it."""

    def __init__(self, model: SaliencyModel, config: ModelConfig, ensemble: EnsembleConfig) -> None:
        self.config = config
        self.ensemble = ensemble
        self._model = model

    @property
    def pipeline(self) -> Any:
        """The `SODDiffusionPipeline`, for whoever wants to call it as other pipelines of diffusers."""
        return getattr(self._model, "pipeline", None)

    @overload
    def __call__(self, images: OneImage, *, names: None = None, progress: bool = True) -> SaliencyResult: ...

    @overload
    def __call__(
        self, images: Several, *, names: Iterable[str] | None = None, progress: bool = True
    ) -> list[SaliencyResult]: ...

    def __call__(
        self, images: Any, *, names: Iterable[str] | None = None, progress: bool = True
    ) -> SaliencyResult | list[SaliencyResult]:
        """Segment a photo, or several.

        A photo gets the same map as from `sod predict` with the same settings, `threads` among them: the noise of
        its members follows from the seed and the name of its file.

        If a photo fails, the results of the photos before it are lost; use `stream` to keep them.

        Args:    images: a path, a Pillow image, an array of uint8 [H, W, 3], or a list of these (a tuple, an iterator,
                     an array [N, H, W, 3]).
                 names: of the images, instead of those of their files; arrays have none and are all called `image`.
                 progress: show a bar if stderr is a terminal or this is a notebook.
        Returns: one result for one image; for several, a list in their order.
        Raises:  TypeError, ValueError, OSError: an image or a name is not what it should be, or can't be read; the
                     message names it. All are looked at before the first is segmented, but decoded one by one.
                 ModelOutputError: the networks gave NaN. ModelMemoryError: an image is too large for the device.
        """
        listed, are_several = as_list(images)
        results = list(self._results(listed, names, progress=progress))
        return results if are_several else results[0]

    def stream(
        self, images: Any, *, names: Iterable[str] | None = None, progress: bool = True
    ) -> Iterator[SaliencyResult]:
        """Do what a call does with several images, and yield each result once it is there: for more than fit in memory.

        An iterator is asked for a batch of images at a time, and each batch is looked at before it is segmented.

        Raises: as a call does.
        """
        several, _ = as_iterable(images)
        return self._results(several, names, progress=progress)

    def _results(self, images: Iterable[Any], names: Any, *, progress: bool) -> Iterator[SaliencyResult]:
        given = None if names is None else _listed(names)
        count = len(images) if isinstance(images, Sized) else None
        if count is not None:
            require_images(list(images))
            if given is not None and len(given) != count:
                raise ValueError(f"names has {len(given)} names for {count} images; give one for each")
        return self._predicted(images, given, count, progress=progress)

    def _predicted(
        self, images: Iterable[Any], names: list[str] | None, count: int | None, *, progress: bool
    ) -> Iterator[SaliencyResult]:
        with photo_bar(count, self.ensemble.steps, wanted=progress) as bar:
            for own, pixels in self._batches(images, names, count):
                found = self._predict(pixels, own, bar)
                for name, image, prediction in zip(own, pixels, found, strict=True):
                    yield SaliencyResult(name=name, image=image, prediction=prediction)

    def _batches(
        self, images: Iterable[Any], names: list[str] | None, count: int | None
    ) -> Iterator[tuple[list[str], list[Pixels]]]:
        """Names and pixels of as many images as pass through the networks together."""
        coming, at_once, first = iter(images), self._photos_at_once(), 0
        # With names, no image is taken that has none, but for one, to see whether there is one.
        while batch := list(islice(coming, at_once if names is None else max(1, min(at_once, len(names) - first)))):
            require_images(batch, None if count == 1 else first)
            if names is not None and first == len(names):
                raise ValueError(f"names has {first} names, but there are more images; give one for each")
            own = [name_of(image) for image in batch] if names is None else names[first : first + len(batch)]
            first += len(batch)
            yield own, [pixels_of(image) for image in batch]
        if names is not None and first < len(names):
            raise ValueError(f"names has {len(names)} names for {first} images; give one for each")

    def _predict(self, pixels: list[UInt8[np.ndarray, "_h _w 3"]], names: list[str], bar: Any) -> list[Prediction]:
        """Predict a batch; torch's number of threads and the model's bar are as before when it is done."""
        counted = StepsOfBatch(bar=bar, photos=len(pixels), steps=self.ensemble.steps)
        shows = self._model if isinstance(self._model, ShowsSteps) else None
        threads = torch.get_num_threads()
        try:
            if shows is not None:
                shows.step_bar = counted
            found = self._model.predict(pixels, [key_of(name) for name in names])
        finally:
            # The model sets its own number and leaves it so, as replicas want it: their process does nothing else.
            torch.set_num_threads(threads)
            if shows is not None:
                shows.step_bar = None
        counted.finish()
        return found

    def _photos_at_once(self) -> int:
        """As many as fill a pass through the networks, as for `sod predict`."""
        from model.memory import most_at_once

        return max(
            1,
            (self.ensemble.batch_size or most_at_once(self._model.device_kind.split()[0])) // self.ensemble.members,
        )

    def __repr__(self) -> str:
        ensemble = self.ensemble
        return (
            f"Segmenter({self.config.model!r}, {self._model.device_kind}, {self.config.dtype}, {self.config.threads} "
            f"threads, {ensemble.members} members x {ensemble.steps} steps, seed {ensemble.seed})"
        )


def _listed(names: Any) -> list[str]:
    """Names as they were given, in a list.

    Raises: TypeError: they are no names; the message has the place of the first that is none.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        example = [names] if isinstance(names, str) else ["first", "second"]
        raise TypeError(f"names is {names!r}; give a list of names, one for each image: {example}")
    listed = list(names)
    for number, name in enumerate(listed):
        if not isinstance(name, str) or not name:
            raise TypeError(f"names[{number}] is {name!r}; it must be a string that is not empty")
    return listed
