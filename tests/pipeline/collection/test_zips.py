"""Zips as other tools make them: names in any encoding and form, split archives, and what macOS adds."""

import contextlib
import io
import shutil
import struct
import subprocess
import unicodedata
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.collection.stores import read_bytes
from pipeline.errors import CollectionError, SampleError
from tests.pipeline.make import make_sample, open_images

FORMS = ("NFC", "NFD")
LETTERS = st.text("aéüñÅ한", min_size=1, max_size=6)


def make_zip(path, files, *, encoding=""):
    """A zip; with an encoding, one whose names are in it, without the mark of UTF-8."""
    buffer = io.BytesIO()
    places = {
        f"{number:06d}".ljust(len(name.encode(encoding or "utf-8")), "_"): name for number, name in enumerate(files)
    }
    with zipfile.ZipFile(buffer, "w") as archive:
        for stored, name in places.items():
            archive.writestr(stored if encoding else name, files[name])
    content = buffer.getvalue()
    for stored, name in places.items():
        if encoding:
            content = content.replace(stored.encode(), name.encode(encoding))
    path.write_bytes(content)
    return str(path)


def content_of(images, *file_names):
    store = open_images(images, file_names)
    return [read_bytes(make_sample(location=store.locate(name))) for name in file_names]


# Unicode forms


@given(LETTERS, st.sampled_from(FORMS), st.sampled_from(FORMS), st.sampled_from(["", "top/", "für/"]))
def test_a_name_is_found_in_whatever_form_it_is_spelled(tmp_path_factory, letters, wanted, there, top):
    stored, asked = (unicodedata.normalize(form, f"{letters}x.jpg") for form in (there, wanted))
    folder = tmp_path_factory.mktemp("forms")
    images = make_zip(folder / "x.zip", {unicodedata.normalize(there, top) + stored: b"1"})
    assert content_of(images, asked) == [b"1"]
    (folder / "in").mkdir()
    (folder / "in" / stored).write_bytes(b"2")
    assert content_of(str(folder / "in"), asked) == [b"2"]


@pytest.mark.parametrize("form", FORMS)
def test_the_folder_of_a_name_is_found_in_either_form(tmp_path, form):
    (tmp_path / unicodedata.normalize(form, "é")).mkdir()
    (tmp_path / unicodedata.normalize(form, "é") / "a.jpg").write_bytes(b"1")
    for asked in FORMS:
        assert content_of(str(tmp_path), unicodedata.normalize(asked, "é/a.jpg")) == [b"1"]


def test_an_exact_name_goes_before_one_in_another_form(tmp_path):
    one, other = (unicodedata.normalize(form, "é.jpg") for form in FORMS)
    images = make_zip(tmp_path / "x.zip", {one: b"1", other: b"2"})
    assert content_of(images, one) == [b"1"]
    assert content_of(images, other) == [b"2"]
    (tmp_path / "in").mkdir()
    for name, content in ((one, b"1"), (other, b"2")):
        (tmp_path / "in" / name).write_bytes(content)
    assert content_of(str(tmp_path / "in"), other) == [b"2"]


def test_a_name_that_fits_two_files_in_other_forms_is_ambiguous(tmp_path):
    spelled = ["Ǻ.jpg", "Å\u0301.jpg", "A\u030a\u0301.jpg", "Ǻ.jpg"]
    assert len({unicodedata.normalize("NFC", name) for name in spelled}) == 1
    names = list(dict.fromkeys(spelled))
    for images in (make_zip(tmp_path / "x.zip", dict.fromkeys(names[1:], b"")), str(tmp_path / "in")):
        (tmp_path / "in").mkdir(exist_ok=True)
        for name in names[1:]:
            (tmp_path / "in" / name).touch()
        with pytest.raises(SampleError, match="ambiguous, ") as caught:
            open_images(images, [names[0]]).locate(names[0])
        assert caught.value.reason == "unreadable"


def test_a_link_in_another_form_is_followed_and_stays_inside(tmp_path):
    one, other = (unicodedata.normalize(form, "é.jpg") for form in FORMS)
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").touch()
    (tmp_path / "in" / one).symlink_to(tmp_path / "secret")
    with pytest.raises(SampleError, match="leads out of the images folder"):
        open_images(str(tmp_path / "in"), [other]).locate(other)


# Encodings


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "图片/照片{}.jpg"),
        ("gb18030", "图片/照片{}.jpg"),
        ("cp932", "写真/日本{}.jpg"),
        ("big5", "圖片/繁體{}.jpg"),
        ("cp949", "사진/한국{}.jpg"),
        ("cp1252", "Küche/façade{}.jpg"),
        ("cp437", "Küche/façade{}.jpg"),
        ("cp850", "São/ação{}.jpg"),
        ("cp1251", "фото/снимок{}.jpg"),
        ("cp866", "фото/снимок{}.jpg"),
    ],
)
def test_names_in_any_encoding_are_found(tmp_path, encoding, name):
    files = {name.format(number): bytes([number]) for number in range(1, 4)}
    images = make_zip(tmp_path / "x.zip", files, encoding=encoding)
    assert content_of(images, *files) == list(files.values())
    bases = [file.rpartition("/")[2] for file in files]
    assert content_of(images, *bases) == list(files.values())


def test_names_that_finder_writes_are_found(tmp_path):
    """UTF-8 in NFD without the mark, and a hidden file beside each."""
    name = unicodedata.normalize("NFD", "Fotos/Küche.jpg")
    files = {name: b"1", "__MACOSX/Fotos/._Küche.jpg": b"\0\5\x16\7", "Fotos/.DS_Store": b"x"}
    images = make_zip(tmp_path / "x.zip", files, encoding="utf-8")
    assert content_of(images, "Küche.jpg") == content_of(images, "Fotos/Küche.jpg") == [b"1"]


# What macOS adds


@pytest.mark.parametrize(
    "added", ["__MACOSX/a/._1.jpg", "a/__MACOSX/._1.jpg", "a/._1.jpg", "._1.jpg", ".DS_Store", "a/b/.DS_Store"]
)
def test_what_macos_adds_is_no_image_and_changes_nothing(tmp_path, added):
    images = make_zip(tmp_path / "x.zip", {added: b"no", "a/1.jpg": b"1", "a/b/2.jpg": b"2"})
    assert content_of(images, "1.jpg", "b/2.jpg") == [b"1", b"2"]  # `a` is still the one folder that holds all
    with pytest.raises(SampleError, match="no regular file"):
        open_images(images, ["x._1.jpg"]).locate("._1.jpg")


def test_an_image_that_is_named_like_them_is_found_if_it_is_wanted(tmp_path):
    assert content_of(make_zip(tmp_path / "x.zip", {"._1.jpg": b"1"}), "._1.jpg") == [b"1"]


# Folders around all

PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@example({"a/b"}, {"b", "a/b"})
@example({"a/a/b"}, {"a/b", "a/a/b"})
@given(st.sets(PATHS, min_size=1, max_size=6), st.sets(PATHS, min_size=1, max_size=6))
def test_two_names_never_have_one_member_and_an_exact_name_has_its_own(tmp_path_factory, stored, wanted):
    images = make_zip(tmp_path_factory.mktemp("ends") / "x.zip", {f"{name}.jpg": name.encode() for name in stored})
    asked = {f"{name}.jpg" for name in wanted}
    store, found = open_images(images, asked), {}
    for name in asked:
        with contextlib.suppress(SampleError):
            found[name] = store.locate(name).place[0]
    assert len(set(found.values())) == len(found)
    for name in stored & wanted:
        assert read_bytes(make_sample(location=store.locate(f"{name}.jpg"))) == name.encode()


def test_names_below_further_folders_are_found_although_their_basenames_repeat(tmp_path):
    files = {f"images/default/cam{camera}/0001.jpg": bytes([camera]) for camera in (1, 2, 3)}
    images = make_zip(tmp_path / "x.zip", {"annotations/instances.json": b"{}", **files})
    assert content_of(images, "cam1/0001.jpg", "cam2/0001.jpg", "cam3/0001.jpg") == [b"\1", b"\2", b"\3"]


# Split zips and other files


def test_the_last_part_of_a_split_zip_is_refused(tmp_path):
    images = make_zip(tmp_path / "x.zip", {"a.jpg": b"1"})
    content = bytearray((tmp_path / "x.zip").read_bytes())
    place = content.index(b"PK\5\6")
    content[place + 4 : place + 8] = struct.pack("<2H", 3, 3)
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(CollectionError, match=r"the last of 4 parts of a split zip. Join the parts, zip -s 0"):
        open_images(images, ["a.jpg"])


@pytest.mark.parametrize("comment", [b"", b"of a photographer", bytes(65_535)], ids=len)
def test_a_zip_with_a_comment_is_whole(tmp_path, comment):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", b"1")
        archive.comment = comment
    assert content_of(str(tmp_path / "x.zip"), "a.jpg") == [b"1"]


@pytest.mark.parametrize("name", ["x.z01", "x.zip.001", "x.7z.002", "x.part1.rar"])
def test_another_part_is_called_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(CollectionError, match=r"one part of a split archive\. Join its parts"):
        open_images(str(tmp_path / name), ["a.jpg"])


def test_a_first_part_is_called_one_by_its_content(tmp_path):
    (tmp_path / "renamed.zip").write_bytes(b"PK\x07\x08PK\x03\x04" + bytes(100))
    with pytest.raises(CollectionError, match="one part of a split archive"):
        open_images(str(tmp_path / "renamed.zip"), ["a.jpg"])


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs Info-ZIP's zip")
def test_what_zip_itself_splits_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(bytes(range(256)) * 1000)
    subprocess.run(["zip", "-q", "-0", "-s", "64k", "x.zip", "a.jpg"], cwd=tmp_path, check=True)
    for name in ("x.zip", "x.z01"):
        with pytest.raises(CollectionError, match="split"):
            open_images(str(tmp_path / name), ["a.jpg"])


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"7z\xbc\xaf\x27\x1c", "7z archive, unpack it first"),
        (b"Rar!\x1a\x07", "RAR archive, unpack it first"),
        (b"\x1f\x8b\x08", "gzip, unpack it first"),
        (b"<!DOCTYPE html>", "HTML page, no image: the server answered with a page"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"", "empty file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_file_is_called_what_it_is(tmp_path, start, kind):
    (tmp_path / "x").write_bytes(start)
    with pytest.raises(CollectionError) as caught:
        open_images(str(tmp_path / "x"), ["a.jpg"])
    assert f"({kind}), which is none of these: " in str(caught.value)
