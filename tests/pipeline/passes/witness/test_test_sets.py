"""Which test sets a text about training data names, however it spells them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.networks.presets import PRESETS
from pipeline.passes.witness.test_sets import TEST_SETS, mentions_in

PUBLISHED = {"DUTS-TE", "DUT-OMRON", "ECSSD", "HKU-IS", "PASCAL-S", "HRSOD-TE", "UHRSD-TE", "DAVIS-S", "DIS-TE", "SOC"}


def named(text):
    return {mention.test_set for mention in mentions_in(text) if mention.is_sure}


def perhaps(text):
    return {mention.test_set for mention in mentions_in(text) if not mention.is_sure}


@given(
    st.lists(st.sampled_from([one for one in TEST_SETS if one.name not in ("SOD", "SOC")]), min_size=1, unique=True),
    st.sampled_from(["-", "_", " ", "", "\N{NON-BREAKING HYPHEN}", "\N{EN DASH}"]),
    st.sampled_from([", ", "; ", " + ", " / ", "\t", " and "]),
    st.sampled_from([str.upper, str.lower, str.title]),
)
def test_a_set_is_found_in_any_spelling_and_company(sets, hyphen, between, case):
    text = case(between.join(one.name.replace("-", hyphen) for one in sets))
    assert named(text) == {one.name for one in sets}


@given(st.lists(st.sampled_from(["DUTS", "HRSOD", "UHRSD", "DIS5K", "HRS10K", "SOC"]), unique=True), st.booleans())
def test_training_parts_are_no_test_sets(sets, part_first):
    assert mentions_in(", ".join(f"TR-{name}" if part_first else f"{name}-TR" for name in sets)) == ()


@given(st.text(max_size=200))
def test_any_text_is_read(text):
    assert {mention.test_set for mention in mentions_in(text)} <= {
        *(one.name for one in TEST_SETS),
        "a test set that the text does not name",
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DUTS-TR_TE", {"DUTS-TE"}),
        ("DUTS TE", {"DUTS-TE"}),
        ("DUTSTE", {"DUTS-TE"}),
        ("DUTS (test set)", {"DUTS-TE"}),
        ("DUTS-TR/TE", {"DUTS-TE"}),
        ("TE-HRSOD TR-UHRSD", {"HRSOD-TE"}),
        ("DIS-TE1-4", {"DIS-TE"}),
        ("DIS 5K test", {"DIS-TE"}),
        ("DIS-TEs", {"DIS-TE"}),
        ("DIS5K-VD", {"DIS-VD"}),
        ("OMRON, pascal s", {"DUT-OMRON", "PASCAL-S"}),
        ("DUTS training set + HRSOD testing", {"HRSOD-TE"}),
        ("sod300", {"SOD-300"}),
        ("our own photographs", set()),
        ("discarded social media pictures", set()),
        ("COD10K-TR, CAMO-TR", set()),
    ],
)
def test_spellings_that_are_in_use(text, found):
    assert named(text) == found
    assert perhaps(text) == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DUTS", {"DUTS-TE"}),
        ("all of HRSOD", {"HRSOD-TE"}),
        ("SOD", {"SOD"}),
        ("all five test sets", {"a test set that the text does not name"}),
        ("common benchmark datasets", {"a test set that the text does not name"}),
    ],
)
def test_what_a_text_leaves_open_is_told_as_open(text, found):
    assert perhaps(text) == found
    assert named(text) == set()


def test_the_presets_name_what_their_authors_do():
    found = {name: named(preset.trained_on) | perhaps(preset.trained_on) for name, preset in PRESETS.items()}
    birefnet = {"DUTS-TE", "HRSOD-TE", "UHRSD-TE", "HRS10K-TE", "DIS-TE"}
    assert found == {"u2net": set(), "isnet": set(), "birefnet": birefnet, "rmbg": set()}


def test_the_sets_that_the_field_publishes_on_are_known():
    assert {one.name for one in TEST_SETS} >= PUBLISHED
