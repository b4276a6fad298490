"""Tensors and networks from other people's files, whole or not at all: what is torn, foreign or incomplete is named.

Owns reading and comparing. Which files make a model, and how their tensors are renamed, is `model/checkpoints.py`'s.
"""

import json
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file
from torch import Tensor

SAFETENSORS = "diffusion_pytorch_model.safetensors"
WEIGHTS = (SAFETENSORS, "diffusion_pytorch_model.bin")
"""Files in which diffusers keeps a network's weights; the first one that is there is taken."""

SHOWN = 3
"""Tensors of a kind that an error message names; of the others it gives the number."""


class CheckpointError(ValueError):
    """A file or folder is not the checkpoint that it was given as; the message says which one, and what it holds."""


def read_tensors(file: Path, inside: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or, under any other name, of a file of torch's; no code in it is run.

    Args:
        file: mapped into memory, not read, where its format allows that.
        inside: keys under which the tensors may stand, one level down, as in files of whole training runs.
    Raises: CheckpointError: the file is missing, torn, or holds anything but names and tensors.
    """
    _require_content(file)
    try:
        content = load_file(file) if file.suffix == ".safetensors" else _load_torch(file)
    except Exception as error:  # torn files raised eight classes of errors, struct.error and KeyError among them
        raise CheckpointError(f"{_sized(file)} is torn or no file of tensors: {reason(error)}") from error
    for key in inside:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    _require_tensors_only(content, file)
    return dict(content)


def load_network(kind: Any, folder: Path, dtype: torch.dtype = torch.float32, weights: Sequence[str] = WEIGHTS) -> Any:
    """A network of diffusers' from its folder, in evaluation mode; nothing is fetched.

    The VAE's attention layers may have the names of Stable Diffusion's time; diffusers renames them.

    Args:   weights: names that the file of weights may have; the first one that is there is taken.
    Raises: CheckpointError: the folder holds another network, or not exactly the tensors that its configuration needs.
    """
    config, file = network_files(folder, weights)
    _require_class(kind, config)
    refuse_differences(file, different=_not_floating(read_tensors(file)))  # diffusers maps the file once more
    try:
        network, report = kind.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            low_cpu_mem_usage=False,
            use_safetensors=file.suffix == ".safetensors",
            ignore_mismatched_sizes=True,  # but reported, and refused below
            output_loading_info=True,
        )
    except Exception as error:  # a configuration of nonsense gets anywhere in the network's constructor
        raise CheckpointError(f"{folder} can't be loaded as {kind.__name__}: {reason(error)}") from error
    expected = network.state_dict()
    refuse_differences(
        file,
        missing=[f"{name} {form(expected[name])}" for name in report["missing_keys"]],
        unknown=report["unexpected_keys"],
        different=[f"{name} is {list(f)}, expected {list(own)}" for name, f, own in report["mismatched_keys"]],
    )
    # They are views into the mapped file, wherever they lie in it: aligned anew, saved and loaded weights predict the
    # same bits, and nobody can change them by writing to the file.
    for tensor in chain(network.parameters(), network.buffers()):
        tensor.data = tensor.data.clone()
    network.register_to_config(_name_or_path="")  # saved with the configuration: no paths of this machine
    return network


def load_scheduler(folder: Path) -> DDIMScheduler:
    """A DDIM scheduler with the noise schedule and the target that a folder of diffusers' describes.

    Raises: CheckpointError: there is no such folder, or its configuration is none.
    """
    try:
        return DDIMScheduler.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a configuration of nonsense gets anywhere in the scheduler's constructor
        raise CheckpointError(f"{folder} can't be loaded as DDIMScheduler: {reason(error)}") from error


def network_files(folder: Path, weights: Sequence[str] = WEIGHTS) -> tuple[Path, Path]:
    """Configuration and weights in a folder of diffusers'.

    Raises: CheckpointError: one of them is missing, or the weights are in several files.
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}")
    config = folder / "config.json"
    file = next((folder / name for name in weights if (folder / name).is_file()), None)
    there = sorted(path.name for path in folder.iterdir())
    held = f"it holds {', '.join(there[:10]) or 'nothing'}{', …' if len(there) > 10 else ''}"
    if not config.is_file():
        raise CheckpointError(f"{folder} holds no config.json, so it is no network saved by diffusers; {held}")
    if any(f"{name}.index.json" in there for name in WEIGHTS):
        raise CheckpointError(f"the weights in {folder} are split; save them in one file (max_shard_size); {held}")
    if file is None:
        raise CheckpointError(f"{folder} holds no {' and no '.join(weights)}; {held}")
    return config, file


def check_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: Path | str) -> None:
    """Compare names, shapes and dtypes.

    Raises: CheckpointError: they are not the same; the message names the source, the tensors and both forms.
    """
    shared = [name for name in expected if name in found]
    refuse_differences(
        source,
        missing=[f"{name} {form(value)}" for name, value in expected.items() if name not in found],
        unknown=[f"{name} {form(value)}" for name, value in found.items() if name not in expected],
        different=[
            f"{name} is {form(found[name])}, expected {form(expected[name])}"
            for name in shared
            if form(found[name]) != form(expected[name])
        ],
    )


def refuse_differences(
    source: Path | str, *, missing: Sequence[str] = (), unknown: Sequence[str] = (), different: Sequence[str] = ()
) -> None:
    """Nothing, if there are none.

    Raises: CheckpointError: there are some; the first of each kind are named.
    """
    problems = [
        f"{len(tensors)} {kind} ({'; '.join([*tensors[:SHOWN], *['…'] * (len(tensors) > SHOWN)])})"
        for kind, tensors in (("missing", missing), ("unknown", unknown), ("of another form", different))
        if tensors
    ]
    if problems:
        raise CheckpointError(f"{source} holds other tensors than expected: {', '.join(problems)}")


def form(tensor: Tensor) -> str:
    """Dtype and shape, to be read by people."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _load_torch(file: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of pickles in a newer protocol, which then fail or are fine
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))


def _require_content(file: Path) -> None:
    if not file.is_file():
        raise CheckpointError(f"there is no file {file}")
    with file.open("rb") as stream:
        start = stream.read(40)
    if not start:
        raise CheckpointError(f"{_sized(file)} is empty")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{_sized(file)} is a pointer of Git LFS, not the file itself: run `git lfs pull` there")


def _require_tensors_only(content: Any, file: Path) -> None:
    if not isinstance(content, dict):
        raise CheckpointError(f"{_sized(file)} holds {_kind(content)}, not a dict of names and tensors")
    others = [f"{name!r}: {_kind(value)}" for name, value in content.items() if not _is_plain(name, value)]
    if others:
        raise CheckpointError(
            f"{_sized(file)} holds more than names and tensors: {', '.join(others[:SHOWN])} "
            f"({len(others)} of {len(content)} entries)"
        )


def _is_plain(name: object, value: object) -> bool:
    """A name and a tensor whose numbers are all there?"""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return value.layout == torch.strided and not value.is_quantized and not value.is_meta


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor ({value.layout}, {value.device})"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, dict | list | tuple) else type(value).__name__


def _not_floating(tensors: Mapping[str, Tensor]) -> list[str]:
    """Integers where weights belong, which diffusers would convert or stumble over; batch norm's counters are some."""
    return [
        f"{name} is {form(value)}, expected floats"
        for name, value in tensors.items()
        if not value.is_floating_point() and not name.endswith(".num_batches_tracked")
    ]


def _require_class(kind: Any, config: Path) -> None:
    try:
        fields = json.loads(config.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{_sized(config)} is no JSON: {error}") from error
    found = fields.get("_class_name") if isinstance(fields, dict) else type(fields).__name__
    if found != kind.__name__:
        raise CheckpointError(f"{config} describes {found}, not {kind.__name__}")


def _sized(file: Path) -> str:
    return f"{file} ({file.stat().st_size:,} bytes)"


def reason(error: Exception) -> str:
    """What matters of a foreign message: torch's advises to run the code in the file."""
    text = str(error)
    refused = re.search(r"Unsupported .+?(?= was not |\n|$)", text)
    return refused[0] if refused else f"{type(error).__name__}: {text.strip().partition(chr(10))[0][:200]}"
