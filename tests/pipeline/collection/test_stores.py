"""Properties, examples and faults of finding images in folders and zips."""

import contextlib
import os
import posixpath
import re
import tempfile
import uuid
import zipfile
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.collection.names import safe_name
from pipeline.collection.stores import read_bytes
from pipeline.errors import CollectionError, SampleError
from pipeline.records import Location, Sample
from tests.pipeline.make import open_images

PART = st.text("abcä 01-_#%", min_size=1, max_size=6).filter(lambda part: part.strip() == part)
NAME = st.builds(lambda folders, stem: "/".join([*folders, f"{stem}.jpg"]), st.lists(PART, max_size=2), PART)
FILES = st.dictionaries(NAME, st.binary(min_size=1, max_size=300), min_size=1, max_size=6)


def make_zip(path, files, *, method=zipfile.ZIP_STORED, top="train2017/"):
    """A zip as the official ones are: a directory entry, then the members below it."""
    with zipfile.ZipFile(path, "w", method) as archive:
        if top:
            archive.writestr(top, "")
        for name, content in files.items():
            archive.writestr(top + name, content)
    return str(path)


def make_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return str(path)


def read(location):
    sample = Sample(
        key="000000000001", image_id=1, file_name="a.jpg", width=1, height=1, license_id=0, location=location
    )
    return read_bytes(sample)


def problem_of(images, file_name, wanted=None):
    store = open_images(images, wanted or [file_name])
    with pytest.raises(SampleError) as caught:
        store.locate(file_name)
    return caught.value


# Properties


@given(FILES)
def test_folder_and_zip_local_and_remote_stored_and_deflated_give_the_same_bytes(files):
    memory = f"memory://{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent)
        with fsspec.open(f"{memory}/z.zip", "wb") as file:
            make_zip(file, files, method=zipfile.ZIP_DEFLATED)
        for name, content in files.items():
            fsspec.filesystem("memory").pipe_file(f"{memory}/folder/{name}", content)
        places = [
            make_folder(path / "folder", files),
            f"file://{path}/folder",
            make_zip(path / "stored.zip", files),
            make_zip(path / "deflated.zip", files, method=zipfile.ZIP_DEFLATED),
            make_zip(path / "flat.zip", files, top=""),
            f"{memory}/folder",
            f"{memory}/z.zip",
        ]
        for place in places:
            store = open_images(place, list(files))
            assert {name: read(store.locate(name)) for name in files} == files
    fsspec.filesystem("memory").rm(memory, recursive=True)


@settings(max_examples=4 * settings().max_examples, deadline=None)
@given(st.data())
def test_a_zip_with_changed_bytes_gives_correct_bytes_or_one_of_our_errors(data):
    files = {f"{number}.jpg": b"image %d " % number * (10 * number) for number in range(1, 4)}
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / "z.zip"
        make_zip(path, files, method=data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
        content = bytearray(path.read_bytes())
        # Half of the changes hit the central directory, which is at the end.
        spot = st.one_of(st.integers(0, len(content) - 1), st.integers(len(content) - 300, len(content) - 1))
        for at, value in data.draw(st.lists(st.tuples(spot, st.integers(0, 255)), max_size=4)):
            content[at] = value
        cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
        path.write_bytes(content[:cut])
        try:
            store = open_images(str(path), list(files))
        except CollectionError:
            return
        for name in files:
            with contextlib.suppress(SampleError):
                assert read(store.locate(name)) in files.values()


@settings(max_examples=4 * settings().max_examples, deadline=None)
@given(st.text("ab./\\:~\0C\ud800", max_size=12))
def test_a_safe_name_stays_in_its_folder_however_it_is_joined(file_name):
    try:
        name = safe_name(file_name)
    except SampleError as refused:
        reason = refused.reason
    else:
        reason, joined = "", posixpath.normpath(posixpath.join("/root", name))
        assert joined == "/root" or joined.startswith("/root/")
        assert fsspec.core.url_to_fs(f"memory://root/{name}")[1].startswith("/root")
    assert reason in {"", "unsafe_path"}


# Examples


def test_a_zip_member_is_found_by_its_exact_name_first(tmp_path):
    files = {"a.jpg": b"flat", "train2017/a.jpg": b"in folder"}
    store = open_images(make_zip(tmp_path / "z.zip", files, top=""), list(files))
    assert read(store.locate("a.jpg")) == b"flat"
    assert read(store.locate("train2017/a.jpg")) == b"in folder"


def test_an_exact_name_wins_over_the_same_name_below_the_top_folder(tmp_path):
    files = {"t/a.jpg": b"right", "t/t/a.jpg": b"wrong", "t/./b.jpg": b"exact", "t/b.jpg": b"normal"}
    store = open_images(make_zip(tmp_path / "z.zip", files, top=""), list(files))
    assert read(store.locate("t/a.jpg")) == read(store.locate("t/./a.jpg")) == b"right"
    assert (read(store.locate("t/./b.jpg")), read(store.locate("t/b.jpg"))) == (b"exact", b"normal")


def test_a_zip_member_is_found_below_the_single_top_folder_before_any_other_of_its_basename(tmp_path):
    files = {"a.jpg": b"right", "other/a.jpg": b"wrong"}
    store = open_images(make_zip(tmp_path / "z.zip", files), ["a.jpg"])
    assert read(store.locate("a.jpg")) == b"right"


def test_a_zip_member_is_found_by_its_unique_basename(tmp_path):
    files = {"x/y/a.jpg": b"image", "z/b.jpg": b"other", "__MACOSX/x/y/a.jpg": b"junk"}
    store = open_images(make_zip(tmp_path / "z.zip", files, top=""), ["val/a.jpg"])
    assert read(store.locate("val/a.jpg")) == b"image"


def test_a_basename_shared_by_two_members_is_ambiguous(tmp_path):
    images = make_zip(tmp_path / "z.zip", {"x/a.jpg": b"1", "y/a.jpg": b"2"}, top="")
    error = problem_of(images, "a.jpg")
    assert error.reason == "unreadable"
    assert "ambiguous" in error.detail
    assert "x/a.jpg" in error.detail


def test_two_images_never_share_a_member_because_their_basenames_are_equal(tmp_path):
    images = make_zip(tmp_path / "z.zip", {"x/a.jpg": b"1"}, top="")
    assert problem_of(images, "y/a.jpg", ["x/a.jpg", "y/a.jpg"]).reason == "missing"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_duplicate_member_of_a_zip_is_ambiguous(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a.jpg", "1")
        archive.writestr("a.jpg", "2")
    assert problem_of(str(tmp_path / "z.zip"), "a.jpg").reason == "unreadable"


def test_folders_and_links_in_a_zip_are_not_images(tmp_path):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("folder.jpg/", "")
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.jpg", "1")
    for name in ("folder.jpg/", "folder.jpg", "link.jpg"):
        assert problem_of(str(tmp_path / "z.zip"), name).reason == "missing"


def test_a_zip_behind_other_bytes_is_read(tmp_path):
    content = Path(make_zip(tmp_path / "z.zip", {"a.jpg": b"image"})).read_bytes()
    (tmp_path / "z.zip").write_bytes(b"#!/bin/sh\n" + content)
    assert read(open_images(str(tmp_path / "z.zip"), ["a.jpg"]).locate("a.jpg")) == b"image"


def test_needless_parts_of_a_name_do_not_matter(tmp_path):
    folder = make_folder(tmp_path / "f", {"x/a.jpg": b"image"})
    for images in (folder, make_zip(tmp_path / "z.zip", {"x/a.jpg": b"image"})):
        assert read(open_images(images, ["./x//a.jpg"]).locate("./x//a.jpg")) == b"image"


def test_a_folder_is_listed_once_and_only_where_images_are_requested(tmp_path, monkeypatch):
    names = [f"x/{number}.jpg" for number in range(50)]
    images = make_folder(tmp_path, dict.fromkeys([*names, "huge/other.jpg"], b""))
    listed, asked = [], []
    scandir, stat = os.scandir, os.stat
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(os.path.relpath(path, images)) or scandir(path))
    monkeypatch.setattr(os, "stat", lambda *args, **named: asked.append(args) or stat(*args, **named))
    store = open_images(images, names)
    for name in names:
        store.locate(name)
    assert listed == [".", ".", "x"]  # the first time to find out what kind of place it is
    assert len(asked) < 5


def test_locations_are_absolute_so_that_other_processes_find_them(tmp_path, monkeypatch):
    make_folder(tmp_path / "f", {"a.jpg": b""})
    make_zip(tmp_path / "z.zip", {"a.jpg": b""})
    monkeypatch.chdir(tmp_path)
    assert open_images("f", ["a.jpg"]).locate("a.jpg").path == str(tmp_path / "f" / "a.jpg")
    assert open_images("./z.zip", ["a.jpg"]).locate("a.jpg").path == str(tmp_path / "z.zip")


def test_a_local_folder_may_be_named_like_a_chained_url(tmp_path):
    images = make_folder(tmp_path / "memory::x", {"a.jpg": b"image"})
    assert read(open_images(images, ["a.jpg"]).locate("a.jpg")) == b"image"


def test_a_link_inside_the_folder_is_followed(tmp_path):
    images = make_folder(tmp_path / "f", {"real/a.jpg": b"image"})
    (tmp_path / "f" / "b.jpg").symlink_to("real/a.jpg")
    (tmp_path / "f" / "folder").symlink_to("real")
    store = open_images(images, ["b.jpg", "folder/a.jpg"])
    assert read(store.locate("b.jpg")) == b"image"
    assert read(store.locate("folder/a.jpg")) == b"image"


def test_the_folder_itself_may_be_a_link(tmp_path):
    make_folder(tmp_path / "f", {"a.jpg": b"image"})
    (tmp_path / "f" / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "link").symlink_to("f")
    store = open_images(str(tmp_path / "link"), ["a.jpg", "b.jpg"])
    assert read(store.locate("a.jpg")) == read(store.locate("b.jpg")) == b"image"


# Faults


@pytest.mark.parametrize(
    "file_name",
    ["", "/etc/passwd", "../a.jpg", "x/../a.jpg", "x/..", "..", "..\\a.jpg", "C:a.jpg", "c:/a.jpg", "a\0.jpg"],
)
def test_a_name_that_may_leave_its_folder_is_unsafe_in_folder_and_zip(tmp_path, file_name):
    (tmp_path / "a.jpg").write_bytes(b"outside")
    folder = make_folder(tmp_path / "f", {"b.jpg": b"inside", "x/b.jpg": b""})
    for images in (folder, make_zip(tmp_path / "z.zip", {file_name or "b.jpg": b"member"}, top="")):
        assert problem_of(images, file_name).reason == "unsafe_path"


@pytest.mark.parametrize("file_name", ["xy::file:/etc/passwd", "file://a.jpg"])
def test_a_name_that_would_change_the_url_of_its_folder_is_unsafe(file_name):
    fsspec.filesystem("memory").pipe_file(f"/urls/{file_name}", b"")
    assert problem_of("memory://urls", file_name).reason == "unsafe_path"


def test_a_link_out_of_the_folder_is_unsafe(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"outside")
    (tmp_path / "f-other").mkdir()
    (tmp_path / "f-other" / "a.jpg").write_bytes(b"outside")
    images = make_folder(tmp_path / "f", {"a.jpg": b""})
    (tmp_path / "f" / "link.jpg").symlink_to("../secret.jpg")
    (tmp_path / "f" / "folder").symlink_to(tmp_path / "f-other")
    for name in ("link.jpg", "folder/a.jpg"):
        assert problem_of(images, name).reason == "unsafe_path"


def test_dangling_and_circular_links_are_missing(tmp_path):
    images = make_folder(tmp_path / "f", {"a.jpg": b""})
    (tmp_path / "f" / "dangling.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "f" / "circle.jpg").symlink_to("circle.jpg")
    for name in ("dangling.jpg", "circle.jpg"):
        assert problem_of(images, name).reason == "missing"


def test_anything_but_a_regular_file_is_missing(tmp_path):
    images = make_folder(tmp_path / "f", {"folder.jpg/a.jpg": b""})
    os.mkfifo(tmp_path / "f" / "pipe.jpg")
    for name in ("folder.jpg", "pipe.jpg", "absent.jpg", "absent/b.jpg", "."):
        assert problem_of(images, name).reason == "missing"


def test_folder_and_zip_report_a_missing_image_alike_and_name_no_path(tmp_path):
    folder = make_folder(tmp_path / "f", {"a.jpg": b""})
    details = {problem_of(images, "b.jpg").detail for images in (folder, make_zip(tmp_path / "z.zip", {"a.jpg": b""}))}
    assert len(details) == 1
    assert "'b.jpg'" in (detail := details.pop())
    assert str(tmp_path) not in detail


def test_a_missing_images_path_is_an_error_that_names_it(tmp_path):
    for images in (str(tmp_path / "absent"), "memory://absent-folder", "nonsense://x", "", "\0", "\udc80"):
        with pytest.raises(CollectionError) as caught:
            open_images(images, ["a.jpg"])
        assert repr(images) in str(caught.value)


def test_a_folder_whose_name_is_not_valid_text_is_an_error(tmp_path):
    make_folder(tmp_path / "f\udc80", {"a.jpg": b""})
    with pytest.raises(CollectionError, match="surrogates not allowed"):
        open_images(str(tmp_path / "f\udc80"), ["a.jpg"])


def test_a_pipe_as_images_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CollectionError, match="something of type 'other', which is none of these"):
        open_images(str(tmp_path / "pipe"), ["a.jpg"])


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"\x1f\x8b" + bytes(600), bytes(10240)])
def test_a_file_that_is_not_a_zip_is_an_error_that_says_how_large_it_is_and_quotes_nothing(tmp_path, content):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(CollectionError) as caught:
        open_images(str(tmp_path / "x.bin"), ["a.jpg"])
    said = str(caught.value)
    assert re.search(rf"a file of {len(content)} bytes( \([^)]*\))?, which is none of these: ", said)
    assert "no zip at all" not in said
    assert "x00" not in said
    assert str(tmp_path / "x.bin") in str(caught.value)


def test_a_zip_torn_anywhere_is_an_error(tmp_path):
    whole = Path(make_zip(tmp_path / "z.zip", {"a.jpg": b"image" * 20, "b.jpg": b"b"})).read_bytes()
    for length in range(4, len(whole)):
        (tmp_path / "z.zip").write_bytes(whole[:length])
        with pytest.raises(CollectionError, match=f"a torn zip of {length} bytes"):
            open_images(str(tmp_path / "z.zip"), ["a.jpg"])


def test_an_encrypted_member_is_unreadable(tmp_path):
    path = Path(make_zip(tmp_path / "z.zip", {"a.jpg": b"image"}, top=""))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    error = problem_of(str(path), "a.jpg")
    assert (error.reason, "encrypted" in error.detail) == ("unreadable", True)


def test_a_member_with_an_unsupported_compression_is_unreadable(tmp_path):
    error = problem_of(make_zip(tmp_path / "z.zip", {"a.jpg": b"image"}, method=zipfile.ZIP_BZIP2), "a.jpg")
    assert (error.reason, "method 12" in error.detail) == ("unreadable", True)


def test_a_member_outside_the_archive_is_unreadable(tmp_path):
    path = Path(make_zip(tmp_path / "z.zip", {"a.jpg": b"image"}, top=""))
    content = bytearray(path.read_bytes())
    offset = content.index(b"PK\x01\x02") + 42
    content[offset : offset + 4] = (1 << 20).to_bytes(4, "little")
    path.write_bytes(content)
    error = problem_of(str(path), "a.jpg")
    assert (error.reason, "outside the archive" in error.detail) == ("unreadable", True)


def test_a_member_that_claims_more_than_a_plan_can_hold_is_unreadable(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a.jpg", "image")
        archive.infolist()[0].file_size = 1 << 63
    error = problem_of(str(tmp_path / "z.zip"), "a.jpg")
    assert (error.reason, f"claims {1 << 63} bytes" in error.detail) == ("unreadable", True)


def test_a_directory_of_a_later_version_of_zip_can_not_be_read(tmp_path):
    path = Path(make_zip(tmp_path / "z.zip", {"a.jpg": b"image"}, top=""))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 99
    path.write_bytes(content)
    with pytest.raises(CollectionError, match=r"a torn zip of .* \(zip file version 9\.9\)"):
        open_images(str(path), ["a.jpg"])


def test_a_directory_with_a_name_that_is_not_utf_8_can_not_be_read(tmp_path):
    path = Path(make_zip(tmp_path / "z.zip", {"ä.jpg": b"image"}, top=""))
    path.write_bytes(path.read_bytes().replace("ä".encode(), b"\xff\xff"))
    with pytest.raises(CollectionError, match=r"a torn zip of .* can't decode byte"):
        open_images(str(path), ["a.jpg"])


def test_one_bad_member_does_not_affect_the_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("bad.jpg", "1", zipfile.ZIP_LZMA)
        archive.writestr("good.jpg", "2")
    store = open_images(str(tmp_path / "z.zip"), ["good.jpg"])
    assert isinstance(store.locate("good.jpg"), Location)


def test_a_chained_url_of_a_folder_is_refused():
    fsspec.filesystem("memory").pipe_file("/chained/a.jpg", b"")
    with pytest.raises(CollectionError, match="a chained URL of a folder"):
        open_images("simplecache::memory://chained", ["a.jpg"], allow_chained_urls=True)
