"""Two models on the same images."""

import itertools

import numpy as np
import pytest

from pipeline.evaluation import bootstrap
from pipeline.evaluation.figures import Parts, parts_of
from pipeline.evaluation.paired import EXCHANGES, compare
from tests.pipeline.evaluation.make import make_measured

IMAGES = [make_measured(number).measures for number in range(1, 13)]
BETTER, WORSE = parts_of(IMAGES[:6]), parts_of(IMAGES[6:])


def maes(values):
    return Parts(means={"mae": np.asarray(values, dtype=np.float64)}, curves={})


def test_a_model_does_not_differ_from_itself():
    for found in compare(BETTER, BETTER).values():
        assert (found.difference, found.interval, found.p) == (0, (0, 0), 1)


def test_the_other_way_round_differences_change_their_sign_and_p_stays():
    there, back = compare(BETTER, WORSE), compare(WORSE, BETTER)
    for name, found in there.items():
        low, high = back[name].interval
        assert found.difference == -back[name].difference
        assert found.interval == pytest.approx((-high, -low), abs=2e-6)
        assert found.p == pytest.approx(back[name].p, abs=0.02)


def test_a_model_that_is_better_on_each_of_many_images_is_better_by_no_chance():
    values = np.random.default_rng(0).uniform(0.1, 0.5, 60)
    found = compare(maes(values), maes(values - 0.05))["mae"]
    assert found.difference == pytest.approx(-0.05)
    assert found.interval == pytest.approx((-0.05, -0.05))
    assert found.p == 1 / (1 + EXCHANGES)


def test_pairs_make_small_differences_visible():
    draw = np.random.default_rng(1)
    values = draw.uniform(0, 1, 100)
    found = compare(maes(values), maes(values + draw.normal(0.01, 0.02, 100)))["mae"]
    assert 0 < found.interval[0] < found.interval[1] < 0.02
    assert found.p < 0.01


@pytest.mark.parametrize("name", ["mae", "max_f", "mean_of_max_f", "max_e"])
def test_p_is_the_share_of_all_exchanges_that_differ_as_much(name):
    """With six images there are 64 exchanges; a random choice of 9,999 comes close."""
    means = {"mae": "mae", "mean_of_max_f": "mean_of_max_f"}
    curves = {"max_f": "f_curve", "max_e": "e_curve"}

    def figure(one, other, exchanged):
        first, second = (
            parts.means[means[name]] if name in means else parts.curves[curves[name]] for parts in (one, other)
        )
        mixed = [second[n] if exchanged[n] else first[n] for n in range(6)]
        mean = np.mean(mixed, axis=0)
        return mean if name in means else mean.max()

    seen, large = None, 0
    for exchanged in itertools.product((False, True), repeat=6):
        difference = abs(figure(WORSE, BETTER, exchanged) - figure(BETTER, WORSE, exchanged))
        seen = difference if seen is None else seen
        large += difference >= seen - 1e-12
    assert compare(BETTER, WORSE)[name].p == pytest.approx(large / 64, abs=0.02)


def test_blocks_change_nothing(monkeypatch):
    whole = compare(BETTER, WORSE)
    monkeypatch.setattr(bootstrap, "_BLOCK_VALUES", 600)
    for name, found in compare(BETTER, WORSE).items():
        assert found.p == whole[name].p
        assert found.interval == whole[name].interval


def test_other_numbers_of_images_are_no_pairs():
    with pytest.raises(ValueError, match="3 and 4 images can't be compared in pairs"):
        compare(maes([0.1] * 3), maes([0.1] * 4))
