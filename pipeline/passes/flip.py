"""Predicts other views of an image, and compares their masks with the candidate's."""

from collections.abc import Mapping, Sequence

import numpy as np

from model.config import EnsembleConfig
from model.loading import load_model
from pipeline.errors import ConfigError, SampleError
from pipeline.passes.agreement import dice, iou
from pipeline.passes.options import FlipOptions
from pipeline.passes.score_pass import Item, PassContext, Values
from pipeline.selection.columns import Column
from pipeline.selection.scores import Score


class Flip:
    """Fulfils `Scorer`."""

    needs_image = True

    def __init__(self, options: FlipOptions, context: PassContext) -> None:
        self._name = context.name
        try:
            self._model = load_model(context.model, ensemble_of(options))
        except ValueError as error:
            raise ConfigError(f"--model {context.model.model}: {error}") from error

    @property
    def columns(self) -> Sequence[Column]:
        """Agreement with the candidate."""
        name = self._name
        return (
            Score(
                name=f"{name}_iou",
                meaning="intersection over union of the mask with that of the mirrored image, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Score(
                name=f"{name}_dice",
                meaning="Dice coefficient of the mask with that of the mirrored image, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
        )

    @property
    def device_kind(self) -> str:
        """That of the model."""
        return self._model.device_kind

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """Predict the mirrored images of a batch together."""
        views = [np.ascontiguousarray(item.image[:, ::-1]) for item in items if item.image is not None]
        found = self._model.predict(views, [item.sample.key for item in items])
        return [self._compare(item, view.saliency[:, ::-1] >= 0.5) for item, view in zip(items, found, strict=True)]

    def _compare(self, item: Item, mask: np.ndarray) -> Mapping[str, float]:
        own = item.candidate.mask
        return {f"{self._name}_iou": iou(own, mask), f"{self._name}_dice": dice(own, mask)}


def ensemble_of(options: FlipOptions) -> EnsembleConfig:
    """How a view is predicted."""
    return EnsembleConfig(
        ensemble_size=options.view_members, denoise_steps=options.view_steps, timestep_spacing="trailing"
    )
