"""From answers to outcomes, line by line of the table in the module."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.answers import VERDICTS, Answer
from pipeline.audit.config import AuditConfig
from pipeline.audit.outcomes import SAME_IOU, UNKNOWN, differing_share, disputed, iou_of, settle
from pipeline.audit.plan import ADJUDICATOR, AuditPlan, Drawn
from pipeline.passes.mask_text import rle_of

KEY = "000000000001"


def row_mask(*columns):
    """A mask of one row of ten pixels."""
    return rle_of(np.isin(np.arange(10), columns)[None, :])


RELEASED = row_mask(*range(9))
NINE, EIGHT, ALL, EMPTY = row_mask(*range(9)), row_mask(*range(8)), row_mask(*range(10)), row_mask()


def make_plan(*raters):
    image = Drawn(key=KEY, stratum="all", raters=raters)
    facts = {"name": "x", "version": "1.0.0", "sha256": "ab" * 32, "population": 1, "strata": {"all": 1}}
    return AuditPlan(**facts, config=AuditConfig(images=1, raters=max(1, len(raters))), sample=(image,))


def make_answer(rater, verdict, mask=None):
    return Answer(plan="p", rater=rater, key=KEY, verdict=verdict, mask=mask)


def settled(first=None, second=None, third=None, *, raters=2, released=RELEASED):
    """The outcome and the pair of one image. An answer is a verdict, or the mask of a fix."""
    plan = make_plan(*("rater-1", "rater-2")[:raters])
    given = {}
    for rater, said in (("rater-1", first), ("rater-2", second), (ADJUDICATOR, third)):
        if said:
            verdict, mask = (said, None) if isinstance(said, str) else ("fix", said)
            given[rater] = [make_answer(rater, verdict, mask)]
    outcomes, pairs = settle(plan, given, {KEY: released})
    assert [outcome.key for outcome in outcomes] == [KEY]
    assert disputed(plan, given, {KEY: released}) == ([KEY] if outcomes[0].verdict in ("unresolved", "skip") else [])
    return outcomes[0], pairs


@pytest.mark.parametrize(
    ("said", "verdict", "iou", "best_iou"),
    [
        ("right", "right", 1, 1),
        (EIGHT, "fix", 8 / 9, 8 / 9),
        (EMPTY, "fix", 0, 0),
        ("wrong_object", "wrong_object", 0, 0),
        ("nothing_salient", "nothing_salient", 0, 0),
        ("ambiguous", "ambiguous", 0, 0),
        ("skip", "skip", 0, 1),
        (None, "missing", 0, 1),
    ],
)
def test_one_raters_answer_counts_and_an_unknown_image_is_bad_and_perfect(said, verdict, iou, best_iou):
    outcome, pairs = settled(said, raters=1)
    assert (outcome.verdict, outcome.is_adjudicated, pairs) == (verdict, False, [])
    assert (outcome.iou, outcome.best_iou) == pytest.approx((iou, best_iou))


@pytest.mark.parametrize(
    ("said", "errors"),
    [
        ("right", (0, 0)),
        (EIGHT, (0.1, 0.1)),
        (row_mask(8, 9), (0.9, 0.9)),
        ("nothing_salient", (0.9, 0.9)),
        ("wrong_object", (0, 1)),
        ("ambiguous", (0, 1)),
        ("skip", (0, 1)),
        (None, (0, 1)),
    ],
)
def test_the_pixel_error_is_exact_where_a_mask_was_settled_and_anything_elsewhere(said, errors):
    outcome, _ = settled(said, raters=1)
    assert (outcome.pixel_error, outcome.worst_pixel_error) == pytest.approx(errors)


def test_two_who_agree_give_the_larger_pixel_error():
    wide = rle_of(np.arange(200)[None, :] < 180)
    drawn = [rle_of(np.arange(200)[None, :] < edge) for edge in (179, 176)]
    assert settled(*drawn, released=wide)[0].pixel_error == pytest.approx(4 / 200)


def test_two_who_agree_give_the_lower_iou():
    outcome, (pair,) = settled(ALL, NINE)
    assert (outcome.verdict, outcome.is_adjudicated, pair.differ) == ("fix", False, False)
    assert outcome.iou == outcome.best_iou == pytest.approx(0.9)
    assert pair.iou == pytest.approx(SAME_IOU)


@pytest.mark.parametrize(
    ("first", "second"),
    [(ALL, EIGHT), ("right", "wrong_object"), ("right", NINE), ("skip", "right"), ("fix", "right")],
    ids=["masks", "verdicts", "right and fix", "skip", "fix"],
)
def test_two_who_differ_wait_for_the_adjudicator(first, second):
    first = ALL if first == "fix" else first
    for one, other in ((first, second), (second, first)):
        outcome, (pair,) = settled(one, other)
        assert (outcome.verdict, outcome.iou, outcome.best_iou, outcome.is_adjudicated) == ("unresolved", 0, 1, False)
        assert pair.differ
        outcome, _ = settled(one, other, EIGHT)
        assert (outcome.verdict, outcome.iou, outcome.is_adjudicated) == ("fix", pytest.approx(8 / 9), True)


@pytest.mark.parametrize("given_by", [{"raters": 1, "first": "skip"}, {"first": "skip", "second": "skip"}])
def test_a_skipped_image_stays_skipped_without_the_adjudicator(given_by):
    assert settled(**given_by)[0].verdict == "skip"
    outcome, _ = settled(**given_by, third="right")
    assert (outcome.verdict, outcome.iou, outcome.is_adjudicated) == ("right", 1, True)


@pytest.mark.parametrize("given_by", [{"raters": 1}, {"first": "right"}, {"second": "right"}, {}])
def test_a_missing_answer_is_the_adjudicators(given_by):
    assert settled(**given_by)[0].verdict == "missing"
    assert settled(**given_by, third="ambiguous")[0].verdict == "ambiguous"


def test_an_adjudicator_who_skips_leaves_it_unknown():
    outcome, _ = settled("skip", raters=1, third="skip")
    assert (outcome.verdict, outcome.iou, outcome.best_iou) == ("skip", 0, 1)


def test_the_adjudicator_does_not_overrule_those_who_agree():
    outcome, _ = settled("right", "right", "wrong_object")
    assert (outcome.verdict, outcome.is_adjudicated) == ("right", False)


def test_the_last_answer_of_a_rater_counts():
    answers = {"rater-1": [make_answer("rater-1", "skip"), make_answer("rater-1", "right")]}
    outcomes, _ = settle(make_plan("rater-1"), answers, {KEY: RELEASED})
    assert outcomes[0].verdict == "right"


@pytest.mark.parametrize(
    ("said", "iou"), [("right", 1), ("nothing_salient", 1), (EMPTY, 1), (EIGHT, 0), ("ambiguous", 0)]
)
def test_an_empty_scene_is_right_where_nothing_is_salient(said, iou):
    assert settled(said, raters=1, released=EMPTY)[0].iou == iou


def test_the_pair_of_right_and_right_has_the_releases_mask():
    _, (pair,) = settled("right", "right")
    assert (pair.verdicts, pair.iou, pair.differ) == (("right", "right"), 1, False)
    _, (pair,) = settled("right", "nothing_salient")
    assert pair.iou is None


some_masks = st.sets(st.integers(0, 9)).map(lambda columns: row_mask(*columns))
said = st.none() | st.sampled_from([verdict for verdict in VERDICTS if verdict != "fix"]) | some_masks


@given(said, said, said, some_masks)
def test_nobody_gains_by_an_order_or_by_leaving_things_open(first, second, third, released):
    outcome, pairs = settled(first, second, third, released=released)
    swapped, swapped_pairs = settled(second, first, third, released=released)
    assert outcome == swapped
    assert [pair.differ for pair in pairs] == [pair.differ for pair in swapped_pairs]
    assert 0 <= outcome.iou <= outcome.best_iou <= 1
    assert (outcome.iou < outcome.best_iou) == (outcome.verdict in UNKNOWN)
    assert 0 <= outcome.pixel_error <= outcome.worst_pixel_error <= 1
    has_mask = outcome.verdict in ("right", "fix", "nothing_salient")
    assert (outcome.pixel_error == outcome.worst_pixel_error) == has_mask
    # Whoever does not answer makes no promise stronger.
    for one, other in ((first, None), (None, second), ("skip", second)):
        less = settled(one, other, released=released)[0]
        assert less.iou <= outcome.iou or third
        assert less.worst_pixel_error >= outcome.worst_pixel_error or third


@given(some_masks, some_masks)
def test_iou_is_that_of_the_pixels(one, other):
    pixels = [set(np.flatnonzero(_pixels(rle))) for rle in (one, other)]
    union = pixels[0] | pixels[1]
    assert iou_of(one, other) == pytest.approx(len(pixels[0] & pixels[1]) / len(union) if union else 1)
    assert (iou_of(one, other) == 1) == (one == other)


@given(some_masks, some_masks, st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_the_mae_of_a_map_changes_by_no_more_than_the_pixels_on_which_two_masks_differ(one, other, values):
    share = differing_share(one, other)
    assert share == np.mean(_pixels(one) != _pixels(other))
    maes = [np.abs(np.array(values) - _pixels(rle)).mean() for rle in (one, other)]
    assert abs(maes[0] - maes[1]) <= share + 1e-12


def _pixels(rle):
    from pipeline.passes.mask_text import pixels_of

    return pixels_of(rle)


def test_outcomes_come_in_the_order_of_the_draw():
    images = tuple(Drawn(key=key, stratum=key, raters=("rater-1",)) for key in ("3", "1", "2"))
    plan = make_plan("rater-1")
    plan = AuditPlan(**{name: getattr(plan, name) for name in plan.__dataclass_fields__} | {"sample": images})
    outcomes, _ = settle(plan, {}, dict.fromkeys("123", RELEASED))
    assert [(outcome.key, outcome.stratum) for outcome in outcomes] == [("3", "3"), ("1", "1"), ("2", "2")]
    assert not list(itertools.chain(disputed(plan, {}, dict.fromkeys("123", RELEASED))))
