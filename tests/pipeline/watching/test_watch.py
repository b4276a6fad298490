"""What is written into a run while it works, and that nothing of it can hold up the work or end it."""

import json
import logging
import threading

import pytest

from pipeline.errors import Stopped, StorageError
from pipeline.files import storage
from pipeline.replicas import events
from pipeline.runs.check import verify_run
from pipeline.runs.holder import myself
from pipeline.selection.policy import PolicyConfig
from pipeline.watching import watch as watching_module
from pipeline.watching.post_mortem import MOST_GRAVE, MOST_OTHERS
from pipeline.watching.watch import LOGGED_GRAVE, LOGGED_OTHERS, Watcher, Watching, watched
from tests.pipeline.make import lasting_tree, make_collection, make_config, run, tree
from tests.pipeline.watching.script import BEGAN_S, an_eventful_session

OFTEN = Watching(every_s=3600.0)
"""Only the first and the last write come: no test waits for one in between."""


def live(folder):
    """Files that are live, by name; that of the session as `session`."""
    return {
        "session" if path.name.startswith("session-") else path.name: path.read_text()
        for path in (folder / "live").iterdir()
    }


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def began(watch, **values):
    watch(events.WorkBegan(**{"at_s": BEGAN_S, "images": 10, "settled": 0, "shards": 5} | values))


def died(replica, said="it was killed"):
    return events.ReplicaEnded(at_s=BEGAN_S + 1, replica=replica, cause="process", said=said)


def test_page_status_and_post_mortem_say_how_a_session_went(tmp_path):
    with watched(str(tmp_path), OFTEN) as watch:
        script = an_eventful_session([watch], shards=60)
    found = live(tmp_path)
    assert found.keys() == {"index.html", "status.json", "session"}
    status = json.loads(found["status.json"])
    assert (status["shards_done"], status["reason"]) == (len(script.committed), "")
    me = myself("")  # as the lease of the run names its holder
    assert (status["host"], status["pid"], status["started"]) == (me.host, me.pid, me.started)
    assert (tmp_path / "live" / f"{status['session']}.jsonl").exists()
    happened = lines(found["session"])
    assert [line["event"] for line in happened[:2]] == ["session", "work_began"]
    (death,) = [line for line in happened if line["event"] == "replica_ended" and line["replica"] == "r0"]
    assert death["cause"] == "process"
    assert death["node"] == "gpu-node-1"
    assert death["said"].endswith("SIGSEGV")
    assert happened[-2]["event"] == "work_ended"
    assert happened[-1]["event"] == "as_of"
    assert "all shards done" in found["index.html"]


@pytest.mark.parametrize(
    "error", [Stopped("asked to stop"), KeyboardInterrupt("asked to stop"), StorageError("asked to stop")]
)
def test_what_ends_the_work_is_what_the_session_ended_for(tmp_path, error):
    def work():
        with watched(str(tmp_path), OFTEN) as watch:
            began(watch)
            raise error

    with pytest.raises(type(error)):
        work()
    found = live(tmp_path)
    assert json.loads(found["status.json"])["reason"] == "asked to stop"
    assert lines(found["session"])[-2] | {"at": ""} == {
        "at": "",
        "event": "work_ended",
        "reason": "asked to stop",
        "said": "the session ends: asked to stop",
    }


def test_without_a_page_nothing_is_written(tmp_path, caplog):
    with caplog.at_level(logging.INFO), watched(str(tmp_path), Watching(every_s=0)) as watch:
        began(watch)
    assert tree(tmp_path) == {}
    assert not [one for one in caplog.messages if "watch it" in one]


@pytest.mark.parametrize(
    ("folder", "policy", "said"),
    [
        ("memory://a/run", PolicyConfig(), "watch it: memory://a/run/live/index.html, or sod status memory://a/run"),
        (
            "memory://u:hunter2@a/run/passes/flip",
            None,
            "watch it: memory://(hidden)@a/run/passes/flip/live/index.html, or sod status memory://(hidden)@a/run",
        ),
    ],
)
def test_people_are_told_where_to_look(folder, policy, said, caplog):
    watching = Watching(every_s=3600.0, policy=policy)
    with caplog.at_level(logging.INFO), watched(folder, watching) as watch:
        began(watch)
    assert caplog.messages[0] == said


def test_a_bucket_will_do():
    with watched("memory://watched/run", OFTEN) as watch:
        began(watch)
    names = storage.list_names("memory://watched/run/live")
    assert [name.partition("-")[0] for name in names] == ["index.html", "session", "status.json"]


def test_what_cant_be_written_is_logged_once_and_ends_nothing(tmp_path, monkeypatch, caplog):
    def away(url, content):
        raise OSError(f"{url} is away")

    monkeypatch.setattr(storage, "publish", away)
    watcher = Watcher(str(tmp_path), OFTEN)
    for _ in range(3):
        watcher.write()
    assert len([one for one in caplog.messages if "the live page can't be written" in one]) == 1
    assert len(caplog.messages) == 3  # page, status, post-mortem
    monkeypatch.undo()
    watcher.write()
    assert live(tmp_path).keys() == {"index.html", "status.json", "session"}


def test_storage_that_does_not_answer_holds_up_neither_the_work_nor_its_end(tmp_path, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(storage, "publish", lambda url, content: release.wait(60))
    monkeypatch.setattr(watching_module, "LAST_WRITE_S", 0.01)
    with watched(str(tmp_path), OFTEN) as watch:
        began(watch)
        for number in range(1000):
            watch(events.ShardBegun(at_s=BEGAN_S, shard=f"{number:06d}", replica="r0"))
    release.set()


def test_a_death_is_logged_with_its_fields_for_programs_and_secrets_stay_out(tmp_path, caplog):
    said = "no route to s3://user:hunter2@bucket/x"
    with caplog.at_level(logging.INFO, "pipeline.happened"), watched(str(tmp_path), OFTEN) as watch:
        watch(events.ReplicaPlaced(at_s=BEGAN_S, replica="r1", node="gpu-1", pid=7))
        watch(died("r1", said))
    (record,) = [record for record in caplog.records if record.event == "replica_ended"]
    assert record.fields["node"] == "gpu-1"
    assert "r1 on gpu-1" in record.getMessage()
    assert "hunter2" not in record.getMessage() + str(record.fields) + "".join(live(tmp_path).values())


def test_people_are_told_by_the_dispatcher_alone(tmp_path, caplog):
    with watched(str(tmp_path), OFTEN) as watch:
        watch(died("r1"))
    assert caplog.records == []


def test_lines_and_post_mortem_are_bounded_however_much_dies(tmp_path, caplog):
    watcher = Watcher(str(tmp_path), OFTEN)
    with caplog.at_level(logging.INFO, "pipeline.happened"):
        for number in range(3000):
            watcher(died(f"r{number}"))
    watcher.write()
    assert len(caplog.messages) == LOGGED_GRAVE + 1
    happened = lines(live(tmp_path)["session"])
    assert len(happened) == sum(MOST_GRAVE) + 3
    assert {"event": "left_out", "incidents": 3000 - sum(MOST_GRAVE)} in happened
    assert happened[1]["replica"] == "r0"
    assert happened[-2]["replica"] == "r2999"


def test_no_number_of_replicas_that_start_hides_a_death(tmp_path, caplog):
    watcher = Watcher(str(tmp_path), OFTEN)
    numbers = range(2000)
    with caplog.at_level(logging.INFO, "pipeline.happened"):
        for number in numbers:
            watcher(events.ReplicaPlaced(at_s=BEGAN_S, replica=f"r{number}", node="a", pid=1))
            if number % 40 == 20:
                watcher(died(f"r{number}"))
        watcher(events.WorkEnded(at_s=BEGAN_S + 2, reason=""))
    watcher.write()
    deaths = [f"r{number}" for number in numbers if number % 40 == 20]
    logged = [record for record in caplog.records if hasattr(record, "event")]
    assert [one.fields["replica"] for one in logged if one.event == "replica_ended"] == deaths
    assert logged[-1].event == "work_ended"
    assert len(caplog.records) == LOGGED_OTHERS + 1 + len(deaths) + 1
    happened = lines(live(tmp_path)["session"])
    assert [line["replica"] for line in happened if line["event"] == "replica_ended"] == deaths
    left_out = sum(line["incidents"] for line in happened if line["event"] == "left_out")
    assert left_out == len(numbers) + 1 - sum(MOST_OTHERS)
    assert sum("at" in line for line in happened) == len(deaths) + sum(MOST_OTHERS) + 2


def test_metrics_that_cant_be_reported_end_nothing(tmp_path, caplog):
    reported = []

    def report(summary):
        reported.append(summary)
        raise RuntimeError("no agent")

    with watched(str(tmp_path), Watching(every_s=0, report=report)) as watch:
        began(watch)
    assert reported[-1].images == 10
    assert [one for one in caplog.messages if "no agent" in one] == caplog.messages[:1]


@pytest.mark.usefixtures("fast_disk")
def test_a_run_shows_itself_and_is_the_same_run(tmp_path):
    inputs = make_collection(tmp_path / "in", 7)
    quiet, shown = (
        make_config(inputs, tmp_path / name / "run", live_every_s=every) for name, every in (("a", 0), ("b", 9))
    )
    for config in (quiet, shown):
        run(config)
    assert lasting_tree(shown.out) == tree(quiet.out)
    status = json.loads(live(tmp_path / "b" / "run")["status.json"])
    assert status["settled"] == 7
    assert sum(status["outcomes"].values()) == 7
    assert status["replicas"][0]["images"] == 7
    page = live(tmp_path / "b" / "run")["index.html"]
    assert page.count("data:image/webp;base64,") == 1  # the last shard has one image
    check = verify_run(shown.out)
    assert (check.problems, check.stray) == ((), ())
