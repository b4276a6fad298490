"""Helpers of several model tests: a quick ensemble, drawn weights, equality of predictions."""

import numpy as np
import torch

from model.config import EnsembleConfig

# The last bits of an image's result depend on its batch, and on the parts in which its members pass through the
# networks: sums have other lengths and orders. Over 450 random batches of 1 to 4 images, parts
# and own sizes, no value of the tiny pipeline's maps or members moved by more than 4e-6.
BATCH_ATOL = 2e-5

MAPS = ("saliency", "variance", "uncertainty", "members")


def make_ensemble(**overrides):
    return EnsembleConfig(**{"ensemble_size": 2, "denoise_steps": 2, **overrides})


def assert_equal(one, other):
    for field in MAPS:
        assert np.array_equal(getattr(one, field), getattr(other, field)), field


def assert_close(one, other):
    for field in MAPS:
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=0, atol=BATCH_ATOL, err_msg=field)


def with_drawn_weights(layer, seed=0):
    """The layer in evaluation mode, with weights, gamma and running statistics that differ from the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in layer.state_dict().items():
            if value.is_floating_point():
                draw = torch.rand(value.shape, generator=generator)
                value.copy_(draw + 0.5 if name.endswith("running_var") else draw - 0.4)
    return layer.eval()
