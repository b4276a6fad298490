"""What a network's configuration file may say: known fields, in bounds, and no place to load anything from.

A configuration comes with other people's weights. diffusers and timm build whatever it describes, so a file of 1 KB
could take all memory, or make timm download a model or read a file.
"""

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import torch

from model.decoder_choice import Stated

_MOST = 8192
"""The largest whole number: channels, sides in pixels; those of Stable Diffusion are at most 1280."""
_MOST_OF = {
    "layers_per_block": 16,
    "transformer_layers_per_block": 16,
    "reverse_transformer_layers_per_block": 16,
    "num_attention_heads": 256,
    "attention_head_dim": 1024,
    "latent_channels": 64,
    "in_channels": 64,
    "out_channels": 64,
    "context_repeats": 256,
    "feature_channels": 1024,
    "depths": 64,
    "num_heads": 256,
    "window_size": 128,
    "num_train_timesteps": 100_000,
    "blocks": 64,
    "steps_offset": 1000,
}
_LONGEST_LIST = 64
_LARGEST_FLOAT = 1e6
_WORD = re.compile(r"[A-Za-z0-9_.+ -]{0,100}")
_OF_THE_FILE = ("_class_name", "_diffusers_version", "_name_or_path", "_use_default_values")
BACKBONE_ARGUMENTS = frozenset(
    {
        "img_size", "patch_size", "in_chans", "window_size", "embed_dim", "depths", "num_heads", "mlp_ratio",
        "qkv_bias", "drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "dynamic_img_size",
        "always_partition", "strict_img_size",
    }
)  # fmt: skip
"""Arguments of timm's models that shape a network; others could name files to read or models to download."""
_BACKBONE = re.compile(r"[a-z0-9_]{1,100}(\.[a-z0-9_]{1,100})?")


def require_network(kind: Any, fields: Mapping[str, Any]) -> None:
    """Refuse a configuration with unknown fields or values out of bounds.

    Args:   kind: the network's class, whose constructor knows the fields.
    Raises: ValueError: there is one; the message names the field.
    """
    known = {*inspect.signature(kind.__init__).parameters, *_OF_THE_FILE}
    for name, value in fields.items():
        if name not in known:
            raise ValueError(f"field {ascii(name)[:100]} of its configuration is unknown")
        if name == "agreement":
            Stated.of(value, None)
        elif name not in (*_OF_THE_FILE, "backbone_name", "backbone_args"):
            _require_value(name, value)
    if "backbone_name" in fields or "backbone_args" in fields:
        require_backbone(fields.get("backbone_name"), fields.get("backbone_args") or {})


def require_bounded(kind: Any, fields: Mapping[str, Any]) -> int:
    """The number of parameters that a configuration describes; nothing is allocated for them."""
    own = {name: value for name, value in fields.items() if name not in _OF_THE_FILE}
    with torch.device("meta"):
        network = kind(**own)
    return sum(tensor.numel() for tensor in network.state_dict().values())


def require_backbone(name: object, arguments: object) -> None:
    """Refuse a backbone that is not one of timm's own, or has arguments that do more than shape it.

    Raises: ValueError: the name or an argument is refused; the message names it.
    """
    if not isinstance(name, str) or not _BACKBONE.fullmatch(name):
        raise ValueError(f"backbone {ascii(name)[:100]} is no name of a timm model; addresses and files are refused")
    if not isinstance(arguments, Mapping):
        raise ValueError("backbone_args must be an object")
    for argument, value in arguments.items():
        if argument not in BACKBONE_ARGUMENTS:
            raise ValueError(
                f"backbone_args has {ascii(argument)[:100]}; only {', '.join(sorted(BACKBONE_ARGUMENTS))} are accepted"
            )
        _require_value(argument, value)


def checked_scheduler(fields: Any) -> None:
    """Refuse a scheduler's configuration that takes memory or is not plain. Fields of other schedulers are ignored.

    Raises: ValueError: a value is out of bounds; the message names the field.
    """
    if not isinstance(fields, Mapping):
        raise ValueError(f"a JSON object is needed, found {type(fields).__name__}")
    for name, value in fields.items():
        if name not in _OF_THE_FILE and name != "trained_betas":
            _require_value(name, value)
    betas = fields.get("trained_betas")
    if betas is not None and not (isinstance(betas, list) and len(betas) <= _MOST_OF["num_train_timesteps"]):
        raise ValueError("trained_betas must be a list of at most 100,000 numbers")


def _require_value(name: str, value: Any, nested: bool = False) -> None:
    if isinstance(value, list | tuple):
        if (nested and len(value) > _LONGEST_LIST) or len(value) > _LONGEST_LIST:
            raise ValueError(f"{name} has {len(value)} values; it may have at most {_LONGEST_LIST}")
        for inner in value:
            if isinstance(inner, list | tuple) and nested:
                raise ValueError(f"{name} is nested too deeply")
            _require_value(name, inner, nested=True)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        most = _MOST_OF.get(name, _MOST)
        if not -1 <= value <= most:
            raise ValueError(f"{name} is {str(value)[:40]}; it may be at most {most}")
    elif isinstance(value, float):
        if not math.isfinite(value) or abs(value) > _LARGEST_FLOAT:
            raise ValueError(f"{name} is {value}; it may be at most {_LARGEST_FLOAT:g}")
    elif not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ValueError(f"{name} is a {type(value).__name__} that no configuration has")
