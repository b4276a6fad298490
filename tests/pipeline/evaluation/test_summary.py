"""The figures of a dataset equal those of the library in one process, to the last bit."""

import numpy as np
import py_sod_metrics
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.measures import QUICK_METRICS, measure
from pipeline.evaluation.summary import CURVES, SCALARS, summarise
from tests.pipeline.evaluation.make import saliency, truth


def measured(numbers, **options):
    return [measure(saliency(number), truth(number), **options) for number in numbers]


def by_library(numbers):
    """All averages of the library over the images, called as its users call it."""
    metrics = {
        "mae": py_sod_metrics.MAE(),
        "sm": py_sod_metrics.Smeasure(),
        "wfm": py_sod_metrics.WeightedFmeasure(),
        "fm": py_sod_metrics.Fmeasure(),
        "em": py_sod_metrics.Emeasure(),
    }
    for number in numbers:
        for metric in metrics.values():
            metric.step(saliency(number), truth(number).astype(np.uint8) * 255)
    results = {}
    for metric in metrics.values():
        results |= metric.get_results()
    return results


@pytest.mark.filterwarnings("ignore:This class will be removed")
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_the_figures_are_the_librarys_to_the_last_bit(numbers):
    found, expected = summarise(measured(numbers)), by_library(numbers)
    assert found.images == len(numbers)
    assert found.mae == expected["mae"]
    assert found.s_measure == expected["sm"]
    assert found.weighted_f == expected["wfm"]
    assert (found.max_f, found.mean_f, found.adaptive_f) == (
        expected["fm"]["curve"].max(),
        expected["fm"]["curve"].mean(),
        expected["fm"]["adp"],
    )
    assert (found.max_e, found.mean_e, found.adaptive_e) == (
        expected["em"]["curve"].max(),
        expected["em"]["curve"].mean(),
        expected["em"]["adp"],
    )
    assert found.f_curve == tuple(expected["fm"]["curve"])
    assert found.e_curve == tuple(expected["em"]["curve"])
    assert found.precision == tuple(expected["pr"]["p"])
    assert found.recall == tuple(expected["pr"]["r"])


def test_max_f_is_the_maximum_of_the_mean_curve_and_not_the_mean_of_the_maxima():
    right = np.array([[True, False, False, False]])
    low = measure(np.array([[60, 0, 59, 255]], np.uint8), right, normalize=False)
    high = measure(np.array([[255, 0, 200, 0]], np.uint8), right, normalize=False)
    found = summarise([low, high])
    best_of_each = (low.max_f + high.max_f) / 2
    assert found.max_f == max((low.f_curve + high.f_curve) / 2)
    assert found.max_f < best_of_each


def test_iou_and_counts_are_averaged_and_counted():
    right = np.array([[True, False]])
    images = [
        measure(np.array([[255, 0]], np.uint8), right),
        measure(np.array([[7, 7]], np.uint8), right),
        measure(np.array([[0, 0]], np.uint8), right),
        measure(np.array([[255, 0]], np.uint8), np.array([[False, False]])),
    ]
    found = summarise(images)
    assert (found.images, found.empty_truths, found.constant_maps) == (4, 1, 2)
    assert found.iou == 1 / 4


def test_measures_that_were_not_requested_are_none():
    found = summarise(measured([1, 2], metrics=QUICK_METRICS))
    there = {name for name in (*SCALARS, *CURVES) if getattr(found, name) is not None}
    curves = {"precision", "recall", "f_curve"}
    assert there == {"mae", "s_measure", "max_f", "mean_of_max_f", "mean_f", "adaptive_f"} | curves


def test_averages_need_images_that_all_have_the_same_measures():
    with pytest.raises(ValueError, match="no image"):
        summarise([])
    with pytest.raises(ValueError, match="1 of 2 images have s_measure"):
        summarise([*measured([1], metrics=("mae",)), *measured([2], metrics=("mae", "s_measure"))])
