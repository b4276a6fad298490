"""Outputs of a photo: their paths, which of them exist, clashes, and that each is written whole or not at all."""

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, StorageError
from pipeline.files import local_disk, storage
from pipeline.photos.find import Photo
from pipeline.photos.outputs import clashes, is_finished, output_paths, prepare_output_folder, write_outputs
from tests.pipeline.make import make_prediction
from tests.pipeline.photos.make import files_below, grey_of, make_config, make_pixels, names_below

ALL = {"save_uncertainty": True, "overlay": True, "cutout": True}
NAMES = st.sampled_from(["a", "b", "A", "uncertainty/a", "overlay/a", "uncertainty/overlay/a", "a.b"])


def make_photo(file="a.jpg", name=None):
    return Photo(path=Path("/photos") / file, name=name or file.rpartition(".")[0])


def make_members(height=30, width=40):
    """Two members: the left half is salient to both, the next quarter to one."""
    members = np.zeros((2, height, width), np.float32)
    members[:, :, : width // 2] = 1
    members[0, :, : width * 3 // 4] = 1
    return members


def write(config, photo=None, prediction=None):
    write_outputs(config, photo or make_photo(), make_pixels(), prediction or make_prediction(make_members()))


# Properties


@given(st.lists(st.tuples(NAMES, st.sampled_from([".jpg", ".png"])), unique=True), st.booleans(), st.booleans())
def test_photos_without_a_clash_share_no_output_and_the_first_of_two_never_clashes(drawn, save_uncertainty, overlay):
    config = make_config("/photos", Path("/out"), save_uncertainty=save_uncertainty, overlay=overlay)
    photos = [make_photo(name + suffix) for name, suffix in drawn]
    problems = clashes(config, photos)
    paths = [path for photo in photos if photo not in problems for path in output_paths(config, photo)]
    assert len(paths) == len(set(paths))
    assert not problems.keys() & set(photos[:1])
    for photo, problem in problems.items():
        assert "rename one of the two" in problem
        assert photo in photos


# Examples


def test_outputs_have_the_photos_name_and_each_kind_has_its_folder():
    photo = make_photo("inner/a.b.jpg")
    assert output_paths(make_config("/photos", Path("/out")), photo) == [Path("/out/inner/a.b.png")]
    assert output_paths(make_config("/photos", Path("/out"), **ALL), photo) == [
        Path("/out/inner/a.b.png"),
        Path("/out/uncertainty/inner/a.b.png"),
        Path("/out/overlay/inner/a.b.jpg"),
        Path("/out/cutout/inner/a.b.png"),
    ]


@pytest.mark.parametrize("options", [{}, {"save_uncertainty": True}, {"overlay": True}, {"cutout": True}, ALL])
def test_exactly_the_requested_outputs_are_written_and_finish_a_photo(tmp_path, options):
    config = make_config("/photos", tmp_path / "out", **options)
    assert not is_finished(config, make_photo())
    write(config)
    expected = [path.relative_to(tmp_path / "out").as_posix() for path in output_paths(config, make_photo())]
    assert names_below(tmp_path / "out") == sorted(expected)
    assert is_finished(config, make_photo())
    assert not is_finished(make_config("/photos", tmp_path / "out", **options, overwrite=True), make_photo())


def test_saliency_and_uncertainty_are_stored_as_documented(tmp_path):
    write(make_config("/photos", tmp_path, save_uncertainty=True))
    saliency, uncertainty = grey_of(tmp_path / "a.png"), grey_of(tmp_path / "uncertainty" / "a.png")
    assert saliency.shape == uncertainty.shape == (30, 40)
    assert [saliency[0, column] for column in (0, 25, 39)] == [255, 128, 0]
    assert [uncertainty[0, column] for column in (0, 25, 39)] == [0, 255, 0]  # two members: one half from their mean


def test_uncertainty_is_resized_to_the_photos_size(tmp_path):
    write(make_config("/photos", tmp_path, save_uncertainty=True), prediction=make_prediction(make_members(64, 64)))
    assert grey_of(tmp_path / "uncertainty" / "a.png").shape == (30, 40)


def test_existing_outputs_are_kept_and_missing_ones_added(tmp_path):
    write(make_config("/photos", tmp_path))
    (tmp_path / "a.png").write_bytes(b"from an earlier time")
    before = files_below(tmp_path)
    assert not is_finished(make_config("/photos", tmp_path, **ALL), make_photo())
    write(make_config("/photos", tmp_path, **ALL))
    after = files_below(tmp_path)
    assert after["a.png"] == before["a.png"]
    assert sorted(after) == ["a.png", "cutout/a.png", "overlay/a.jpg", "uncertainty/a.png"]


def test_existing_outputs_are_replaced_on_request(tmp_path):
    (tmp_path / "a.png").write_bytes(b"from an earlier time")
    write(make_config("/photos", tmp_path, overwrite=True))
    assert grey_of(tmp_path / "a.png").shape == (30, 40)


def test_the_output_folder_is_created_and_tested_and_nothing_is_left_in_it(tmp_path):
    prepare_output_folder(tmp_path / "new" / "out")
    assert (tmp_path / "new" / "out").is_dir()
    assert names_below(tmp_path) == []


# Faults


def test_the_second_of_two_photos_with_one_name_is_reported():
    first, second = make_photo("a.jpg"), make_photo("a.png")
    problems = clashes(make_config("/photos", Path("/out")), [first, second])
    assert problems == {second: "/out/a.png is an output of /photos/a.jpg already; rename one of the two"}


def test_a_mask_with_the_path_of_another_photos_uncertainty_is_reported():
    photos = [make_photo("a.jpg"), make_photo("uncertainty/a.jpg")]
    assert clashes(make_config("/photos", Path("/out")), photos) == {}
    problems = clashes(make_config("/photos", Path("/out"), save_uncertainty=True), photos)
    assert list(problems) == photos[1:]


def test_a_mask_never_replaces_a_photo(tmp_path):
    (tmp_path / "here").symlink_to(tmp_path)  # another way to the same folder
    photos = [Photo(path=tmp_path / name, name="a") for name in ("a.jpg", "a.png")]
    for folder in (tmp_path, tmp_path / "here"):
        problems = clashes(make_config(tmp_path, folder), photos)
        assert problems.keys() == set(photos)
        assert problems[photos[1]] == f"{folder}/a.png would replace a photo; give another --output-dir"


@pytest.mark.parametrize("folder", ["in_the_way", "in_the_way/out"])
def test_a_file_in_place_of_the_output_folder_is_named(tmp_path, folder):
    (tmp_path / "in_the_way").touch()
    with pytest.raises(ConfigError, match=rf"^--output-dir .*{folder}: can't be written to \(\w+"):
        prepare_output_folder(tmp_path / folder)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_an_unwritable_output_folder_is_named_with_the_systems_reason(tmp_path, monkeypatch, number):
    def publish(_url, _content):
        raise OSError(number, "Reason of the system")

    monkeypatch.setattr(storage, "publish", publish)
    with pytest.raises(ConfigError, match=r"out: can't be written to \(Reason of the system\)"):
        prepare_output_folder(tmp_path / "out")


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_disk_that_fills_up_at_any_file_leaves_whole_files_only_and_the_rest_can_follow(tmp_path, monkeypatch, at):
    config, written = make_config("/photos", tmp_path, **ALL), []
    write_synced = local_disk.write_synced

    def fill_up(path, content):
        written.append(path)
        if len(written) == at:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write_synced(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(local_disk, "write_synced", fill_up)
        with pytest.raises(StorageError, match=r"the disk is full, \d+ bytes"):
            write(config)
    before = files_below(tmp_path)
    assert len(before) == at - 1
    assert not is_finished(config, make_photo())
    write(config)
    after = files_below(tmp_path)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
