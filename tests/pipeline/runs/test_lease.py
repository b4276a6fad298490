"""One session at a time: who is refused, who takes over, and what is left behind (nothing)."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import LeaseLostError, RunBusyError, StorageUnavailableError
from pipeline.files import patience, storage
from pipeline.files.tars import encode_json
from pipeline.run import run
from pipeline.runs import lease as lease_module
from pipeline.runs.holder import Holder, myself
from pipeline.runs.lease import held, refuse_busy, session_of
from tests.pipeline.make import make_collection, make_config, tree

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from pipeline.runs.lease import held
with held(sys.argv[1], beat_s=0.05):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    if request.param == "disk":
        yield str(tmp_path / "run")
        return
    yield "memory://lease/run"
    storage.remove_tree("memory://lease")


ELSEWHERE = Holder(owner="other", machine="elsewhere", host="node7", pid=4242, started=1.0)


def foreign(place, number=1, beats=3, holder=ELSEWHERE):
    """A lease of a session that is not this one, on another machine for example, and its heartbeat."""
    storage.publish(f"{place}/lease/{number:06d}.json", encode_json(vars_of(holder)))
    storage.publish(f"{place}/lease/{number:06d}.beat", encode_json({"owner": "other", "beats": beats}))


def vars_of(holder):
    return {name: getattr(holder, name) for name in holder.__dataclass_fields__}


def leases(place):
    return [name for name in storage.list_names(f"{place}/lease") if name.endswith(".json")]


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_session_is_refused_with_the_name_of_the_first_and_the_first_continues(place):
    with held(place, beat_s=0.01) as first:
        with (
            pytest.raises(RunBusyError, match=r"process \d+\) works on this run\. Let it finish, or stop it"),
            held(place),
        ):
            pass
        first.check()
        assert leases(place) == ["000001.json"]
    assert leases(place) == []
    with held(place):
        pass


def test_of_many_sessions_at_once_one_gets_the_run(place):
    got, barrier, done = [], threading.Barrier(8), threading.Event()

    def come():
        barrier.wait()
        try:
            with held(place):
                got.append("held")
                done.wait(120)  # on a busy machine the others may come late
        except RunBusyError:
            got.append("refused")
        if len(got) == 8:
            done.set()

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(got) >= 8)
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["held"] + ["refused"] * 7


def test_a_lease_is_held_from_the_moment_in_which_it_is_made(tmp_path, monkeypatch):
    create, refused = storage.create, []

    def create_and_look(url, content):
        made = create(url, content)
        with pytest.raises(RunBusyError) as busy:
            refuse_busy(str(tmp_path))
        refused.append(str(busy.value))
        return made

    monkeypatch.setattr(storage, "create", create_and_look)
    with held(str(tmp_path)):
        assert len(refused) == 1
    refuse_busy(str(tmp_path))


def test_a_killed_process_is_replaced_at_once_and_a_living_one_is_not(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunBusyError, match=f"process {process.pid}"), held(str(tmp_path)):
            pass
    finally:
        process.kill()
        process.communicate()
    assert len(leases(tmp_path)) == 1
    started = time.monotonic()
    with held(str(tmp_path)) as lease:
        lease.check()
        assert leases(tmp_path)[-1] == "000002.json"
    assert time.monotonic() - started < lease_module.PATIENCE_S / 2
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_session_that_does_not_beat_is_replaced(place, caplog):
    caplog.set_level("INFO")
    foreign(place, number=5)
    with held(place, patience_s=0.05):
        assert leases(place) == ["000005.json", "000006.json"]
    assert leases(place) == []
    assert "watching" in caplog.text
    assert "the session on node7 (process 4242) died; taking over its run" in caplog.text


def test_a_foreign_session_that_beats_is_left_alone(place, monkeypatch):
    foreign(place)
    beats = iter(range(4, 1000))
    monkeypatch.setattr(time, "sleep", lambda _: foreign(place, beats=next(beats)))
    with pytest.raises(RunBusyError, match=r"node7 \(process 4242\)"), held(place):
        pass


def test_a_foreign_session_that_ends_while_it_is_watched_leaves_the_run_free(place, monkeypatch):
    foreign(place)
    monkeypatch.setattr(time, "sleep", lambda _: storage.remove(f"{place}/lease/000001.json"))
    with held(place):
        assert leases(place) == ["000002.json"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"owner": 1}', b"\xff"])
def test_a_torn_lease_stops_nobody(place, content):
    storage.publish(f"{place}/lease/000003.json", content)
    with held(place):
        assert leases(place)[-1] == "000004.json"


def test_a_lease_that_cannot_be_read_now_may_be_a_living_session(place, monkeypatch):
    read = storage.read

    def away(url):
        raise StorageUnavailableError(f"{url}: the storage does not do what it is asked for")

    with held(place, beat_s=60) as lease:
        monkeypatch.setattr(storage, "read", away)
        with pytest.raises(StorageUnavailableError), held(place):
            pass
        monkeypatch.setattr(storage, "read", read)
        lease.check()
        assert leases(place) == ["000001.json"]


def test_a_process_number_that_is_used_again_is_not_the_session(place):
    with held(place, beat_s=60):
        mine = json.loads(storage.read(f"{place}/lease/000001.json"))
    init = {**mine, "pid": 1, "started": mine["started"] - 1000}
    storage.publish(f"{place}/lease/000001.json", encode_json(init))
    with held(place):
        pass


@pytest.mark.parametrize("error", [psutil.AccessDenied, psutil.NoSuchProcess])
def test_a_session_of_another_user_whose_process_is_hidden_is_watched_for_its_beat(place, monkeypatch, error):
    """As under `hidepid` of /proc: with 1, others' processes can't be read; with 2, they are not even listed."""

    def hidden(pid=None):
        raise error(pid)

    process = subprocess.Popen(["sleep", "60"])
    theirs = replace(myself("other"), pid=process.pid, started=1.0)
    try:
        foreign(place, holder=theirs)
        real, beats = psutil.Process, iter(range(4, 1000))
        monkeypatch.setattr(psutil, "Process", lambda pid=None: hidden(pid) if pid == process.pid else real(pid))
        assert session_of(place, 0.05) == (theirs, False)
        with monkeypatch.context() as patch:
            patch.setattr(time, "sleep", lambda _: foreign(place, beats=next(beats), holder=theirs))
            with pytest.raises(RunBusyError, match=f"process {process.pid}"), held(place):
                pass
    finally:
        process.kill()
        process.wait()
    started = time.monotonic()
    with held(place):
        assert time.monotonic() - started < lease_module.PATIENCE_S / 2


def test_a_session_that_was_replaced_stops_at_its_next_beat(place):
    with held(place, beat_s=0.01) as lease:
        foreign(place, number=2)

        def lost():
            try:
                lease.check()
            except LeaseLostError:
                return True
            return False

        wait_for(lost)
        with pytest.raises(LeaseLostError, match=r"node7 \(process 4242\) took over this run"):
            lease.check()
    assert leases(place) == ["000002.json"], "the lease of the session that works now"


def test_a_session_whose_lease_is_gone_has_lost_the_run(place, monkeypatch):
    """It slept while another session took over, finished, and removed both leases; a third may have begun since."""
    for successor in (None, "third"):
        with held(place, beat_s=3600) as lease:
            storage.remove(f"{place}/lease/000001.json")
            if successor:
                foreign(place)
            lease.beat()
            with pytest.raises(LeaseLostError, match="the lease of this session is gone"):
                lease.check()
        assert leases(place) == ["000001.json"] * bool(successor), "no beat brings it back"


def test_a_beat_of_a_session_that_lost_the_run_meanwhile_does_not_bring_its_lease_back(place, monkeypatch):
    publish = storage.publish

    def late(url, content):
        storage.remove(f"{place}/lease/000001.json")  # while the beat was on its way
        publish(url, content)

    with held(place, beat_s=3600) as lease:
        monkeypatch.setattr(storage, "publish", late)
        lease.beat()
        monkeypatch.undo()
        assert leases(place) == []
        with held(place), pytest.raises(LeaseLostError):
            lease.confirm_now()


def test_a_clock_that_is_set_ends_no_session(place, monkeypatch):
    create_time = psutil.Process.create_time
    with held(place, beat_s=60):
        mine = json.loads(storage.read(f"{place}/lease/000001.json"))
    storage.publish(
        f"{place}/lease/000001.json", encode_json({**mine, "pid": os.getppid(), "started": started_of(os.getppid())})
    )
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    with pytest.raises(RunBusyError), held(place):
        pass


def started_of(pid):
    """In ticks since boot, field 22 of /proc/PID/stat."""
    return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_the_heartbeat_survives_storage_that_is_away(place, monkeypatch, caplog):
    publish, failed = storage.publish, []

    def away(url, content):
        if len(failed) < 3:
            failed.append(url)
            raise OSError("connection reset")
        return publish(url, content)

    with held(place, beat_s=0.01) as lease:
        monkeypatch.setattr(storage, "publish", away)
        wait_for(lambda: len(failed) == 3)
        lease.check()
    assert "the lease could not be renewed (connection reset)" in caplog.text


def test_a_run_that_is_taken_over_stops_between_shards_and_loses_nothing(tmp_path, monkeypatch):
    inputs = make_collection(tmp_path / "in", 7)
    config, quiet = (make_config(inputs, tmp_path / out) for out in ("run", "quiet"))
    check, calls = lease_module.Lease.check, []

    def lost_at_the_second(self):
        calls.append(None)
        if len(calls) == 2:
            self._lost = "the session on node7 took over this run"
        check(self)

    with monkeypatch.context() as patch:
        patch.setattr(lease_module.Lease, "check", lost_at_the_second)
        with pytest.raises(LeaseLostError):
            run(config)
    assert storage.list_names(f"{config.out}/commits") == ["000000.json"]
    run(config)
    run(quiet)
    assert tree(config.out) == tree(quiet.out)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_session_that_is_stopped_while_it_takes_the_run_leaves_nothing(place, monkeypatch, when):
    create = storage.create

    def stopped(url, content):
        if when == "after":
            assert create(url, content)
        elif "://" not in url:
            Path(url).parent.mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(lease_module.storage, "create", stopped)
    with pytest.raises(KeyboardInterrupt), held(place):
        pass
    assert leases(place) == []
    assert "://" in place or not Path(place, "lease").exists()
    monkeypatch.undo()
    with held(place):
        assert leases(place) == ["000001.json"]


def test_a_session_that_is_refused_at_the_last_moment_leaves_the_other_lease(place, monkeypatch):
    create = storage.create

    def overtaken(url, content):
        foreign(place)
        return create(url, content)

    monkeypatch.setattr(lease_module.storage, "create", overtaken)
    with pytest.raises(RunBusyError, match="has just begun to work on this run"), held(place):
        pass
    assert leases(place) == ["000001.json"]


def test_a_session_confirms_that_it_has_the_run_without_writing_and_not_at_every_call(place, monkeypatch):
    with held(place, beat_s=3600) as lease:
        foreign(place, number=2)
        lease.confirm()  # has looked a moment ago
        monkeypatch.setattr(storage, "publish", None)
        now = time.monotonic()
        monkeypatch.setattr(lease_module.time, "monotonic", lambda: now + 2)
        with pytest.raises(LeaseLostError, match="node7"):
            lease.confirm()
        monkeypatch.undo()


def test_the_heartbeat_asks_at_every_beat_and_tells_once_that_nobody_answers(monkeypatch, caplog):
    place, pipe, fails, waited = "memory://beats/run", MemoryFileSystem.pipe_file, [True], []

    def moody(self, path, *args, **named):
        if path.endswith(".beat") and fails:
            fails.append(True)
            raise ConnectionResetError("nobody answers")
        return pipe(self, path, *args, **named)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", moody)
    monkeypatch.setattr("pipeline.files.patience.pause_s", lambda tries, chance: waited.append(tries) or 0.0)
    with caplog.at_level("INFO"), held(place, beat_s=0.01) as lease, patience.lasting(600.0):
        wait_for(lambda: len(fails) > 4)
        fails.clear()
        wait_for(lambda: storage.exists(f"{place}/lease/000001.beat"))
        wait_for(lambda: "the lease is renewed again" in caplog.text)
        lease.check()
    assert waited == []
    said = [record.getMessage() for record in caplog.records if record.name == "pipeline.runs.lease"]
    assert (len(said), said[1]) == (2, "the lease is renewed again")
    storage.remove_tree("memory://beats")
