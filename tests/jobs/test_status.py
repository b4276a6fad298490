"""`sod status` as an operator sees it: while a session works, after it ended, and after it died."""

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from jobs import status as job
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.run import run
from pipeline.runs.holder import myself
from pipeline.runs.lease import held
from pipeline.watching.state import State
from pipeline.watching.status import images_by_shard, status_of
from pipeline.watching.summary import document
from tests.pipeline.make import Inputs, make_collection, make_config, tree
from tests.pipeline.watching.script import an_eventful_session


@pytest.fixture
def status(done_here):
    """Runs the job in this process."""
    return lambda *arguments: done_here(job.main, "status.py", *arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    config = make_config(make_collection(folder / "in", 7), folder / "run", live_every_s=60)
    run(config)
    return Path(config.out)


@pytest.fixture
def half(whole, tmp_path):
    """A run of which one of three shards is committed, and of whose sessions nothing is known."""
    folder = shutil.copytree(whole.parent, tmp_path / "half") / "run"
    shutil.rmtree(folder / "live")
    for shard in ("000001", "000002"):
        (folder / "commits" / f"{shard}.json").unlink()
    return folder


def say(out, *, ends, **who):
    """What a session says last, told now; `who` it is, if not one of an earlier version."""
    kept = []
    an_eventful_session([kept.append], ends=ends)
    later_s = time.time() - kept[-1].at_s
    state = State(kept[0].at_s + later_s)
    for event in kept:
        state(dataclasses.replace(event, at_s=event.at_s + later_s))
    storage.publish(f"{out}/live/status.json", encode_json(document(state.summary()) | {"every_s": 15.0, **who}))


def test_a_run_that_is_done(status, whole):
    before = tree(whole)
    lines = status(str(whole)).stdout.splitlines()
    assert lines[0] == f"{whole}: 7 of 7 images are committed (100.0%), 3 of 3 shards"
    assert lines[1] == "all shards are done, and no session works on it"
    assert lines[2] == f"release: {whole}/release/sod-benchmark-1.0.0"
    assert lines[3].startswith("the newest session: 7 images (")
    assert lines[4].startswith("rate: ")
    assert "lately" not in lines[4]
    assert lines[-2] == f"page: {whole}/live/index.html"
    assert tree(whole) == before


def test_a_run_whose_session_works(status, half):
    say(half, ends=False)
    with held(str(half)):
        done = status(str(half))
    assert done.returncode == 0
    assert "a session on " in done.stdout.splitlines()[1]
    assert "in work" in done.stdout
    assert "gpu-node-5" in done.stdout
    assert "replicas lost: 6: its node is gone (2)" in done.stdout
    assert "node gpu-node-4: set aside: CUDA error" in done.stdout
    assert "images that killed their process: 1: 000000017178" in done.stdout


def who(**others):
    """This process, as its sessions name it."""
    me = myself("")
    return {"host": me.host, "pid": me.pid, "started": me.started} | others


def test_what_an_earlier_session_said_is_not_taken_for_what_the_present_one_says(status, half):
    say(half, ends=False, **who(pid=1))
    with held(str(half)):
        lines = status(str(half)).stdout.splitlines()
    assert lines[1] == f"a session on {who()['host']} (process {os.getpid()}) works on it; it has shown nothing yet"
    assert lines[3].startswith("the session before said, 0:0")
    assert not [line for line in lines if "lately" in line or "in work" in line or line.startswith("replica ")]
    say(half, ends=False, **who())
    with held(str(half)):
        lines = status(str(half)).stdout.splitlines()
    assert "; last heard " in lines[1]
    assert lines[3].startswith("this session: ")


def test_a_run_whose_release_is_being_made_has_no_rate_any_more(status, whole, tmp_path):
    copied = shutil.copytree(whole, tmp_path / "run")
    say(copied, ends=True, **who())
    with held(str(copied)):
        lines = status(str(copied)).stdout.splitlines()
    assert "all shards are done; what is left to its session is the release" in lines
    assert not [line for line in lines if "lately" in line or "in work" in line]


def test_a_run_that_is_done_without_a_release_says_how_to_make_one(status, whole, tmp_path):
    copied = shutil.copytree(whole, tmp_path / "run")
    for last in (copied / "release").rglob("release.json"):
        last.unlink()
    assert status(str(copied)).stdout.splitlines()[2] == "no release yet; run the run's own command again to make it"


def test_a_run_whose_session_died(status, half):
    say(half, ends=False)
    assert "died without a word" in status(str(half)).stdout


def test_a_run_whose_session_said_why_it_ends(status, half):
    inputs = Inputs(images=half.parent / "in/images", annotations=half.parent / "in/annotations.json", entries=[])
    with pytest.raises(RuntimeError):
        run(make_config(inputs, half, live_every_s=60, model="fake:raise_at=000000000007"))
    assert "the newest session ended: told to raise at 000000000007; run the run's own" in status(str(half)).stdout


def test_advice_is_given_once(status, half):
    reason = "asked to stop. Run the same command again to resume."
    said = document(State(1.0).summary()) | {"ended_s": 2.0, "reason": reason}
    storage.publish(f"{half}/live/status.json", encode_json(said))
    assert status(str(half)).stdout.splitlines()[1] == f"the newest session ended: {reason}"


def test_a_run_of_an_earlier_version_and_a_torn_status_have_commits_alone(status, half):
    plain = status(str(half)).stdout.splitlines()
    assert plain == [
        f"{half}: 3 of 7 images are committed (42.9%), 1 of 3 shards",
        "no session works on it; run the run's own command again to resume",
        f"release: {half}/release/sod-benchmark-1.0.0",
    ]
    for content in (b"torn", b"{}", b'{"format": 99, "at_s": 1.0}', b"[]"):
        storage.publish(f"{half}/live/status.json", content)
        assert status(str(half)).stdout.splitlines() == plain


def test_programs_get_all_of_it(status, whole):
    answer = json.loads(status(str(whole), "--json").stdout)
    assert answer["state"] == "finished"
    assert answer["said"]["settled"] == answer["images_committed"] == 7
    assert answer["passes"] == {}


def test_what_is_no_run_is_a_wrong_request(status, tmp_path):
    done = status(str(tmp_path))
    assert done.returncode == 2
    assert "is not a run" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_run_is_no_run_either(status, whole):
    done = status(str(whole / "run.json"))
    assert done.returncode == 2
    assert "run.json is not a run" in done.stderr


def test_shards_are_counted_as_the_plan_has_them(half):
    assert images_by_shard(str(half)) == {"000000": 3, "000001": 3, "000002": 1}


def test_a_session_of_another_machine_is_watched_for_a_beat(half):
    holder = {"owner": "o", "machine": "elsewhere", "host": "node7", "pid": 4, "started": 1.0}
    storage.publish(f"{half}/lease/000001.json", encode_json(holder))
    found = status_of(str(half), patience_s=0.05)
    assert (found.session.host, found.session.is_alive, found.state) == ("node7", False, "died")
