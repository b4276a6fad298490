"""Who has judged, from where, and for how long."""

import pytest

from pipeline.audit.answers import Answer
from pipeline.audit.labour import work_of


def answer(key, rater="rater-1", **options):
    return Answer(**{"plan": "ab", "rater": rater, "key": key, "verdict": "right", "seconds": 10.0, **options})


def test_seconds_of_answers_that_were_changed_count_too_and_images_once():
    (found,) = work_of({"rater-1": [answer("1"), answer("2", seconds=5.5), answer("1", verdict="skip")], "rater-2": []})
    assert (found.rater, found.images, found.seconds, found.untimed) == ("rater-1", 2, pytest.approx(25.5), 0)


def test_imported_answers_are_told_apart():
    given = [answer("1"), answer("2", source="masks", seconds=0.0), answer("3", source="masks", seconds=0.0)]
    (found,) = work_of({"rater-1": given})
    assert (found.sources, found.untimed) == ({"masks": 2, "page": 1}, 2)
    (changed,) = work_of({"rater-1": [*given, answer("2")]})
    assert (changed.sources, changed.untimed) == ({"masks": 1, "page": 2}, 1)


def test_raters_come_in_the_order_of_their_names():
    found = work_of({"rater-2": [answer("1", "rater-2")], "adjudicator": [answer("1", "adjudicator")]})
    assert [one.rater for one in found] == ["adjudicator", "rater-2"]
