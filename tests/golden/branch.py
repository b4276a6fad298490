"""The reference's Swin-B branch in our classes, with the formula's weights."""

import ast
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from model.architectures import swin_b_conditioner
from model.official_names import official_name
from tests.golden.fill import fill_

GOLDEN = Path(__file__).parent


def official_state():
    """The official checkpoint's tensors, filled by the formula."""
    lines = (GOLDEN / "branch_state_dict.tsv").read_text().splitlines()
    return fill_({name: _empty(shape, dtype) for name, shape, dtype in (line.split("\t") for line in lines)})


def _empty(shape, dtype):
    return torch.zeros(ast.literal_eval(shape), dtype=getattr(torch, dtype.removeprefix("torch.")))


def reference_branch():
    """Our conditioner with the official tensors, in evaluation mode."""
    conditioner, official = swin_b_conditioner(), official_state()
    conditioner.load_state_dict({ours: official[official_name(ours)] for ours in conditioner.state_dict()})
    return conditioner.eval().requires_grad_(False)


@contextmanager
def batch_statistics(conditioner):
    """Use the current batch's statistics in batch norm; running statistics stay unchanged."""
    layers = [module for module in conditioner.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train().momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.eval().momentum = momentum
