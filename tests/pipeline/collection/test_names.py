"""Which file a name means: properties of the one rule, and what tools write in place of a file's name."""

import contextlib
import os
import unicodedata
import zipfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.collection.names import index_names, relative_name, safe_name
from pipeline.collection.stores import read_bytes
from pipeline.errors import SampleError
from tests.pipeline.make import make_sample, open_images

PART = st.sampled_from(["a", "b", "é", "e\u0301"])
NAMES = st.sets(st.lists(PART, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".jpg"), max_size=6)
WAYS = st.sampled_from(["{}", "./{}", "{}", "http://host/{}", "{}"])


def found_by(there, wanted, root=""):
    """Wanted name → the name that is there, of those that are found."""
    index, found = index_names(there, wanted, root), {}
    for name in wanted:
        with contextlib.suppress(SampleError):
            found[name] = index.find(name)
    return found


def result_of(call, name):
    try:
        return call(name)
    except SampleError as error:
        return str(error)


def problem_of(there, wanted, root=""):
    with pytest.raises(SampleError) as caught:
        index_names(there, {wanted}, root).find(wanted)
    return caught.value


# Properties


@settings(max_examples=200)
@example({"a/b.jpg"}, {"b.jpg", "a/b.jpg"})
@example({"x/a/b.jpg"}, {"a/b.jpg", "q/x/a/b.jpg"})
@given(NAMES, NAMES)
def test_two_names_never_mean_one_file_and_a_name_that_is_there_means_itself(there, wanted):
    found = found_by(there, wanted)
    assert len(set(found.values())) == len(found)
    assert set(found.values()) <= there
    assert {name: found[name] for name in there & wanted} == {name: name for name in there & wanted}


@given(st.text("ab é./\\:-_", max_size=10))
def test_a_name_below_no_known_folder_is_relative_and_safe_alike(name):
    assert result_of(relative_name, name) == result_of(safe_name, name)


@given(NAMES, NAMES)
def test_what_a_name_means_ends_like_it(there, wanted):
    for name, meant in found_by(there, wanted).items():
        assert unicodedata.normalize("NFC", os.path.basename(name)) == unicodedata.normalize(
            "NFC", os.path.basename(meant)
        )


@given(NAMES, NAMES, st.randoms(use_true_random=False))
def test_the_order_of_names_makes_no_difference(there, wanted, random):
    shuffled = [sorted(names, key=lambda _: random.random()) for names in (there, wanted)]
    assert found_by(dict.fromkeys(shuffled[0]), shuffled[1]) == found_by(there, wanted)


@settings(max_examples=30, deadline=None)
@given(NAMES.filter(bool), NAMES.filter(bool))
def test_a_folder_and_a_zip_give_the_same_images(tmp_path_factory, there, wanted):
    there = {unicodedata.normalize("NFC", name) for name in there}
    root = tmp_path_factory.mktemp("both")
    with zipfile.ZipFile(root / "x.zip", "w") as archive:
        for name in there:
            archive.writestr(name, name)
            (root / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "in" / name).write_text(name)
    found = []
    for images in (root / "in", root / "x.zip"):
        store, contents = open_images(str(images), wanted), {}
        for name in wanted:
            try:
                contents[name] = read_bytes(make_sample(location=store.locate(name))).decode()
            except SampleError as error:
                contents[name] = error.reason
        found.append(contents)
    assert found[0] == found[1]


# Examples


@pytest.mark.parametrize(
    ("there", "wanted", "meant"),
    [
        ({"x/a/b.jpg", "x/c/b.jpg"}, ["a/b.jpg", "c/b.jpg"], ["x/a/b.jpg", "x/c/b.jpg"]),
        ({"b.jpg", "c.jpg"}, ["x/y/b.jpg"], ["b.jpg"]),
        ({"cam1/1.jpg", "cam2/1.jpg"}, ["root/cam1/1.jpg", "root/cam2/1.jpg"], ["cam1/1.jpg", "cam2/1.jpg"]),
        ({"images/a.jpg"}, ["images\\a.jpg"], ["images/a.jpg"]),
        ({"images/a.jpg"}, ["images\\1/a.jpg"], ["images/a.jpg"]),
        ({"images\\a.jpg"}, ["images\\a.jpg"], ["images\\a.jpg"]),
        ({"a.jpg", "b.jpg"}, ["http://localhost:8080/data/upload/1/b.jpg"], ["b.jpg"]),
        ({"a b.jpg"}, ["https://host/x/a%20b.jpg?token=1#2"], ["a b.jpg"]),
        ({"upload/1/a.jpg", "upload/2/a.jpg"}, ["s3://bucket/upload/2/a.jpg"], ["upload/2/a.jpg"]),
        ({"a.jpg", "._a.jpg", "x/._b.jpg"}, ["y/a.jpg"], ["a.jpg"]),
        ({"._a.jpg"}, ["._a.jpg"], ["._a.jpg"]),
        ({"a b.jpg", "#1?.jpg"}, ["./a b.jpg", "#1?.jpg"], ["a b.jpg", "#1?.jpg"]),
        ({"e.jpg"}, ["./e.jpg", "e.jpg", ".//e.jpg"], ["e.jpg", "e.jpg", "e.jpg"]),
    ],
)
def test_a_name_in_other_words_means_its_file(there, wanted, meant):
    assert found_by(there, wanted) == dict(zip(wanted, meant, strict=True))


@pytest.mark.parametrize(
    "name", ["/data/images/x/a.jpg", "file:///data/images/x/a.jpg", "/data/images/./x//a.jpg", "/data/images/a.jpg"]
)
def test_an_absolute_name_below_the_folder_is_read(name):
    assert found_by({"x/a.jpg"}, [name], "/data/images") == {name: "x/a.jpg"}


@pytest.mark.parametrize("name", ["s3://bucket/in/x/a.jpg", "s3://bucket/in/a.jpg"])
def test_an_address_below_that_of_the_folder_is_read(name):
    assert found_by({"x/a.jpg"}, [name], "s3://bucket/in/") == {name: "x/a.jpg"}


def test_a_folder_behind_a_link_has_both_names(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.jpg").touch()
    (tmp_path / "link").symlink_to("real")
    for folder in ("real", "link"):
        store = open_images(tmp_path / "link", [f"{tmp_path}/{folder}/a.jpg"])
        assert os.path.samefile(store.locate(f"{tmp_path}/{folder}/a.jpg").path, tmp_path / "real/a.jpg")


def test_the_log_says_how_many_names_were_recognised_by_what(caplog):
    caplog.set_level("INFO")
    there = {"1.jpg", "x/2.jpg", "x/d/3.jpg", unicodedata.normalize("NFD", "é.jpg")}
    assert len(found_by(there, {"1.jpg", "2.jpg", "d/3.jpg", "é.jpg", "absent.jpg"})) == 4
    (said,) = caplog.messages
    assert said.startswith("names of images: 1 of 5 are there as they are spelled, 1 in another form of Unicode")
    assert "1 in further folders ('d/3.jpg' is 'x/d/3.jpg', for example)" in said
    assert "1 in another folder ('2.jpg' is 'x/2.jpg', for example)" in said


def test_names_that_are_there_are_not_worth_a_line(caplog):
    caplog.set_level("INFO")
    assert found_by({"1.jpg", "2.jpg"}, {"1.jpg"}) == {"1.jpg": "1.jpg"}
    assert caplog.messages == []


def test_a_local_folder_is_walked_once_only_if_a_name_is_not_where_it_says(tmp_path, monkeypatch):
    for name in ("in/1.jpg", "deep/er/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(os.path.relpath(path, tmp_path)) or scandir(path))
    open_images(tmp_path, ["in/1.jpg"])
    assert listed == [".", ".", "in"]  # the first look tells what kind of place it is
    listed.clear()
    store = open_images(tmp_path, ["in/1.jpg", "2.jpg"])
    assert store.locate("2.jpg").path == str(tmp_path / "deep/er/2.jpg")
    assert sorted(listed) == [".", ".", ".", "deep", "deep/er", "in", "in"]


# Faults


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "/data/images/../secret.jpg", "/data/images2/a.jpg", "..\\a.jpg", "x\\..\\..\\a.jpg",
        "C:\\a.jpg", "\\\\server\\a.jpg", "file:///etc/passwd", "file://a.jpg", "http://host/../a.jpg", "http://host/%2e%2e/a.jpg",
        "http://host/x/%5c..%5ca.jpg", "simplecache::http://host/a.jpg", "http://host/b.jpg", "a\udc80.jpg",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_unsafe(name):
    assert problem_of({"a.jpg", "passwd", name}, name, "/data/images").reason == "unsafe_path"


def test_an_ambiguous_name_is_unreadable_and_says_which_files_it_may_mean():
    error = problem_of({"x/a.jpg", "y/a.jpg"}, "a.jpg")
    assert error.reason == "unreadable"
    assert error.detail == "file_name 'a.jpg': ambiguous, 2 files match: ['x/a.jpg', 'y/a.jpg']"


def test_names_that_look_alike_are_told_apart_by_their_escapes():
    error = problem_of({"x/e\u0301.jpg", "x/\u00e9.jpg"}, "\u00e9.jpg")
    assert error.detail.endswith(r"ambiguous, 2 files match: ['x/e\u0301.jpg', 'x/\xe9.jpg']")


@pytest.mark.parametrize("wanted", [{"x/a.jpg", "y/a.jpg"}, {"http://one/a.jpg", "http://two/a.jpg"}])
def test_a_file_that_two_names_may_mean_is_nobodys(wanted):
    assert found_by({"a.jpg"}, wanted) == {}


@pytest.mark.parametrize("name", ["a.JPG", "a%20b.jpg", " a.jpg", "a.jpg ", "a", "a.png"])
def test_a_name_that_is_nearly_the_files_is_missing(name):
    assert problem_of({"a.jpg", "a b.jpg"}, name).reason == "missing"
