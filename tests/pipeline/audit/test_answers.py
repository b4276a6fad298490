"""Answers: what is written is read, lines are only added, and nothing foreign is believed."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.answers import (
    VERDICTS,
    Answer,
    Asked,
    add_answers,
    answers_file,
    latest,
    parse_answer,
    parse_answers,
    read_answers,
)
from pipeline.errors import CollectionError
from pipeline.passes.mask_text import rle_of

PLAN = "ab" * 32
MASK = rle_of(np.array([[True, False, True], [False, False, True]]))
ASKED = Asked(
    plan=PLAN,
    tasks={"rater-1": frozenset({"1", "2"}), "rater-2": frozenset({"2"}), "adjudicator": frozenset({"1", "2"})},
    sizes={"1": (2, 3), "2": (5, 5)},
)


def make_answer(**overrides):
    fields = {"plan": PLAN, "rater": "rater-1", "key": "1", "verdict": "right", "answered": "2026-11-26T12:00:00Z"}
    return Answer(**{**fields, **overrides})


def line_of(**overrides):
    """A line with these fields, whatever they are."""
    return json.dumps(asdict(make_answer()) | overrides).encode()


def write(folder, content, rater="rater-1"):
    answers_file(folder, rater).parent.mkdir(exist_ok=True)
    answers_file(folder, rater).write_bytes(content)


@given(
    st.sampled_from(VERDICTS),
    st.floats(0, 999_999) | st.integers(0, 999_999),
    st.sampled_from(["", "2026-11-26T12:00:00Z", "2026-11-26T12:00:00.123456Z"]),
    st.text(max_size=50),
)
def test_an_answer_comes_back_as_it_was(verdict, seconds, answered, source):
    mask = MASK if verdict == "fix" else None
    answer = make_answer(verdict=verdict, mask=mask, seconds=seconds, answered=answered, source=source)
    assert parse_answer(answer.encode(), ASKED) == answer
    assert answer.encode().count(b"\n") == 1


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ({"plan": "cd" * 32}, "another plan: 'cd"),
        ({"plan": None}, "another plan: 'None'"),
        ({"key": "3"}, "'3' is not in the sample"),
        ({"key": ["1"]}, "unhashable"),
        ({"rater": "rater-9"}, "'rater-9' is no rater"),
        ({"rater": "rater-2"}, "1 is not a task of rater-2"),
        ({"verdict": "good"}, "verdict 'good' is none of right, fix"),
        ({"verdict": "fix"}, "a mask belongs to the verdict fix"),
        ({"mask": dict(MASK)}, "a mask belongs to the verdict fix"),
        ({"verdict": "fix", "mask": {"size": [2, 2], "counts": MASK["counts"]}}, "its size is"),
        ({"verdict": "fix", "mask": {"size": [2, 3], "counts": "04"}}, "its run lengths are not those"),
        ({"verdict": "fix", "mask": "0123"}, "indices"),
        ({"seconds": -1}, "no number from 0"),
        ({"seconds": 1e6}, "no number from 0"),
        ({"seconds": True}, "no number from 0"),
        ({"seconds": "7"}, "no number from 0"),
        ({"seconds": math.inf}, "not finite"),
        ({"answered": "today"}, "no time like"),
        ({"answered": "2026-11-26T12:00:00+01:00"}, "no time like"),
        ({"answered": []}, "no time like"),
        ({"source": "x" * 1001}, "no short text"),
        ({"source": 7}, "no short text"),
        ({"more": 1}, "unexpected keyword"),
    ],
)
def test_what_is_no_answer_of_this_audit_is_refused(overrides, found):
    with pytest.raises((ValueError, KeyError, TypeError), match=found):
        parse_answer(line_of(**overrides), ASKED)


def test_of_a_mask_only_size_and_run_lengths_are_kept():
    answer = parse_answer(line_of(verdict="fix", mask={**MASK, "more": "x" * 100}), ASKED)
    assert answer.mask == MASK


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b"null", b"\xff"])
def test_a_line_that_is_no_answer_names_itself(line):
    with pytest.raises(CollectionError, match=r"file.jsonl, line 2: "):
        parse_answers(make_answer().encode() + line + b"\n" + make_answer().encode(), "file.jsonl", ASKED)


def test_answers_are_added_line_after_line_and_the_last_one_counts(tmp_path):
    first, second, other = make_answer(), make_answer(verdict="skip"), make_answer(key="2")
    add_answers(tmp_path, "rater-1", [first])
    add_answers(tmp_path, "rater-1", [second, other])
    assert answers_file(tmp_path, "rater-1").read_bytes() == first.encode() + second.encode() + other.encode()
    found = read_answers(tmp_path, ASKED)
    assert found == {"rater-1": [first, second, other], "rater-2": [], "adjudicator": []}
    assert latest(found["rater-1"]) == {"1": second, "2": other}


@pytest.mark.parametrize("cut", [1, 2, 10, 100, len(make_answer(verdict="skip").encode())])
def test_a_torn_last_line_is_neither_read_nor_in_the_way(tmp_path, cut):
    write(tmp_path, make_answer().encode() + make_answer(verdict="skip").encode()[: cut - 1])
    assert read_answers(tmp_path, ASKED)["rater-1"] == [make_answer()]
    add_answers(tmp_path, "rater-1", [make_answer(key="2")])
    assert read_answers(tmp_path, ASKED)["rater-1"] == [make_answer(), make_answer(key="2")]


def test_a_file_that_is_one_torn_line_is_begun_again(tmp_path):
    write(tmp_path, b'{"plan"')
    add_answers(tmp_path, "rater-1", [make_answer()])
    assert answers_file(tmp_path, "rater-1").read_bytes() == make_answer().encode()


def test_a_torn_line_in_the_middle_is_no_answer(tmp_path):
    write(tmp_path, make_answer().encode()[:20] + b"\n" + make_answer().encode())
    with pytest.raises(CollectionError, match=r"rater-1.jsonl, line 1"):
        read_answers(tmp_path, ASKED)


def test_answers_of_somebody_else_are_not_read_as_ones_own(tmp_path):
    write(tmp_path, make_answer(key="2").encode(), "rater-2")
    with pytest.raises(CollectionError, match="answers of somebody else than rater-2"):
        read_answers(tmp_path, ASKED)


def test_an_answer_is_on_the_disk_when_adding_returns(tmp_path, disk_events):
    add_answers(tmp_path, "rater-1", [make_answer()])
    synced = {str(path) for what, path in disk_events if what == "synced"}
    assert {str(answers_file(tmp_path, "rater-1")), str(tmp_path / "answers")} <= synced
