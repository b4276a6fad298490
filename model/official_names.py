"""How the official checkpoint of the conditioner names its tensors, and which of them nobody needs; light to import.

One rule per part of ours; reading the file and comparing it with the rules is `model/checkpoints.py`'s.
Source: the state dict of the Swin-B branch in QuantumScriptHub/SOD-diffusion: 1,625 tensors, of which 1,006 are used.
"""

import re

IMAGENET_BACKBONE = "swin_base_patch4_window12_384.ms_in22k_ft_in1k"
"""timm's name of the Swin-B weights that a training begins with, unless others are asked for."""

UNUSED = {
    "encoders of strides 2 and 4": re.compile(r"context[12]\."),
    "norm of stride 4": re.compile(r"backbone\.norm0\."),
    "attention refinement": re.compile(r"attention[0-2]\."),
    "window positions": re.compile(r"backbone\.layers\.\d\.blocks\.\d+\.attn\.relative_position_index$"),
}
"""Official tensors without a place in our conditioner.

- Encoders of strides 2 and 4: the reference encodes the patch embedding (`context1`) and the first stage (`context2`)
  too, but its decoder takes strides 8, 16 and 32 only.
- Norm of stride 4: it stands between the first stage and `context2`.
- Attention refinement: UACANet's modules (arXiv:2107.02368) that sharpen the side output step by step. The
  cross-attention is given the decoder's map, and nothing of theirs.
- Window positions: a table that follows from the window's size; timm computes it.
"""

_ENCODER = {
    "point": "branch0",
    "kernels.0": "branch1",
    "kernels.1": "branch2",
    "kernels.2": "branch3",
    "merge": "conv_cat",
    "residual": "conv_res",
    "reduce": "conv0",
    "row": "conv1",
    "column": "conv2",
    "dilated": "conv3",
}
_DECODER = {"merge": "conv1", "refine.0": "conv2", "refine.1": "conv3", "refine.2": "conv4", "side": "conv5.conv"}
_ATTENTION = {
    "attend_height": "Hattn",
    "attend_width": "Wattn",
    "query": "query_conv",
    "key": "key_conv",
    "value": "value_conv",
}


def official_name(ours: str) -> str:
    """What the official checkpoint calls a tensor of our conditioner; different tensors have different names.

    Raises: ValueError: the tensor is in no part of a conditioner.
    """
    part, _, rest = ours.partition(".")
    if part == "backbone":  # timm counts the downsampling to the stage that it leads into
        ours = re.sub(r"\.layers_(\d+)\.downsample\.", lambda m: f".layers.{int(m[1]) - 1}.downsample.", ours)
        return re.sub(r"\.layers_(\d+)\.", r".layers.\1.", ours)
    if part == "decoder":
        return _renamed(ours, _DECODER | _ATTENTION)
    number, _, rest = rest.partition(".")
    if part == "norms":
        return f"backbone.norm{int(number) + 1}.{rest}"
    if part == "encoders":
        return f"context{int(number) + 3}" + _renamed(f".{rest}", _ENCODER | _ATTENTION)
    raise ValueError(f"{ours} is no tensor of a conditioner")


def is_unused(official: str) -> bool:
    """Is it an official tensor that has no place in our conditioner?"""
    return any(pattern.match(official) for pattern in UNUSED.values())


def _renamed(name: str, table: dict[str, str]) -> str:
    for ours, official in table.items():
        name = name.replace(f".{ours}.", f".{official}.")
    return name
