"""How the official conditioner checkpoint names its tensors, and which of them are unused; light to import.

Holds one rule per part of our conditioner; `model/checkpoints.py` reads the file and applies the rules.
Source: the state dict of the Swin-B branch in QuantumScriptHub/SOD-diffusion: 1,625 tensors, of which 1,006 are used.
"""

import re

IMAGENET_BACKBONE = "swin_base_patch4_window12_384.ms_in22k_ft_in1k"
"""timm's name for the Swin-B weights that a training starts from by default."""

UNUSED = {
    "encoders of strides 2 and 4": re.compile(r"context[12]\."),
    "norm of stride 4": re.compile(r"backbone\.norm0\."),
    "attention refinement": re.compile(r"attention[0-2]\."),
    "window positions": re.compile(r"backbone\.layers\.\d\.blocks\.\d+\.attn\.relative_position_index$"),
}
"""Official tensors that our conditioner does not use.

- Encoders of strides 2 and 4: the reference also encodes the patch embedding (`context1`) and the first stage
  (`context2`), but its decoder takes only strides 8, 16 and 32.
- Norm of stride 4: it sits between the first stage and `context2`.
- Attention refinement: UACANet's modules (arXiv:2107.02368), which sharpen the side output step by step. The
  cross-attention gets the decoder's map and nothing from them.
- Window positions: a table determined by the window's size; timm computes it.
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
    """Name of one of our conditioner's tensors in the official checkpoint; different tensors get different names.

    Raises: ValueError: the tensor belongs to no part of a conditioner.
    """
    part, _, rest = ours.partition(".")
    if part == "backbone":  # timm assigns a downsampling to the stage after it
        ours = re.sub(r"\.layers_(\d+)\.downsample\.", lambda m: f".layers.{int(m[1]) - 1}.downsample.", ours)
        return re.sub(r"\.layers_(\d+)\.", r".layers.\1.", ours)
    if part == "decoder":
        return _renamed(ours, _DECODER | _ATTENTION)
    number, _, rest = rest.partition(".")
    if part == "norms":
        return f"backbone.norm{int(number) + 1}.{rest}"
    if part == "encoders":
        return f"context{int(number) + 3}" + _renamed(f".{rest}", _ENCODER | _ATTENTION)
    raise ValueError(f"{ours} is not a tensor of a conditioner")


def is_unused(official: str) -> bool:
    """Whether our conditioner does not use this official tensor."""
    return any(pattern.match(official) for pattern in UNUSED.values())


def _renamed(name: str, table: dict[str, str]) -> str:
    for ours, official in table.items():
        name = name.replace(f".{ours}.", f".{official}.")
    return name
