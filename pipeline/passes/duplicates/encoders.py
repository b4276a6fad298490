"""What turns an image into numbers that say what it shows: the backbone of a saliency model, a network in ONNX, or
nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from model.config import ModelConfig
from model.prediction import ModelOutputError
from pipeline.errors import ConfigError
from pipeline.passes.options import EmbeddingsOptions
from pipeline.runs.fingerprint import model_fields

INSTALL = "pip install 'onnxruntime>=1.32'"


class Encoder(Protocol):
    """Numbers of images; loads what takes time at first use."""

    @property
    def length(self) -> int:
        """How many numbers an image gets."""

    @property
    def device_kind(self) -> str:
        """`cpu` or `cuda`."""

    def of(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]]) -> Float[np.ndarray, "n d"]:
        """The numbers of at least one image, equal for its mirror image.

        Raises: ModelOutputError: one is NaN or infinite.
        """


class NoEncoder:
    """No numbers: images are compared by their thumbnails alone."""

    length = 0
    device_kind = "cpu"

    def of(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]]) -> Float[np.ndarray, "n d"]:
        """Nothing, for each image."""
        return np.zeros((len(images), 0))


class OnnxEncoder:
    """A network in ONNX with one image as input and one list of numbers as output."""

    device_kind = "cpu"

    def __init__(self, path: str, side_px: int, threads: int) -> None:
        self._side_px = side_px
        self._session: Any = _session(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
            raise ConfigError(f"--encoder {path}: its inputs are {found}; one of floats, [images, 3, height, width]")
        self._input, self._output = inputs[0].name, outputs[0].name
        tried = self._run([np.zeros((side_px, side_px, 3), np.uint8)], path)
        self.length = tried.shape[1]

    def of(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]]) -> Float[np.ndarray, "n d"]:
        """The mean of an image's output and of its mirror image's; one at a time, since not all networks take more."""
        return np.concatenate([self._run([image, image[:, ::-1]], "the encoder") for image in images])

    def _run(self, views: Sequence[UInt8[np.ndarray, "h w 3"]], name: str) -> Float[np.ndarray, "1 d"]:
        """The mean over views of one image."""
        from model.geometry import preprocess

        outputs = []
        for view in views:
            pixels = preprocess([np.ascontiguousarray(view)], self._side_px).numpy()
            try:
                (found,) = self._session.run([self._output], {self._input: (pixels - _MEAN) / _STD})
            except Exception as error:  # onnxruntime has classes of its own
                raise ConfigError(f"--encoder {name}: it can't be run on {self._side_px} px: {error}") from error
            outputs.append(np.asarray(found, dtype=np.float64).reshape(-1))
        mean: Float[np.ndarray, " d"] = np.mean(outputs, axis=0)
        if not np.isfinite(mean).all():
            raise ModelOutputError("the encoder's output has NaN or infinite values")
        return mean[None]


_MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
_STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
"""Of ImageNet, with which nearly all public encoders were trained."""


def load_encoder(options: EmbeddingsOptions, model: ModelConfig) -> Encoder:
    """The encoder that the options name. Its weights are not loaded yet.

    Raises: ConfigError: there is no such model or file, or it can't be used.
    """
    if options.encoder == "none":
        return NoEncoder()
    if options.encoder != "model":
        return OnnxEncoder(options.encoder, options.encoder_px, model.threads)
    if model.is_fake:
        raise ConfigError("--model fake has no backbone; give a model that has one, or --encoder none")
    from model.checkpoint_files import CheckpointError
    from model.features import BackboneFeatures

    try:
        return BackboneFeatures(model, options.encoder_px)
    except CheckpointError as error:
        raise ConfigError(f"--model {model.model}: {error}") from error


def encoder_fields(options: EmbeddingsOptions, model: ModelConfig) -> Mapping[str, str]:
    """What vectors depend on, besides the images: field → value.

    Raises: ConfigError: there is no such model or file.
    """
    if options.encoder == "none":
        return {"encoder": "none"}
    size = {"encoder px": str(options.encoder_px)}
    if options.encoder != "model":
        return {"encoder": f"ONNX {hashlib.sha256(_content(options.encoder)).hexdigest()}"} | size
    fields = model_fields(model)
    return {"encoder": "model", "weights": fields["weights"], "dtype": fields["dtype"]} | size


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--encoder {path}: it can't be read ({error.strerror}); give an ONNX file") from error


def _session(path: str, threads: int) -> Any:
    content = _content(path)  # by content, so that the file can name no other file as its weights
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"--encoder {path} needs the package onnxruntime, which is not installed: {INSTALL}"
        ) from error
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has classes of its own
        raise ConfigError(f"--encoder {path} is no network in ONNX that can be loaded: {str(error)[:300]}") from error
