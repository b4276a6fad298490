"""Weighted F is the library's to the last bit on pictures that are large enough for distances and margins to matter."""

import numpy as np
import py_sod_metrics
import pytest

from pipeline.evaluation.counted import Counted
from pipeline.evaluation.weighted_f import weighted_f


def blobs(number, height, width):
    """A few rectangles and single pixels, some at the border, and a noisy map."""
    draw = np.random.default_rng(number)
    truth = np.zeros((height, width), bool)
    for _ in range(draw.integers(1, 5)):
        top, left = draw.integers(0, height), draw.integers(0, width)
        truth[top : top + draw.integers(1, height + 1), left : left + draw.integers(1, width // 2)] = True
    truth[draw.integers(0, height, 3), draw.integers(0, width, 3)] = True
    noise = draw.integers(0, 256, truth.shape)
    return np.where(draw.random(truth.shape) < 0.8, truth * 255, noise).astype(np.uint8), truth


@pytest.mark.parametrize(("height", "width"), [(97, 131), (40, 300), (384, 384), (3, 1100), (1, 1024)])
@pytest.mark.parametrize("number", range(2))
def test_it_is_the_librarys_to_the_last_bit(number, height, width):
    prediction, truth = blobs(number, height, width)
    library = py_sod_metrics.WeightedFmeasure()
    library.step(prediction, truth.astype(np.uint8) * 255)
    assert weighted_f(Counted(prediction, truth, normalize=True)) == library.get_results()["wfm"]


def test_an_object_far_from_an_error_weighs_it_as_the_library_does():
    prediction, truth = np.zeros((700, 700), np.uint8), np.zeros((700, 700), bool)
    truth[0, 0], prediction[0, 0], prediction[::7, ::5] = True, 255, 200
    library = py_sod_metrics.WeightedFmeasure()
    library.step(prediction, truth.astype(np.uint8) * 255)
    assert weighted_f(Counted(prediction, truth, normalize=True)) == library.get_results()["wfm"]
