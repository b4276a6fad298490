"""Opens a model and asks it for the map of one photo: one of ours, a network in ONNX, or a user's function."""

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from model.config import EnsembleConfig, ModelConfig
from model.prediction import ModelOutputError
from pipeline.errors import ConfigError, PipelineError
from pipeline.evaluation.models.config import OtherModelConfig
from pipeline.shown import shown

_NOT_STATED = ("adaptive", "batch_images", "batch_size")
"""Photos are predicted one by one, with all of their members: the first two have no effect, and `batch_size`, which
people lower when memory runs out, changes the last bits alone."""

Function = Callable[[UInt8[np.ndarray, "h w 3"]], Any]


class Predictor(Protocol):
    """A model that predicts one photo at a time."""

    @property
    def about(self) -> Mapping[str, str]:
        """What it is, and what its maps depend on; results and the folder of maps state it."""

    def map_of(self, image: UInt8[np.ndarray, "h w 3"], key: str) -> UInt8[np.ndarray, "h2 w2"]:
        """The map of a photo, 0 to 255; usually at the photo's size.

        Raises: ModelOutputError: it gives none. ModelMemoryError: the photo is too large for the device.
        """


def open_predictor(config: OtherModelConfig, model: ModelConfig, ensemble: EnsembleConfig) -> Predictor:
    """Load the model that was asked for; ours, if no other was.

    Raises: ConfigError: it can't be loaded.
    """
    if config.function:
        return FunctionPredictor(config)
    return NetworkPredictor(config, model) if config.onnx else OwnPredictor(config, model, ensemble)


class FunctionPredictor:
    """A function in a module that Python finds, the working folder included."""

    def __init__(self, config: OtherModelConfig) -> None:
        self._name = config.function
        self._function, source = _function(config.function)
        self.about = {
            "kind": "function",
            "name": config.function,
            "source": hashlib.sha256(source).hexdigest(),
            "trained_on": config.said_trained_on,
        }

    def map_of(self, image: UInt8[np.ndarray, "h w 3"], key: str) -> UInt8[np.ndarray, "h2 w2"]:
        """See `Predictor`; the key is not passed on."""
        try:
            found = self._function(image.copy())
        except PipelineError:
            raise
        except (Exception, SystemExit) as error:  # whatever a user's function raises costs this photo alone
            raise ModelOutputError(f"{self._name}: {type(error).__name__}: {str(error)[:300]}") from error
        return to_map(found, self._name)


class NetworkPredictor:
    """A network in ONNX."""

    def __init__(self, config: OtherModelConfig, model: ModelConfig) -> None:
        from pipeline.networks.onnx_files import one_digest, onnx_digests
        from pipeline.networks.onnx_network import OnnxNetwork

        path = Path(config.onnx)
        digest = one_digest(onnx_digests(path))
        self._network = OnnxNetwork(path, config.signature, device=model.device, threads=model.threads)
        self._network.try_out()
        self.about = {
            "kind": "onnx",
            "name": path.name,
            "weights": digest,
            "signature": str(config.signature),
            "device": self._network.device_kind,
            "trained_on": config.said_trained_on,
        }

    def map_of(self, image: UInt8[np.ndarray, "h w 3"], key: str) -> UInt8[np.ndarray, "h2 w2"]:
        """See `Predictor`."""
        return to_map(self._network.saliency_of(image), self.about["name"])


class OwnPredictor:
    """One of our models; its noise depends on the key of a photo."""

    def __init__(self, config: OtherModelConfig, model: ModelConfig, ensemble: EnsembleConfig) -> None:
        from model.checkpoint_facts import facts_of, settled
        from model.loading import load_model
        from pipeline.files.model_urls import at_hand
        from pipeline.precision import with_precision
        from pipeline.runs.fingerprint import ensemble_fields, model_fields

        name, model = model.model, with_precision(at_hand(model))
        try:
            ensemble = settled(ensemble, facts_of(model))
            self._model = load_model(model, ensemble)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--model {name}: {error}") from error
        self.about = {
            "kind": "sod-diffusion",
            "name": shown(name),
            **model_fields(model, ensemble.processing_res),
            **{f"ensemble {name}": text for name, text in ensemble_fields(ensemble).items() if name not in _NOT_STATED},
            "device": self._model.device_kind,
            "trained_on": config.said_trained_on,
        }

    def map_of(self, image: UInt8[np.ndarray, "h w 3"], key: str) -> UInt8[np.ndarray, "h2 w2"]:
        """See `Predictor`."""
        (found,) = self._model.predict([image], [key])
        return to_map(found.saliency, self.about["name"])


def to_map(found: Any, name: str) -> UInt8[np.ndarray, "h w"]:
    """What a model has given, as a map of 8 bits.

    Raises: ModelOutputError: it is no map: not two axes (besides outer ones of length 1), NaN, or out of range.
    """
    values = np.asarray(found)
    while values.ndim > 2 and 1 in (values.shape[0], values.shape[-1]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or not values.size:
        raise ModelOutputError(f"{name} gives {type(found).__name__} of shape {np.shape(found)}; a map is [h, w]")
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "bf":
        raise ModelOutputError(f"{name} gives {values.dtype}; a map is bool, uint8, or numbers from 0 to 1")
    numbers: Float[np.ndarray, "h w"] = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ModelOutputError(f"{name} gives NaN or infinity")
    lowest, highest = float(numbers.min()), float(numbers.max())
    if lowest < -1e-3 or highest > 1 + 1e-3:
        raise ModelOutputError(f"{name} gives values from {lowest:.4g} to {highest:.4g}; they must be from 0 to 1")
    levels: UInt8[np.ndarray, "h w"] = np.rint(numbers.clip(0, 1) * 255).astype(np.uint8)
    return levels


def _function(name: str) -> tuple[Function, bytes]:
    """The function, and the source of its module.

    Raises: ConfigError: there is no such function.
    """
    module_name, _, attribute = name.rpartition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        raise ConfigError(f"--function {name}: {type(error).__name__}: {str(error)[:300]}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f"--function {name}: the module {module_name} has no function {attribute}")
    path = inspect.getsourcefile(module)
    return function, Path(path).read_bytes() if path else b""
