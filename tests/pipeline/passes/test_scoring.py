"""What a pass says of an image: what its columns can't hold costs that image its row, and no other image anything."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.prediction import ModelMemoryError, ModelOutputError
from pipeline.errors import ModelError, SampleError, StorageError
from pipeline.passes.check import verify_passes
from pipeline.passes.scoring import unfit
from pipeline.runs.commits import committed_shards
from pipeline.selection.columns import Text
from pipeline.selection.scores import Score
from tests.pipeline.make import make_key, tree
from tests.pipeline.passes.conftest import COUNT, CUT
from tests.pipeline.passes.make import (
    SOURCE,
    copy_of,
    own_class,
    pass_tree,
    score,
    values_of,
    without_passes,
    write_module,
)

pytestmark = pytest.mark.usefixtures("user")

KEYS = [make_key(number) for number in range(1, COUNT + 1) if number != CUT]
RAY_ENDS_IT = SystemExit(1)
RAY_ENDS_IT.ray_terminate_msg = "The process receives a SIGTERM."  # as a worker of Ray raises it
GOOD = {"brightness_mean": 0.5, "brightness_note": "x"}
NUMBERS = (
    float("nan"),
    float("inf"),
    -float("inf"),
    -1e-9,
    1 + 1e-9,
    10**400,
    10**5000,
    np.float32("nan"),
    np.float64(2),
)
NO_NUMBERS = ("0.5", b"x", [0.5], (), {}, 1j, Decimal("0.5"), np.array([0.5]), np.array(0.5), object(), print)
NO_TEXTS = (0.5, b"x", ["x"], "\ud800", object())
NO_MAPPINGS = (None, 0.5, "x", [("brightness_mean", 0.5)], {0.5}, np.zeros(3))
OTHER_COLUMNS = ({}, {"brightness_mean": 0.5}, GOOD | {"more": 1}, GOOD | {3: 1}, {"x": 0.5, "y": "x"})
BAD = [
    *({**GOOD, "brightness_mean": value} for value in (*NUMBERS, *NO_NUMBERS)),
    *({**GOOD, "brightness_note": value} for value in NO_TEXTS),
    *NO_MAPPINGS,
    *OTHER_COLUMNS,
]
FINE = [
    GOOD,
    {"brightness_mean": None, "brightness_note": None},
    {"brightness_mean": np.float32(0.5), "brightness_note": ""},
    {"brightness_mean": True, "brightness_note": "a\nb\0c\x1b[31m"},
    {"brightness_mean": Fraction(1, 2), "brightness_note": "é" * 100},
    {"brightness_note": "in another order", "brightness_mean": 1},
]


@settings(max_examples=6)
@given(st.dictionaries(st.sampled_from([1, 2, 4, 5, 6, 7]), st.sampled_from(BAD) | st.sampled_from(FINE), min_size=1))
def test_what_the_columns_can_not_hold_costs_its_own_row(predicted, scored, tmp_path_factory, answers):
    run = copy_of(predicted, tmp_path_factory.mktemp("answers") / "run")
    own_class().answers = {make_key(number): answer for number, answer in answers.items()}
    score(run)
    own_class().answers = {}
    rows, healthy = values_of(run), values_of(scored)
    bad = {make_key(number) for number, answer in answers.items() if any(answer is one for one in BAD)}
    failed = {key: row.reason for key, row in rows.items() if row.status == "failed"}
    assert failed == dict.fromkeys(bad, "pass_output") | {make_key(CUT): "no_candidate"}
    untouched = rows.keys() - {make_key(number) for number in answers}
    assert {key: rows[key] for key in untouched} == {key: healthy[key] for key in untouched}
    assert without_passes(run) == tree(predicted)
    assert [(check.problems, check.left) for check in verify_passes(run)] == [((), 0)]


def test_every_bad_answer_is_a_row_whose_detail_names_the_column_and_the_value(predicted, tmp_path):
    run = copy_of(predicted, tmp_path / "run")
    for start in range(0, len(BAD), len(KEYS)):
        own_class().answers = dict(zip(KEYS, BAD[start:] + BAD, strict=False))
        score(run, retry_failed=start > 0)
        rows = values_of(run)
        for key, answer in own_class().answers.items():
            assert (rows[key].status, rows[key].reason, rows[key].values) == ("failed", "pass_output", {}), answer
            assert rows[key].detail.startswith(("brightness_mean is ", "brightness_note is ", "it gave ")), answer
            assert len(rows[key].detail) < 400


def test_fine_answers_are_stored_as_the_columns_have_them(predicted, tmp_path):
    run = copy_of(predicted, tmp_path / "run")
    own_class().answers = dict(zip(KEYS, FINE, strict=True))
    score(run)
    rows = values_of(run)
    for key, answer in own_class().answers.items():
        values = rows[key].values
        assert list(values) == ["brightness_mean", "brightness_note"]
        assert values == answer
        assert type(values["brightness_mean"]) in (float, type(None))


@given(st.floats(), st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_a_score_holds_what_lies_in_its_range_and_nothing_else(value, lowest, width):
    column = Score(name="own", meaning="x", lowest=lowest, highest=lowest + width, worse_when="high")
    assert (unfit(column, value) == "") == (lowest <= value <= lowest + width)


@given(st.text())
def test_a_text_column_holds_what_utf_8_can_write(text):
    try:
        text.encode()
        can = True
    except UnicodeEncodeError:
        can = False
    assert (unfit(Text(name="own", meaning="x"), text) == "") == can


def test_an_image_that_the_pass_refuses_has_its_reason(predicted, tmp_path):
    run = copy_of(predicted, tmp_path / "run")
    own_class().answers = {make_key(2): SampleError("model_output", "told so")}
    score(run)
    row = values_of(run)[make_key(2)]
    assert (row.reason, row.detail) == ("model_output", "told so")


@pytest.mark.parametrize(("error", "reason"), [(ModelOutputError, "model_output"), (ModelMemoryError, "model_memory")])
def test_of_a_batch_that_fails_each_image_is_tried_alone(predicted, tmp_path, error, reason):
    run = copy_of(predicted, tmp_path / "run")
    own_class().answers = {make_key(5): error("told so")}
    score(run)
    failed = {key: row.reason for key, row in values_of(run).items() if row.status == "failed"}
    assert failed == {make_key(CUT): "no_candidate", make_key(5): reason}
    assert own_class().seen.count(make_key(4)) == 2


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("told so"), KeyError("told so"), SystemError("told so"), SystemExit("told so")]
)
def test_a_bug_of_a_pass_names_pass_keys_file_and_line_and_what_is_committed_stays(predicted, tmp_path, scored, error):
    run = copy_of(predicted, tmp_path / "run")
    own_class().answers = {make_key(5): error}
    line = 1 + SOURCE.splitlines().index("            raise answer")
    keys = f"{make_key(4)}, {make_key(5)}"
    with pytest.raises(
        ModelError,
        match=rf"the score pass brightness failed at the keys {keys}: .*told so.* \(own_pass\.py, line {line}\)",
    ):
        score(run)
    assert list(committed_shards(f"{run}/passes/brightness")) == ["000000"]
    own_class().answers = {}
    score(run)
    assert pass_tree(run) == pass_tree(scored)


def test_a_worker_that_ray_ends_is_no_bug_of_the_pass(predicted, tmp_path):
    run = copy_of(predicted, tmp_path / "run")
    own_class().answers = {make_key(5): RAY_ENDS_IT}
    with pytest.raises(SystemExit):
        score(run)


@pytest.mark.parametrize("error", [OSError("disk"), StorageError("store"), MemoryError("memory")])
def test_trouble_of_the_machine_is_passed_on_as_it_is(predicted, tmp_path, error):
    own_class().answers = {make_key(1): error}
    with pytest.raises(type(error), match=str(error)):
        score(copy_of(predicted, tmp_path / "run"))


BATCHES = (
    SOURCE[: SOURCE.index("    def score(")]
    + """
    needs_image = False
    device_kind = "cpu"

    def score_all(self, items):
        assert all(item.image is None for item in items)
        found = [
            {"brightness_mean": item.candidate.row.scores["area"], "brightness_note": str(item.candidate.mask.shape)}
            for item in items
        ]
        return found[: len(found) + self.more]
"""
)


@pytest.mark.parametrize("more", ["0", "-1"])
def test_a_pass_that_needs_no_image_reads_none_and_has_to_answer_for_each(inputs, predicted, tmp_path, user, more):
    write_module(user, BATCHES.replace("self.more", more), "batches")
    kind, run = "batches:Brightness", copy_of(predicted, tmp_path / "run")
    options = own_class(kind).Options()
    if more == "-1":
        with pytest.raises(ModelError, match="brightness gave 1 answers for 2 images: 000000000001, 000000000002"):
            score(run, kind=kind, options=options)
        return
    score(run, kind=kind, options=options)
    rows = values_of(run)
    assert rows[make_key(1)].values["brightness_note"] == str((inputs.entries[0]["height"], inputs.entries[0]["width"]))
    assert sum(row.status == "done" for row in rows.values()) == COUNT - 1
