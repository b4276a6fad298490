"""Files are paired by name, completely, or the request is refused with both folders named."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError
from pipeline.evaluation.pairs import files_by_name, pair_files


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def folders(tmp_path, sources, masks):
    return touch(tmp_path / "maps", *sources), touch(tmp_path / "gt", *masks)


def test_paths_are_absolute_so_that_they_mean_the_same_to_other_processes(tmp_path, monkeypatch):
    folders(tmp_path, ["a.png"], ["a.png"])
    monkeypatch.chdir(tmp_path)
    (pair,) = pair_files(Path("maps"), Path("gt"))
    assert (pair.source, pair.mask) == (tmp_path / "maps/a.png", tmp_path / "gt/a.png")


def test_names_are_paired_whatever_their_suffixes_and_sorted(tmp_path):
    maps, masks = folders(tmp_path, ["b.jpg", "a.PNG", "im.2.png"], ["im.2.bmp", "a.png", "b.jpeg"])
    pairs = pair_files(maps, masks)
    assert [(pair.name, pair.source.name, pair.mask.name) for pair in pairs] == [
        ("a", "a.PNG", "a.png"),
        ("b", "b.jpg", "b.jpeg"),
        ("im.2", "im.2.png", "im.2.bmp"),
    ]


@given(st.sets(st.text("abc123_-", min_size=1, max_size=4), min_size=1, max_size=8), st.integers(0, 99))
def test_the_order_of_the_folders_does_not_matter(tmp_path_factory, names, seed):
    tmp_path = tmp_path_factory.mktemp("pairs")
    shuffled = random.Random(seed).sample(sorted(names), len(names))
    maps, masks = folders(tmp_path, [f"{name}.png" for name in names], [f"{name}.png" for name in shuffled])
    assert [pair.name for pair in pair_files(maps, masks)] == sorted(names)


def test_hidden_files_other_files_and_folders_are_left_out(tmp_path):
    maps, masks = folders(tmp_path, ["a.png", "._a.png", "Thumbs.db", "test.lst"], ["a.png", ".DS_Store", "README"])
    touch(masks / "b.png")
    assert [pair.name for pair in pair_files(maps, masks)] == ["a"]


def test_a_folder_of_both_has_jpegs_as_photos_and_pngs_as_masks(tmp_path):
    both = touch(tmp_path / "Imgs", "1.jpg", "1.png", "2.jpg", "2.png")
    assert [(pair.source.name, pair.mask.name) for pair in pair_files(both, both)] == [
        ("1.jpg", "1.png"),
        ("2.jpg", "2.png"),
    ]
    maps = touch(tmp_path / "maps", "1.png", "2.png")
    assert [pair.mask.name for pair in pair_files(maps, both, mixed=True)] == ["1.png", "2.png"]


@pytest.mark.parametrize(
    ("sources", "masks", "said"),
    [
        (["a.png"], ["a.png", "b.png", "c.png"], ["2 of 3 files in", "gt/b.png has none", "maps", "'b', 'c'"]),
        (["a.png", "b.jpg"], ["a.png"], ["1 of 2 files in", "maps/b.jpg has none", "gt", "expected b.*"]),
        (["a.jpg", "a.png"], ["a.png"], ["maps has a.jpg and a.png"]),
        (["a.png"], ["a.bmp", "a.png"], ["gt has a.bmp and a.png"]),
        (["a.txt"], ["a.png"], ["maps has no image", ".png"]),
        (["a.png"], [], ["gt has no image"]),
        (["a.png"], ["A.png"], ["gt/A.png has none"]),
    ],
)
def test_files_that_can_not_be_paired_are_refused_with_both_names(tmp_path, sources, masks, said):
    with pytest.raises(CollectionError) as caught:
        pair_files(*folders(tmp_path, sources, masks))
    assert [part for part in said if part not in str(caught.value)] == []


def test_a_path_that_is_not_a_folder_is_named(tmp_path):
    maps = touch(tmp_path / "maps", "a.png")
    with pytest.raises(CollectionError, match="nowhere: this folder does not exist"):
        pair_files(maps, tmp_path / "nowhere")
    with pytest.raises(CollectionError, match=r"a.png: this is a file, not a folder"):
        files_by_name(maps / "a.png")


def test_an_unexpected_count_is_refused_with_the_way_out(tmp_path):
    maps, masks = folders(tmp_path, ["a.png", "b.png"], ["a.png", "b.png"])
    assert len(pair_files(maps, masks, 2)) == 2
    with pytest.raises(CollectionError, match=r"gt has 2 masks and .*there must be 3.*--count 2"):
        pair_files(maps, masks, 3)
