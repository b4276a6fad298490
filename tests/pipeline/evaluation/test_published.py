"""On the test data of pysodmetrics, our figures are the published ones to the last bit."""

from pathlib import Path

import pytest

from pipeline.evaluation.outcomes import How, measure_files
from pipeline.evaluation.pairs import pair_files
from pipeline.evaluation.summary import summarise

DATA = Path(__file__).parent / "pysodmetrics"
PUBLISHED = {
    "mae": 0.03705558476661653,
    "s_measure": 0.9029761578759272,
    "weighted_f": 0.5579812753638986,
    "adaptive_e": 0.9408760066970617,
    "mean_e": 0.9566258293508704,
    "max_e": 0.9669544828922699,
    "adaptive_f": 0.5816750824038355,
    "mean_f": 0.577051059518767,
    "max_f": 0.5886784581120638,
}


@pytest.fixture(scope="module")
def summary():
    pairs = pair_files(DATA / "preds", DATA / "masks")
    assert len(pairs) == 3
    return summarise([measure_files(pair, How()).measures for pair in pairs])


@pytest.mark.parametrize("metric", PUBLISHED)
def test_the_figure_is_the_published_one(summary, metric):
    assert getattr(summary, metric) == pytest.approx(PUBLISHED[metric], rel=1e-12)


def test_both_max_f_are_there_and_differ(summary):
    assert summary.mean_of_max_f > summary.max_f
