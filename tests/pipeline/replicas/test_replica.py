"""What a cluster's process holds: it waits for storage as its session does, and says how its storage is."""

import threading
from types import SimpleNamespace

import pytest

from pipeline.files import patience
from pipeline.files.patience import Patience
from pipeline.replicas.replica import Replica
from pipeline.replicas.seat import Seat
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.suspects import Caution
from pipeline.replicas.usage import ReplicaUsage

SEAT = Seat(node="node-1")


@pytest.fixture(autouse=True)
def _own_patience(monkeypatch):
    """The replica has a process of its own."""
    monkeypatch.setattr(patience._OF_PROCESS, "here", Patience())
    monkeypatch.setattr("pipeline.files.patience.pause_s", lambda tries, chance: 0.01)


class Loaded:
    """Reads a storage that is away until somebody lets it be back."""

    device_kind = "cpu"

    def __init__(self):
        self.is_away, self.is_back = threading.Event(), threading.Event()

    def process(self, spec, caution, shared):
        def attempt():
            if not self.is_back.is_set():
                self.is_away.set()
                raise ConnectionResetError
            return "committed"

        return patience.persist("s3://bucket/image", attempt)

    def usage(self):
        return ReplicaUsage(loaded_s=2.0, predicting_s=1.0, peak_rss_bytes=1)


def test_a_replica_waits_with_its_work_and_tells_for_how_long():
    loaded, answers = Loaded(), []
    work = ShardWork(run="s3://b/run", batch_images=1, max_image_bytes=1, max_image_pixels=1, storage_patience_s=600.0)
    replica = Replica(SimpleNamespace(work=work, load=lambda seat: loaded))
    assert replica.prepare(SEAT) == "cpu"
    thread = threading.Thread(target=lambda: answers.append(replica.process(None, Caution())), daemon=True)
    thread.start()
    assert loaded.is_away.wait(20)
    while not replica.pulse().storage_away_s:
        pass
    assert replica.pulse().storage_errors >= 1
    loaded.is_back.set()
    thread.join(20)
    assert answers == ["committed"]
    assert replica.pulse().storage_away_s == 0


def test_a_replica_without_patience_fails_at_once():
    loaded = Loaded()
    work = ShardWork(run="s3://b/run", batch_images=1, max_image_bytes=1, max_image_pixels=1)
    replica = Replica(SimpleNamespace(work=work, load=lambda seat: loaded))
    replica.prepare(SEAT)
    with pytest.raises(ConnectionResetError):
        replica.process(None, Caution())
