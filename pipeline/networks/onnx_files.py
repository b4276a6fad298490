"""Which files a network in ONNX consists of, and their digests. Nothing of a network is run here.

Weights may lie beside the file, in external data that the file names. What it names must be in its own folder: a file
from a stranger could otherwise name any file of this machine as its weights.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from pipeline.errors import ConfigError

INSTALL = "pip install 'onnx>=1.23' 'onnxruntime>=1.32' (on a GPU onnxruntime-gpu)"


def require_packages() -> tuple[ModuleType, ModuleType]:
    """The packages `onnx` and `onnxruntime`, which are no part of every installation.

    Raises: ConfigError: one is missing.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"ONNX needs the package {error.name}, which is not installed: {INSTALL}") from error
    return onnx, onnxruntime


def onnx_digests(path: Path) -> dict[str, str]:
    """SHA-256 of the file and of its external data: "" for the file itself, else the name that the file has for it.

    Raises: ConfigError: there is no such file, it is no network in ONNX, or its external data are missing or elsewhere.
    """
    onnx, _ = require_packages()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: it can't be read ({error.strerror}); give an ONNX file") from error
    network = onnx.ModelProto()
    try:
        network.ParseFromString(content)
    except Exception as error:  # protobuf has classes of its own per implementation
        raise ConfigError(f"{path} is no network in ONNX, but {_begins(content)}") from error
    if not network.graph.node:
        raise ConfigError(f"{path} is no network in ONNX, or one without a layer: {_begins(content)}")
    digests = {"": hashlib.sha256(content).hexdigest()}
    for name in sorted(set(_external_names(network, onnx))):
        with _external_file(path, name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def one_digest(digests: Mapping[str, str]) -> str:
    """One SHA-256 for the file and all its data; that of the file if it has none."""
    if len(digests) == 1:
        return digests[""]
    return hashlib.sha256("\n".join(f"{name} {digests[name]}" for name in sorted(digests)).encode()).hexdigest()


def _begins(content: bytes) -> str:
    return f"{len(content):,} bytes that begin with {content[:12]!r}"


def _external_names(message: Any, onnx: ModuleType) -> Iterator[str]:
    """Where the tensors of a network lie that are not inside it; networks nest in attributes and functions."""
    if isinstance(message, onnx.TensorProto):
        if message.data_location == onnx.TensorProto.EXTERNAL:
            yield next((entry.value for entry in message.external_data if entry.key == "location"), "")
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from _external_names(part, onnx)


def _external_file(path: Path, name: str) -> Path:
    """The file that a network names, if it is in the network's folder.

    The folder that a link to the network leads to counts too: download caches keep both files there.
    """
    inside = PurePosixPath(name)
    found = path.parent / inside
    folders = {path.parent.resolve(), path.resolve().parent}
    if not name or inside.is_absolute() or not any(map(found.resolve().is_relative_to, folders)):
        raise ConfigError(
            f"{path} names {name!r} as its external data, which is outside its folder; nothing was loaded. "
            "Export it again with the data beside it"
        )
    if not found.is_file():
        raise ConfigError(f"{path}: its external data {name!r} are not there; put them beside the file")
    return found
