"""The measures of one image: equal to the library's to the last bit, some computed by hand, and special cases."""

import numpy as np
import py_sod_metrics
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.evaluation.measures import ALL_METRICS, QUICK_METRICS, measure

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).filter(lambda shape: np.prod(shape) > 1)
LEVELS = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 255]))
PAIRS = SHAPES.flatmap(
    lambda shape: st.tuples(arrays.arrays(np.uint8, shape, elements=LEVELS), arrays.arrays(np.bool_, shape))
)
BY_FIELD = {
    "mae": ("mae",),
    "s_measure": ("s_measure",),
    "weighted_f": ("weighted_f",),
    "f_measure": ("f_curve", "adaptive_f", "precision", "recall"),
    "e_measure": ("e_curve", "adaptive_e"),
    "iou": ("iou",),
}
HALF = np.repeat([[True, True, False, False]], 4, axis=0)


def by_library(metric, prediction, truth, normalize=True):
    """The value of a library metric for one image, called as its users call it."""
    if normalize:
        metric.step(prediction, truth.astype(np.uint8) * 255)
    else:
        metric.step(prediction / 255, truth, normalize=False)
    return metric.get_results()


def centre_is_at_the_end(truth):
    if not truth.any() or truth.all():
        return False
    row, column = np.argwhere(truth).mean(axis=0).round()
    return row == truth.shape[0] - 1 or column == truth.shape[1] - 1


# Properties


@given(PAIRS, st.booleans())
def test_mae_e_and_weighted_f_are_the_librarys_to_the_last_bit(pair, normalize):
    found = measure(*pair, normalize=normalize)
    assert found.mae == by_library(py_sod_metrics.MAE(), *pair, normalize)["mae"]
    assert found.weighted_f == by_library(py_sod_metrics.WeightedFmeasure(), *pair, normalize)["wfm"]
    e = by_library(py_sod_metrics.Emeasure(), *pair, normalize)["em"]
    assert found.adaptive_e == e["adp"]
    assert np.array_equal(found.e_curve, e["curve"])


@pytest.mark.filterwarnings("ignore:This class will be removed")
@given(PAIRS, st.booleans())
def test_f_precision_and_recall_are_the_librarys_to_the_last_bit(pair, normalize):
    found = measure(*pair, normalize=normalize)
    expected = by_library(py_sod_metrics.Fmeasure(), *pair, normalize)
    assert found.adaptive_f == expected["fm"]["adp"]
    assert np.array_equal(found.f_curve, expected["fm"]["curve"])
    assert np.array_equal(found.precision, expected["pr"]["p"])
    assert np.array_equal(found.recall, expected["pr"]["r"])
    assert found.max_f == found.f_curve.max()


@given(PAIRS, st.booleans())
def test_s_is_the_librarys_to_the_last_bit_wherever_that_is_a_number(pair, normalize):
    assume(not centre_is_at_the_end(pair[1]))
    assert (
        measure(*pair, normalize=normalize).s_measure == by_library(py_sod_metrics.Smeasure(), *pair, normalize)["sm"]
    )


@given(PAIRS, st.booleans())
def test_all_measures_are_finite_and_in_their_bounds_whatever_the_image(pair, normalize):
    found = measure(*pair, normalize=normalize)
    pixels = pair[1].size
    for name in ("mae", "s_measure", "weighted_f", "adaptive_f", "f_curve", "precision", "recall", "iou"):
        values = np.asarray(getattr(found, name))
        assert np.isfinite(values).all()
        assert ((values >= 0) & (values <= 1 + 1e-9)).all(), name
    for values in (found.e_curve, np.asarray(found.adaptive_e)):
        assert ((values >= 0) & (values <= pixels / (pixels - 1) + 1e-9)).all()


@given(PAIRS)
def test_a_stretched_map_has_no_scale(pair):
    prediction, truth = pair
    faint = prediction // 2
    faint[0, 0], faint[-1, -1] = 0, 127
    strong = faint * np.uint8(2)
    assert measure(faint, truth).mae == pytest.approx(measure(strong, truth).mae)
    assert measure(faint, truth).iou == measure(strong, truth).iou


@given(PAIRS, st.sets(st.sampled_from(ALL_METRICS)))
def test_a_subset_of_the_metrics_has_their_values_and_no_others(pair, metrics):
    everything, some = measure(*pair), measure(*pair, metrics=metrics)
    for metric, names in BY_FIELD.items():
        for name in names:
            expected = getattr(everything, name) if metric in metrics else None
            assert np.array_equal(getattr(some, name), expected)
    assert (some.max_f is None) == ("f_measure" not in metrics)


# Examples by hand


def test_a_perfect_map():
    found = measure(HALF.astype(np.uint8) * 255, HALF)
    assert not found.empty_truth
    assert (found.mae, found.iou, found.adaptive_f, found.max_f) == (0, 1, 1, 1)
    assert found.s_measure == pytest.approx(1)
    assert found.weighted_f == pytest.approx(1)
    assert found.f_curve[:255].tolist() == [1] * 255
    assert found.f_curve[255] == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))  # everything: P = 1/2, R = 1
    assert found.e_curve[0] == pytest.approx(16 / 15)
    assert found.e_curve[255] == pytest.approx(16 / 15 / 4)  # a constant map aligns with nothing: (0 + 1)² / 4


def test_a_map_that_is_wrong_everywhere():
    found = measure((~HALF).astype(np.uint8) * 255, HALF)
    assert (found.mae, found.iou, found.adaptive_f, found.f_curve[0]) == (1, 0, 0, 0)
    assert found.e_curve[0] == pytest.approx(0)
    assert found.recall.tolist() == [0] * 255 + [1]


def test_a_map_of_0_4_everywhere_as_it_is():
    found = measure(np.full((4, 4), 102, np.uint8), HALF, normalize=False)
    assert found.mae == pytest.approx((0.6 + 0.4) / 2)
    assert (found.iou, found.adaptive_f) == (0, 0)  # twice the mean is 0.8
    assert found.f_curve[: 255 - 102].tolist() == [0] * 153
    assert found.f_curve[153:].tolist() == pytest.approx([1.3 * 0.5 / (0.3 * 0.5 + 1)] * 103)
    assert found.constant_map


def test_a_map_of_1_everywhere():
    found = measure(np.full((4, 4), 255, np.uint8), HALF)
    # Object: 2 m / (m² + 1) of 1 within and 0 without. Region: the centre is row 2, column 0, counted from 0; the two
    # regions of column 0 are all object, have no spread to compare, and count 1 with a quarter of the pixels.
    assert found.s_measure == pytest.approx(0.5 * (1 + 0) / 2 + 0.5 * 0.25)
    assert (found.mae, found.iou) == (0.5, 0.5)
    assert found.adaptive_f == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))


def test_precision_weighs_more_than_recall():
    truth = np.array([[True, True, True, True, False, False]])
    too_little = np.array([[255, 255, 0, 0, 0, 0]], np.uint8)
    too_much = np.array([[255, 255, 255, 255, 255, 255]], np.uint8)
    assert measure(too_little, truth).f_curve[0] == pytest.approx(1.3 * 1 * 0.5 / (0.3 * 1 + 0.5))
    assert measure(too_much, truth).f_curve[0] == pytest.approx(1.3 * (2 / 3) / (0.3 * (2 / 3) + 1))


def test_iou_uses_the_map_above_one_half():
    truth = np.array([[True, True, False, False]])
    prediction = np.array([[255, 127, 128, 0]], np.uint8)
    assert measure(prediction, truth).iou == pytest.approx(1 / 3)
    exactly_half = np.array([[2, 1, 0, 0]], np.uint8)  # when it is stretched
    assert measure(exactly_half, truth).iou == 1 / 2


# Special cases


def test_a_mask_without_an_object():
    truth = np.zeros((4, 4), bool)
    faint = np.zeros((4, 4), np.uint8)
    faint[0, 0] = 51
    found = measure(faint, truth, normalize=False)
    assert found.empty_truth
    assert (found.weighted_f, found.adaptive_f, found.max_f, found.iou) == (0, 0, 0, 1)
    assert found.mae == pytest.approx(0.2 / 16)
    assert found.s_measure == pytest.approx(1 - 0.2 / 16)
    assert found.e_curve[0] == pytest.approx(16 / 15)
    stretched = measure(faint, truth)
    assert stretched.mae == pytest.approx(1 / 16)
    assert stretched.iou == 0


def test_a_mask_that_is_all_object():
    found = measure(np.full((4, 4), 204, np.uint8), np.ones((4, 4), bool))
    assert not found.empty_truth
    assert found.s_measure == pytest.approx(0.8)
    assert found.iou == 1
    assert found.max_f == pytest.approx(1)


@pytest.mark.parametrize("value", [0, 102, 255])
def test_a_constant_map_is_not_stretched(value):
    prediction = np.full((4, 4), value, np.uint8)
    found, as_it_is = measure(prediction, HALF), measure(prediction, HALF, normalize=False)
    assert found.constant_map
    assert found.mae == as_it_is.mae == pytest.approx(0.5)
    assert found.s_measure == as_it_is.s_measure


def test_a_varying_map_is_not_called_constant():
    assert not measure(np.array([[1, 2]], np.uint8), np.array([[True, False]])).constant_map


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_object_in_the_last_row_has_an_s_where_the_library_has_none():
    truth = np.zeros((6, 6), bool)
    truth[-1, 2:4] = True
    prediction = truth.astype(np.uint8) * 255
    assert centre_is_at_the_end(truth)
    assert np.isnan(by_library(py_sod_metrics.Smeasure(), prediction, truth)["sm"])
    found = measure(prediction, truth).s_measure
    assert found == pytest.approx(1)
    assert measure(255 - prediction, truth).s_measure < 0.2


# Faults


@pytest.mark.parametrize(
    ("prediction", "truth", "said"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), bool), r"map is \(2, 3\) and mask is \(3, 2\)"),
        (np.zeros((1, 1), np.uint8), np.zeros((1, 1), bool), "two pixels or more"),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), bool), r"the same size \[H, W\]"),
        (np.zeros((2, 2), np.float32), np.zeros((2, 2), bool), "map is float32 and mask is bool"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), "map is uint8 and mask is uint8"),
    ],
)
def test_other_shapes_and_types_than_those_of_map_and_mask_are_refused(prediction, truth, said):
    with pytest.raises(ValueError, match=said):
        measure(prediction, truth)


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="unknown metric 'psnr'; metrics are mae, s_measure"):
        measure(np.zeros((2, 2), np.uint8), HALF[:2, :2], metrics=("mae", "psnr"))


def test_the_quick_metrics_are_those_of_a_training():
    assert QUICK_METRICS == ("mae", "s_measure", "f_measure")
