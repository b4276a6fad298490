"""What several tests of the model need: an ensemble that is quick, and how equal two predictions are."""

import numpy as np

from model.config import EnsembleConfig

# One image's result moves by the last bits with the batch that it is in, and with the parts in which its members pass
# through the networks: sums of other lengths, added in another order. Over 450 random batches of 1 to 4 images, parts
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
