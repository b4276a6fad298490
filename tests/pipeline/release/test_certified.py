"""How much of a difference in MAE wrong labels explain, and what no reader takes for a certificate."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.release.certified import StatedCertificate, explained_difference

STATED = StatedCertificate(
    annex=1, sha256="ab" * 32, sentence="Good.", confidence=0.95, population=31, pixel_error=0.02
)
MASKS = arrays.arrays(np.bool_, (3, 4))
MAPS = arrays.arrays(np.float64, (3, 4), elements=st.floats(0, 1))


@given(MASKS, MASKS, MAPS, MAPS)
def test_no_difference_of_two_models_is_off_by_more_than_that_explains(released, right, one, other):
    """Three images of four pixels; the bound holds whatever maps and masks are."""

    def difference(masks):
        return np.abs(one - masks).mean(axis=1).mean() - np.abs(other - masks).mean(axis=1).mean()

    errors = (released != right).mean(axis=1)
    change = abs(difference(released) - difference(right))
    # The cap at 1 matters to no difference: none is larger than that.
    assert min(1, change) <= explained_difference(float(errors.mean())) + 1e-12
    # Measured on the first image alone, all errors may be in it.
    change = abs(
        (np.abs(one - released) - np.abs(other - released))[0].mean()
        - (np.abs(one - right) - np.abs(other - right))[0].mean()
    )
    assert min(1, change) <= explained_difference(float(errors.mean()), per_image=3) + 1e-12


def test_no_smaller_bound_would_do():
    released, right = np.array([1.0, 0, 0, 0]), np.array([0.0, 0, 0, 0])
    one, other = released, right
    on = {
        name: np.abs(one - mask).mean() - np.abs(other - mask).mean() for name, mask in (("m", released), ("t", right))
    }
    assert abs(on["m"] - on["t"]) == explained_difference(0.25) == 0.5


@pytest.mark.parametrize(
    ("error", "per_image", "explained"),
    [(0.0137, 1, 0.0274), (0.00001, 1, 0.0001), (0.5, 1, 1), (0.7, 1, 1), (0.01, 31 / 12, 0.0517), (0, 1, 0)],
)
def test_it_is_twice_the_error_rounded_up(error, per_image, explained):
    assert explained_difference(error, per_image) == explained


def test_a_certificate_that_says_nothing_of_pixels_explains_nothing():
    assert STATED.explained(31) == 0.04
    assert STATED.explained(15) == 0.0827
    assert dataclasses.replace(STATED, pixel_error=None).explained(31) is None


@pytest.mark.parametrize(
    "facts",
    [
        {"sentence": ""}, {"sentence": 7}, {"sentence": "x" * 1001}, {"annex": 0}, {"annex": True},
        {"population": "31"}, {"confidence": 2}, {"confidence": float("nan")}, {"pixel_error": -0.1},
        {"pixel_error": "0.1"},
    ],
)  # fmt: skip
def test_what_is_no_certificate_is_refused(facts):
    with pytest.raises(ValueError, match="its "):
        dataclasses.replace(STATED, **facts)
