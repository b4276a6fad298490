"""What a pipeline gives: the prediction of one image's members, and the answer of `SODDiffusionPipeline.__call__`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from diffusers.utils import BaseOutput
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from model.config import EnsembleConfig
from model.ensemble import reduce_members
from model.geometry import resize_map
from model.maps import quantise_deviation, quantise_saliency, quantise_variance
from model.prediction import Prediction
from model.rounds import variance_scale

OutputType = Literal["np", "pt", "pil"]


@dataclass
class SODPipelineOutput(BaseOutput):  # type: ignore[misc]
    """Maps of N images, at each image's own size.

    As `np`, arrays of float32 with the shape (N, H, W, 1); as `pt`, tensors with (N, 1, H, W), on the pipeline's
    device; as `pil`, lists of 8-bit images (`model/maps.py` has their scales). Images of several sizes give a list
    instead, with an array (H, W, 1) or a tensor (1, H, W) for each.
    """

    prediction: Any
    """Saliency, in [0, 1]."""
    variance: Any
    """Population variance over the members, in [0, 0.25]; None if there is one member."""
    uncertainty: Any
    """Standard deviation of the members from the mean, or their median absolute deviation from the median, in
    [0, 0.5]; None if there is one member."""


def require_output_type(output_type: Any) -> None:
    """Refuse a form that there is not.

    Raises: ValueError: it is not one of `np`, `pt` and `pil`.
    """
    if output_type not in get_args(OutputType):
        raise ValueError(f"output_type is {output_type!r}; it must be one of {', '.join(get_args(OutputType))}")


def as_output(predictions: Sequence[Prediction], output_type: OutputType, device: torch.device) -> SODPipelineOutput:
    """Put predictions into the form that was asked for."""
    maps: dict[str, list[Float[np.ndarray, "_h _w"]]] = {
        "prediction": [own.saliency for own in predictions],
        "variance": [own.variance for own in predictions],
        "uncertainty": [resized_uncertainty(own) for own in predictions],
    }
    has_spread = all(len(own.members) > 1 for own in predictions)
    return SODPipelineOutput(
        **{
            name: _in_form(name, values, output_type, device) if has_spread or name == "prediction" else None
            for name, values in maps.items()
        }
    )


def resized_uncertainty(prediction: Prediction) -> Float[np.ndarray, "h w"]:
    """An image's uncertainty at its own size."""
    height, width = prediction.saliency.shape
    return np.asarray(resize_map(torch.from_numpy(prediction.uncertainty), (height, width)))


def prediction_of(
    members: Float[Tensor, "e ph pw"], height_width: tuple[int, int], ensemble: EnsembleConfig
) -> Prediction:
    """Reduce the members of one image; resize the maps to the image's own size."""
    reduced = reduce_members(
        members, reduction=ensemble.reduction, alignment=ensemble.alignment, stretch=ensemble.stretch
    )
    scale = variance_scale(len(members), ensemble.members)
    saliency = resize_map(reduced.saliency, height_width, ensemble.resize_filter)
    variance = resize_map(reduced.variance, height_width, ensemble.resize_filter) * scale
    return Prediction(
        saliency=saliency.clamp(0, 1).cpu().numpy(),
        variance=variance.clamp(0, 0.25).cpu().numpy(),
        uncertainty=reduced.uncertainty.cpu().numpy(),
        members=members.float().cpu().numpy(),
        variance_scale=scale,
    )


def _in_form(name: str, maps: list[Float[np.ndarray, "_h _w"]], output_type: OutputType, device: torch.device) -> Any:
    if output_type == "pil":
        quantise = {"prediction": quantise_saliency, "variance": quantise_variance, "uncertainty": quantise_deviation}
        return [Image.fromarray(quantise[name](values)) for values in maps]
    is_one_size = len({values.shape for values in maps}) == 1
    if output_type == "pt":
        tensors = [torch.from_numpy(np.array(values))[None].to(device) for values in maps]
        return torch.stack(tensors) if is_one_size else tensors
    arrays = [values[:, :, None] for values in maps]
    return np.stack(arrays) if is_one_size else arrays
