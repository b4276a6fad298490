"""The frozen set gives the figures that it has always had; here they are held against the library too."""

import json
import math

import numpy as np
import py_sod_metrics
import pytest

from pipeline.evaluation import measures
from pipeline.evaluation.frozen import _content, deviations, frozen_pairs
from pipeline.evaluation.outcomes import fitted
from pipeline.evaluation.scorer import CONVENTIONS, scorer

EXPECTED = json.loads(_content())


def test_no_figure_has_changed():
    assert deviations() == []


def test_the_frozen_figures_are_those_of_pysodmetrics():
    """But for the one that the library can't compute."""
    for pair in frozen_pairs():
        prediction, truth = fitted(pair.prediction, pair.truth.shape), pair.truth.astype(np.uint8) * 255
        found = {}
        for figure, metric, name in (
            ("mae", py_sod_metrics.MAE(), "mae"),
            ("s_measure", py_sod_metrics.Smeasure(), "sm"),
            ("weighted_f", py_sod_metrics.WeightedFmeasure(), "wfm"),
        ):
            if (figure, pair.name) != ("s_measure", "object in the last row"):
                metric.step(prediction, truth)
                found[figure] = metric.get_results()[name]
        e = py_sod_metrics.Emeasure()
        e.step(prediction, truth)
        curve = e.get_results()["em"]["curve"]
        found |= {"max_e": curve.max(), "mean_e": curve.mean()}
        for figure, value in found.items():
            assert EXPECTED[pair.name][figure] == pytest.approx(value, abs=1e-8), (pair.name, figure)


def test_the_frozen_set_has_whatever_could_go_wrong():
    pairs = {pair.name: pair for pair in frozen_pairs()}
    assert set(EXPECTED) == {*pairs, "all"}
    assert any(pair.prediction.shape != pair.truth.shape for pair in pairs.values())
    assert not pairs["mask without an object"].truth.any()
    assert pairs["mask that is all object"].truth.all()
    assert np.ptp(pairs["constant map"].prediction) == 0
    assert EXPECTED["all"]["mean_of_max_f"] > EXPECTED["all"]["max_f"] + 0.1


@pytest.mark.parametrize("value", [0.5, math.nan])
def test_a_figure_that_is_off_is_named(value):
    (found,) = deviations({"all": EXPECTED["all"] | {"mae": value}})
    assert (found.pair, found.figure) == ("all", "mae")
    assert found.found == pytest.approx(EXPECTED["all"]["mae"], abs=1e-6)


def test_a_change_of_the_scorer_is_noticed(monkeypatch):
    monkeypatch.setitem(measures._MEASURES, "iou", lambda counted: {"iou": counted.above_half.tp / counted.pixels})
    assert {found.figure for found in deviations()} == {"iou"}


def test_the_digest_of_the_scorer_depends_on_all_that_figures_depend_on(monkeypatch):
    before = scorer(normalize=True)
    assert before == scorer(normalize=True)
    assert scorer(normalize=False)["digest"] != before["digest"]
    monkeypatch.setattr("pipeline.evaluation.scorer.versions", lambda: before["versions"] | {"numpy": "9"})
    other_version = scorer(normalize=True)["digest"]
    monkeypatch.setitem(CONVENTIONS, "f_beta_squared", 1)
    assert len({before["digest"], other_version, scorer(normalize=True)["digest"]}) == 3
