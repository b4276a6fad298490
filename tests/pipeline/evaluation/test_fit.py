"""Fitting a combination: it is judged by images that it has not seen, and its coefficients are a policy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.evaluation import fit as fit_module
from pipeline.evaluation.evaluate import gather
from pipeline.evaluation.fit import fit_combination
from pipeline.evaluation.policy_file import fit_figures, policy_file
from pipeline.evaluation.report import Subject, document
from pipeline.evaluation.tables import markdown
from pipeline.options import read_toml
from pipeline.selection.combination import parse_combination
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.scores import SCORE_TABLE, Score
from tests.pipeline.evaluation.make import make_measured
from tests.pipeline.make import make_scores

NAMES = ("flip_iou", "ensemble_variance")


def make_images(count, seed=0, noise=0.1):
    """Scores and IoUs that go together but for noise."""
    rng = np.random.default_rng(seed)
    ious = rng.random(count)
    flips = np.clip(ious + noise * rng.normal(size=count), 0, 1)
    variances = np.clip(0.1 - 0.1 * ious + 0.1 * noise * rng.normal(size=count), 0, 0.25)
    rows = zip(flips, variances, strict=True)
    return [{"flip_iou": float(f), "ensemble_variance": float(v)} for f, v in rows], [float(iou) for iou in ious]


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
@settings(max_examples=2, deadline=None)  # an isotonic fit is 66 logistic ones
@given(seed=st.integers(0, 99), count=st.integers(30, 60))
def test_values_are_probabilities_and_the_same_again_and_coefficients_have_one_form(method, seed, count):
    scores, ious = make_images(count, seed)
    fit = fit_combination(scores, ious, NAMES, method, 0.5)
    assert all(0 <= value <= 1 for value in fit.out_of_fold)
    assert fit == fit_combination(scores, ious, NAMES, method, 0.5)
    assert parse_combination(fit.combination.texts()) == fit.combination
    assert (fit.images, fit.bad) == (count, sum(iou < 0.5 for iou in ious))
    assert bool(fit.combination.points) == (method == "isotonic")


def test_every_image_is_judged_once_by_a_fit_without_it(monkeypatch):
    scores, ious = make_images(40)
    fitted_on = []
    fitted = fit_module._fitted

    def recording(values, *others):
        fitted_on.append({tuple(row) for row in values})
        return fitted(values, *others)

    monkeypatch.setattr(fit_module, "_fitted", recording)
    fit = fit_combination(scores, ious, NAMES, "logistic", 0.5)
    whole, *without = fitted_on
    everything = {tuple(row[name] for name in NAMES) for row in scores}
    assert whole == everything
    assert len(without) == fit.folds == 10
    held_back = [row for rows in without for row in everything - rows]
    assert sorted(held_back) == sorted(everything)


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_it_finds_bad_masks_where_scores_know_them_and_claims_nothing_where_they_know_nothing(method):
    scores, ious = make_images(120, noise=0.02)
    knowing = fit_combination(scores, ious, NAMES, method, 0.5)
    assert knowing.brier < 0.3 * knowing.brier_of_share
    rng = np.random.default_rng(1)
    blind = fit_combination(scores, list(rng.permutation(ious)), NAMES, method, 0.5)
    assert blind.brier > 0.8 * blind.brier_of_share


def test_weights_have_the_sign_of_what_they_tell():
    scores, ious = make_images(80)
    weights = dict(fit_combination(scores, ious, NAMES, "logistic", 0.5).combination.weights)
    assert weights["flip_iou"] < 0 < weights["ensemble_variance"]


def test_images_without_a_score_are_not_fitted_on_and_stay_unknown():
    scores, ious = make_images(40)
    whole = fit_combination(scores, ious, NAMES, "logistic", 0.5)
    more = [*scores, {"flip_iou": None, "ensemble_variance": 0.1}, {"ensemble_variance": 0.1}]
    fit = fit_combination(more, [*ious, 0.1, 0.9], NAMES, "logistic", 0.5)
    assert fit.out_of_fold == (*whole.out_of_fold, None, None)
    assert fit.combination == whole.combination


@pytest.mark.parametrize(("iou_below", "bad"), [(0.0, 0), (1.0, 9)])
def test_too_few_of_a_kind_are_named(iou_below, bad):
    scores, _ = make_images(9)
    said = rf"of 9 images with flip_iou and ensemble_variance, {bad} have an IoU below {iou_below:g}; at least 5 must"
    with pytest.raises(PipelineError, match=said):
        fit_combination(scores, [0.5] * 9, NAMES, "logistic", iou_below)


@pytest.fixture(scope="module")
def evaluation():
    """Thirty images whose errors the score of a pass knows, but for one that it could not score."""
    table = {**SCORE_TABLE, "flip_iou": Score(name="flip_iou", meaning="x", worse_when="low", of_pass="flip")}
    images = [make_measured(number) for number in range(1, 31)]
    rows = [make_scores() | {"flip_iou": image.measures.iou} for image in images]
    rows[3] |= {"flip_iou": None}
    measured = [make_measured(number, **row) for number, row in zip(range(1, 31), rows, strict=True)]
    return gather(measured, table)


def test_figures_and_policy_file_say_what_was_found_out_of_fold(evaluation, tmp_path):
    ious = [image.measures.iou for image in evaluation.images]
    scores = [image.scores for image in evaluation.images]
    fit = fit_combination(scores, ious, ("flip_iou",), "logistic", float(np.median(ious)))
    figures = fit_figures(fit, evaluation)
    found = figures["out_of_fold"]
    assert found["aurc"]["iou_error"] < found["aurc_of_baseline"]["iou_error"]
    assert found["wrong"] == 6
    assert figures["against_sense"] == []
    for name, most_lost in (("lost_5_percent", 1), ("lost_10_percent", 2)):
        values = [1.1 if value is None else value for value in fit.out_of_fold]
        dropped = [value > found["bounds"][name] for value in values]
        assert sum(np.array(dropped) & evaluation.confidently_wrong.good) <= most_lost
    path = tmp_path / "policy.toml"
    path.write_bytes(policy_file(figures, "photos on\nmasks", "ab" * 32))
    assert "photos on\nmasks" not in path.read_text()
    policy = PolicyConfig(**read_toml(str(path), PolicyConfig, "--policy"))
    assert policy.combination == fit.combination.texts()
    assert policy.thresholds == ()
    assert f"AURC, iou_error: {found['aurc']['iou_error']:.4f}; ensemble_variance alone" in path.read_text()


def test_scores_that_count_the_wrong_way_round_are_named(evaluation):
    ious = [1 - image.measures.iou for image in evaluation.images]  # bad masks are said to be good
    fit = fit_combination([image.scores for image in evaluation.images], ious, ("flip_iou",), "logistic", 0.5)
    figures = fit_figures(fit, evaluation)
    assert figures["against_sense"] == ["flip_iou"]
    assert b"counts flip_iou the wrong way round" in policy_file(figures, "x", "y")


def test_the_report_has_what_is_wrongly_sure_pairs_and_the_combination(evaluation):
    ious = [image.measures.iou for image in evaluation.images]
    scores = [image.scores for image in evaluation.images]
    fit = fit_combination(scores, ious, ("flip_iou",), "logistic", float(np.median(ious)))
    subject = Subject(name="x", maps="m", masks="t", normalize=True, made_with={})
    values = document(subject, evaluation, fit_figures(fit, evaluation))
    wrong = values["confidently_wrong"]
    assert (wrong["accepted"], wrong["wrong"], wrong["good"], len(wrong["names"])) == (30, 6, 24, 6)
    assert wrong["caught"]["flip_iou"]["lost_10_percent"] == 6
    assert len(values["together"]) == 8 * 7 / 2
    page = markdown(values)
    assert "| `flip_iou` | 6 of 6 | 6 of 6 |" in page
    assert "Here are the 10 of 28" in page
    assert f"`combination <= {values['combination']['out_of_fold']['bounds']['lost_5_percent']}` drops" in page
    alone = markdown(values | {"confidently_wrong": None, "together": [], "combination": None})
    assert not any(heading in alone for heading in ("wrongly sure", "together", "The combination"))


def test_a_logistic_fit_says_the_share_of_bad_masks_on_average():
    scores, ious = make_images(60)
    fit = fit_combination(scores, ious, NAMES, "logistic", 0.3)  # its intercept bears no penalty
    assert np.mean([fit.combination.value(row) for row in scores]) == pytest.approx(fit.bad / 60, abs=1e-3)
