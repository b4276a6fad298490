"""A network in ONNX that finds objects: loaded by onnxruntime, checked, and run on one image at a time.

One at a time, although many files allow more: a batch of several changes the last bits, and the 1024 x 1024 pixels that
such networks look at keep a device busy alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from model.prediction import ModelOutputError
from model.saliency import resolve_device
from pipeline.errors import ConfigError
from pipeline.networks.images import network_input, saliency_from
from pipeline.networks.onnx_files import INSTALL, require_packages
from pipeline.networks.presets import Signature

_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


class OnnxNetwork:
    """Saliency maps of one network.

    Args:   path: the ONNX file. device: as `ModelConfig.device`. threads: of the CPU.
    Raises: ConfigError: it can't be run, wants something else than one image, or gives no map.
    """

    def __init__(self, path: Path, signature: Signature, *, device: str, threads: int) -> None:
        self._path, self._signature = path, signature
        self._session, self.device_kind = _session(path, device, threads)
        try:
            self._input, self._dtype, self._height_px, self._width_px = _wanted(self._session.get_inputs(), signature)
            self._output = _chosen(self._session.get_outputs(), signature.output)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error

    def saliency_of(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
        """The map of one image, at its size and in [0, 1].

        Raises: ModelOutputError: the network gives no map of it, or NaN.
        """
        found = self.run(self.input_of(image))
        return saliency_from(self._map_in(found), self._signature.values, *image.shape[:2])

    def input_of(self, image: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
        """What the network is given for an image."""
        batch = network_input(image, self._signature, self._height_px, self._width_px)
        return batch.astype(self._dtype, copy=False)

    def run(self, batch: np.ndarray) -> Any:
        """What the network gives: inference alone."""
        (found,) = self._session.run([self._output], {self._input: batch})
        return found

    def try_out(self) -> None:
        """Find out what only a run shows, on a bright square on grey.

        Raises: ConfigError: the network can't be run, or gives no map.
        """
        image = np.full((48, 64, 3), 96, dtype=np.uint8)
        image[12:36, 16:48] = 224
        try:
            self.saliency_of(image)
        except ModelOutputError as error:
            raise ConfigError(f"{self._path}, tried on a plain picture: {error}") from error
        except Exception as error:  # onnxruntime has one class of its own per reason
            raise ConfigError(
                f"{self._path} can't be run on an image of {self._height_px} x {self._width_px} px: "
                f"{_first_line(error)}. Is --network-size that which it was exported for?"
            ) from error

    def _map_in(self, found: Any) -> Float32[np.ndarray, "ph pw"]:
        """The only map in an output: its height and width come last, and all else is 1.

        Raises: ModelOutputError: it is none.
        """
        shape = " x ".join(map(str, np.shape(found))) or "a number"
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
            raise ModelOutputError(
                f"output {self._output!r} holds {getattr(found, 'dtype', type(found).__name__)}, not floating-point "
                "numbers; name another one by --network-output"
            )
        if found.ndim < 2 or found.size != found.shape[-2] * found.shape[-1] or not found.size:
            raise ModelOutputError(
                f"output {self._output!r} is {shape}, not one map (1 x 1 x height x width); name another one by "
                "--network-output"
            )
        height_px, width_px = found.shape[-2:]
        if height_px * self._width_px != width_px * self._height_px:
            raise ModelOutputError(
                f"output {self._output!r} is {shape}, whose sides are not in the ratio of the input's "
                f"{self._height_px} x {self._width_px} px; name another one by --network-output"
            )
        return found.reshape(height_px, width_px).astype(np.float32, copy=False)


def _session(path: Path, device: str, threads: int) -> tuple[Any, str]:
    """The loaded network, and what it runs on, as `SaliencyModel.device_kind`."""
    _, onnxruntime = require_packages()
    resolved = resolve_device(device)
    wanted: list[Any] = [_CPU]
    if resolved.startswith("cuda"):
        if _CUDA not in onnxruntime.get_available_providers():
            raise ConfigError(
                f"--device {device}: this onnxruntime has no CUDA, only {onnxruntime.get_available_providers()}; "
                f"{INSTALL}, or give --device cpu"
            )
        # By default cuDNN tries all algorithms and takes what is fastest at the time: other last bits in each session.
        options = {"device_id": resolved.partition(":")[2] or "0", "cudnn_conv_algo_search": "DEFAULT"}
        wanted.insert(0, (_CUDA, options))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # warnings are about the export: they help nobody here
    # Both keep memory for the next image: IS-Net then held 2.2 GB instead of 1.2 GB, and was at most a little faster.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # onnxruntime has one class of its own per reason
        raise ConfigError(f"{path} is no network that onnxruntime can load: {_first_line(error)}") from error
    running = session.get_providers()
    if len(wanted) > 1 and _CUDA not in running:
        # It warns on stderr and goes on with the CPU.
        raise ConfigError(
            f"--device {device}: onnxruntime could not begin with CUDA and would use {running}; install the CUDA and "
            "cuDNN that this onnxruntime-gpu was built for, or give --device cpu"
        )
    return session, f"{resolved.partition(':')[0]} with onnxruntime {onnxruntime.__version__}"


def _wanted(inputs: Sequence[Any], signature: Signature) -> tuple[str, type, int, int]:
    """Name, type, height and width of the one image that a network takes.

    Raises: ValueError: it takes something else.
    """
    if len(inputs) != 1:
        names = ", ".join(repr(one.name) for one in inputs)
        raise ValueError(f"it has {len(inputs)} inputs ({names}); a usable network takes one, an image")
    (image,) = inputs
    shown = f"input {image.name!r} is {image.type} {list(image.shape)}"
    if image.type not in _FLOATS:
        raise ValueError(f"{shown}; a usable network takes 32- or 16-bit floating-point numbers. Export it again")
    if len(image.shape) != 4:
        raise ValueError(f"{shown}; a usable network takes four axes: 1, 3 colours, height, width. Export it again")
    count, colours, height_px, width_px = (side if isinstance(side, int) else None for side in image.shape)
    if count not in (None, 1) or colours not in (None, 3):
        raise ValueError(f"{shown}; a usable network takes 1 image of 3 colours: 1, 3, height, width. Export it again")
    sides = []
    for name, fixed, given in (("height", height_px, signature.height_px), ("width", width_px, signature.width_px)):
        if fixed and given and fixed != given:
            raise ValueError(f"{shown}: its {name} is {fixed} px, not {given}. Give --network-size as the file has it")
        if not (fixed or given):
            raise ValueError(f"{shown}: its {name} is open. Give --network-size, the size that it was trained for")
        sides.append(fixed or given)
    return image.name, _FLOATS[image.type], sides[0], sides[1]


def _chosen(outputs: Sequence[Any], wanted: str) -> str:
    """The name of the output that is the map.

    Raises: ValueError: there is none of this name.
    """
    names: list[str] = [output.name for output in outputs]
    if wanted in names:
        return wanted
    if wanted not in ("first", "last"):
        raise ValueError(f"--network-output {wanted}: its outputs are {', '.join(names)}")
    return names[0 if wanted == "first" else -1]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:400]
