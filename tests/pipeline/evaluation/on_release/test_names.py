"""Which image a prediction is of follows from its name, or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError
from pipeline.evaluation.on_release.names import TAGS, match, spellings
from pipeline.release.image_names import ImageNames

STEMS = st.lists(
    st.text("abcXYZ0189_- .", min_size=1, max_size=8).filter(lambda stem: stem.strip(". ") == stem),
    min_size=1,
    max_size=6,
    unique_by=str.lower,
)
SUFFIXES = st.sampled_from([".png", ".PNG", ".jpg", ".jpeg", ".webp", ".tif"])


def files(*file_names):
    return {f"{number:012d}": name for number, name in enumerate(file_names, start=1)}


def matched(found, file_names):
    return match(found, ImageNames(file_names), file_names.keys(), "maps")


@given(STEMS, SUFFIXES, st.sampled_from(["", *TAGS]), st.sampled_from(["", "maps/", "a/b/"]), st.data())
def test_every_name_of_an_image_finds_it_with_any_suffix_tag_and_folder(stems, suffix, tag, folder, data):
    images = files(*(f"{stem}.jpg" for stem in stems))
    key = data.draw(st.sampled_from(sorted(images)))
    name = data.draw(st.sampled_from([key, images[key], images[key].removesuffix(".jpg")]))
    assert matched([(f"{folder}{name}{tag}{suffix}", 1)], images).of == {key: 1}
    assert ImageNames(images).may_be_of(spellings(f"{folder}{name}{tag}{suffix}")) == {key}


@given(STEMS, st.text("pqr", min_size=1))
def test_a_name_that_no_image_has_finds_none_and_is_surplus(stems, other):
    images = files(*(f"{stem}.jpg" for stem in stems))
    assert ImageNames(images).may_be_of(spellings(f"{other}.png")) == set()
    assert matched([(f"{other}.png", 1)], images).surplus == (f"{other}.png",)


def test_a_folder_decides_between_images_of_one_name():
    images = files("a/1.jpg", "b/1.jpg")
    assert ImageNames(images).may_be_of(spellings("a/1.png")) == {f"{1:012d}"}
    assert matched([("b/1.png", "map")], images).of == {f"{2:012d}": "map"}


def test_a_name_of_two_images_is_refused():
    with pytest.raises(CollectionError, match=r"maps: 1.png could be of 000000000001 or of 000000000002.*by the keys"):
        matched([("1.png", 1)], files("a/1.jpg", "b/1.jpg"))


def test_a_key_that_is_another_images_name_is_refused_if_no_other_name_tells():
    images = files("000000000002.jpg", "000000000001.jpg", "000000000009.jpg")
    both = [("000000000001.png", 1), ("000000000002.png", 2)]
    with pytest.raises(
        CollectionError, match=r"maps: 000000000001.png could be of 000000000001, whose key.*\.key\.png"
    ):
        matched(both, images)
    assert matched([*both, ("000000000003.png", 3)], images).of == {f"{number:012d}": number for number in (1, 2, 3)}
    assert matched([*both, ("000000000009.png", 3)], images).of == {
        "000000000001": 2,
        "000000000002": 1,
        "000000000003": 3,
    }


@pytest.mark.parametrize("second", ["cat.mask.png", "000000000001.png", "deep/cat.webp", "cat.saliency.tif", "cat.jpg"])
def test_two_predictions_of_one_image_are_refused_by_name(second):
    with pytest.raises(CollectionError, match=r"cat\.png.* are both predictions of 0{11}1; remove one"):
        matched([("cat.png", 1), (second, 2)], files("cat.jpg"))


@pytest.mark.parametrize("file", ["cat.jpg", "000000000002.jpg"])
def test_of_the_pictures_of_a_released_sample_the_saliency_map_is_the_prediction(file):
    stem = file.removesuffix(".jpg")
    members = [file, f"{stem}.mask.png", f"{stem}.saliency.png", f"{stem}.variance.png"]
    found = matched([(name, name) for name in members], files(file))
    assert found.of == {f"{1:012d}": f"{stem}.saliency.png"}
    assert found.surplus == (f"{stem}.variance.png",)


def test_several_pictures_of_an_image_do_not_make_its_name_unclear():
    """With a name in a folder, as in frames of films; photo, mask and map of an image go by one name."""
    images = files("a/000000000002.jpg", "b/000000000002.jpg")
    names = ["a/000000000002.jpg", "a/000000000002.saliency.png", "b/000000000002.png"]
    assert matched([(name, name) for name in names], images).of == {f"{1:012d}": names[1], f"{2:012d}": names[2]}
