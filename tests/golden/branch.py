"""The reference's Swin-B branch in our classes, with the formula's weights."""

import ast
import re
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from model.conditioner import SaliencyConditioner
from tests.golden.fill import fill_

GOLDEN = Path(__file__).parent

LAYERS = {
    "branch0": "point",
    "branch1": "kernels.0",
    "branch2": "kernels.1",
    "branch3": "kernels.2",
    "conv_cat": "merge",
    "conv_res": "residual",
    "conv0": "reduce",
    "conv1": "row",
    "conv2": "column",
    "conv3": "dilated",
    "Hattn": "attend_height",
    "Wattn": "attend_width",
    "query_conv": "query",
    "key_conv": "key",
    "value_conv": "value",
}
"""Parts of official names inside an encoder, and ours; the attention is called alike in the decoder."""

DECODER = {"conv1": "merge", "conv2": "refine.0", "conv3": "refine.1", "conv4": "refine.2", "conv5.conv": "side"}

DEAD = re.compile(r"attention[0-2]\.|context[12]\.|backbone\.norm0\.|.*\.relative_position_index$")
"""Official tensors that the released inference never uses, or that follow from the architecture."""


def our_name(official):
    """What we call a tensor of the official checkpoint; None for the dead ones."""
    if DEAD.match(official):
        return None
    if official.startswith("backbone.norm"):
        return re.sub(r"^backbone\.norm(\d)", lambda m: f"norms.{int(m[1]) - 1}", official)
    if official.startswith("backbone."):
        # timm counts the downsampling to the stage that it leads into.
        name = re.sub(r"^backbone\.layers\.(\d)", r"backbone.layers_\1", official)
        return re.sub(r"_(\d)\.downsample", lambda m: f"_{int(m[1]) + 1}.downsample", name)
    if official.startswith("context"):
        name = re.sub(r"^context(\d)", lambda m: f"encoders.{int(m[1]) - 3}", official)
        return _renamed(name, LAYERS)
    return _renamed(_renamed(official, DECODER), LAYERS)


def _renamed(name, table):
    for official, ours in table.items():
        name = re.sub(rf"\.{official}\.", f".{ours}.", name)
    return name


def official_state():
    """The official checkpoint's tensors, filled by the formula."""
    lines = (GOLDEN / "branch_state_dict.tsv").read_text().splitlines()
    return fill_({name: _empty(shape, dtype) for name, shape, dtype in (line.split("\t") for line in lines)})


def _empty(shape, dtype):
    return torch.zeros(ast.literal_eval(shape), dtype=getattr(torch, dtype.removeprefix("torch.")))


def reference_branch():
    """Our conditioner with the official tensors, in evaluation mode."""
    conditioner = SaliencyConditioner(
        backbone_name="swin_base_patch4_window12_384",
        backbone_args={"img_size": 384, "always_partition": True},
        context_repeats=16,
        normalise_features=True,
    )
    named = {our_name(official): value for official, value in official_state().items()}
    conditioner.load_state_dict({name: value for name, value in named.items() if name is not None}, strict=True)
    return conditioner.eval().requires_grad_(False)


@contextmanager
def batch_statistics(conditioner):
    """Batch norm with the statistics of the batch at hand; the running ones are left as they are."""
    layers = [module for module in conditioner.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train().momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.eval().momentum = momentum
