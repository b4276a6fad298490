"""Certificates of releases whose truth is known: how often do they promise too much?

The releases are fixed, the draw is repeated. Each section of a certificate may be wrong in the share of audits that its
confidence leaves, and no more.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from pipeline.audit.proofs.promises import Found, mean_pixel_error, share_down, share_up
from pipeline.release.certified import explained_difference
from pipeline.selection.policy import parse_threshold
from tests.pipeline.audit.synthetic import audit_of, certify, pixel_errors_of, realistic_ious, release_of

STRATA = np.repeat(["large", "medium", "small", "tiny"], [700, 200, 90, 10])
IOUS = realistic_ious(1000, np.random.default_rng(7), bad=0.1)
RELEASES = {
    "realistic": release_of(IOUS),
    "few errors": release_of(np.where(np.arange(1000) % 100 == 0, 0.0, 1.0)),
    "strata": release_of(np.where(STRATA == "small", IOUS * 0.9, IOUS), STRATA),
    "bad where little is drawn": release_of(np.where(STRATA == "small", 0.5, np.maximum(IOUS, 0.9)), STRATA),
}


def stops_early(ious):
    """The last third of the order was never judged."""
    return np.arange(len(ious)) >= len(ious) * 2 // 3


def stops_after_bad_ones(ious):
    """The rater leaves when she has seen her fifth bad mask; her order is the reverse of the draw's."""
    seen = np.cumsum(ious[::-1] < 0.9)[::-1]
    return seen > 5


def skips_hard_ones(ious):
    """Most masks below .8 are skipped, and a few others."""
    return (ious < 0.8) & (np.arange(len(ious)) % 4 > 0) | (np.arange(len(ious)) % 50 == 0)


def sees_more_than_the_other(ious):
    """Every fourth image is judged twice; the second rater finds a fault more, and the lower IoU counts."""
    return np.where(np.arange(len(ious)) % 4 == 0, ious * 0.99, ious)


SETTINGS = {
    "all judged": ("realistic", None, {"advise": "ensemble_variance", "advise_share": 0.9}),
    "few errors": ("few errors", None, {"advise": "ensemble_variance"}),
    "two raters": ("realistic", None, {"overlap": 0.25}),
    "few images": ("realistic", None, {"images": 12}),
    "strata": ("strata", None, {}),
    "strata, few images": ("bad where little is drawn", None, {"images": 15}),
    "stops early": ("realistic", stops_early, {}),
    "stops after bad ones": ("realistic", stops_after_bad_ones, {}),
    "skips hard ones": ("realistic", skips_hard_ones, {"advise": "pairwise_iou", "advise_share": 0.8}),
    "strata, skips hard ones": ("strata", skips_hard_ones, {}),
}


def too_bold(truth, certificate):
    """The sections of a certificate that promise what is not true."""
    ious, mean = truth.ious, float(truth.ious.mean())
    wrong = {
        "shares": any(row["at_least_images"] > np.sum(ious >= row["iou"]) for row in certificate["shares"]),
        "strata": any(
            share["at_least_images"] > np.sum(ious[truth.strata == row["stratum"]] >= share["iou"])
            for row in certificate["strata"]
            for share in row["shares"]
        ),
        "verdicts": not all(
            row["at_least_share"]
            <= np.mean(ious == 0 if row["verdict"] == "wrong_object" else ious < 0)
            <= row["at_most_share"]
            for row in certificate["verdicts"]
        ),
    }
    for name, found in certificate["mean_iou"].items():
        if name in ("betting", "powered") and found:
            wrong[name] = not found["lower"] <= mean <= found["upper"]
    stated = certificate["mean_iou"]
    wrong["mean"] = not stated["lower"] <= mean <= stated["upper"]
    wrong["pixel error"] = not (
        certificate["mean_pixel_error"]["lower"]
        <= float(pixel_errors_of(ious).mean())
        <= certificate["mean_pixel_error"]["upper"]
    )
    if (advice := certificate["advice"]) and advice["bound"]:
        bound = parse_threshold(advice["bound"])
        kept = [iou for iou, row in zip(ious, truth.rows.values(), strict=True) if bound.passes(row)]
        wrong["advice"] = np.mean(np.array(kept) >= advice["iou"]) < advice["share"]
    return [name for name, is_wrong in wrong.items() if is_wrong]


def times_too_bold(setting, repeats, confidence, images=100):
    """Section → in how many of the audits it promised too much."""
    release, unknown, options = SETTINGS[setting]
    truth, rng, found = RELEASES[release], np.random.default_rng(11), Counter()
    for _ in range(repeats):
        options = {"images": images, "predict_with": "pairwise_iou", "confidence": confidence, **options}
        judged = {"judged": sees_more_than_the_other} if options.get("overlap") else {}
        plan, outcomes = audit_of(truth, rng, unknown, **judged, **options)
        found.update(too_bold(truth, certify(truth, plan, outcomes, missing_as_failures=True)))
    return found


def allowed(repeats, confidence):
    """How often a section may be wrong, and as often again as chance makes of it once in ten thousand."""
    return binom.ppf(0.9999, repeats, 1 - confidence)


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_section_promises_too_much_more_often_than_its_confidence_leaves(setting):
    found = times_too_bold(setting, 40, 0.8)
    assert max(found.values(), default=0) <= allowed(40, 0.8), found


@pytest.mark.thorough
@pytest.mark.timeout(0)
@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_section_promises_too_much_more_often_than_its_confidence_leaves_in_2000_audits(setting, confidence):
    found = times_too_bold(setting, 2000, confidence)
    print(setting, confidence, dict(found))
    assert max(found.values(), default=0) <= allowed(2000, confidence), found


def test_the_simulation_notices_shares_of_the_sample_taken_for_bounds(monkeypatch):
    def of_sample(seen, alpha):
        return sum(round(part.population * (1 - part.bad / part.drawn)) for part in seen.values())

    monkeypatch.setattr("pipeline.audit.proofs.promises.at_least_good", of_sample)
    found = times_too_bold("all judged", 40, 0.8)
    assert found["shares"] > allowed(40, 0.8)


def test_the_simulation_notices_unknown_outcomes_that_count_as_good(monkeypatch):
    truth, rng, found = RELEASES["realistic"], np.random.default_rng(11), Counter()
    for _ in range(40):
        plan, outcomes = audit_of(truth, rng, skips_hard_ones, images=100, confidence=0.8)
        kind = [o for o in outcomes if o.verdict != "missing"]
        plan_of_kind = type(plan)(
            **{name: getattr(plan, name) for name in plan.__slots__ if name != "sample"},
            sample=tuple(image for image in plan.sample if image.key in {o.key for o in kind}),
        )
        found.update(too_bold(truth, certify(truth, plan_of_kind, kind)))
    assert found["shares"] > allowed(40, 0.8)
    assert found["mean"] > allowed(40, 0.8)


@pytest.mark.parametrize(("images", "bound"), [(400, 0.022), (1600, 0.006)])
def test_masks_without_a_fault_leave_the_bound_that_the_readme_says(images, bound):
    plan, outcomes = audit_of(release_of(np.ones(10_000)), np.random.default_rng(0), images=images)
    upper = mean_pixel_error(Found(plan=plan, outcomes=outcomes))["upper"]
    assert explained_difference(upper) == pytest.approx(bound, abs=5e-4)


def test_the_simulation_notices_wrong_objects_whose_pixels_count_as_right():
    truth, rng, found = release_of(np.where(np.arange(1000) % 5, 1.0, 0.0)), np.random.default_rng(11), Counter()
    for is_wrong in (False, True):
        for _ in range(10):
            plan, outcomes = audit_of(truth, rng, images=100, confidence=0.8)
            kind = [replace(o, worst_pixel_error=o.pixel_error) for o in outcomes] if is_wrong else outcomes
            found[is_wrong] += "pixel error" in too_bold(truth, certify(truth, plan, kind))
    assert (found[False], found[True]) == (0, 10)


@pytest.mark.parametrize(
    ("count", "population", "down", "up"),
    [(1, 3, 0.333, 0.334), (999_999, 1_000_000, 0.999, 1.0), (57, 100, 0.57, 0.57), (0, 7, 0.0, 0.0), (7, 7, 1.0, 1.0)],
)
def test_promised_shares_are_rounded_to_the_weaker_side(count, population, down, up):
    assert (share_down(count, population), share_up(count, population)) == (down, up)
