"""Photographs of which a mask decoder's maps are compared: which are chosen, what is refused, and what is measured."""

import contextlib
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.decoder_choice import MASK_DECODER, Stated
from model.saliency import load_pipeline
from pipeline.distillation import distil as story
from pipeline.distillation.agreement import measure_on_photographs
from pipeline.distillation.distil import distil
from pipeline.distillation.folder import require_folder
from pipeline.distillation.photographs import (
    choose_photographs,
    digest_of,
    readable,
    require_photographs,
    spaced,
)
from pipeline.distillation.worst import draw_worst
from pipeline.errors import CollectionError, StorageError
from tests.model.conftest import TINY_PX


@pytest.fixture
def folder(tmp_path, photograph):
    """Three photographs, one of them in a subfolder, and a text."""
    for number, name in enumerate(("a.png", "b.jpg", "more/c.png")):
        photograph(tmp_path / "photos" / name, number)
    (tmp_path / "photos/notes.txt").touch()
    return tmp_path / "photos"


@pytest.fixture
def photograph():
    """Writes a small photograph."""

    def write(path, number):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40 + number, 56, 3), np.uint8)
        Image.fromarray(pixels).save(path)

    return write


# Which are chosen


@given(st.lists(st.integers(), max_size=50, unique=True), st.integers(1, 60))
def test_of_many_some_are_chosen_at_even_distances(values, most):
    chosen = spaced(values, most)
    assert len(chosen) == min(most, len(values))
    places = [values.index(one) for one in chosen]
    steps = np.diff(places)
    assert not len(steps) or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_photographs_of_subfolders_count_and_other_files_do_not(folder):
    assert [one.path.name for one in choose_photographs(folder, 9)] == ["a.png", "b.jpg", "c.png"]
    assert [one.path.name for one in choose_photographs(folder, 2)] == ["a.png", "b.jpg"]


def test_what_can_not_be_read_is_left_out_by_name(folder, caplog):
    (folder / "b.jpg").write_bytes(b"no photograph")
    chosen = choose_photographs(folder, 9)
    require_photographs(chosen)
    assert [one.path.name for one in readable(chosen)] == ["a.png", "c.png"]
    assert f"{folder / 'b.jpg'} can't be read and is left out" in caplog.text


def test_a_folder_without_photographs_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CollectionError, match="none of which ends in"):
        choose_photographs(tmp_path, 9)
    for named in ("nowhere", "notes.txt", "*.jpg"):
        with pytest.raises(CollectionError, match=r"^--photographs .*: there is no such folder"):
            choose_photographs(tmp_path / named, 9)


def test_photographs_none_of_which_can_be_read_are_refused_before_the_work(request_for, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"no photograph")
    config = request_for(tmp_path / "out", photographs=tmp_path / "photos")
    with pytest.raises(CollectionError, match=r"^--photographs: none of 1 can be read"):
        require_folder(config)
    assert not config.out.exists()


def test_the_digest_is_of_names_and_bytes(folder):
    before = digest_of(choose_photographs(folder, 9))
    assert digest_of(choose_photographs(folder, 9)) == before != digest_of(choose_photographs(folder, 2))
    (folder / "a.png").rename(folder / "a2.png")
    renamed = digest_of(choose_photographs(folder, 9))
    (folder / "a2.png").write_bytes((folder / "a2.png").read_bytes() + b"!")
    assert len({before, renamed, digest_of(choose_photographs(folder, 9))}) == 3


# What is measured


@pytest.mark.parametrize(("maps", "of_each"), [(7, [3, 2, 2]), (2, [1, 1])])
def test_members_of_the_photographs_make_up_the_maps(finished, folder, maps, of_each):
    pipeline = load_pipeline(finished[1].model)
    measured = measure_on_photographs(pipeline, choose_photographs(folder, 9), maps)
    fewer = max(1, maps // 4)
    found = [(one.side_px, one.maps, one.maps_of) for one in measured.agreement]
    assert found == [(40, fewer, "photographs"), (TINY_PX, maps, "photographs"), (88, fewer, "photographs")]
    names = [one.name.partition(",")[0] for one in measured.worst]
    assert sorted((names.count(name) for name in set(names)), reverse=True) == of_each


def test_the_vae_agrees_with_itself_on_members(source, folder, monkeypatch):
    teacher = load_pipeline(source)
    monkeypatch.setattr(teacher, "decode_with", lambda *_: None)
    found = measure_on_photographs(teacher, choose_photographs(folder, 9), 4).agreement
    assert [(one.iou, one.mae, one.maps) for one in found] == [(1, 0, 1), (1, 0, 4), (1, 0, 1)]


def test_both_are_stated_and_photographs_decide(request_for, finished, folder, trained):
    config = request_for(trained, photographs=folder)
    require_folder(config)
    made = distil(config)
    fields = json.loads((made.model / MASK_DECODER / "config.json").read_bytes())
    assert Stated.of(fields["agreement"], fields["distilled_from"]) == made.stated
    assert made.stated.distilled_from == finished[1].stated.distilled_from
    assert list(made.stated.agreement[:3]) == list(finished[1].stated.agreement)
    measured = measure_on_photographs(load_pipeline(made.model), choose_photographs(folder, 6), config.held_out)
    assert list(made.stated.deciding) == list(made.stated.agreement[3:]) == list(measured.agreement)
    assert made.worst.read_bytes() == draw_worst(measured.worst)


def test_photographs_may_be_given_later_and_are_compared_once(request_for, folder, trained, monkeypatch):
    config = request_for(trained)
    distil(config)
    later = replace(config, photographs=folder)
    monkeypatch.setattr(story, "train", None)
    require_folder(later)
    made = distil(later)
    assert len(made.stated.agreement) == 6
    monkeypatch.setattr(story, "measure_on_photographs", None)
    assert distil(later) == distil(config) == made


def files_of(model):
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=model, check=True)
    return {path.relative_to(model): path.read_bytes() for path in model.rglob("*") if path.is_file()}


@pytest.mark.parametrize("killed_at", [0, 1, 2, 99])
def test_the_models_sums_hold_after_each_comparison_also_when_one_was_killed_between_two_files(
    request_for, folder, trained, monkeypatch, killed_at
):
    config = request_for(trained, photographs=folder)
    first = files_of(distil(config).model)
    own, calls = story.publish, iter(range(99))

    def publish(*arguments):
        if next(calls) == killed_at:
            raise KeyboardInterrupt
        own(*arguments)

    (folder / "a.png").rename(folder / "z.png")  # another key, and so other noise
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(story, "publish", publish)
        assert files_of(distil(config).model) != first
    (folder / "z.png").rename(folder / "a.png")
    assert files_of(distil(config).model) == first


def test_other_photographs_are_compared_anew(request_for, folder, trained):
    config = request_for(trained, photographs=folder)
    before = distil(config).stated
    (folder / "a.png").unlink()
    after = distil(config).stated
    assert after.agreement[:3] == before.agreement[:3]
    assert after.agreement[3:] != before.agreement[3:]
    assert len(after.agreement) == 6


def test_interrupted_before_the_photographs_it_compares_them_when_it_is_run_again(request_for, folder, trained):
    config = request_for(trained, photographs=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(story, "measure_on_photographs", None)
        with pytest.raises(TypeError):
            distil(config)
    assert len(distil(config).stated.agreement) == 6


@pytest.mark.parametrize("torn", [b"", b"[]", b"{"])
def test_a_torn_record_of_what_was_compared_is_written_anew(request_for, folder, trained, torn):
    config = request_for(trained, photographs=folder)
    made = distil(config)
    record = config.out / "photographs.json"
    whole = record.read_bytes()
    record.write_bytes(torn)
    assert distil(config) == made
    assert record.read_bytes() == whole


def spoil(folder):
    for path in folder.rglob("*.*"):
        path.write_bytes(b"no photograph")


@pytest.mark.parametrize("lose", [lambda folder: folder.rename(folder.with_name("gone")), spoil])
def test_photographs_that_are_gone_in_the_end_lose_no_training(request_for, folder, tmp_path, monkeypatch, lose):
    shutil.copytree(folder, tmp_path / "kept")
    config, own = request_for(tmp_path / "out", photographs=folder), story._make

    def make(*arguments):
        own(*arguments)
        lose(folder)

    monkeypatch.setattr(story, "_make", make)
    with pytest.raises(StorageError, match=r"out/model is finished, but photographs of .*photos could not be compared"):
        distil(config)
    shutil.copytree(tmp_path / "kept", folder, dirs_exist_ok=True)
    monkeypatch.setattr(story, "_make", None)
    assert len(distil(config).stated.agreement) == 6
