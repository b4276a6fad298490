"""Which image a prediction is of follows from its name, or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError
from pipeline.evaluation.on_release.names import TAGS, Names, match

STEMS = st.lists(
    st.text("abcXYZ0189_- .", min_size=1, max_size=8).filter(lambda stem: stem.strip(". ") == stem),
    min_size=1,
    max_size=6,
    unique_by=str.lower,
)
SUFFIXES = st.sampled_from([".png", ".PNG", ".jpg", ".jpeg", ".webp", ".tif"])


def rows(*file_names):
    return {f"{number:012d}": {"file_name": name} for number, name in enumerate(file_names, start=1)}


@given(STEMS, SUFFIXES, st.sampled_from(["", *TAGS]), st.sampled_from(["", "maps/", "a/b/"]), st.data())
def test_every_name_of_an_image_finds_it_with_any_suffix_tag_and_folder(stems, suffix, tag, folder, data):
    images = rows(*(f"{stem}.jpg" for stem in stems))
    key = data.draw(st.sampled_from(sorted(images)))
    name = data.draw(st.sampled_from([key, images[key]["file_name"], images[key]["file_name"].removesuffix(".jpg")]))
    assert Names(images).keys_of(f"{folder}{name}{tag}{suffix}") == {key}


@given(STEMS, st.text("pqr", min_size=1))
def test_a_name_that_no_image_has_finds_none_and_is_surplus(stems, other):
    names = Names(rows(*(f"{stem}.jpg" for stem in stems)))
    assert names.keys_of(f"{other}.png") == set()
    assert match([(f"{other}.png", 1)], names, "maps").surplus == (f"{other}.png",)


def test_a_folder_decides_between_images_of_one_name():
    names = Names(rows("a/1.jpg", "b/1.jpg"))
    assert names.keys_of("a/1.png") == {f"{1:012d}"}
    assert match([("b/1.png", "map")], names, "maps").of == {f"{2:012d}": "map"}


def test_a_name_of_two_images_is_refused():
    with pytest.raises(CollectionError, match=r"maps: 1.png could be of 000000000001 or of 000000000002.*by the keys"):
        match([("1.png", 1)], Names(rows("a/1.jpg", "b/1.jpg")), "maps")


def test_a_key_that_is_another_images_name_is_refused():
    names = Names(rows("x.jpg", "000000000001.jpg"))
    with pytest.raises(CollectionError, match="could be of"):
        match([("000000000001.png", 1)], names, "maps")


@pytest.mark.parametrize("second", ["cat.mask.png", "000000000001.png", "deep/cat.webp", "cat.saliency.tif", "cat.jpg"])
def test_two_predictions_of_one_image_are_refused_by_name(second):
    with pytest.raises(CollectionError, match=r"cat\.png.* are both predictions of 0{11}1; remove one"):
        match([("cat.png", 1), (second, 2)], Names(rows("cat.jpg")), "maps")


def test_of_the_pictures_of_a_released_sample_the_saliency_map_is_the_prediction():
    members = ["cat.jpg", "cat.mask.png", "cat.saliency.png", "cat.variance.png"]
    found = match([(name, name) for name in members], Names(rows("cat.jpg")), "maps")
    assert found.of == {f"{1:012d}": "cat.saliency.png"}
    assert found.surplus == ("cat.variance.png",)
