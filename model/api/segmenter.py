"""A loaded model as a function: photos in, results out, with a bar for whoever waits."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from model.api.bar import StepsOfBatch, photo_bar
from model.api.result import SaliencyResult
from model.config import EnsembleConfig, ModelConfig
from model.images import as_list, name_of, pixels_of, require_images
from model.prediction import SaliencyModel, ShowsSteps
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
        self, images: Several, *, names: Sequence[str] | None = None, progress: bool = True
    ) -> list[SaliencyResult]: ...

    def __call__(
        self, images: Any, *, names: Sequence[str] | None = None, progress: bool = True
    ) -> SaliencyResult | list[SaliencyResult]:
        """Segment a photo, or several.

        A photo gets the same map as from `sod predict` with the same settings, `threads` among them: the noise of
        its members follows from the seed and the name of its file.

        Args:    images: a path, a Pillow image, an array of uint8 [H, W, 3], or a list of these (a tuple, an iterator,
                     an array [N, H, W, 3]).
                 names: of the images, instead of those of their files; arrays have none and are all called `image`.
                 progress: show a bar if stderr is a terminal or this is a notebook.
        Returns: one result for one image; for several, a list in their order.
        Raises:  TypeError, ValueError, OSError: an image is not what it should be, or can't be read; the message names
                     it. All are looked at before the first is segmented, but decoded one by one.
                 ModelOutputError: the networks gave NaN. ModelMemoryError: an image is too large for the device.
        """
        listed, are_several = as_list(images)
        results = list(self._results(listed, names, progress=progress))
        return results if are_several else results[0]

    def stream(
        self, images: Any, *, names: Sequence[str] | None = None, progress: bool = True
    ) -> Iterator[SaliencyResult]:
        """Do what a call does with several images, and yield each result once it is there: for more than fit in memory.

        Raises: as a call does.
        """
        return self._results(as_list(images)[0], names, progress=progress)

    def _results(self, images: list[Any], names: Sequence[str] | None, *, progress: bool) -> Iterator[SaliencyResult]:
        require_images(images)
        if names is not None and len(names) != len(images):
            raise ValueError(f"names has {len(names)} names for {len(images)} images; give one for each")
        named = list(names) if names is not None else [name_of(image) for image in images]
        return self._predicted(images, named, progress=progress)

    def _predicted(self, images: list[Any], names: list[str], *, progress: bool) -> Iterator[SaliencyResult]:
        at_once = self._photos_at_once()
        steps = self.ensemble.denoise_steps
        with photo_bar(len(images), steps, wanted=progress) as bar:
            for first in range(0, len(images), at_once):
                batch = slice(first, first + at_once)
                pixels = [pixels_of(image) for image in images[batch]]
                counted = StepsOfBatch(bar=bar, photos=len(pixels), steps=steps)
                if isinstance(self._model, ShowsSteps):
                    self._model.step_bar = counted
                found = self._model.predict(pixels, [key_of(name) for name in names[batch]])
                counted.finish()
                for name, image, prediction in zip(names[batch], pixels, found, strict=True):
                    yield SaliencyResult(name=name, image=image, prediction=prediction)

    def _photos_at_once(self) -> int:
        """As many as fill a pass through the networks, as for `sod predict`."""
        from model.memory import most_at_once

        return max(
            1,
            (self.ensemble.batch_size or most_at_once(self._model.device_kind.split()[0]))
            // self.ensemble.ensemble_size,
        )

    def __repr__(self) -> str:
        ensemble = self.ensemble
        return (
            f"Segmenter({self.config.model!r}, {self._model.device_kind}, {self.config.dtype}, {self.config.threads} "
            f"threads, {ensemble.ensemble_size} members x {ensemble.denoise_steps} steps, seed {ensemble.seed})"
        )
