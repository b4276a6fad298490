"""Why no image is there: each way in which names miss each other is named, with what to do."""

import json
import unicodedata
import zipfile
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.near_misses import explained
from pipeline.errors import CollectionError
from pipeline.run import read_inputs

NAMES = st.lists(st.text("abcäé12/._ %日", min_size=1, max_size=12), min_size=1, max_size=5)
COUNT = st.integers(1, 5)


def spelled(count, form):
    return [form.format(number) for number in range(1, count + 1)]


# Properties


@given(NAMES, NAMES)
def test_there_is_always_an_explanation_with_something_to_do(wanted, there):
    words = explained("/data/images", wanted, there)
    verbs = ("Give", "give", "Rename", "rename", "Correct", "Move", "Unpack", "unpack", "Make")
    assert any(verb in words for verb in verbs)


@given(COUNT, st.sampled_from(["train2017", "a/b", "Bilder für Ä"]))
def test_a_folder_too_high_or_too_low_is_named_with_the_right_one(count, folder):
    plain, deep = spelled(count, "{:012d}.jpg"), spelled(count, folder + "/{:012d}.jpg")
    assert explained("/data", plain, deep) == f"They lie one level deeper: give --images /data/{folder}"
    assert "give the folder above it, --images /data" in explained(f"/data/{folder}", deep, plain)
    assert f"Move them into a folder '{folder}' there" in explained("/data/images", deep, plain)


# Examples


@pytest.mark.parametrize(
    ("wanted", "there", "words"),
    [
        (["a.jpg"], [], "It holds no files"),
        (["a.jpg", "b.jpg"], ["x/a.jpg", "y/b.jpg"], "They lie in its folders 'x', 'y', which no file_name mentions"),
        (["a.jpg"], ["A.JPG"], "Names differ in capital and small letters: 'a.jpg' in the annotations, 'A.JPG' there"),
        (["a.jpg"], ["in/A.JPG"], "Names differ in capital and small letters: 'a.jpg'"),
        (["a.jpg"], ["a.png"], "Names differ in the suffix: 'a.jpg' in the annotations, 'a.png' there"),
        (["a"], ["a.png"], "Names differ in the suffix"),
        (["a.jpg"], ["a.jpg.jpg"], "Names differ in a second suffix"),
        (["a b.jpg"], ["a%20b.jpg"], "Names differ in the escapes of a URL"),
        (["a%20b.jpg"], ["a b.jpg"], "Names differ in the escapes of a URL"),
        (["a.jpg "], ["a.jpg"], "Names differ in spaces at an end"),
        (["7.jpg"], ["000000000007.jpg"], "Names differ in leading zeros: '7.jpg' in the annotations"),
        (["v/a.jpg"], ["w/a.jpg"], "A file of this name lies in another folder: 'v/a.jpg' in the annotations"),
        (["é.jpg"], ["├⌐.jpg"], "Names were written in the encoding utf-8 and read in another: '├⌐.jpg' there"),
        (["é.jpg"], ["Ã©.jpg"], "Names were written in the encoding utf-8"),
        (["照片.jpg"], ["ÕÕÆ¬.jpg"], "in the encoding gb18030 and read in another"),
        (["照片.jpg"], ["\udcd5\udcd5\udcc6\udcac.jpg"], "Unpack the archive again, with unzip -O gb18030"),
        (["照片.jpg"], ["Ωψ.jpg"], "Names there may be in an encoding that is not known"),
        (["a.jpg"], ["train.tar"], "It holds an archive, 'train.tar': unpack it first"),
        (["a.jpg"], ["x.txt", "y.txt"], "It holds 'x.txt' and 1 more, which no name in the annotations resembles"),
    ],
)
def test_the_difference_is_named(wanted, there, words):
    assert words in explained("/data", wanted, there)


# Whole: a folder or zip, and annotations


def message_of(tmp_path, images, *names):
    entries = [{"id": number, "file_name": name, "width": 1, "height": 1} for number, name in enumerate(names, start=1)]
    annotations = tmp_path / "labels.json"
    annotations.write_text(json.dumps({"images": entries}))
    with pytest.raises(CollectionError) as caught:
        read_inputs(SimpleNamespace(input=SimpleNamespace(images=str(images), annotations=str(annotations))))
    return str(caught.value)


def test_the_message_says_what_is_missing_and_which_folder_to_give(tmp_path):
    (tmp_path / "in/train/2017").mkdir(parents=True)
    (tmp_path / "in/train/2017/a.jpg").touch()
    said = message_of(tmp_path, tmp_path / "in", "a.jpg", "b.jpg")
    assert "has none of the 2 images that" in said
    assert "for example 'a.jpg'. They lie one level deeper: give --images" in said
    assert said.endswith("/in/train/2017")


def test_a_relative_folder_is_named_as_it_was_given(tmp_path, monkeypatch):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.jpg").touch()
    monkeypatch.chdir(tmp_path)
    assert message_of(tmp_path, "train", "train/a.jpg").endswith("give the folder above it, --images .")


def test_a_zip_inside_the_folder_is_the_one_to_give(tmp_path):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in/train.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    said = message_of(tmp_path, tmp_path / "in", "a.jpg")
    assert said.endswith(f"It holds an archive, 'train.zip': give --images {tmp_path}/in/train.zip")


def test_a_zip_of_other_images_says_what_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("in/A.JPG", b"")
    assert "capital and small letters" in message_of(tmp_path, tmp_path / "x.zip", "a.jpg")


def test_images_that_are_there_but_can_not_be_read_are_no_reason_to_look_elsewhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.jpg", b"")
    said = message_of(tmp_path, tmp_path / "x.zip", "a.jpg")
    assert "has none of the 1 images in a form that can be read. The first, unreadable: file_name 'a.jpg'" in said
    assert "compression method 14" in said


def test_images_far_below_are_found(tmp_path):
    deep = tmp_path / "in/1/2/3/4"
    deep.mkdir(parents=True)
    (deep / "a.jpg").touch()
    assert f"give --images {deep}" in message_of(tmp_path, tmp_path / "in", "a.jpg")


def test_decomposed_and_composed_names_are_the_same_to_the_explanation():
    there = [unicodedata.normalize("NFD", "für/a.jpg")]
    assert explained("/data", ["a.jpg"], there) == "They lie one level deeper: give --images /data/für"
