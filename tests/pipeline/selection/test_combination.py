"""A policy's combination of scores: what it is computed as, its one form, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.options import read_toml
from pipeline.selection.combination import NAME, SCORE, Combination, parse_combination
from pipeline.selection.policy import PolicyConfig, check_scores, named_scores
from pipeline.selection.scores import SCORE_TABLE
from pipeline.selection.verdicts import by_scores
from tests.pipeline.make import make_scores

NUMBER = st.floats(-1e6, 1e6, allow_subnormal=False)
ALL = ["flip_iou", "ensemble_variance", "stability", "witness_iou"]
NAMES = st.sampled_from(ALL)
WEIGHTS = st.dictionaries(NAMES, NUMBER, min_size=1)
POINTS = st.lists(st.tuples(NUMBER, st.floats(0, 1)), min_size=2, max_size=6, unique_by=lambda point: point[0]).map(
    lambda points: tuple(zip(sorted(z for z, _ in points), sorted(value for _, value in points), strict=True))
)
COMBINATIONS = st.builds(
    Combination,
    intercept=NUMBER,
    weights=WEIGHTS.map(lambda weights: tuple(sorted(weights.items()))),
    points=st.just(()) | POINTS,
    iou_below=st.none() | st.floats(0.1, 1),
)


@given(COMBINATIONS)
def test_its_texts_are_read_back_as_they_were(combination):
    assert parse_combination(combination.texts()) == combination


@given(COMBINATIONS, st.dictionaries(NAMES, st.none() | NUMBER))
def test_it_is_a_probability_or_unknown_with_one_of_its_scores(combination, scores):
    value = combination.value(scores)
    if any(scores.get(name) is None for name, _ in combination.weights):
        assert value is None
    else:
        assert 0 <= value <= 1


@given(COMBINATIONS, st.fixed_dictionaries(dict.fromkeys(ALL, NUMBER)), NAMES, st.floats(0, 1e6))
def test_it_never_falls_when_a_score_moves_to_the_side_of_its_weight(combination, scores, name, by):
    weight = dict(combination.weights).get(name, 0.0)
    moved = scores | {name: scores[name] + math.copysign(by, weight)}
    slack = 0 if combination.points == () else 1e-9  # sums and interpolation round
    assert combination.value(moved) >= combination.value(scores) - slack - 1e-12


@given(COMBINATIONS, st.randoms())
def test_a_policy_keeps_it_in_one_form_however_it_was_written(combination, random):
    texts = list(combination.texts())
    free = [text for text in texts if not text.startswith("point")]
    random.shuffle(free)
    points = [text for text in texts if text.startswith("point")]
    written = tuple(f"  {text.replace(' ', '   ')} " for text in (*points, *free))
    assert PolicyConfig(combination=written).combination == combination.texts()


def test_by_hand():
    plain = parse_combination(("intercept -1", "flip_iou -2", "area 4"))
    assert plain.value({"flip_iou": 0.5, "area": 0.5}) == 0.5
    assert plain.value({"flip_iou": 0.0, "area": 0.0}) == pytest.approx(1 / (1 + math.e))
    steps = parse_combination(("intercept 0", "area 1", "point 0 0.1", "point 2 0.5", "point 3 0.5"))
    assert [steps.value({"area": at}) for at in (-1, 0, 1, 2, 2.5, 9)] == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5, 0.5])
    assert parse_combination(("intercept 1e308", "area 1")).value({"area": 1}) == 1
    assert parse_combination(("intercept -1e308", "area 1")).value({"area": 1}) == 0


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("flip_iou 1",), "needs `intercept NUMBER` and at least one"),
        (("intercept 1", "iou_below 0.8"), "at least one `SCORE NUMBER`"),
        (("intercept 1", "flip_iou"), "combination has 'flip_iou'; give texts like"),
        (("intercept 1", "flip_iou 1 2"), "combination has 'flip_iou 1 2'"),
        (("intercept 1", ""), "combination has ''"),
        (("intercept 1", "flip_iou one"), "'one' is no finite number"),
        (("intercept nan", "flip_iou 1"), "'nan' is no finite number"),
        (("intercept 1", "flip_iou inf"), "'inf' is no finite number"),
        (("intercept 1", "flip_iou 1", "flip_iou 2"), "combination has flip_iou twice"),
        (("intercept 1", "instance_iou 1"), "combination has instance_iou; it is made of scores of predictions"),
        (("intercept 1", "combination 1"), "combination has combination"),
        (("intercept 1", "area 1", "point 0 0.5"), "give two or more, in order"),
        (("intercept 1", "area 1", "point 1 0", "point 0 1"), "points that do not rise"),
        (("intercept 1", "area 1", "point 0 0.5", "point 1 0.4"), "points that do not rise"),
        (("intercept 1", "area 1", "point 0 0.5", "point 1 1.1"), "leave 0 to 1"),
    ],
)
def test_what_is_no_combination_is_refused_by_name(texts, said):
    with pytest.raises(ValueError, match=said):
        PolicyConfig(combination=texts)


def test_its_scores_are_those_that_a_policy_names_and_have_to_be_there():
    policy = PolicyConfig(combination=("intercept 0", "flip_iou 1", "area 1"), thresholds=("combination <= 0.5",))
    assert {"flip_iou", "area", NAME} <= set(named_scores(policy))
    with pytest.raises(ValueError, match="combination has flip_iou: unknown score 'flip_iou'"):
        check_scores(policy, SCORE_TABLE)
    check_scores(policy, SCORE_TABLE | {"flip_iou": SCORE})
    with pytest.raises(ValueError, match="unknown score 'combination'"):
        check_scores(PolicyConfig(thresholds=("combination <= 0.5",)), SCORE_TABLE)
    with pytest.raises(ValueError, match="combination is never below 0"):
        check_scores(
            PolicyConfig(combination=("intercept 0", "area 1"), thresholds=("combination <= -1",)), SCORE_TABLE
        )


def test_an_image_without_it_is_rejected_as_unknown():
    policy = PolicyConfig(combination=("intercept 0", "flip_iou 1"), thresholds=("combination <= 0.5",))
    reasons = [by_scores(make_scores() | {NAME: value}, policy).reason for value in (0.5, 0.51, None)]
    assert reasons == ["", "combination_above_max", "combination_unknown"]


def test_a_policy_file_has_it_as_a_list_of_texts(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(
        'combination = ["intercept -1", "area 2"]\nthresholds = ["combination<=0.2"]\nrank_by = "combination"\n'
    )
    found = PolicyConfig(**read_toml(str(path), PolicyConfig, "--policy"))
    assert found.combination == ("intercept -1.0", "area 2.0")
    check_scores(found, SCORE_TABLE)
