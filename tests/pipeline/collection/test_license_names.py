"""Licences by their names and addresses: COCO's keep COCO's ids, the others ids that follow from their texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.collection import MAX_NUMBER, License
from pipeline.collection.license_names import license_named, number_licenses
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.verdicts import is_allowed

# As instances_train2017.json has them.
COCO = [
    (1, "Attribution-NonCommercial-ShareAlike License", "http://creativecommons.org/licenses/by-nc-sa/2.0/"),
    (2, "Attribution-NonCommercial License", "http://creativecommons.org/licenses/by-nc/2.0/"),
    (3, "Attribution-NonCommercial-NoDerivs License", "http://creativecommons.org/licenses/by-nc-nd/2.0/"),
    (4, "Attribution License", "http://creativecommons.org/licenses/by/2.0/"),
    (5, "Attribution-ShareAlike License", "http://creativecommons.org/licenses/by-sa/2.0/"),
    (6, "Attribution-NoDerivs License", "http://creativecommons.org/licenses/by-nd/2.0/"),
    (7, "No known copyright restrictions", "http://flickr.com/commons/usage/"),
    (8, "United States Government Work", "http://www.usa.gov/copyright.shtml"),
]
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from([text for _, *texts in COCO for text in texts]))


# Properties


@given(st.lists(TEXTS, max_size=8), st.lists(TEXTS, max_size=8))
def test_the_id_of_a_licence_does_not_depend_on_the_other_licences(texts, more):
    ids, licenses = number_licenses(texts, {})
    grown, _ = number_licenses([*more, *texts], {})
    assert {text: grown[text] for text in texts} == ids
    assert licenses.keys() == set(ids.values())
    assert all(0 <= number <= MAX_NUMBER and licence.id == number for number, licence in licenses.items())


@given(st.text())
def test_any_text_is_a_licence(text):
    assert license_named(text) == license_named(f" {text}\n")
    assert license_named(text).id > 0


@given(st.sampled_from(["by", "by-nc", "by-sa", "by-nc-sa", "by-nc-nd", "by-nd"]), st.sampled_from("1234"), st.data())
def test_an_address_of_creative_commons_means_its_licence_however_it_is_written(family, version, data):
    start = data.draw(st.sampled_from(["http://", "https://", "https://www.", "HTTPS://", "//", ""]))
    end = data.draw(st.sampled_from(["", "/", "/deed.en", "/legalcode", "/us/", "/#x", "?ref=y"]))
    found = license_named(f"{start}creativecommons.org/licenses/{family}/{version}.0{end}")
    assert found.id == next(number for number, _, url in COCO if f"/{family}/" in url)
    assert found.url.startswith(f"https://creativecommons.org/licenses/{family}/{version}.0/")


# Examples


@pytest.mark.parametrize(("number", "name", "url"), COCO)
def test_the_licences_of_coco_have_its_ids(number, name, url):
    assert license_named(name).id == license_named(url).id == number


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("cc-by-sa-3.0", "https://creativecommons.org/licenses/by-sa/3.0/"),
        ("Creative Commons Attribution 4.0 International", "https://creativecommons.org/licenses/by/4.0/"),
        ("by-nc", "https://creativecommons.org/licenses/by-nc/"),
        ("CC0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("Public Domain Mark 1.0", "https://creativecommons.org/publicdomain/mark/1.0/"),
        ("https://example.org/my/licence?token=secret1", "https://example.org/my/licence?token=(hidden)"),
        ("© Ann, all rights reserved", ""),
    ],
)
def test_a_licence_has_its_own_address(text, url):
    assert license_named(text).url == url


def test_one_licence_by_several_names_is_one():
    assert (
        len({license_named(text) for text in ("CC0", "cc0 1.0", "https://creativecommons.org/publicdomain/zero/1.0")})
        == 1
    )


def test_versions_of_a_licence_are_described_together():
    ids, licenses = number_licenses(["CC BY 2.0", "CC BY 4.0"], {})
    assert ids == {"CC BY 2.0": 4, "CC BY 4.0": 4}
    name = "Attribution License 2.0 or Attribution License 4.0"
    assert licenses == {4: License(id=4, name=name, url="https://creativecommons.org/licenses/by/")}


def test_a_licence_that_annotations_describe_keeps_their_id():
    known = {1: License(id=1, name="CC BY", url="http://creativecommons.org/licenses/by/2.0/")}
    ids, new = number_licenses(["CC-BY-4.0", "CC BY-NC-SA 2.0"], known)
    assert ids["CC-BY-4.0"] == 1
    # COCO's id of the other one is taken.
    assert ids["CC BY-NC-SA 2.0"] > 1000
    assert set(new) == {ids["CC BY-NC-SA 2.0"]}


@pytest.mark.parametrize(
    ("text", "commercial"),
    [
        ("CC BY", True), ("by-sa", True), ("CC0", True), ("No known copyright restrictions", True),
        ("United States Government Work", True), ("Public Domain Mark 1.0", True), ("CC BY-NC 4.0", False),
        ("CC BY-ND 2.0", False), ("© Ann", False), ("https://example.org/by/", False), ("cc zero", True),
        ("0", False), ("zero", False), ("0 1.0", False), *((str(number), False) for number in range(1, 11)),
    ],
)  # fmt: skip
def test_commercial_use_is_known_by_name_too(text, commercial):
    licence = license_named(text)
    assert is_allowed(licence.id, licence.url, PolicyConfig(commercial=True)) == commercial
