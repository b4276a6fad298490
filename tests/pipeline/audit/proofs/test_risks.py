"""How well scores find the errors that people found."""

import pytest

from pipeline.audit.proofs.risks import COVERAGES, curve, risks_of
from tests.pipeline.audit.synthetic import TABLE, outcome_of

IOUS = [1.0, 0.5, 0.9, 0.0]


def risks_with(ious=IOUS, unknown=()):
    outcomes = [outcome_of(str(place), iou, is_unknown=place in unknown) for place, iou in enumerate(ious)]
    rows = {
        str(place): {"pairwise_iou": iou, "ensemble_variance": 0.1, "instance_iou": None, "key": "x"}
        for place, iou in enumerate(ious)
    }
    return risks_of(outcomes, rows, TABLE)


def test_by_hand_a_score_that_knows_the_iou_is_the_oracle():
    found = risks_with()
    # Errors 0, 0.1, 0.5, 1: means of the first n are 0, 0.05, 0.2, 0.4.
    assert found.of["pairwise_iou"].aurc == pytest.approx((0 + 0.05 + 0.2 + 0.4) / 4)
    assert found.of["pairwise_iou"].gain == pytest.approx(1)
    assert found.of["ensemble_variance"].gain == pytest.approx(0)


def test_scores_that_no_image_has_are_left_out():
    assert sorted(risks_with().of) == ["ensemble_variance", "pairwise_iou"]


def test_images_of_which_nobody_knows_the_iou_are_left_out():
    found = risks_with(unknown=(3,))
    assert found.images == 3
    assert found.of["ensemble_variance"].aurc == pytest.approx(0.2)
    assert (risks_with(unknown=range(4)).images, risks_with(unknown=range(4)).of) == (0, {})


def test_the_curve_ends_with_the_mean_error_of_all():
    values = curve(risks_with().of["pairwise_iou"])
    assert len(values) == len(COVERAGES)
    assert values[0] == pytest.approx(0)  # one image of four
    assert values[COVERAGES.index(0.5)] == pytest.approx(0.05)
    assert values[-1] == pytest.approx(0.4)
