"""Our names and the official checkpoint's: one to one, and nothing left over on either side."""

import ast
from collections import Counter

import pytest
import torch

from model.architectures import swin_b_conditioner
from model.official_names import UNUSED, is_unused, official_name
from tests.golden.branch import GOLDEN


@pytest.fixture(scope="module")
def official():
    """Dtype and shape of every tensor in the official file."""
    lines = (GOLDEN / "branch_state_dict.tsv").read_text().splitlines()
    return {name: (dtype, ast.literal_eval(shape)) for name, shape, dtype in (line.split("\t") for line in lines)}


@pytest.fixture(scope="module")
def ours():
    """The same of every tensor in our conditioner."""
    with torch.device("meta"):
        state = swin_b_conditioner().state_dict()
    return {name: (str(value.dtype), tuple(value.shape)) for name, value in state.items()}


def test_every_tensor_of_ours_has_one_official_tensor_of_its_form_and_the_others_are_unused(official, ours):
    assert len(official) == 1625
    named = {official_name(name): form for name, form in ours.items()}
    assert len(named) == len(ours) == 1006
    assert named == {name: form for name, form in official.items() if not is_unused(name)}


def test_every_kind_of_unused_tensor_is_in_the_official_file_so_and_so_often(official):
    counts = Counter(kind for kind, pattern in UNUSED.items() for name in official if pattern.match(name))
    assert counts == {
        "encoders of strides 2 and 4": 408,
        "norm of stride 4": 2,
        "attention refinement": 185,
        "window positions": 24,
    }
    assert sum(counts.values()) == 1625 - 1006  # no tensor is of two kinds


@pytest.mark.parametrize("name", ["", "unet.weight", "encoders", "norm.weight", "context3.branch0.conv.weight"])
def test_a_tensor_of_no_part_has_no_name(name):
    with pytest.raises(ValueError, match=r"not a tensor of a conditioner|invalid literal"):
        official_name(name)
