"""`sod status` as an operator sees it: while a session works, after it ended, and after it died."""

import dataclasses
import json
import time
from pathlib import Path

import pytest

from jobs import status as job
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.run import run
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
def half(tmp_path):
    """A run of which one of three shards is committed."""
    config = make_config(make_collection(tmp_path / "in", 7), tmp_path / "run")
    run(config)
    for shard in ("000001", "000002"):
        (tmp_path / "run" / "commits" / f"{shard}.json").unlink()
    return tmp_path / "run"


def say(out, *, ends):
    """What a session says last, told now."""
    kept = []
    an_eventful_session([kept.append], ends=ends)
    later_s = time.time() - kept[-1].at_s
    state = State(kept[0].at_s + later_s)
    for event in kept:
        state(dataclasses.replace(event, at_s=event.at_s + later_s))
    storage.publish(f"{out}/live/status.json", encode_json(document(state.summary()) | {"every_s": 15.0}))


def test_a_run_that_is_done(status, whole):
    before = tree(whole)
    lines = status(str(whole)).stdout.splitlines()
    assert lines[0] == f"{whole}: 7 of 7 images are committed (100.0%), 3 of 3 shards"
    assert lines[1] == "all shards are done, and no session works on it"
    assert lines[2].startswith("this session: 7 images (")
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


def test_a_run_whose_session_died(status, half):
    say(half, ends=False)
    assert "died without a word" in status(str(half)).stdout


def test_a_run_whose_session_said_why_it_ends(status, half):
    inputs = Inputs(images=half.parent / "in/images", annotations=half.parent / "in/annotations.json", entries=[])
    with pytest.raises(RuntimeError):
        run(make_config(inputs, half, live_every_s=60, model="fake:raise_at=000000000007"))
    assert "the newest session ended: told to raise at 000000000007; run the run's own" in status(str(half)).stdout


def test_a_run_of_an_earlier_version_and_a_torn_status_have_commits_alone(status, half):
    plain = status(str(half)).stdout.splitlines()
    assert plain == [
        f"{half}: 3 of 7 images are committed (42.9%), 1 of 3 shards",
        "no session works on it; run the run's own command again to resume",
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


def test_shards_are_counted_as_the_plan_has_them(half):
    assert images_by_shard(str(half)) == {"000000": 3, "000001": 3, "000002": 1}


def test_a_session_of_another_machine_is_watched_for_a_beat(half):
    holder = {"owner": "o", "machine": "elsewhere", "host": "node7", "pid": 4, "started": 1.0}
    storage.publish(f"{half}/lease/000001.json", encode_json(holder))
    found = status_of(str(half), patience_s=0.05)
    assert (found.session.host, found.session.is_alive, found.state) == ("node7", False, "died")
