"""Finding photos by file, folder and glob: properties of their names, examples, faults."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError
from pipeline.files.formats import IMAGE_SUFFIXES
from pipeline.photos.find import find_photos, from_home

file_names = st.text("ab.é [*", min_size=1, max_size=6).filter(lambda name: name.strip(".") and "/" not in name)


def make_files(folder, *names):
    """Empty files; nothing looks into them."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names_in(named, **options):
    return [photo.name for photo in find_photos(str(named), **options).photos]


# Properties


@given(st.lists(st.tuples(file_names, st.sampled_from([*IMAGE_SUFFIXES, ".JPG", ".txt", ""])), min_size=1, unique=True))
def test_every_file_of_a_folder_is_a_photo_or_left_out_or_hidden_whatever_its_name(drawn):
    with tempfile.TemporaryDirectory() as folder:
        names = sorted({name + suffix for name, suffix in drawn} | {"one.jpg"})
        make_files(Path(folder), *names)
        found = find_photos(folder)
    photos = [photo.path.name for photo in found.photos]
    hidden = [name for name in names if name.startswith(".")]
    assert sorted([*photos, *found.ignored, *hidden]) == names
    assert all(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in photos)
    assert not any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in found.ignored)
    assert [photo.name + photo.path.suffix for photo in found.photos] == photos


@given(st.sets(file_names, min_size=1, max_size=4))
def test_a_file_named_by_itself_is_found_whatever_is_in_its_name(names):
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = make_files(Path(folder), name + ".jpg") / (name + ".jpg")
            (photo,) = find_photos(str(path)).photos
            assert (photo.path, photo.name) == (path, name)


FOLDERS = st.lists(st.sampled_from(["a", "b [1]", ".hidden", "été"]), max_size=3)


@given(st.lists(st.tuples(FOLDERS, st.sampled_from(["x.jpg", "y.JPG", ".z.jpg", "notes.txt"])), unique_by=str))
def test_photos_of_subfolders_are_found_or_counted_and_keep_their_folders(drawn):
    with tempfile.TemporaryDirectory() as folder:
        names = sorted({"/".join([*folders, name]) for folders, name in drawn} | {"top.jpg"})
        make_files(Path(folder), *names)
        flat, deep = find_photos(folder), find_photos(folder, recursive=True)
        assert all(photo.path == Path(folder, photo.name + photo.path.suffix) for photo in deep.photos)
    shown = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    photos = [name for name in shown if name.lower().endswith(".jpg")]
    assert sorted(photo.name + photo.path.suffix for photo in deep.photos) == photos
    assert sorted(deep.ignored) == [name for name in shown if name not in photos]
    assert (len(flat.photos) + flat.in_subfolders, deep.in_subfolders) == (len(photos), 0)
    assert set(flat.photos) == {photo for photo in deep.photos if "/" not in photo.name}


# Examples


def test_outputs_in_the_folder_of_the_photos_are_not_taken_for_photos(tmp_path):
    make_files(tmp_path, "a.jpg", "b/a.jpg", "b/masks/a.png", "b/masks/b/a.png", "masks.jpg")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "b" / "masks")
    for outputs in (tmp_path / "b" / "masks", tmp_path / "elsewhere"):
        assert names_in(tmp_path, recursive=True, outputs=outputs) == ["a", "b/a", "masks"]
        assert find_photos(str(tmp_path), outputs=outputs).in_subfolders == 1


def test_links_to_folders_are_named_and_not_followed_and_links_to_photos_are_read(tmp_path, caplog):
    make_files(tmp_path, "photos/b/a.jpg", "elsewhere/c.jpg")
    (tmp_path / "photos" / "b" / "round").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "b" / "c.jpg").symlink_to(tmp_path / "elsewhere" / "c.jpg")
    (tmp_path / "photos" / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert names_in(tmp_path / "photos", recursive=True) == ["b/a", "b/c"]
    assert caplog.messages == [f"2 links to folders are not followed, {tmp_path}/photos/b/round for example"]


def test_folders_that_programs_add_are_left_out(tmp_path):
    make_files(tmp_path, "a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "__MACOSX/._a.jpg", ".git/b.jpg", "b/a.jpg")
    assert names_in(tmp_path, recursive=True) == ["a", "b/a"]
    assert find_photos(str(tmp_path)).in_subfolders == 1


def test_the_home_folder_is_found_where_no_shell_has_put_it_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.chdir(tmp_path)
    assert [from_home(path) for path in ("~/photos/*.jpg", "~", "a/~", "/~", "~no such user/a")] == [
        *("/home/ann/photos/*.jpg", "/home/ann", "a/~", "/~", "~no such user/a")
    ]
    (tmp_path / "~").mkdir()
    assert from_home("~/photos") == "~/photos"


def test_a_folder_gives_its_photos_in_order_and_lists_the_other_files(tmp_path):
    make_files(tmp_path, "b.png", "a.jpg", "C.JPEG", "notes.txt", "clip.mp4", ".hidden.jpg", "inner/d.jpg")
    found = find_photos(str(tmp_path))
    assert [photo.name for photo in found.photos] == ["C", "a", "b"]
    assert found.ignored == ("clip.mp4", "notes.txt")


def test_photos_are_in_order_of_their_names_whatever_the_disk_says(tmp_path, monkeypatch):
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: sorted(iterdir(folder), reverse=True))
    assert names_in(make_files(tmp_path, "b.jpg", "c.jpg", "a.png")) == ["a", "b", "c"]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".TIF"])
def test_every_format_that_is_decoded_counts_as_a_photo(tmp_path, suffix):
    make_files(tmp_path, f"a{suffix}")
    assert names_in(tmp_path) == ["a"]


def test_a_folder_named_like_a_photo_is_a_folder(tmp_path):
    make_files(tmp_path, "x.jpg/a.jpg", "b.jpg")
    assert names_in(tmp_path) == ["b"]
    assert names_in(tmp_path / "x.jpg") == ["a"]
    assert names_in(tmp_path / "*.jpg") == ["b"]


@pytest.mark.parametrize("name", ["scan", "photo.heic", "a.jpg.part", ".hidden.jpg"])
def test_a_file_named_by_itself_is_tried_whatever_its_name(tmp_path, name):
    make_files(tmp_path, name)
    assert [photo.path.name for photo in find_photos(str(tmp_path / name)).photos] == [name]


def test_a_glob_gives_files_of_any_name_in_order(tmp_path):
    make_files(tmp_path, "b2.jpg", "b1.data", "a.jpg", ".b3.jpg", "inner/b4.jpg")
    assert names_in(tmp_path / "b*") == ["b1", "b2"]


def test_names_keep_the_folders_below_the_fixed_part_of_a_glob(tmp_path):
    make_files(tmp_path, "x.jpg", "a/x.jpg", "a/b/y.jpg", "a/.c/z.jpg")
    assert names_in(tmp_path / "**" / "*.jpg") == ["a/b/y", "a/x", "x"]
    assert names_in(tmp_path / "a" / "**" / "*.jpg") == ["b/y", "x"]
    assert names_in(tmp_path / "*" / "x.jpg") == ["a/x"]
    assert names_in(tmp_path / "?.jpg") == ["x"]


def test_a_file_that_a_glob_finds_in_several_ways_is_one_photo(tmp_path):
    make_files(tmp_path, "a/b/x.jpg")
    assert names_in(tmp_path / "**" / "**" / "*.jpg") == ["a/b/x"]


@pytest.mark.parametrize("pattern", ["photos/*.jpg", "./photos/*.jpg", "photos/../photos/*.jpg", "photos//*.jpg"])
def test_names_do_not_depend_on_how_the_folder_is_written(tmp_path, monkeypatch, pattern):
    make_files(tmp_path, "photos/x.jpg")
    monkeypatch.chdir(tmp_path)
    assert names_in(pattern) == ["x"]
    assert names_in("photos") == names_in("photos/") == names_in("photos/x.jpg") == ["x"]
    assert names_in("*/*.jpg") == ["photos/x"]


@pytest.mark.parametrize("folder", ["photos [2024]", "what?", "a*b", "été 💡"])
def test_wildcards_in_the_name_of_an_existing_folder_are_taken_literally(tmp_path, folder):
    make_files(tmp_path, f"{folder}/x.jpg", f"{folder}/y [1].jpg")
    assert names_in(tmp_path / folder) == ["x", "y [1]"]
    assert names_in(tmp_path / folder / "y [1].jpg") == ["y [1]"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.b.c.jpg", "a.b.c"),
        ("v1.0.png", "v1.0"),
        ("my photo.jpg", "my photo"),
        ("Größe – 寿司.jpg", "Größe – 寿司"),
        ("000000000042.jpg", "000000000042"),
        ("-v.jpg", "-v"),
    ],
)
def test_a_name_is_the_file_name_without_its_last_suffix(tmp_path, file, name):
    assert names_in(make_files(tmp_path, file)) == [name]


# Faults


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("nowhere.jpg", r"nowhere\.jpg: no such file or folder"),
        ("*.gif", r"\*\.gif: no file matches this pattern"),
        ("**/*.gif", "no file matches this pattern"),
        ("inner", r"inner holds 2 files, none of which ends in \.jpg, \.jpeg, .*\.png.*; they end in \.txt, no suffix"),
        ("empty", "empty holds 0 files, none"),
        ("hidden", "hidden holds 0 files, none"),
        ("years", r"years holds 1 files, none .* in \.txt; its subfolders hold 2 photos, which --recursive reads$"),
        ("gone.jpg", "no such file or folder"),
    ],
)
def test_no_photos_are_refused_with_what_was_named(tmp_path, named, said):
    make_files(tmp_path, "a.jpg", "inner/a.txt", "inner/b", "hidden/.a.jpg")
    make_files(tmp_path, "years/a.txt", "years/1/a.jpg", "years/2/3/b.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "moved.jpg")
    with pytest.raises(CollectionError, match=said):
        find_photos(str(tmp_path / named))


def test_recursion_into_a_pattern_is_refused_with_what_to_write(tmp_path):
    make_files(tmp_path, "a/b.jpg")
    with pytest.raises(
        CollectionError, match=r"\*\.jpg: --recursive is for folders; in a pattern, \*\* means subfolders"
    ):
        find_photos(str(tmp_path / "*.jpg"), recursive=True)


def test_a_subfolder_that_can_not_be_listed_is_named_and_the_others_are_read(tmp_path, monkeypatch, caplog):
    make_files(tmp_path, "a/x.jpg", "b/x.jpg")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("/a"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names_in(tmp_path, recursive=True) == ["b/x"]
    assert caplog.messages == [f"the folder {tmp_path}/a can't be listed and is left out: Permission denied"]


def test_a_folder_that_can_not_be_listed_is_refused_by_name(tmp_path, monkeypatch):
    def refuse(_path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CollectionError, match=r"--input-rgb-path .*: can't be listed \(Permission denied\)"):
        find_photos(str(tmp_path))
