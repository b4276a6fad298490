"""Properties and examples of verdicts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import PolicyConfig
from pipeline.errors import FAILURE_REASONS
from pipeline.records import Verdict
from pipeline.select import REJECTION_REASONS, decide
from tests.pipeline.make import make_row, make_scores

SHARES = st.floats(0, 1)
ROWS = st.builds(
    lambda variance, per_area, area: make_row(
        scores=make_scores(ensemble_variance=variance, ensemble_variance_per_area=per_area, area=area)
    ),
    st.floats(0, 0.25),
    st.floats(0, 250),
    SHARES,
)
POLICIES = st.builds(
    lambda variance, per_area, areas: PolicyConfig(
        max_variance=variance, max_variance_per_area=per_area, min_area=min(areas), max_area=max(areas)
    ),
    st.floats(0, 0.25),
    st.floats(0, 250),
    st.tuples(SHARES, SHARES),
)


def rejected(reason):
    return Verdict(decision="rejected", reason=reason)


def between(start, end, share):
    """The point at that share of the way, never beyond the end, as a sum of floats may be."""
    return float(np.clip(start + (end - start) * share, min(start, end), max(start, end)))


ACCEPTED = Verdict(decision="accepted", reason="")
POLICY = PolicyConfig(max_variance=0.02, max_variance_per_area=0.1, min_area=0.1, max_area=0.9)
DECIDING = ("ensemble_variance", "ensemble_variance_per_area", "area")


# Properties


@given(ROWS, POLICIES, st.floats(0, 1))
def test_a_stricter_policy_never_accepts_what_a_laxer_one_rejects(row, lax, factor):
    stricter = (
        replace(lax, max_variance=lax.max_variance * factor),
        replace(lax, max_variance_per_area=lax.max_variance_per_area * factor),
        replace(lax, min_area=between(lax.min_area, lax.max_area, factor)),
        replace(lax, max_area=between(lax.max_area, lax.min_area, factor)),
    )
    if decide(row, lax) != ACCEPTED:
        assert ACCEPTED not in [decide(row, policy) for policy in stricter]


@given(ROWS, POLICIES)
def test_a_predicted_image_is_accepted_without_a_reason_or_rejected_with_one(row, policy):
    verdict = decide(row, policy)
    assert verdict == ACCEPTED or verdict in [rejected(reason) for reason in REJECTION_REASONS]


@given(st.sampled_from(sorted(FAILURE_REASONS)), POLICIES)
def test_a_failed_image_stays_failed_with_its_reason_whatever_the_policy(reason, policy):
    assert decide(make_row(reason=reason), policy) == Verdict(decision="failed", reason=reason)


@given(ROWS, POLICIES, st.floats(0, 1))
def test_other_scores_than_those_of_the_policy_do_not_matter(row, policy, value):
    others = dict.fromkeys(row.scores, value) | {name: row.scores[name] for name in DECIDING}
    assert decide(replace(row, scores=others), policy) == decide(row, policy)


# Examples


@pytest.mark.parametrize(
    ("name", "bound", "outwards", "reason"),
    [
        ("ensemble_variance", 0.02, 1, "variance_above_max"),
        ("ensemble_variance_per_area", 0.1, 1, "variance_per_area_above_max"),
        ("area", 0.1, 0, "no_salient_object"),
        ("area", 0.9, 1, "object_fills_image"),
    ],
)
def test_a_score_on_its_bound_is_accepted_and_the_next_float_beyond_it_rejected(name, bound, outwards, reason):
    assert decide(make_row(scores=make_scores(**{name: bound})), POLICY) == ACCEPTED
    beyond = float(np.nextafter(bound, outwards))
    assert decide(make_row(scores=make_scores(**{name: beyond})), POLICY) == rejected(reason)


@pytest.mark.parametrize(("area", "reason"), [(0.05, "no_salient_object"), (0.95, "object_fills_image")])
def test_the_area_is_looked_at_before_the_variance(area, reason):
    assert decide(make_row(scores=make_scores(area=area, ensemble_variance=0.2)), POLICY) == rejected(reason)
    assert REJECTION_REASONS.index(reason) < REJECTION_REASONS.index("variance_above_max")
