"""Pooled features of the conditioner's backbone: what an image shows, in a few hundred numbers.

Owns the network and its input. What the numbers are compared for is the caller's business.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.checkpoint_files import SAFETENSORS, CheckpointError, load_network, read_fields
from model.conditioner import SaliencyConditioner
from model.config import ModelConfig
from model.geometry import preprocess
from model.prediction import ModelOutputError
from model.runtime import keep_freed_memory
from model.saliency import resolve_device, torch_dtype


class BackboneFeatures:
    """The backbone of a saved pipeline; its weights are loaded at first use."""

    def __init__(self, config: ModelConfig, side_px: int) -> None:
        """Args: side_px: images are resized to squares of this side.

        Raises: CheckpointError: the folder has no conditioner of this project.
        """
        self._config, self._side_px = config, side_px
        self._folder = _conditioner_folder(config)

    @cached_property
    def length(self) -> int:
        """How many numbers an image gets: the channels of the backbone's last map."""
        fields = {name: value for name, value in read_fields(self._folder / "config.json").items() if name[0] != "_"}
        with torch.device("meta"):  # shapes only: Swin-B takes a second and 350 MB otherwise
            return int(SaliencyConditioner(**fields).backbone.feature_info.channels()[-1])

    @cached_property
    def device_kind(self) -> str:
        """`cpu` or `cuda`."""
        return torch.device(resolve_device(self._config.device)).type

    def of(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]]) -> Float[np.ndarray, "n d"]:
        """Features of images, each the mean of the image's and of its mirror image's; at least one image.

        Returns: float64; the mean over the positions of the coarsest map. Of the embedded model's three maps it tells
                 copies from other photographs best; the finer ones see how sharp an image is.
        Raises:  ModelOutputError: a feature is NaN or infinite.
        """
        torch.set_num_threads(self._config.threads)
        pixels = preprocess(images, self._side_px)
        both = torch.cat([pixels, pixels.flip(-1)]).to(self._network.device, self._network.dtype)
        with torch.inference_mode():
            maps = self._network.backbone_features(both.contiguous(memory_format=self._layout))
        features = _over_places(maps[-1], self._network.config.normalise_features, len(images))
        if not bool(torch.isfinite(features).all()):
            raise ModelOutputError("the backbone's features have NaN or infinite values")
        found: Float[np.ndarray, "n d"] = features.numpy()
        return found

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self._config.memory_format == "channels_last" else torch.contiguous_format

    @cached_property
    def _network(self) -> SaliencyConditioner:
        dtype = torch_dtype(self._config.dtype)
        network: SaliencyConditioner = load_network(SaliencyConditioner, self._folder, dtype, weights=(SAFETENSORS,))
        network.eval().requires_grad_(False)
        device = resolve_device(self._config.device)
        if self._config.keep_memory and device == "cpu":
            keep_freed_memory()
        network.to(device=device, memory_format=self._layout)
        return network


def _over_places(features: Tensor, is_channels_last: bool, images: int) -> Float[Tensor, "n c"]:
    """Mean over the places of a map, and over an image and its mirror image."""
    means = features.double().mean(dim=(1, 2) if is_channels_last else (2, 3)).cpu()
    return (means[:images] + means[images:]) / 2


def _conditioner_folder(config: ModelConfig) -> Path:
    folder = config.folder / "conditioner"
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{config.folder} holds no conditioner/config.json, so it has no backbone")
    return folder
