"""What a certificate says, and when there is none."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.certificate import make_certificate
from pipeline.audit.outcomes import Pair
from pipeline.audit.proofs.bounds import Stratum, at_least_good, at_most_good
from pipeline.errors import ConfigError
from pipeline.files.tars import encode_json
from tests.pipeline.audit.synthetic import TABLE, WORK, audit_of, certify, outcome_of, release_of

IOUS = [1.0] * 26 + [0.93, 0.93, 0.8, 0.0, 0.0]


def audit_by_hand(bad=1, images=12, population=31, **options):
    """Of 31 masks 12 are drawn; of these all but `bad` are right."""
    truth = release_of([1.0] * population)
    plan, outcomes = audit_of(truth, np.random.default_rng(0), images=images, **options)
    outcomes[:bad] = [outcome_of(outcome.key, 0.0) for outcome in outcomes[:bad]]
    return truth, plan, outcomes


def with_unknown(outcomes, **counts):
    """The outcomes, the last of which are unknown in these ways."""
    kinds = [verdict for verdict, count in counts.items() for _ in range(count)]
    known = outcomes[: len(outcomes) - len(kinds)]
    lost = outcomes[len(known) :]
    unknown = {"iou": 0.0, "best_iou": 1.0, "pixel_error": 0.0, "worst_pixel_error": 1.0}
    return known + [replace(outcome, verdict=kind, **unknown) for outcome, kind in zip(lost, kinds, strict=True)]


def test_by_hand_one_bad_of_12_drawn_of_31():
    found = certify(*audit_by_hand(ious=(0.9,)))
    # One IoU has the whole 5 %: at most 8 of 31 are bad, so 23 are good, which is 74.19 %.
    assert found["shares"] == [{"iou": 0.9, "good": 11, "at_least_images": 23, "at_least_share": 0.741}]
    assert found["sentence"] == (
        "Of the 31 masks of masks 1.0.0, at least 74.1 % have an IoU of at least 0.9 with the mask that people settled "
        "on. Confidence 95 %, over the draw of 12 images that the release's own digest fixed before anyone looked."
    )
    assert found["counts"] == {
        "planned": 12, "judged": 12, "missing": 0, "skipped": 0, "unresolved": 0, "adjudicated": 0, "right": 11,
        "fixed": 0, "for_two_raters": 0,
    }  # fmt: skip


def test_by_hand_three_ious_share_the_error():
    found = certify(*audit_by_hand())
    assert [row["at_least_images"] for row in found["shares"]] == [21, 21, 21]
    assert [row["iou"] for row in found["shares"]] == [0.75, 0.9, 0.95]


def test_the_headline_is_the_iou_of_a_tenth_or_else_the_largest():
    assert "an IoU of at least 0.9 " in certify(*audit_by_hand())["sentence"]
    assert "an IoU of at least 0.8 " in certify(*audit_by_hand(ious=(0.8, 0.7)))["sentence"]


def test_a_beacon_is_part_of_the_promise():
    found = certify(*audit_by_hand(beacon="closing figures"))
    assert "that the release's own digest and a public value fixed before anyone looked" in found["sentence"]
    assert found["beacon"] == "closing figures"


def test_where_nothing_is_proven_it_says_so():
    found = certify(*audit_by_hand(bad=12))
    assert found["shares"][1]["at_least_images"] == 0
    assert found["sentence"] == (
        "Nothing is proven of the 31 masks of masks 1.0.0: of 12 that were drawn, 0 have an IoU of at least 0.9 with "
        "the mask that people settled on."
    )


def test_a_census_is_a_count():
    found = certify(*audit_by_hand(images=31))
    assert found["sentence"] == (
        "Of the 31 masks of masks 1.0.0, 30 (96.7 %) have an IoU of at least 0.9 with the mask that people settled on. "
        "All of them were looked at: this is a count."
    )
    assert found["mean_iou"]["betting"] == {"lower": 0.9677, "upper": 0.9678}


def test_of_a_census_the_mean_pixel_error_is_known_but_for_masks_that_nobody_has_drawn():
    truth, plan, outcomes = audit_by_hand(images=31)
    outcomes[1] = outcome_of(outcomes[1].key, 0.4)  # 0.6 / 3 of its pixels are wrong
    found = certify(truth, plan, with_unknown(outcomes, missing=1), missing_as_failures=True)
    # 0.2 / 31 and 2.2 / 31: the wrong object and the missing answer have from 0 to 1 each.
    assert found["mean_pixel_error"] == {"lower": 0.0064, "upper": 0.071}


def test_a_census_with_a_gap_is_a_bound():
    truth, plan, outcomes = audit_by_hand(images=31)
    found = certify(truth, plan, with_unknown(outcomes, missing=1), missing_as_failures=True)
    assert "at least 29 (93.5 %)" in found["sentence"]


def test_no_certificate_is_made_of_unknown_outcomes_unless_they_count_as_failures():
    truth, plan, outcomes = audit_by_hand(bad=0)
    gaps = with_unknown(outcomes, missing=3, skip=2, unresolved=1)
    with pytest.raises(ConfigError) as refusal:
        certify(truth, plan, gaps)
    assert str(refusal.value) == (
        "6 of the 12 drawn images have no outcome: 3 lack an answer, 2 were skipped, and raters differ on 1. Get the "
        "answers (the command adjudicate makes a page of those skipped and disputed), or certify with "
        "--missing-as-failures, which counts all of them as bad"
    )
    found = certify(truth, plan, gaps, missing_as_failures=True)
    assert [row["good"] for row in found["shares"]] == [6, 6, 6]
    assert [found["counts"][name] for name in ("judged", "missing", "skipped", "unresolved")] == [6, 3, 2, 1]
    assert found["counts_as_bad"][2:] == [
        "images without all their answers: 3 of them",
        "images that a rater skipped: 2 of them",
        "images on which two raters differ, without a third look: 1 of them",
    ]
    assert found["risks"]["images"] == 6


def test_an_audit_that_nobody_has_answered_proves_nothing():
    truth, plan, outcomes = audit_by_hand(predict_with="pairwise_iou", advise="ensemble_variance")
    found = certify(truth, plan, with_unknown(outcomes, missing=12), missing_as_failures=True)
    assert found["sentence"].startswith("Nothing is proven ")
    assert found["advice"]["bound"] is None
    assert (found["mean_iou"]["lower"], found["mean_iou"]["upper"]) == (0.0, 1.0)
    assert found["risks"]["scores"] == {}


@given(st.integers(0, 12), st.integers(0, 12))
def test_whoever_leaves_out_images_never_gets_a_better_promise(bad, lost):
    truth, plan, outcomes = audit_by_hand(bad=bad, predict_with="pairwise_iou")
    full = certify(truth, plan, outcomes)
    left = certify(truth, plan, with_unknown(outcomes, missing=lost), missing_as_failures=True)
    for row, less in zip(full["shares"], left["shares"], strict=True):
        assert less["at_least_images"] <= row["at_least_images"]
    for name in ("betting", "powered"):
        assert left["mean_iou"][name]["lower"] <= full["mean_iou"][name]["lower"]
        assert left["mean_iou"][name]["upper"] >= full["mean_iou"][name]["upper"]
    assert left["mean_pixel_error"]["lower"] <= full["mean_pixel_error"]["lower"]
    assert left["mean_pixel_error"]["upper"] >= full["mean_pixel_error"]["upper"]
    for row, less in zip(full["verdicts"], left["verdicts"], strict=True):
        assert less["at_least_share"] <= row["at_least_share"] <= row["at_most_share"] <= less["at_most_share"]


def test_a_prediction_is_stated_only_if_its_interval_is_narrower():
    rng = np.random.default_rng(1)
    ious = rng.beta(8, 1, 2000)
    for noise, stated in ((0.02, "powered"), (0.5, "betting")):
        truth = release_of(ious, noise=noise)
        plan, outcomes = audit_of(truth, rng, images=300, predict_with="pairwise_iou")
        found = certify(truth, plan, outcomes)["mean_iou"]
        assert found["stated"] == stated
        assert (found["lower"], found["upper"]) == (found[stated]["lower"], found[stated]["upper"])


def test_with_a_prediction_each_interval_has_half_of_the_error():
    truth, plan, outcomes = audit_by_hand(predict_with="pairwise_iou")
    half = certify(truth, replace(plan, config=replace(plan.config, confidence=0.975, predict_with="")), outcomes)
    assert certify(truth, plan, outcomes)["mean_iou"]["betting"] == half["mean_iou"]["betting"]


def test_a_score_that_no_image_has_predicts_nothing():
    found = certify(*audit_by_hand(predict_with="instance_iou"))["mean_iou"]
    assert (found["powered"], found["predicted_with"], found["stated"]) == (None, None, "betting")


def test_strata_have_rows_of_their_own_and_one_stratum_has_none():
    assert certify(*audit_by_hand())["strata"] == []
    truth = release_of(IOUS, ["large"] * 28 + ["small"] * 3)
    plan, outcomes = audit_of(truth, np.random.default_rng(0), images=31)
    found = certify(truth, plan, outcomes)["strata"]
    assert [(row["stratum"], row["population"], row["drawn"]) for row in found] == [("large", 28, 28), ("small", 3, 3)]
    assert [share["at_least_images"] for share in found[0]["shares"]] == [28, 28, 26]
    assert [share["at_least_images"] for share in found[1]["shares"]] == [1, 0, 0]


def test_all_rows_of_all_strata_share_the_error():
    truth = release_of([1.0] * 300, ["large"] * 200 + ["small"] * 100)
    plan, outcomes = audit_of(truth, np.random.default_rng(0), images=60)
    for row in certify(truth, plan, outcomes)["strata"]:
        seen = Stratum(population=row["population"], drawn=row["drawn"], bad=0)
        at_least = at_least_good({"": seen}, 0.05 / 2 / 3)
        assert [share["at_least_images"] for share in row["shares"]] == [at_least] * 3


def test_all_limits_of_the_three_objections_share_the_error():
    found = certify(*audit_by_hand(bad=3, images=100, population=300))["verdicts"]
    seen = {"": Stratum(population=300, drawn=100, bad=97)}
    ends = at_least_good(seen, 0.05 / 6) / 300, at_most_good(seen, 0.05 / 6) / 300
    assert [row["verdict"] for row in found] == ["wrong_object", "nothing_salient", "ambiguous"]
    assert [row["found"] for row in found] == [3, 0, 0]
    assert (found[0]["at_least_share"], found[0]["at_most_share"]) == pytest.approx(ends, abs=1e-3)
    assert (found[1]["at_least_share"], found[1]["at_most_share"]) == (0.0, found[2]["at_most_share"])


def test_it_is_json_and_the_same_every_time():
    truth, plan, outcomes = audit_by_hand(predict_with="pairwise_iou", advise="ensemble_variance")
    pairs = [Pair(key=outcomes[0].key, verdicts=("right", "fix"), iou=0.97, differ=True)]
    contents = {encode_json(certify(truth, plan, outcomes, pairs, [WORK])) for _ in range(3)}
    (content,) = contents
    found = json.loads(content)
    assert found["plan"] == plan.digest
    assert found["release"] == {"name": "masks", "version": "1.0.0", "sha256": "ab" * 32}
    assert found["work"]["hours"] == 1.5
    assert found["agreement"]["pairs"] == 1


def test_outcomes_in_another_order_than_the_draw_s_are_refused():
    truth, plan, outcomes = audit_by_hand()
    with pytest.raises(ValueError, match="not those of the plan's sample"):
        make_certificate(plan, truth.rows, TABLE, outcomes[::-1], [], [])
