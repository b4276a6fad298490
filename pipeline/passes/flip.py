"""Predicts other views of an image, and compares their masks with the candidate's: a mask that depends on the view is
doubtful, whatever the members of one view agree on."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from model.config import EnsembleConfig
from model.fake import FakeModel
from model.loading import load_model
from model.prediction import SaliencyModel
from pipeline.errors import ConfigError, SampleError
from pipeline.passes.agreement import dice, iou
from pipeline.passes.options import FlipOptions, View
from pipeline.passes.score_pass import Item, PassContext, Values
from pipeline.passes.views import part_in_view, seen, turned_back
from pipeline.runs.fingerprint import model_fields
from pipeline.selection.columns import Column
from pipeline.selection.scores import Score

log = logging.getLogger(__name__)

_AS_IN_THE_RUN = ("processing_res", "seed", "alignment", "reduction", "stretch", "batch_stats", "resize_filter")
"""Options of the run that views are predicted with; the others are for many members and steps."""
_IN_WORDS: Mapping[View, str] = {
    "mirror": "mirrored",
    "smaller": "within a margin of its repeated edges, of a sixth of each side",
    "larger": "the middle 4/5 of each side alone, compared there",
    "colours": "with other brightness, contrast and saturation (each 1 ± 0.1 to 0.3 times, by its key)",
}


class Flip:
    """Fulfils `Scorer`."""

    needs_image = True

    def __init__(self, options: FlipOptions, context: PassContext) -> None:
        self._views, self._context = options.views, context
        self._ensemble = ensemble_of(options, context.made_with)
        if context.model.is_fake:
            try:
                FakeModel.from_name(context.model.model, self._ensemble)
            except ValueError as error:
                raise ConfigError(f"--model {context.model.model}: {error}") from error

    @property
    def columns(self) -> Sequence[Column]:
        """Agreement with the candidate."""
        name, views = self._context.name, f"other views of the image ({', '.join(self._views)})"
        several = len(self._views) > 1
        found = [
            Score(
                name=f"{name}_iou",
                meaning=f"intersection over union of the mask with those of {views}, averaged over the views, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Score(
                name=f"{name}_dice",
                meaning=f"Dice coefficient of the mask with those of {views}, averaged over the views, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Score(
                name=f"{name}_variance",
                meaning=f"variance over the saliency map and those of {views}, averaged over the pixels, 0 to 0.25",
                highest=0.25,
                worse_when="high",
                rankable=True,
            ),
        ]
        if several:
            least = Score(
                name=f"{name}_least_iou",
                meaning=f"the least intersection over union of the mask with one of those of {views}, 0 to 1",
                worse_when="low",
                rankable=True,
            )
            found.insert(1, least)
        return tuple(found)

    @property
    def device_kind(self) -> str:
        """That of the model."""
        return self._model.device_kind

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """Predict all views of a batch together."""
        images: list[UInt8[np.ndarray, "_h _w 3"]] = []
        for item in items:
            assert item.image is not None  # needs_image
            images += [seen(view, item.image, item.sample.key) for view in self._views]
        keys = [item.sample.key for item in items for _ in self._views]
        maps = [prediction.saliency for prediction in self._model.predict(images, keys)]
        count = len(self._views)
        return [self._compare(item, maps[count * place : count * (place + 1)]) for place, item in enumerate(items)]

    def _compare(self, item: Item, maps: Sequence[Float[np.ndarray, "_h _w"]]) -> Values:
        own, name = item.candidate.saliency, self._context.name
        height, width = own.shape
        backs = {view: turned_back(view, found, (height, width)) for view, found in zip(self._views, maps, strict=True)}
        masks = [(part_in_view(view, item.candidate.mask), back >= 0.5) for view, back in backs.items()]
        ious = [iou(*pair) for pair in masks]
        values = {
            f"{name}_iou": float(np.mean(ious)),
            f"{name}_dice": float(np.mean([dice(*pair) for pair in masks])),
            f"{name}_variance": mean_variance(own.astype(np.float32) / 255, backs),
        }
        return values | ({f"{name}_least_iou": min(ious)} if len(ious) > 1 else {})

    @cached_property
    def _model(self) -> SaliencyModel:
        """Loaded at first use, which is in a replica."""
        try:
            return load_model(self._context.model, self._ensemble)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--model {self._context.model.model}: {error}") from error

    @staticmethod
    def about(options: FlipOptions, context: PassContext) -> dict[str, str]:
        """What the card says."""
        ensemble, made_with = ensemble_of(options, context.made_with), context.made_with
        fields = model_fields(context.model, ensemble.processing_res)
        weights, of_run = fields["weights"], made_with.get("weights", "unknown")
        whose = "the run's own weights"
        if weights != of_run:
            whose = f"other weights than the run's ({weights}; the run's are {of_run})"
            log.warning(
                "%s: the views are predicted with the weights %s, the run's candidates with %s; if you did not "
                "mean that, give the run's --model",
                context.name,
                weights[:12],
                of_run[:12],
            )
        decoders = [each.get("decoder", "vae") for each in (fields, made_with)]
        if decoders[0] != decoders[1]:
            whose += f", decoded by another decoder ({decoders[0]}; the run's is {decoders[1]})"
            log.warning("%s: give --decoder %s, as the run had: decoders differ too", context.name, decoders[1])
        views = "; ".join(_IN_WORDS[view] for view in options.views)
        return {
            f"Other views ({context.name})": f"Each image was predicted again by {whose}: {views}. Per view, members: "
            f"{ensemble.members}, DDIM steps: {ensemble.steps} with trailing timesteps; the run's "
            f"candidates have {context.made_with.get('ensemble_size', '?')} members of "
            f"{context.made_with.get('denoise_steps', '?')} steps. The maps were turned back and compared with the "
            "candidate's. Views share the weights, so they agree where the weights are wrong in every view."
        }


def ensemble_of(options: FlipOptions, made_with: Mapping[str, str]) -> EnsembleConfig:
    """How a view is predicted: few members and steps, everything else as in the run."""
    kinds = {field.name: field.type for field in fields(EnsembleConfig)}
    of_run: dict[str, Any] = {
        name: _parsed(made_with[name], kinds[name]) for name in _AS_IN_THE_RUN if name in made_with
    }
    return EnsembleConfig(
        ensemble_size=options.view_members, denoise_steps=options.view_steps, timestep_spacing="trailing", **of_run
    )


def mean_variance(own: Float[np.ndarray, "h w"], backs: Mapping[View, Float[np.ndarray, "_h _w"]]) -> float:
    """Population variance over a map and those of views, averaged over the pixels; in [0, 0.25].

    Args: own, backs: in [0, 1]. A pixel counts the maps in whose view it is.
    """
    total, count = own.copy(), np.ones_like(own)
    for view, back in backs.items():
        part_in_view(view, total)[...] += back
        part_in_view(view, count)[...] += 1
    mean = total / count
    squares = np.square(own - mean)
    for view, back in backs.items():
        part_in_view(view, squares)[...] += np.square(back - part_in_view(view, mean))
    return min(0.25, float((squares / count).mean(dtype=np.float64)))


def _parsed(text: str, kind: object) -> int | bool | str | None:
    """A value of a fingerprint, in which all values are texts."""
    if kind is bool:
        return text == "True"
    if text == "None":
        return None
    return int(text) if kind in (int, int | None) else text
