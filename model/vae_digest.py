"""A digest by which a mask decoder knows its VAE: the same for a folder and a loaded network. Light to import.

A model may be trained in float32, published in float16 and loaded in float32 again. So weights count as float16 has
them, which rounding once more does not change. Neither the order of the tensors nor their names count: diffusers
renames attention layers when it loads them. The scaling factor does, as it scales what a mask decoder is given.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.documents import parse_object, read_document

if TYPE_CHECKING:
    import numpy as np

_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_SCALING_FACTOR = 0.18215
"""What diffusers takes for a VAE whose configuration does not say."""
_STORED = frozenset({"F16", "F32", "F64"})
_FROM_FILE = "digest_from_file"
"""Attribute of a loaded VAE whose weights in memory no longer tell."""


def digest_of_folder(folder: Path) -> str | None:
    """The digest of a saved VAE; None if its weights are in bfloat16 or less, which rounds more than float16 does.

    Raises: ValueError: the weights or the configuration can't be read. OSError: a file can't be.
    """
    from safetensors import SafetensorError, safe_open

    scaling_factor = parse_object(read_document(folder / _CONFIG)).get("scaling_factor", _SCALING_FACTOR)
    if type(scaling_factor) not in (int, float):
        raise ValueError(f"{folder / _CONFIG}: scaling_factor must be a number")
    file = folder / _WEIGHTS
    try:
        with safe_open(file, framework="numpy") as tensors:
            names = list(tensors.keys())
            if any(tensors.get_slice(name).get_dtype() not in _STORED for name in names):
                return None
            return _digest((tensors.get_tensor(name) for name in names), scaling_factor)
    except SafetensorError as error:
        raise ValueError(f"{file} is torn or not a file of tensors ({error})") from error


def digest_of_network(vae: Any) -> str | None:
    """The same of a VAE in memory; None if its weights are in bfloat16 or less, without a `remember_digest` before.

    Weights that `load_pipeline` loaded in bfloat16 count as such once they are widened: what was rounded stays rounded.
    Training in bfloat16 and widening then goes unnoticed.
    """
    import torch

    known: str | None = getattr(vae, _FROM_FILE, None)
    tensors = list(vae.state_dict().values())
    if any(one.dtype not in (torch.float16, torch.float32, torch.float64) or one.is_meta for one in tensors):
        return known
    if known is not None and all(torch.equal(one.bfloat16().to(one.dtype), one) for one in tensors):
        return known
    # Rounded where it is: half as much is copied from a GPU.
    return _digest((one.detach().float().half().cpu().numpy() for one in tensors), vae.config.scaling_factor)


def remember_digest(vae: Any, folder: Path) -> None:
    """Keep the digest of the files with a VAE that was loaded from them, in whatever precision. Raises: as reading."""
    setattr(vae, _FROM_FILE, digest_of_folder(folder))


def _digest(tensors: "Iterable[np.ndarray]", scaling_factor: float) -> str:
    import numpy as np

    lines = []
    with np.errstate(over="ignore"):  # beyond float16 is infinite, in torch too
        for tensor in tensors:
            rounded = tensor.astype(np.float32).astype("<f2")
            lines.append(f"{list(rounded.shape)} {hashlib.sha256(rounded.tobytes()).hexdigest()}\n")
    return hashlib.sha256("".join([f"scaling_factor {float(scaling_factor)!r}\n", *sorted(lines)]).encode()).hexdigest()
