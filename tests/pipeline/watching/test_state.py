"""What events come to: properties over scripts of events, then examples of each kind."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replicas import events
from pipeline.replicas.events import Pulse
from pipeline.watching.state import MOST_ENDED, MOST_GRAVE, MOST_OTHER, State
from pipeline.watching.summary import document
from tests.pipeline.watching.script import BEGAN_S, PER_SHARD, an_eventful_session

NAMES = st.sampled_from(["r0", "r1", "r2", "r3"])
SHARDS = st.sampled_from([f"{number:06d}" for number in range(6)])
NODES = st.sampled_from(["a", "b"])
CAUSES = st.sampled_from(["process", "node", "preempted", "surplus"])
COUNTS = st.integers(0, 50)
STEPS = st.lists(
    st.one_of(
        st.builds(events.ReplicaAsked, at_s=st.just(0.0), replica=NAMES),
        st.builds(events.ReplicaPlaced, at_s=st.just(0.0), replica=NAMES, node=NODES, pid=COUNTS),
        st.builds(events.ReplicaReady, at_s=st.just(0.0), replica=NAMES, device=st.just("cpu")),
        st.builds(events.ReplicaEnded, at_s=st.just(0.0), replica=NAMES, cause=CAUSES, said=st.text(max_size=9)),
        st.builds(events.ShardBegun, at_s=st.just(0.0), replica=NAMES, shard=SHARDS),
        st.builds(events.ShardReturned, at_s=st.just(0.0), replica=NAMES, shard=SHARDS),
        st.builds(
            events.ShardCommitted,
            at_s=st.just(0.0),
            replica=NAMES,
            shard=SHARDS,
            outcomes=st.fixed_dictionaries({"accepted": COUNTS, "failed": COUNTS}),
            failures=st.fixed_dictionaries({"missing": COUNTS}),
            computed=COUNTS,
            seconds=st.just(1.0),
        ),
        st.builds(
            events.Pulses,
            at_s=st.just(0.0),
            pulses=st.dictionaries(NAMES, st.none() | st.builds(Pulse, images=COUNTS)),
            waiting=COUNTS,
        ),
        st.builds(events.NodeLeft, at_s=st.just(0.0), node=NODES),
        st.builds(events.NodeSetAside, at_s=st.just(0.0), node=NODES, reason=st.text(max_size=9)),
        st.builds(events.ImageBlamed, at_s=st.just(0.0), key=st.text(max_size=9)),
    ),
    max_size=60,
)


def told(steps, step_s=3.0):
    """The state after these events, one every few seconds."""
    state = State(BEGAN_S)
    for number, event in enumerate(steps):
        state(replace(event, at_s=BEGAN_S + number * step_s))
    return state


@given(STEPS)
def test_whatever_comes_in_whatever_order_counts_add_up(steps):
    summary = told(steps).summary(BEGAN_S + 1000)
    committed = [event for event in steps if isinstance(event, events.ShardCommitted)]
    assert summary.shards_done == len(committed)
    assert summary.committed == sum(sum(event.outcomes.values()) for event in committed)
    assert sum(summary.failures.values()) == sum(event.failures["missing"] for event in committed)
    assert sum(summary.finished) == pytest.approx(sum(sum(replica.finished) for replica in summary.replicas))
    assert summary.in_flight == sum(
        max(0, replica.images - collected(committed, replica.name)) for replica in summary.living
    )
    assert len({replica.name for replica in summary.replicas}) == len(summary.replicas)
    for replica in summary.replicas:
        alive_s = (replica.ended_s or BEGAN_S + 1000) - replica.began_s
        assert sum(sum(seconds) for seconds in replica.seconds.values()) == pytest.approx(alive_s)
        assert replica.shards == () or replica.state != "ended"
    assert document(summary)["format"] == 1


def collected(committed, name):
    return sum(event.computed for event in committed if event.replica == name)


@given(STEPS)
def test_looking_changes_nothing(steps):
    looked = State(BEGAN_S)
    for number, event in enumerate(steps):
        looked(replace(event, at_s=BEGAN_S + number * 3.0))
        looked.summary()
    assert comparable(looked.summary()) == comparable(told(steps).summary())


def comparable(summary):
    """Everything, with seconds rounded: they are added up in another order."""
    values = document(summary)
    rounded = [
        {state: [round(second, 6) for second in seconds] for state, seconds in replica.seconds.items()}
        for replica in summary.replicas
    ]
    return values, [{state: trimmed(seconds) for state, seconds in replica.items()} for replica in rounded]


def trimmed(seconds):
    while seconds and not seconds[-1]:
        seconds = seconds[:-1]
    return seconds


def test_a_session_in_which_about_everything_happens():
    kept = []
    script = an_eventful_session([kept.append], shards=150)
    state = State(BEGAN_S)
    for event in kept:
        state(event)
    summary = state.summary()
    assert summary.reason == ""
    assert summary.ended_s == script.now_s
    assert summary.shards_done == len(script.committed) == 150
    assert (summary.shards_waiting, summary.shards_in_work, summary.in_flight) == (0, 0, 0)
    assert summary.settled == summary.images == 190 * PER_SHARD
    assert summary.deaths == {"node": 2, "surplus": 2, "process": 2, "preempted": 2}
    returned = [event for event in kept if isinstance(event, events.ShardReturned)]
    assert sum(summary.retries.values()) == len(returned) > 0
    assert summary.retries.keys() <= {"node", "process", "preempted"}
    assert {node.name: node.state for node in summary.nodes} == {
        "gpu-node-1": "there",
        "gpu-node-2": "left",
        "gpu-node-3": "left",
        "gpu-node-4": "set aside",
        "gpu-node-5": "there",
    }
    assert [node.reason for node in summary.nodes if node.reason] == ["CUDA error: uncorrectable ECC error encountered"]
    assert summary.blamed == ("000000017178",)
    assert summary.failures == Counter(
        reason for event in kept if isinstance(event, events.ShardCommitted) for reason in event.failures
    )


def test_rate_and_time_left_follow_what_is_finished():
    kept = []
    script = an_eventful_session([kept.append], ends=False)
    state = State(BEGAN_S)
    for event in kept:
        state(event)
    summary = state.summary()
    per_s = sum(replica["per_s"] for replica in script.replicas.values())
    assert summary.per_s == pytest.approx(per_s, rel=0.1)
    left = summary.images - summary.settled - summary.in_flight
    assert summary.left_s == pytest.approx(left / per_s, rel=0.25)
    later = state.summary(script.now_s + 600)
    assert later.per_s < summary.per_s / 2


def test_a_commit_just_after_a_pulse_is_no_burst():
    state = State(BEGAN_S)
    state(events.ReplicaPlaced(at_s=BEGAN_S, replica="r0", node="a", pid=1))
    state(events.ShardBegun(at_s=BEGAN_S, replica="r0", shard="next"))
    of_16 = {"outcomes": {"accepted": 16}, "failures": {}, "computed": 16, "seconds": 16.0}
    for at_s in range(16, 161, 16):  # one image per second; a pulse lags behind by half a shard
        state(events.Pulses(at_s=BEGAN_S + at_s - 0.4, pulses={"r0": Pulse(images=at_s - 8)}, waiting=0))
        state(events.ShardCommitted(at_s=BEGAN_S + at_s, shard=f"{at_s:06d}", replica="r0", **of_16))
    summary = state.summary()
    assert sum(summary.finished) == pytest.approx(160)
    assert max(summary.finished) / summary.bin_s < 1.2


def test_memory_is_bounded_however_many_replicas_and_nodes_come_and_go():
    state = State(BEGAN_S)
    for number in range(1000):
        at = {"at_s": BEGAN_S + 100 * number}
        state(events.NodeJoined(**at, node=f"n{number}"))
        state(events.ReplicaAsked(**at, replica=f"r{number}"))
        state(events.ReplicaPlaced(**at, replica=f"r{number}", node=f"n{number}", pid=1))
        state(events.ReplicaEnded(**at, replica=f"r{number}", cause="preempted", said=""))
        state(events.NodeLeft(**at, node=f"n{number}"))
        state(events.ImageBlamed(**at, key=str(number)))
    summary = state.summary()
    assert len(summary.replicas) == MOST_ENDED
    assert summary.replicas[0].name == "r999"
    assert summary.forgotten_replicas == 1000 - MOST_ENDED
    assert summary.deaths == {"preempted": 1000}
    assert len(summary.nodes) <= 64
    assert len(summary.incidents) == MOST_GRAVE + MOST_OTHER
    assert [one.at_s for one in summary.incidents] == sorted(one.at_s for one in summary.incidents)
    assert summary.blamed_images == 1000
    assert len(summary.blamed) == 20


def test_replicas_that_only_waited_for_a_place_push_out_none_that_was_lost():
    told = []
    state = State(BEGAN_S, told.append)
    state(events.ReplicaPlaced(at_s=BEGAN_S, replica="lost", node="a", pid=1))
    state(events.ReplicaEnded(at_s=BEGAN_S + 1, replica="lost", cause="process", said="killed"))
    for number in range(3 * MOST_ENDED):
        state(events.ReplicaAsked(at_s=BEGAN_S + 2, replica=f"r{number}"))
        state(events.ReplicaEnded(at_s=BEGAN_S + 3, replica=f"r{number}", cause="surplus", said="no room"))
    summary = state.summary()
    assert [replica.name for replica in summary.replicas] == ["lost"]
    assert summary.forgotten_replicas == 0
    assert summary.deaths == {"process": 1, "surplus": 3 * MOST_ENDED}
    assert [one.kind for one in summary.incidents] == ["replica_placed", "replica_ended"]
    assert list(summary.incidents) == told


def test_a_replica_that_does_not_answer_keeps_its_last_pulse():
    state = State(BEGAN_S)
    state(events.ReplicaPlaced(at_s=BEGAN_S, replica="r0", node="a", pid=1))
    state(events.ReplicaReady(at_s=BEGAN_S, replica="r0", device="cpu"))
    pulse = Pulse(images=5, predicting_s=3, waiting_s=1, storage_errors=2, storage_away_s=30)
    state(events.Pulses(at_s=BEGAN_S + 4, pulses={"r0": pulse}, waiting=0))
    state(events.Pulses(at_s=BEGAN_S + 8, pulses={"r0": None}, waiting=0))
    (replica,) = state.summary().replicas
    assert (replica.pulse, replica.answered) == (pulse, False)
    assert replica.working_share == pytest.approx(3 / 8)
    summary = state.summary()
    assert (summary.storage_errors, summary.storage_away_s) == (2, 30)
    state(events.ReplicaEnded(at_s=BEGAN_S + 9, replica="r0", cause="unreachable", said=""))
    ended = state.summary()
    assert (ended.storage_errors, ended.storage_away_s) == (2, 0)
