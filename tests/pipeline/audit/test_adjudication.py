"""The third look: which images wait for it, and that it is blind."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.adjudication import _looks, write_adjudication
from pipeline.audit.answers import Answer, add_answers
from pipeline.errors import CollectionError
from pipeline.passes.mask_text import rle_of


def make_answer(made, rater, key, verdict, **changes):
    mask = None
    if verdict == "fix":
        mask = rle_of(np.ones(made.audit.asked.sizes[key], dtype=bool))
    return Answer(plan=made.audit.plan.digest, rater=rater, key=key, verdict=verdict, mask=mask, **changes)


def answer_all(made, one, other):
    """Both raters judge all images: rater-1 and rater-2 by these verdicts, in the order of the draw."""
    keys = [image.key for image in made.audit.plan.sample]
    for rater, verdicts in (("rater-1", one), ("rater-2", other)):
        add_answers(made.path, rater, [make_answer(made, rater, *told) for told in zip(keys, verdicts, strict=True)])
    return keys


def tasks_in(made):
    content = (made.path / "tasks" / "adjudicator.js").read_text()
    return json.loads(re.fullmatch(r"audit\.tasks\((.*)\);\n", content)[1])


def test_images_on_which_raters_differ_or_which_one_has_skipped_wait(prepared, told):
    made = prepared()
    keys = answer_all(made, ["right", "fix", "right", "skip", "ambiguous"], ["right", "fix", "fix", "right", "skip"])
    found = write_adjudication(made.path)
    assert found.disputes == 3
    assert found.index == f"{made.path / 'index.html'}#adjudicator"
    tasks = tasks_in(made)
    assert [task["key"] for task in tasks["tasks"]] == [keys[2], keys[3], keys[4]]
    assert (tasks["plan"], tasks["rater"]) == (made.audit.plan.digest, "adjudicator")
    assert told.lines == ["3 images wait for a third look, 0 have had one"]


def test_looks_have_masks_and_no_names(prepared):
    made = prepared()
    keys = answer_all(made, ["right"] * 5, ["fix", "wrong_object", "right", "skip", "right"])
    write_adjudication(made.path)
    differing, other, skipped = tasks_in(made)["tasks"]
    masks = made.audit.masks()
    drawn = make_answer(made, "rater-2", keys[0], "fix").mask
    by_verdict = {look["verdict"]: look for look in differing["looks"]}
    assert (by_verdict["right"]["mask"], by_verdict["fix"]["mask"]) == (masks[keys[0]], drawn)
    assert [look["name"] for look in differing["looks"]] == ["A", "B"]
    assert {look["verdict"]: look["mask"] for look in other["looks"]} == {"right": masks[keys[1]], "wrong_object": None}
    assert [(look["name"], look["verdict"]) for look in skipped["looks"]] == [("A", "right")]
    assert [task["is_blind"] for task in (differing, other, skipped)] == [True, True, False]
    assert "rater-1" not in (made.path / "tasks" / "adjudicator.js").read_text()


def test_where_neither_has_a_mask_she_judges_the_release_s_as_they_did(prepared):
    made = prepared()
    answer_all(made, ["wrong_object"] * 5, ["ambiguous"] * 5)
    write_adjudication(made.path)
    for task in tasks_in(made)["tasks"]:
        assert not task["is_blind"]
        assert [look["mask"] for look in task["looks"]] == [None, None]


@given(st.text("0123456789abcdef", min_size=4, max_size=8))
def test_the_order_of_looks_does_not_follow_from_who_looked(plan):
    def order(first, second):
        mask = rle_of(np.zeros((2, 2), dtype=bool))
        given = [Answer(plan=plan, rater=rater, key="1", verdict=said) for rater, said in (first, second)]
        return [look["verdict"] for look in _looks(plan, given, mask)]

    one, other = ("rater-1", "wrong_object"), ("rater-2", "ambiguous")
    assert order(one, other) == order(other, one)


def test_both_orders_of_looks_occur():
    mask = rle_of(np.zeros((2, 2), dtype=bool))

    def first(key):
        given = [
            Answer(plan="p", rater=f"rater-{n}", key=key, verdict=said) for n, said in ((1, "right"), (2, "ambiguous"))
        ]
        return next(_looks("p", given, mask))["verdict"]

    firsts = [first(str(number)) for number in range(200)]
    assert 60 < firsts.count("right") < 140


def test_what_she_has_settled_stays_among_her_tasks_and_no_longer_waits(prepared):
    made = prepared()
    keys = answer_all(made, ["right"] * 5, ["skip", "skip", "right", "right", "right"])
    assert write_adjudication(made.path).disputes == 2
    add_answers(made.path, "adjudicator", [make_answer(made, "adjudicator", keys[0], "right")])
    assert write_adjudication(made.path).disputes == 1
    assert [task["key"] for task in tasks_in(made)["tasks"]] == keys[:2]


def test_only_its_own_file_is_written(prepared):
    made = prepared()
    answer_all(made, ["right"] * 5, ["skip"] * 5)

    def others():
        return {path: path.read_bytes() for path in made.path.rglob("*.*") if path.name != "adjudicator.js"}

    before = others()
    for _ in range(2):
        write_adjudication(made.path)
        assert others() == before


def test_an_audit_without_its_page_is_named(prepared):
    made = prepared()
    keys = answer_all(made, ["right"] * 5, ["skip"] * 5)
    (made.path / "images" / f"{keys[0]}.jpg").unlink()
    with pytest.raises(CollectionError, match=f"its image of {keys[0]} is missing"):
        write_adjudication(made.path)
    (made.path / "index.html").unlink()
    with pytest.raises(CollectionError, match="has no page"):
        write_adjudication(made.path)
