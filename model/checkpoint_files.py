"""Read tensors and networks from other people's files; refuse torn, foreign or incomplete ones by name.

Owns reading and comparing. `model/checkpoints.py` knows which files make a model and how their tensors are renamed.
"""

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

from model.documents import DocumentError, parse_json, read_document
from model.network_config import checked_scheduler, require_bounded, require_network
from model.plain_pickles import require_plain

SAFETENSORS = "diffusion_pytorch_model.safetensors"
WEIGHTS = (SAFETENSORS, "diffusion_pytorch_model.bin")
"""Files in which diffusers keeps a network's weights; the first existing one is used."""

MOST_CONFIG_BYTES = 1 << 20  # 1 MiB; real ones have 2 KB

FREE_ELEMENTS = 10_000_000
"""Parameters by which a configuration may be wrong before it is refused unseen: 40 MB; then tensors are named."""

SHOWN = 3
"""How many tensors of a kind an error message names; the rest are counted."""


class CheckpointError(ValueError):
    """A file or folder is not the expected checkpoint; the message says which one, and what it holds."""


def read_tensors(file: Path, inside: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file or, under any other suffix, of a torch file; no code in it is run.

    Args:
        file: mapped into memory rather than read, where its format allows that.
        inside: keys under which the tensors may be nested one level down, as in files of whole training runs.
    Raises: CheckpointError: the file is missing, torn, or holds anything but names and tensors.
    """
    require_content(file)
    try:
        content = load_file(file) if file.suffix == ".safetensors" else load_torch(file)
    except Exception as error:  # torn files raised eight classes of errors, struct.error and KeyError among them
        raise CheckpointError(f"{_sized(file)} is torn or not a file of tensors: {reason(error)}") from error
    for key in inside:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    _require_tensors_only(content, file)
    return dict(content)


def load_network(kind: Any, folder: Path, dtype: torch.dtype = torch.float32, weights: Sequence[str] = WEIGHTS) -> Any:
    """Load a network saved by diffusers from its folder, in evaluation mode; nothing is downloaded.

    The VAE's attention layers may still have the names used by Stable Diffusion 2; diffusers renames them.

    Args:   weights: possible names of the weights file; the first existing one is used.
    Raises: CheckpointError: the folder holds another network, or not exactly the tensors that its configuration needs.
    """
    config, file = network_files(folder, weights)
    fields = _require_class(kind, config)
    tensors = read_tensors(file)
    refuse_differences(file, different=_not_floating(tensors))
    _require_size(kind, folder, fields, tensors)  # diffusers maps the file once more
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
    except Exception as error:  # a nonsensical configuration can raise anything in the network's constructor
        raise CheckpointError(f"{folder} can't be loaded as {kind.__name__}: {reason(error)}") from error
    expected = network.state_dict()
    refuse_differences(
        file,
        missing=[f"{name} {form(expected[name])}" for name in report["missing_keys"]],
        unknown=report["unexpected_keys"],
        different=[f"{name} is {list(f)}, expected {list(own)}" for name, f, own in report["mismatched_keys"]],
    )
    # The tensors are views into the mapped file, at any offset. Copied to aligned memory, loaded weights predict the
    # same bits as saved ones, and nobody can change them by writing to the file.
    for tensor in chain(network.parameters(), network.buffers()):
        tensor.data = tensor.data.clone()
    network.register_to_config(_name_or_path="")  # it is saved with the configuration: keep this machine's paths out
    return network


def _require_size(kind: Any, folder: Path, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a configuration outside its bounds, or of a network far larger than the file, before it takes memory."""
    held = sum(tensor.numel() for tensor in tensors.values())
    try:
        require_network(kind, fields)
        needed = require_bounded(kind, fields)
    except Exception as error:  # as below
        raise CheckpointError(f"{folder} can't be loaded as {kind.__name__}: {reason(error)}") from error
    if needed > 2 * held + FREE_ELEMENTS:
        raise CheckpointError(
            f"{folder} can't be loaded as {kind.__name__}: its configuration describes {needed:,} parameters, its "
            f"weights have {held:,}"
        )


def load_scheduler(folder: Path) -> DDIMScheduler:
    """Load a DDIM scheduler with the noise schedule and the target that a diffusers folder describes.

    Raises: CheckpointError: the folder does not exist, or its configuration is invalid.
    """
    config = folder / "scheduler_config.json"
    try:
        if config.is_file():  # otherwise diffusers says what is missing
            checked_scheduler(read_fields(config))
        return DDIMScheduler.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a nonsensical configuration can raise anything in the scheduler's constructor
        raise CheckpointError(f"{folder} can't be loaded as DDIMScheduler: {reason(error)}") from error


def network_files(folder: Path, weights: Sequence[str] = WEIGHTS) -> tuple[Path, Path]:
    """Find the configuration and the weights in a diffusers folder.

    Raises: CheckpointError: one of them is missing, or the weights are split into several files.
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}")
    config = folder / "config.json"
    file = next((folder / name for name in weights if (folder / name).is_file()), None)
    names = sorted(path.name for path in folder.iterdir())
    held = f"it holds {', '.join(names[:10]) or 'nothing'}{', …' if len(names) > 10 else ''}"
    if not config.is_file():
        raise CheckpointError(f"{folder} holds no config.json, so it is not a network saved by diffusers; {held}")
    if any(f"{name}.index.json" in names for name in WEIGHTS):
        raise CheckpointError(f"the weights in {folder} are split; save them in one file (max_shard_size); {held}")
    if file is None:
        raise CheckpointError(f"{folder} holds no {' and no '.join(weights)}; {held}")
    return config, file


def check_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: Path | str) -> None:
    """Compare names, shapes and dtypes.

    Raises: CheckpointError: they differ; the message names the source, the tensors, and both shapes and dtypes.
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
    """Refuse tensors that are not as expected; do nothing if there are none.

    Raises: CheckpointError: there are some; the message names the first of each kind.
    """
    problems = [
        f"{len(tensors)} {kind} ({'; '.join([*tensors[:SHOWN], *['…'] * (len(tensors) > SHOWN)])})"
        for kind, tensors in (("missing", missing), ("unknown", unknown), ("of another form", different))
        if tensors
    ]
    if problems:
        raise CheckpointError(f"{source} does not hold the expected tensors: {', '.join(problems)}")


def form(tensor: Tensor) -> str:
    """Dtype and shape in readable form."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def load_torch(file: Path) -> Any:
    """What a torch file holds: tensors, and plain values around them.

    Raises: UnsafePickleError: it names code, or claims more memory than it has bytes. Torn files raise anything.
    """
    require_plain(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about pickles of a newer protocol: they load, or fail clearly
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))


def require_content(file: Path) -> None:
    """Refuse a file without content.

    Raises: CheckpointError: it is missing, empty, or a pointer of Git LFS.
    """
    if not file.is_file():
        raise CheckpointError(f"there is no file {file}")
    with file.open("rb") as stream:
        start = stream.read(40)
    if not start:
        raise CheckpointError(f"{_sized(file)} is empty")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{_sized(file)} is a Git LFS pointer, not the file itself: run `git lfs pull` there")


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
    """Whether it is a name and a dense tensor with its values."""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return False
    # A view can repeat a few bytes billions of times; whoever copies it needs memory for all of them.
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor ({value.layout}, {value.device})"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, dict | list | tuple) else type(value).__name__


def _not_floating(tensors: Mapping[str, Tensor]) -> list[str]:
    """Integer tensors in place of weights, which diffusers would convert or fail on; batch norm's counters are fine."""
    return [
        f"{name} is {form(value)}, expected floats"
        for name, value in tensors.items()
        if not value.is_floating_point() and not name.endswith(".num_batches_tracked")
    ]


def _require_class(kind: Any, config: Path) -> dict[str, Any]:
    """The fields of a configuration file."""
    fields = read_fields(config)
    found = fields.get("_class_name") if isinstance(fields, dict) else type(fields).__name__
    if found != kind.__name__:
        is_name = isinstance(found, str) and found.isidentifier() and len(found) < 100
        raise CheckpointError(f"{config} describes {found if is_name else 'None'}, not {kind.__name__}")
    return dict(fields)


def read_fields(config: Path) -> Any:
    """The content of a configuration file.

    Raises: CheckpointError: it is not JSON, or beyond all bounds.
    """
    try:
        return parse_json(read_document(config, MOST_CONFIG_BYTES))
    except DocumentError as error:
        raise CheckpointError(f"{_sized(config)} is not JSON that is read here: {error}") from error


def _sized(file: Path) -> str:
    return f"{file} ({file.stat().st_size:,} bytes)"


def reason(error: Exception) -> str:
    """The useful part of a library's error message; torch's also advises running the code in the file."""
    text = str(error)
    refused = re.search(r"Unsupported .+?(?= was not |\n|$)", text)
    return refused[0] if refused else f"{type(error).__name__}: {text.strip().partition(chr(10))[0][:200]}"
