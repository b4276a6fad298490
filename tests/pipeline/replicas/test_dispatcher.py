"""The dispatcher with a cluster that is a script: whatever happens to it, every shard is committed and counted once."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pipeline.benchmarks.cluster_script import DRAIN_S, Act
from pipeline.benchmarks.simulated_fleet import SimulatedFleet
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError, NodeUnfitError, ReplicaError, Stopped, StorageUnavailableError
from pipeline.records import Sample, ShardSpec
from pipeline.replicas import events
from pipeline.replicas.dispatcher import UNREACHABLE_AT_END_S, Dispatcher
from pipeline.replicas.fleet import Raised
from pipeline.replicas.judge import CONFIRMED_S
from pipeline.replicas.room import MOST_DEATHS_WITHOUT_PLACE

IMAGES = 4
"""Of each shard."""


def spec(index):
    samples = tuple(
        Sample(key=f"{index:03d}{part}", image_id=1, file_name="", width=1, height=1, license_id=1, location=None)
        for part in "abcd"
    )
    return ShardSpec(index=index, samples=samples)


class Drive:
    """A run on a scripted cluster."""

    def __init__(self, shards, script, *, cluster=None, **fleet):
        self.specs = [spec(index) for index in range(shards)]
        self.fleet = SimulatedFleet(script, batch_images=2, **fleet)
        self.told, self.at_s = [], {}
        self.dispatcher = Dispatcher(
            self.specs,
            self.fleet,
            cluster or ClusterConfig(),
            count=lambda result: {"done": result.computed},
            show=lambda in_flight, rates: None,
            collect=self.fleet.collect,
            watches=[self.hear],
        )

    def hear(self, event):
        self.told.append(event)
        self.at_s[id(event)] = self.fleet.now_s()
        self.on_event(event)

    def on_event(self, event):
        """For tests that do something to the cluster at a certain moment."""

    def run(self, most_s=86_400):
        def check():
            assert self.fleet.now_s() < most_s, f"stuck: {self.of(events.ShardCommitted)[-1:]}"

        self.dispatcher.run(lambda: False, lambda: Stopped(""), check)
        return self

    def of(self, kind):
        return [event for event in self.told if isinstance(event, kind)]

    def committed(self):
        return Counter(event.shard for event in self.of(events.ShardCommitted))

    def blamed(self):
        return {event.key for event in self.of(events.ImageBlamed)}

    def causes(self):
        return Counter(event.cause for event in self.of(events.ReplicaEnded))

    def placed_on(self, node):
        return [event.node for event in self.of(events.ReplicaPlaced)].count(node)

    def all_once(self):
        return self.committed() == Counter(spec.name for spec in self.specs)


JOIN = Act(at_s=0, what="join", node="a", amount=2)
TWO = (JOIN, Act(at_s=0, what="join", node="b", amount=2))

NODES = ("n1", "n2", "n3")
TIMES = st.integers(0, 400)
TROUBLE = st.builds(
    lambda at, what, node, amount: Act(at_s=at, what=what, node=node, amount=amount),
    TIMES,
    st.sampled_from(["join", "unplug", "shutdown", "drain", "sicken", "occupy", "hang", "cut", "storage away"]),
    st.sampled_from(NODES),
    st.integers(1, 3),
)
LONG_CUT = st.builds(
    lambda at, what, node, amount: Act(at_s=at, what=what, node=node, amount=amount),
    TIMES,
    st.sampled_from(["cut", "storage away"]),
    st.sampled_from(NODES),
    st.integers(20, 200),
)
HOME = st.builds(lambda slots: Act(at_s=0, what="join", node="home", amount=slots), st.integers(1, 3))


@given(
    st.integers(1, 40),
    HOME,
    st.lists(st.one_of(TROUBLE, LONG_CUT), max_size=14),
    st.sets(st.integers(0, 159), max_size=3),
    st.booleans(),
)
@settings(deadline=None)
def test_with_one_healthy_node_every_shard_is_committed_once_and_only_the_guilty_are_blamed(
    shards, home, troubles, deadly, drivers
):
    keys = {f"{number // IMAGES:03d}{'abcd'[number % IMAGES]}" for number in deadly if number < shards * IMAGES}
    drive = Drive(
        shards,
        [home, *troubles],
        deadly=keys,
        drivers="home" if drivers else "",
        cluster=ClusterConfig(stall_after_s=120),
    ).run()
    assert drive.all_once()
    assert drive.blamed() == keys
    assert not any(map(drive.dispatcher._failures.needs_care, drive.specs))  # nothing is remembered of what is done
    for cause in drive.causes():
        event(cause)


def test_a_lost_node_without_replacement_costs_only_its_own_work():
    drive = Drive(48, [*TWO, Act(at_s=60, what="unplug", node="b")]).run()
    assert drive.all_once()
    assert [event.shard for event in drive.of(events.ShardReturned)] != []
    assert drive.fleet.now_s() < 21 + 48 * 10 / 2 + 60


def test_a_place_that_another_job_takes_is_not_waited_for():
    drive = Drive(40, [*TWO, Act(at_s=0, what="occupy", node="b", amount=2)]).run()
    assert drive.all_once()
    assert drive.fleet.now_s() < 21 + 40 * 10 / 2 + 30


def test_three_preempted_nodes_in_a_row_blame_nobody():
    script = [Act(at_s=0, what="join", node="a", amount=1)]
    for number, at in enumerate((60, 120, 180)):
        old, new = "abcd"[number], "abcd"[number + 1]
        script += [Act(at_s=at, what="shutdown", node=old), Act(at_s=at + 5, what="join", node=new, amount=1)]
    drive = Drive(30, script).run()
    assert drive.all_once()
    assert drive.blamed() == set()
    assert not any(drive.dispatcher._failures.needs_care(spec) for spec in drive.specs)


def test_a_node_that_joins_late_is_used():
    drive = Drive(60, [JOIN, Act(at_s=100, what="join", node="late", amount=2)]).run()
    assert {event.node for event in drive.of(events.ReplicaPlaced)} == {"a", "late"}
    assert drive.fleet.now_s() < 21 + 60 * 10 / 2 - 50


def test_a_draining_node_gets_no_further_shard_and_finishes_what_it_has():
    drive = Drive(60, [*TWO, Act(at_s=100, what="drain", node="b")]).run()
    assert drive.all_once()
    assert drive.of(events.ShardReturned) == []
    on_b = {event.replica for event in drive.of(events.ReplicaPlaced) if event.node == "b"}
    drained_at = drive.told.index(drive.of(events.NodeDraining)[0])
    assert [e for e in drive.told[drained_at:] if isinstance(e, events.ShardBegun) and e.replica in on_b] == []


def test_a_sick_node_is_set_aside_and_the_others_do_its_work():
    drive = Drive(30, [*TWO, Act(at_s=0, what="sicken", node="b")]).run()
    assert drive.all_once()
    assert [(event.node, event.reason) for event in drive.of(events.NodeSetAside)] == [
        ("b", "RuntimeError: CUDA error: ECC")
    ]
    assert drive.placed_on("b") == 2  # one for each place, and none after that


def test_the_run_ends_with_the_error_if_the_only_node_is_sick_and_names_all_if_there_were_several():
    with pytest.raises(RuntimeError, match="ECC"):
        Drive(30, [JOIN, Act(at_s=0, what="sicken", node="a")]).run()
    sick = [Act(at_s=0, what="sicken", node="a"), Act(at_s=0, what="sicken", node="b")]
    with pytest.raises(ReplicaError, match=r"no node is left .* a: RuntimeError: CUDA error: ECC; b: RuntimeError"):
        Drive(30, [*TWO, *sick]).run()


def test_what_two_nodes_raise_for_the_same_shard_ends_the_run_before_all_nodes_are_spent():
    drive = Drive(9, [Act(at_s=0, what="join", node=node, amount=1) for node in "abcd"], raising=["002b"])
    with pytest.raises(RuntimeError, match="ECC"):
        drive.run()
    assert len(drive.of(events.NodeSetAside)) == 1


def test_a_machine_that_knows_itself_to_be_unfit_is_no_sign_against_the_shard_that_it_had(monkeypatch):
    drive = Drive(9, [Act(at_s=0, what="join", node=node, amount=1) for node in "abcd"], raising=["002b"])
    happenings = drive.fleet.happenings

    def unfit(timeout_s):
        lacks = {"image 7 is missing": "Mount it"}
        return [
            replace(found, error=NodeUnfitError("?", lacks)) if isinstance(found, Raised) else found
            for found in happenings(timeout_s)
        ]

    monkeypatch.setattr(drive.fleet, "happenings", unfit)
    with pytest.raises(ReplicaError, match="no node is left that can do the work"):
        drive.run()
    aside = {event.node: event.reason for event in drive.of(events.NodeSetAside)}
    assert aside == dict.fromkeys("abcd", "image 7 is missing")


def test_without_a_place_the_run_ends_after_its_patience():
    with pytest.raises(ReplicaError, match="no node of the cluster has had room for a replica for 100 s"):
        Drive(5, [], cluster=ClusterConfig(nodes_patience_s=100)).run()
    assert Drive(5, [Act(at_s=90, what="join", node="a")], cluster=ClusterConfig(nodes_patience_s=100)).run().all_once()


def test_replicas_stay_within_their_bounds():
    drive = Drive(40, TWO, cluster=ClusterConfig(max_replicas=3)).run()
    assert len(drive.of(events.ReplicaAsked)) == 3
    drive = Drive(40, TWO, cluster=ClusterConfig(min_replicas=6)).run()
    assert len(drive.of(events.ReplicaAsked)) == 6
    assert len(drive.of(events.ReplicaPlaced)) == 4
    assert drive.causes() == {"surplus": 2}  # an autoscaler needs no nodes for the last shards
    assert len(Drive(1, TWO).run().of(events.ReplicaAsked)) == 1


def test_an_outage_of_the_storage_shorter_than_the_patience_ends_no_replica_and_is_told_once(caplog):
    caplog.set_level("INFO")
    drive = Drive(20, [*TWO, Act(at_s=40, what="storage away", amount=500)], cluster=ClusterConfig(stall_after_s=60))
    assert drive.run().all_once()
    assert drive.causes() == {}
    assert [record.getMessage() for record in caplog.records if "storage" in record.getMessage()] == [
        "storage does not respond to 4 replicas; they wait for it",
        "no replica waits for storage any more",
    ]


def test_a_hanging_replica_is_replaced_and_a_cut_one_given_up():
    drive = Drive(20, [JOIN, Act(at_s=40, what="hang", node="a")], cluster=ClusterConfig(stall_after_s=60)).run()
    assert drive.causes()["stalled"] == 1
    drive = Drive(60, [*TWO, Act(at_s=40, what="cut", node="b", amount=300)]).run()
    assert drive.causes()["unreachable"] == 2
    assert drive.all_once()


def test_one_node_without_storage_ends_no_run_that_the_others_go_on_with():
    drive = Drive(40, [*TWO])

    def raise_on_b(event):
        on_b = {placed.replica for placed in drive.of(events.ReplicaPlaced) if placed.node == "b"}
        if isinstance(event, events.ShardBegun) and event.replica in on_b:
            raised = Raised(replica=event.replica, shard=event.shard, error=StorageUnavailableError("away"))
            drive.fleet._after(9, lambda: drive.fleet._told.append(raised))

    drive.on_event = raise_on_b
    assert drive.run().all_once()
    assert drive.causes()["unreachable"] == 6
    assert [event.node for event in drive.of(events.NodeSetAside)] == ["b"]


def test_storage_that_nobody_has_ends_the_run():
    drive = Drive(40, [*TWO])

    def raise_later(event):
        if isinstance(event, events.ShardBegun):
            raised = Raised(replica=event.replica, shard=event.shard, error=StorageUnavailableError("away"))
            drive.fleet._after(50, lambda: drive.fleet._told.append(raised))

    drive.fleet._perform(Act(at_s=0, what="storage away", amount=10_000))
    drive.on_event = raise_later
    with pytest.raises(StorageUnavailableError):
        drive.run()


def test_a_silent_replica_is_given_up_sooner_when_nobody_else_has_anything_to_do():
    drive = Drive(8, [*TWO, Act(at_s=25, what="cut", node="b", amount=500)]).run()
    assert drive.fleet.now_s() < 25 + UNREACHABLE_AT_END_S + 30


def test_a_replica_that_stalls_on_a_draining_node_leaves_no_suspicion():
    drive = Drive(
        40,
        [*TWO, Act(at_s=40, what="drain", node="b"), Act(at_s=41, what="hang", node="b")],
        cluster=ClusterConfig(stall_after_s=12),
        load_s=5,
    )
    careful = []
    drive.on_event = lambda _: careful.extend(filter(drive.dispatcher._failures.needs_care, drive.specs))
    assert drive.run().causes()["stalled"] == 1
    assert careful == []


def test_a_request_to_stop_ends_the_run():
    drive = Drive(1000, TWO)
    with pytest.raises(Stopped, match="asked"):
        drive.dispatcher.run(lambda: drive.fleet.now_s() > 100, lambda: Stopped("asked"), lambda: None)
    assert 0 < len(drive.of(events.ShardCommitted)) < 100


def test_a_node_that_was_set_aside_and_comes_back_mended_gets_replicas_again():
    script = [*TWO, Act(at_s=0, what="sicken", node="b"), Act(at_s=60, what="shutdown", node="b")]
    drive = Drive(60, [*script, Act(at_s=90, what="join", node="b", amount=2)]).run()
    begun = [event.node for event in drive.of(events.ReplicaPlaced)]
    assert begun.count("b") >= 3
    assert len(drive.of(events.NodeSetAside)) == 1


def test_a_replica_may_be_ended_whose_death_is_yet_to_be_told():
    drive = Drive(1, [JOIN])
    drive.fleet.start("r", ())
    drive.fleet.happenings(5)
    drive.fleet._perform(Act(at_s=0, what="kill", node="a"))
    drive.fleet.end("r")


def test_a_process_that_dies_on_a_draining_node_leaves_no_suspicion():
    drive = Drive(60, [*TWO, Act(at_s=100, what="drain", node="b"), Act(at_s=103, what="kill", node="b")]).run()
    assert drive.causes()["preempted"] >= 1
    assert drive.causes()["process"] == 0


def blamed_after_s(drive):
    """Seconds from the last death of a process to the first blame."""
    blamed = next(event for event in drive.told if isinstance(event, events.ImageBlamed))
    before = drive.told[: drive.told.index(blamed)]
    death = [event for event in before if isinstance(event, events.ReplicaEnded) and event.cause == "process"][-1]
    return drive.at_s[id(blamed)] - drive.at_s[id(death)]


def test_an_image_is_blamed_once_its_node_has_proven_to_live_and_at_once_if_the_driver_lives_there():
    drive = Drive(3, [JOIN], deadly=["000b"]).run()
    assert CONFIRMED_S <= blamed_after_s(drive) < CONFIRMED_S + 3
    assert blamed_after_s(Drive(3, [JOIN], deadly=["000b"], drivers="a").run()) == 0


def test_a_node_that_goes_while_it_is_to_prove_that_it_lives_convicts_nobody():
    drive = Drive(3, [Act(at_s=0, what="join", node="a")], deadly=["000b"])

    def lose_node_after_the_third_death(event):
        if drive.causes()["process"] == 3 and not drive.of(events.NodeLeft):
            drive.fleet._perform(Act(at_s=0, what="shutdown", node="a"))
            drive.fleet._perform(Act(at_s=0, what="join", node="b"))

    drive.on_event = lose_node_after_the_third_death
    drive.run()
    assert drive.blamed() == {"000b"}
    assert drive.causes()["process"] >= 5  # three on the new node


def test_preempted_again_and_again_a_shard_blames_nobody():
    """Its processes die first each time, while it is in work."""
    drive, nodes = Drive(4, [Act(at_s=0, what="join", node="n0")]), itertools.count(1)

    def preempt(event):
        if isinstance(event, events.ShardBegun) and event.shard == "000000" and (number := next(nodes)) < 8:
            drive.fleet._after(5, lambda: drive.fleet._perform(Act(at_s=0, what="shutdown", node=f"n{number - 1}")))
            drive.fleet._after(20, lambda: drive.fleet._perform(Act(at_s=0, what="join", node=f"n{number}")))

    drive.on_event = preempt
    drive.run()
    assert drive.all_once()
    assert drive.blamed() == set()
    assert len(drive.of(events.NodeLeft)) == 7


def test_a_node_whose_replicas_can_never_be_reached_is_set_aside():
    drive = Drive(40, [*TWO])

    def lose(event):
        on_b = {placed.replica for placed in drive.of(events.ReplicaPlaced) if placed.node == "b"}
        if isinstance(event, events.ReplicaReady) and event.replica in on_b:
            actor = drive.fleet._actors[event.replica]
            drive.fleet._after(1, lambda: drive.fleet._is_there(actor) and drive.fleet._die(actor, "unreachable"))

    drive.on_event = lose
    assert drive.run().all_once()
    assert [event.node for event in drive.of(events.NodeSetAside)] == ["b"]
    assert drive.causes()["unreachable"] == 6


def test_deaths_with_commits_in_between_set_no_node_aside():
    kills = [Act(at_s=60 * number, what="kill", node="a") for number in range(1, 9)]
    drive = Drive(60, [Act(at_s=0, what="join", node="a"), *kills], drivers="a").run()
    assert drive.causes() == {"process": 8}
    assert drive.of(events.NodeSetAside) == []


def test_a_replica_may_be_ready_before_its_node_is_seen():
    drive = Drive(3, [Act(at_s=6.5, what="join", node="a")], load_s=0.1)
    assert drive.run(most_s=100).all_once()


def test_a_node_that_is_no_longer_listed_is_not_waited_for():
    drive = Drive(40, TWO)

    def forget_b(event):
        if isinstance(event, events.ShardCommitted):
            lost = drive.fleet._machines.pop("b", None)
            for actor in drive.fleet._actors.values() if lost else ():
                actor.hangs |= actor.machine is lost  # and nothing is ever told of it

    drive.on_event = forget_b
    assert drive.run(most_s=300).all_once()
    assert drive.causes() == {"node": 2}


def test_the_replicas_of_a_draining_node_end_once_they_are_done_and_others_start_at_once():
    script = [*TWO, Act(at_s=0, what="join", node="c", amount=2), Act(at_s=100, what="drain", node="b")]
    drive = Drive(100, script, cluster=ClusterConfig(max_replicas=4)).run()
    ended = [drive.at_s[id(event)] for event in drive.of(events.ReplicaEnded)]
    assert len(ended) == 2
    assert max(ended) < 100 + DRAIN_S
    placed = [drive.at_s[id(event)] for event in drive.of(events.ReplicaPlaced)]
    assert len(placed) == 6
    assert max(placed) < 105
    drained = Drive(20, [*TWO, Act(at_s=0, what="drain", node="b")]).run()
    assert len(drained.of(events.ReplicaAsked)) == 2  # no room is counted there


def test_no_replica_that_waits_for_a_place_gets_one_on_a_node_that_was_set_aside():
    script = [
        Act(at_s=0, what="join", node="a"),
        Act(at_s=0, what="join", node="b"),
        Act(at_s=0, what="sicken", node="b"),
    ]
    drive = Drive(20, script, cluster=ClusterConfig(min_replicas=3)).run()
    assert drive.placed_on("b") == 1


def test_replicas_that_work_on_a_node_that_was_set_aside_go_on():
    drive = Drive(20, [JOIN])

    def raise_once(event):
        if isinstance(event, events.ShardBegun) and event.replica == "r0" and not drive.of(events.ShardCommitted):
            error = Raised(replica="r0", shard=event.shard, error=RuntimeError("of this GPU"))
            drive.fleet._after(1, lambda: drive.fleet._told.append(error))

    drive.on_event = raise_once
    assert drive.run().all_once()
    assert len(drive.of(events.NodeSetAside)) == 1
    assert len(drive.of(events.ReplicaAsked)) == 2


def test_with_an_autoscaler_the_run_waits_for_a_better_node():
    drive = Drive(5, [JOIN, Act(at_s=0, what="sicken", node="a"), Act(at_s=300, what="join", node="b")])
    drive.fleet.can_grow = True
    assert drive.run().all_once()


def growing(drive, nodes=100):
    """An autoscaler: some time after a replica has waited for a place, there is another node of one place."""
    drive.fleet.can_grow, names = True, itertools.count()

    def grow():
        if drive.fleet._placeless and (number := next(names)) < nodes:
            drive.fleet._perform(Act(at_s=0, what="join", node=f"new-{number}"))
        drive.fleet._after(30, grow)

    drive.fleet._after(30, grow)
    return drive


def test_a_place_that_somebody_else_has_makes_no_cluster_grow():
    drive = growing(Drive(60, [JOIN, Act(at_s=0, what="occupy", node="a", amount=1)])).run()
    assert drive.all_once()
    assert len(drive.of(events.ReplicaAsked)) == 1
    assert not any(node.node.startswith("new") for node in drive.of(events.NodeJoined))
    asked = growing(Drive(60, [JOIN], cluster=ClusterConfig(max_replicas=5))).run()
    assert len({node.node for node in asked.of(events.NodeJoined)}) == 4  # which were asked for


def test_what_every_new_node_raises_ends_the_run_in_spite_of_an_autoscaler():
    drive = growing(Drive(5, [JOIN]))
    drive.fleet.raises_at_start = ConfigError("--model nowhere: no such folder")
    with pytest.raises(ConfigError, match="no such folder"):
        drive.run()
    assert len(drive.of(events.NodeSetAside)) == 3


def test_a_wrong_request_is_one_on_several_nodes_too():
    drive = Drive(5, TWO)
    drive.fleet.raises_at_start = ConfigError("--model nowhere: no such folder")
    with pytest.raises(ConfigError, match="no such folder"):
        drive.run()


def test_an_old_error_is_not_what_ends_a_run_whose_other_node_is_gone():
    script = [*TWO, Act(at_s=0, what="sicken", node="b"), Act(at_s=100, what="shutdown", node="a")]
    drive = Drive(60, [*script, Act(at_s=400, what="join", node="c")])
    assert drive.run().all_once()


def test_dead_replicas_are_replaced_while_others_live_on_a_node_that_was_set_aside():
    drive = Drive(60, [*TWO, *(Act(at_s=60 + number, what="kill", node="a") for number in range(2))], drivers="a")

    def raise_once(event):
        on_b = [placed.replica for placed in drive.of(events.ReplicaPlaced) if placed.node == "b"]
        if isinstance(event, events.ShardBegun) and event.replica == on_b[0] and not drive.of(events.NodeSetAside):
            error = Raised(replica=event.replica, shard=event.shard, error=RuntimeError("of this GPU"))
            drive.fleet._after(1, lambda: drive.fleet._told.append(error))

    drive.on_event = raise_once
    assert drive.run().all_once()
    assert drive.placed_on("a") == 4
    assert drive.placed_on("b") == 2


def test_a_node_without_storage_ends_no_run_whose_shards_take_long():
    drive = Drive(8, TWO, shard_s=900)

    def raise_on_b(event):
        on_b = {placed.replica for placed in drive.of(events.ReplicaPlaced) if placed.node == "b"}
        if isinstance(event, events.ShardBegun) and event.replica in on_b:
            raised = Raised(replica=event.replica, shard=event.shard, error=StorageUnavailableError("away"))
            drive.fleet._after(600, lambda: drive.fleet._told.append(raised))

    drive.on_event = raise_on_b
    assert drive.run().all_once()


def test_a_file_that_never_responds_ends_the_run_after_the_attempts_of_its_shard():
    drive = Drive(400, [*TWO])

    def raise_at_one(event):
        if isinstance(event, events.ShardBegun) and event.shard == "000002":
            raised = Raised(replica=event.replica, shard=event.shard, error=StorageUnavailableError("000002 is away"))
            drive.fleet._after(9, lambda: drive.fleet._told.append(raised))

    drive.on_event = raise_at_one
    with pytest.raises(StorageUnavailableError, match="000002 is away"):
        drive.run()
    assert drive.causes()["unreachable"] == ClusterConfig().shard_attempts - 1


def test_a_node_that_can_start_no_process_ends_no_run_that_others_go_on_with():
    drive = Drive(200, [JOIN], cluster=ClusterConfig(min_replicas=3))

    def die_without_place(event):
        if isinstance(event, events.ReplicaAsked) and event.replica not in ("r0", "r1", "r2"):
            return
        if isinstance(event, events.ShardCommitted):
            for name in list(drive.fleet._placeless):
                drive.fleet._die(drive.fleet._actors[name], "process")

    drive.on_event = die_without_place
    assert drive.run().all_once()
    assert MOST_DEATHS_WITHOUT_PLACE <= drive.causes()["unstarted"] < 12 * MOST_DEATHS_WITHOUT_PLACE


def test_what_nodes_raise_differently_at_one_shard_is_compared_with_all_of_it():
    drive, number = Drive(4, [Act(at_s=0, what="join", node=node) for node in "abcdef"]), itertools.count()

    def raise_at_one(event):
        if isinstance(event, events.ShardBegun) and event.shard == "000000":
            kind = OSError if next(number) == 0 else ValueError
            raised = Raised(replica=event.replica, shard=event.shard, error=kind("here"))
            drive.fleet._after(1, lambda: drive.fleet._told.append(raised))

    drive.on_event = raise_at_one
    with pytest.raises(ValueError, match="here"):
        drive.run()
    assert len(drive.of(events.NodeSetAside)) == 2


def test_a_driver_that_was_held_up_takes_no_replica_for_silent():
    drive, ask, asked = Drive(60, TWO), SimulatedFleet.ask, itertools.count()

    def ask_and_sleep(replicas):
        ask(drive.fleet, replicas)
        if next(asked) == 20:
            drive.fleet._now_s += 50  # as when a journal is read from storage that is away

    drive.fleet.ask = ask_and_sleep
    assert drive.run().causes() == {}
    assert next(asked) > 20
