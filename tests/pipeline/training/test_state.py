"""Checkpoints: whole or absent, as many as configured, and refused by name when torn."""

import contextlib
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.fine_tuning import FineTuning
from pipeline.errors import StorageError
from pipeline.training.start import resume
from pipeline.training.state import TrainingState, checkpoints
from tests.model.conftest import build_tiny
from tests.pipeline.training.make import make_config

FILES = ("networks.safetensors", "optimiser.pt")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unused")
    return make_config(folder, "nano", folder, use_ema=True, lr_scheduler="cosine", ema_decay=0.5)


def make_state(config, steps_taken=0):
    """A state after so many steps of made-up gradients."""
    state = TrainingState(FineTuning(build_tiny(), config.loss), config, 1e-3, 20)
    for number in range(steps_taken):
        for parameter in state.networks.parameters():
            parameter.grad = torch.full_like(parameter, 1.0 + number)
        state.take_step()
        state.pending.append([1.0, 0.25, float(number)])
    return state


def remembered(state):
    averages = state.average.shadow_params if state.average else []
    adam = [value for entry in state.optimiser.state_dict()["state"].values() for value in entry.values()]
    tensors = [*state.networks.state_dict().values(), *averages, *adam]
    return state.step, state.pending, state.schedule.state_dict(), tensors


def assert_same(one, other):
    mine, its = remembered(one), remembered(other)
    assert mine[:3] == its[:3]
    assert all(torch.equal(a, b) for a, b in zip(mine[3], its[3], strict=True))


@pytest.fixture(scope="module")
def saved(tmp_path_factory, config):
    """A state after two steps, and its checkpoint; tests must not change them."""
    state = make_state(config, 2)
    return state, state.save(tmp_path_factory.mktemp("saved"), None)


def test_a_loaded_checkpoint_is_what_was_saved(config, saved):
    state, folder = saved
    other = make_state(config)
    other.load(folder)
    assert_same(other, state)


def test_a_loaded_checkpoint_continues_as_the_saved_one(config, tmp_path):
    state, other = make_state(config, 1), make_state(config)
    other.load(state.save(tmp_path, None))
    for each in (state, other):
        for parameter in each.networks.parameters():
            parameter.grad = torch.ones_like(parameter)
        each.take_step()
    assert_same(other, state)


def test_inside_the_block_the_networks_have_their_average_and_afterwards_their_own(saved):
    state, _ = saved
    own = [parameter.clone() for parameter in state.networks.parameters()]
    with state.averaged():
        inside = [parameter.clone() for parameter in state.networks.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(inside, state.average.shadow_params, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(inside, own, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(own, state.networks.parameters(), strict=True))


# Names and limits, with checkpoints of which only the folder counts


@given(st.sets(st.integers(0, 2000), max_size=8))
@settings(max_examples=20)
def test_checkpoints_are_listed_by_step_and_unfinished_ones_are_not(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("listed")
    for step in steps:
        (folder / f"checkpoint-{step}").mkdir()
        (folder / f"checkpoint-{step + 1}.partial").mkdir()
    (folder / "checkpoint-best").mkdir()
    assert [path.name for path in checkpoints(folder)] == [f"checkpoint-{step}" for step in sorted(steps)]


@pytest.mark.parametrize(("limit", "kept"), [(1, [4]), (2, [3, 4]), (9, [1, 2, 3, 4]), (None, [1, 2, 3, 4])])
def test_the_newest_checkpoints_are_kept_and_nothing_else_is_left(config, tmp_path, monkeypatch, limit, kept):
    monkeypatch.setattr(torch, "save", lambda _memory, path: path.touch())
    monkeypatch.setattr("pipeline.training.state.save_file", lambda _tensors, path: path.touch())
    state = make_state(config)
    for state.step in range(1, 5):
        state.save(tmp_path, limit)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"checkpoint-{step}" for step in kept]


def test_a_checkpoint_of_the_same_step_is_replaced(config, tmp_path):
    make_state(config, 1).save(tmp_path, 3)
    state = make_state(config, 0)
    state.step = 1
    other = make_state(config)
    other.load(state.save(tmp_path, 3))
    assert_same(other, state)


def test_killed_while_an_old_checkpoint_is_removed_no_part_of_it_counts(config, saved, tmp_path, monkeypatch):
    shutil.copytree(saved[1], tmp_path / "checkpoint-2")
    state = make_state(config)
    state.step = 3

    def kill(_path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.training.state._remove_files", kill)
        with pytest.raises(KeyboardInterrupt):
            state.save(tmp_path, 1)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-3"]
    state.step = 4
    state.save(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


@pytest.mark.parametrize("failing", ["unlink", "rmdir"])
def test_a_checkpoint_of_the_same_step_goes_only_once_its_successor_stands(config, tmp_path, monkeypatch, failing):
    make_state(config, 1).save(tmp_path, 1)
    state = make_state(config, 1)
    state.pending[0][0] = 2.0

    def fail(*_arguments, **_options):
        raise OSError("Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with contextlib.suppress(OSError):
            state.save(tmp_path, 1)
    other = make_state(config)
    other.load(tmp_path / "checkpoint-1")
    assert_same(other, state)


def test_what_the_user_keeps_in_a_checkpoint_stays_when_it_is_removed(config, tmp_path):
    state = make_state(config)
    for state.step in (1, 2, 3):
        (tmp_path / f"checkpoint-{state.step - 1}" / "notes.txt").write_text("mine") if state.step > 1 else None
        state.save(tmp_path, 1)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-3"]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "networks.safetensors", "notes.txt", "notes.txt", "optimiser.pt",
    ]  # fmt: skip


@given(st.sets(st.integers(1, 50), min_size=1, max_size=8), st.data())
@settings(max_examples=20)
def test_checkpoints_later_than_the_one_to_go_on_from_stay_but_no_longer_count(config, tmp_path_factory, steps, data):
    folder, named = tmp_path_factory.mktemp("named"), data.draw(st.sampled_from(sorted(steps)))
    for step in steps:
        (folder / f"checkpoint-{step}").mkdir()
        (folder / f"checkpoint-{step}/content").write_text(str(step))
    loaded = []
    state = SimpleNamespace(load=loaded.append)
    resume(state, replace(config, output_dir=folder, resume_from_checkpoint=f"checkpoint-{named}"))
    assert loaded == [folder / f"checkpoint-{named}"]
    assert checkpoints(folder) == [folder / f"checkpoint-{step}" for step in sorted(steps) if step <= named]
    assert {path.read_text() for path in folder.glob("*/content")} == set(map(str, steps))


def test_a_torn_checkpoint_sets_no_later_one_aside(config, saved, tmp_path):
    (tmp_path / "checkpoint-1").mkdir()
    shutil.copytree(saved[1], tmp_path / "checkpoint-2")
    with pytest.raises(StorageError, match=r"can't resume from .*checkpoint-1"):
        resume(make_state(config), replace(config, output_dir=tmp_path, resume_from_checkpoint="checkpoint-1"))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-2"]


# Torn ones


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("share", [0, 0.3, 0.999, None], ids=["empty", "a third", "nearly whole", "missing"])
def test_a_torn_checkpoint_is_refused_by_name(config, saved, tmp_path, file, share):
    folder = tmp_path / "checkpoint-2"
    shutil.copytree(saved[1], folder)
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if share is not None:
        (folder / file).write_bytes(content[: int(share * len(content))])
    state = make_state(config)
    with pytest.raises(StorageError, match=r"can't resume from .*checkpoint-2 .*delete it to use the one before"):
        state.load(folder)


def test_after_a_torn_checkpoint_is_deleted_the_one_before_is_used(config, saved, tmp_path):
    shutil.copytree(saved[1], tmp_path / "checkpoint-2")
    (tmp_path / "checkpoint-4").mkdir()
    config = make_config(tmp_path, "nano", tmp_path, use_ema=True, lr_scheduler="cosine")
    state = make_state(config)
    with pytest.raises(StorageError, match="checkpoint-4"):
        resume(state, config)
    (tmp_path / "checkpoint-4").rmdir()
    assert resume(state, config) == tmp_path / "checkpoint-2"
    assert state.step == 2


def test_code_in_a_checkpoint_is_not_run(config, saved, tmp_path):
    class Malice:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    folder = tmp_path / "checkpoint-2"
    shutil.copytree(saved[1], folder)
    torch.save({"step": Malice()}, folder / "optimiser.pt")
    with pytest.raises(StorageError, match="checkpoint-2"):
        make_state(config).load(folder)
    assert not (tmp_path / "touched").exists()
