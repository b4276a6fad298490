"""The loop: stopped anywhere and run again, it ends with the weights of an uninterrupted run, bit for bit.

Run as a script, this file trains its tiny module and is killed on the way; see `main`.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.embedded import loop
from pipeline.embedded.loop import Schedule, TrainedGroup, learning_rate, run_stage, step_generator
from pipeline.errors import RunMismatchError, StorageError

ROOT = Path(__file__).resolve().parents[3]
STEPS = 12


class Interruption(Exception):
    """What stops a run in these tests."""


def make_schedule(**overrides):
    fields = {"steps": STEPS, "batch": 4, "learning_rate": 1e-2, "warmup_steps": 3, "checkpoint_every": 4}
    return Schedule(**(fields | overrides))


def train_tiny(checkpoint, before_step=lambda step: None, **overrides):
    """Train a module of two learning rates and a batch norm; `before_step` may raise, or end the process."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def loss_of_step(step):
        factor = before_step(step) or 1.0
        inputs = torch.rand((8, 3), generator=step_generator(1, "tiny", step))
        return factor * (module(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    slow, fast = list(module[0].parameters()), [*module[1].parameters(), *module[2].parameters()]
    groups = [TrainedGroup(parameters=fast), TrainedGroup(parameters=slow, rate_share=overrides.pop("rate_share", 0.1))]
    run_stage(module, groups, loss_of_step, make_schedule(**overrides), checkpoint)
    return module.state_dict()


def stop_at(stop):
    def before_step(step):
        if step == stop:
            raise Interruption

    return before_step


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def step_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)["step"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The weights of a run that nothing stopped."""
    return train_tiny(tmp_path_factory.mktemp("uninterrupted") / "tiny.pt")


@given(st.lists(st.integers(0, STEPS - 1), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_stopped_anywhere_and_run_again_the_weights_are_the_same(uninterrupted, stops):
    with tempfile.TemporaryDirectory() as folder:
        for stop in sorted(stops):
            with pytest.raises(Interruption):
                train_tiny(Path(folder) / "tiny.pt", stop_at(stop))
        assert same(train_tiny(Path(folder) / "tiny.pt"), uninterrupted)


def main(checkpoint, moment):
    """Train until killed: in step 9, or while the second checkpoint is being written."""

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)  # as in the process that goes on
    syncs = iter([lambda: None, kill])
    if moment == "save":
        os.fsync = lambda descriptor: next(syncs)()
    train_tiny(Path(checkpoint), lambda step: kill() if (step, moment) == (9, "step") else None)


@pytest.mark.parametrize(("moment", "kept"), [pytest.param("step", 8, marks=pytest.mark.thorough), ("save", 4)])
def test_killed_and_run_again_the_weights_are_the_same(uninterrupted, tmp_path, moment, kept):
    command = [sys.executable, __file__, tmp_path / "tiny.pt", moment]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert step_of(tmp_path / "tiny.pt") == kept
    assert same(train_tiny(tmp_path / "tiny.pt"), uninterrupted)


def test_a_finished_stage_takes_no_step_again(uninterrupted, tmp_path):
    train_tiny(tmp_path / "tiny.pt")
    assert same(train_tiny(tmp_path / "tiny.pt", stop_at(STEPS - 1)), uninterrupted)


def test_a_stage_leaves_the_averaged_weights(uninterrupted, tmp_path):
    train_tiny(tmp_path / "tiny.pt")
    state = torch.load(tmp_path / "tiny.pt", weights_only=True)
    averages = state["average"]
    assert torch.equal(uninterrupted["1.weight"], averages[0])
    assert torch.equal(uninterrupted["0.bias"], averages[5])
    assert not torch.equal(state["module"]["0.bias"], averages[5])


def test_a_group_without_a_share_of_the_rate_stays_as_it_was(tmp_path):
    torch.manual_seed(0)
    before = nn.Linear(3, 4).weight
    trained = train_tiny(tmp_path / "tiny.pt", rate_share=0.0, ema_decay=0.0)
    assert torch.equal(trained["0.weight"], before)
    assert not torch.equal(trained["1.weight"], torch.ones(4))


def test_a_checkpoint_of_another_schedule_is_refused_and_kept(tmp_path):
    train_tiny(tmp_path / "tiny.pt")
    before = (tmp_path / "tiny.pt").read_bytes()
    with pytest.raises(RunMismatchError, match=f"training of {STEPS} steps, this one has 13.*another --out"):
        train_tiny(tmp_path / "tiny.pt", steps=13)
    assert (tmp_path / "tiny.pt").read_bytes() == before


def test_a_torn_checkpoint_is_refused_wherever_it_is_torn(tmp_path):
    train_tiny(tmp_path / "tiny.pt")
    whole = (tmp_path / "tiny.pt").read_bytes()
    for length in range(0, len(whole), 512):
        (tmp_path / "tiny.pt").write_bytes(whole[:length])
        with pytest.raises(StorageError, match="delete it to start again"):
            train_tiny(tmp_path / "tiny.pt")


@pytest.mark.parametrize("content", [{"step": 1}, [1, 2]], ids=["other keys", "no dictionary"])
def test_another_file_of_tensors_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "tiny.pt")
    with pytest.raises(StorageError, match="not one of our checkpoints"):
        train_tiny(tmp_path / "tiny.pt")


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_a_checkpoint_with_code_in_it_is_refused_and_the_code_not_run(tmp_path, save, malice):
    save({"step": 1, "steps": STEPS, "module": malice(tmp_path / "touched")}, tmp_path / "tiny.pt")
    with pytest.raises(StorageError, match="not a readable checkpoint"):
        train_tiny(tmp_path / "tiny.pt")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_it_spoils_the_weights(tmp_path, value):
    with pytest.raises(FloatingPointError, match=f"loss of step 6 is {value}"):
        train_tiny(tmp_path / "tiny.pt", lambda step: value if step == 6 else 1.0)
    assert step_of(tmp_path / "tiny.pt") == 4
    assert train_tiny(tmp_path / "tiny.pt")["0.weight"].isfinite().all()


# As on a GPU, whose losses are fetched together


@pytest.fixture
def fetched(monkeypatch):
    """The numbers of losses that were fetched together, where that is done as on a GPU: here after 3 steps."""
    counts, own = [], loop._Losses.fetch

    def counted(losses):
        counts.append(len(losses._waiting))
        own(losses)

    monkeypatch.setattr(loop, "_is_at_hand", lambda loss: False)
    monkeypatch.setattr(loop, "FETCHED_TOGETHER", 3)
    monkeypatch.setattr(loop._Losses, "fetch", counted)
    return counts


def test_losses_that_are_fetched_together_change_no_weight(uninterrupted, tmp_path, fetched):
    assert same(train_tiny(tmp_path / "tiny.pt"), uninterrupted)
    assert fetched == [3, 1, 2, 2, 1, 3]  # after steps 3, 4 (a checkpoint), 6, 8 (a checkpoint), 9, 12


@pytest.mark.parametrize(("bad", "kept"), [(4, 4), (6, 4), (7, 4), (8, 8), (11, 8)])
def test_a_loss_that_is_no_number_is_found_before_the_next_checkpoint_is_written(tmp_path, fetched, bad, kept):
    with pytest.raises(FloatingPointError, match=f"loss of step {bad} is nan"):
        train_tiny(tmp_path / "tiny.pt", lambda step: float("nan") if step == bad else 1.0)
    assert step_of(tmp_path / "tiny.pt") == kept
    state = torch.load(tmp_path / "tiny.pt", weights_only=True)
    assert all(value.isfinite().all() for value in [*state["module"].values(), *state["average"]])
    assert train_tiny(tmp_path / "tiny.pt")["0.weight"].isfinite().all()


@pytest.mark.gpu
def test_steps_on_a_gpu_wait_for_no_result(tmp_path):
    module = nn.Linear(3, 4).cuda()

    def loss_of_step(step):
        # The first step allocates memory, and before a checkpoint everybody waits.
        torch.cuda.set_sync_debug_mode("error" if 0 < step < 9 else "default")
        inputs = torch.rand((8, 3), generator=step_generator(1, "tiny", step)).pin_memory()
        return module(inputs.to("cuda", non_blocking=True)).square().mean()

    schedule = make_schedule(steps=10, checkpoint_every=10)
    try:
        groups = [TrainedGroup(parameters=list(module.parameters()))]
        run_stage(module, groups, loss_of_step, schedule, tmp_path / "tiny.pt")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert step_of(tmp_path / "tiny.pt") == 10


def test_the_steps_are_counted_and_the_mean_loss_of_the_last_ones_is_shown(tmp_path, told, monkeypatch):
    monkeypatch.setattr(loop, "LOSSES", 5)
    losses = []

    def loss_of(step):
        losses.extend(stage.notes for stage in told.opened)
        return 1e6 if step < 5 else 1.0

    train_tiny(tmp_path / "tiny.pt", loss_of)
    assert told.ended == [("training tiny", 12, True)]
    assert [float(note.removeprefix("loss ")) > 1e4 for note in losses[1:]] == [True] * 9 + [False] * 2


@given(st.integers(1, 100), st.integers(0, 50))
def test_the_rate_rises_evenly_to_its_peak_and_falls_to_zero(after, warmup):
    schedule = make_schedule(steps=warmup + after, warmup_steps=warmup, learning_rate=2e-3)
    rates = [learning_rate(schedule, step) for step in range(schedule.steps)]
    assert rates[:warmup] == pytest.approx([2e-3 * (step + 1) / warmup for step in range(warmup)])
    assert rates[warmup] == pytest.approx(2e-3)
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert min(rates) > 0
    assert learning_rate(schedule, schedule.steps) == pytest.approx(0, abs=1e-12)


def test_halfway_between_peak_and_end_the_rate_is_half():
    assert learning_rate(make_schedule(steps=23, warmup_steps=3, learning_rate=1.0), 13) == pytest.approx(0.5)


def test_the_randomness_of_a_step_depends_on_seed_stage_and_step_alone():
    draws = {
        arguments: torch.rand(3, generator=step_generator(*arguments)).tolist()
        for arguments in [(0, "vae", 1), (1, "vae", 1), (0, "diffusion", 1), (0, "vae", 2)]
    }
    assert len({tuple(draw) for draw in draws.values()}) == 4
    assert torch.rand(3, generator=step_generator(0, "vae", 1)).tolist() == draws[0, "vae", 1]


if __name__ == "__main__":
    main(*sys.argv[1:])
