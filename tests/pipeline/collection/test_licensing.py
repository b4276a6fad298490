"""The licence fields of annotations, as tools write them: what has one plain meaning is read, nothing is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.coco import read_annotations
from pipeline.collection.collection import MAX_NUMBER
from pipeline.collection.licensing import licensing_of

BY = {"id": 1, "name": "CC BY", "url": "http://creativecommons.org/licenses/by/2.0/"}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "url"]), inner),
    max_leaves=6,
)


def read(tmp_path, caplog, licenses, *values):
    """Licence ids of images with these values in their fields, the licences, and the log."""
    fields = [{} if value == "ABSENT" else {"license": value} for value in values]
    images = [
        {"id": number, "file_name": f"{number}.jpg", "width": 3, "height": 3, **field}
        for number, field in enumerate(fields)
    ]
    document = {"images": images} if licenses == "ABSENT" else {"images": images, "licenses": licenses}
    (tmp_path / "labels.json").write_text(json.dumps(document))
    collection = read_annotations(str(tmp_path / "labels.json"))
    return [sample.license_id for sample in collection.samples], collection.licenses, " ".join(caplog.messages)


# Properties


@given(ANYTHING, ANYTHING)
def test_whatever_a_field_holds_an_image_has_a_licence_id(licenses, value):
    document = {"licenses": licenses, "images": [{"license": value}]}
    found = licensing_of(document)
    number = found.id_of(value, 7)
    assert type(number) is int
    assert 0 <= number <= MAX_NUMBER
    assert all(licence.id == key for key, licence in found.licenses.items())
    assert list(found.remarks()) is not None


# Examples


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1), (1.0, 1), ("1", 1), ("1.0", 1), ([1], 1), (["1"], 1), ("CC-BY", 1), ("CC BY", 1), (["CC BY"], 1),
        ("https://creativecommons.org/licenses/by/2.0", 1), ("CC BY-SA", 5), (3, 3), ("ABSENT", 0), (None, 0), ("", 0),
        ([], 0),
    ],
)  # fmt: skip
def test_a_plain_meaning_is_read(tmp_path, caplog, value, number):
    ids, licenses, said = read(tmp_path, caplog, [BY], value)
    assert ids == [number]
    assert licenses[1].name == "CC BY"
    assert said == ""


@pytest.mark.parametrize("value", [-1, True, 1.5, [1, 2], {"id": 1}, 10**12, "x" * 2000, "-1"])
def test_anything_else_says_nothing_and_the_log_says_so(tmp_path, caplog, value):
    ids, licenses, said = read(tmp_path, caplog, [BY], 1, value, value)
    assert ids == [1, 0, 0]
    assert set(licenses) == {1}
    assert "2 images have a `license` that says nothing" in said
    assert "image 1, for example" in said


@pytest.mark.parametrize(
    ("licenses", "described", "said"),
    [
        ([{"id": "1", "name": "x", "url": ""}], {1: "x"}, ""),
        ([{"id": 1.0, "name": "x"}], {1: "x"}, ""),
        ([{"id": 1}, {"id": 2, "name": None, "url": None}, {"id": 3, "name": 5}], {1: "", 2: "", 3: ""}, ""),
        ([{"id": 1, "name": "x"}, {"id": 1, "name": "x"}], {1: "x"}, ""),
        ([{}], {}, ""),
        ([{"name": "", "url": ""}], {}, ""),
        ([{"id": None, "name": "", "url": ""}], {}, ""),
        ([""], {}, ""),
        ({}, {}, ""),
        ("", {}, ""),
        ("none", {}, "`licenses` is 'none', not a list"),
        (["CC-BY"], {}, "licenses[0] has no id: 'CC-BY'"),
        ([{"name": "x"}], {}, "licenses[0] has no id: {'name': 'x'}"),
        ([{"id": -1, "name": "", "url": ""}], {}, "licenses[0] has the id -1"),
        ([{"id": 10**30, "name": "x"}], {}, f"has the id {10**30}; ids go from 0 to 999999999999"),
        ([{"id": "a", "name": "x"}], {}, "licenses[0] has the id 'a', which is no whole number"),
        ([{"id": True, "name": "x"}], {}, "licenses[0] has the id True, which is no whole number"),
        ([{"id": "", "name": "x"}], {}, "licenses[0] has no id: {'id': '', 'name': 'x'}"),
        ([{"id": None, "name": "x"}], {}, "licenses[0] has no id"),
        ([{"id": 1, "name": "x"}, {"id": 1, "name": "y"}], {}, "licenses[1] has the id 1 of 'x'"),
    ],
)  # fmt: skip
def test_descriptions_are_read_as_tools_write_them(tmp_path, caplog, licenses, described, said):
    ids, found, log = read(tmp_path, caplog, licenses, "ABSENT")
    assert ids == [0]
    assert {number: licence.name for number, licence in found.items()} == described
    assert said in log
    assert bool(said) == bool(log)


def test_an_id_that_means_two_licences_says_nothing(tmp_path, caplog):
    licenses = [{"id": 1, "name": "x"}, {"id": 1, "name": "y"}, {"id": 2, "name": "z"}]
    ids, found, said = read(tmp_path, caplog, licenses, 1, 2)
    assert ids == [0, 2]
    assert set(found) == {2}
    assert "1 images have a `license` that says nothing (1; image 0, for example)" in said
