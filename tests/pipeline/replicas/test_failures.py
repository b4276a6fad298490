"""Decisions about deaths, over any sequence of events: no shard is lost or doubled, and the caps stop the run."""

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import Sample, ShardSpec
from pipeline.replicas.dispatch import Hand, next_handout
from pipeline.replicas.failures import DEATHS_IN_A_ROW, Failures, GiveUp, Retry
from pipeline.replicas.suspects import Caution


def spec(index):
    """A shard of two images, `{index}a` and `{index}b`."""
    samples = tuple(
        Sample(key=f"{index}{part}", image_id=1, file_name="", width=1, height=1, license_id=1, location=None)
        for part in "ab"
    )
    return ShardSpec(index=index, samples=samples)


class Run:
    """A run without a cluster: replicas commit or die as they are told."""

    def __init__(self, replicas, shards, attempts):
        self.specs = [spec(index) for index in range(shards)]
        self.failures = Failures(replicas=replicas, shard_attempts=attempts)
        self.hands = [Hand(replica=number) for number in range(replicas)]
        self.waiting = deque(self.specs)
        self.committed, self.decision = [], None
        self.hand_out()

    def hand_out(self):
        while handout := next_handout(self.hands, self.waiting, self.failures.needs_care):
            hand, shard = handout
            self.waiting.remove(shard)
            hand.calls[shard.name] = shard

    def commit(self, hand, place=0):
        name = list(hand.calls)[place % len(hand.calls)]
        self.committed.append(hand.calls.pop(name))
        self.failures.after_commit()

    def die(self, hand, noted=0):
        """With care, `noted` bits say which of the shard's images were in work."""
        lost = list(hand.calls.values())
        in_work = {
            shard.name: [sample.key for bit, sample in enumerate(shard.samples) if noted >> bit & 1] for shard in lost
        }
        hand.calls.clear()
        self.decision = self.failures.after_death(lost, in_work, "killed")
        if isinstance(self.decision, Retry):
            self.waiting.extendleft(reversed(self.decision.shards))
            self.hands[self.hands.index(hand)] = Hand(replica="new")

    def in_hand(self):
        return [shard for hand in self.hands for shard in hand.calls.values()]

    def busy(self):
        return [hand for hand in self.hands if hand.calls]


EVENTS = st.lists(st.tuples(st.sampled_from(["commit", "die"]), st.integers(0, 9), st.integers(0, 3)), max_size=60)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 5), EVENTS)
def test_no_shard_is_lost_or_in_two_hands_whatever_happens(replicas, shards, attempts, events):
    run = Run(replicas, shards, attempts)
    for kind, place, bits in events:
        if not run.busy():
            break
        hand = run.busy()[place % len(run.busy())]
        run.commit(hand, bits) if kind == "commit" else run.die(hand, bits)
        if isinstance(run.decision, GiveUp):
            return
        run.hand_out()
        assert Counter([*run.waiting, *run.in_hand(), *run.committed]) == Counter(run.specs)
        assert all(
            len(hand.calls) == 1 for hand in run.busy() if any(map(run.failures.needs_care, hand.calls.values()))
        )
        assert bool(run.busy()) == (len(run.committed) < shards)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 5), st.lists(st.integers(0, 9), min_size=60, max_size=60))
def test_replicas_that_only_die_stop_the_run_after_the_caps(replicas, shards, attempts, places):
    """Nothing is noted, so nobody is ever found guilty."""
    run, lost = Run(replicas, shards, attempts), Counter()
    for deaths, place in enumerate(places, start=1):
        hand = run.busy()[place % len(run.busy())]
        lost.update(hand.calls.values())
        run.die(hand)
        spent = max(lost.values()) >= attempts
        assert isinstance(run.decision, GiveUp) == (spent or deaths >= DEATHS_IN_A_ROW * replicas)
        if isinstance(run.decision, GiveUp):
            assert ("lost its replica" if spent else f"{deaths} replicas died in a row") in run.decision.reason
            return
        run.hand_out()
    pytest.fail("the run never stopped")


@given(st.integers(1, 3), st.integers(1, 20))
def test_a_commit_resets_the_row_of_deaths(replicas, rounds):
    run = Run(replicas, 2 + rounds * 2, attempts=10_000)
    most = DEATHS_IN_A_ROW * replicas
    for _ in range(rounds):
        for _ in range(most - 1):
            run.die(run.busy()[0])
            assert isinstance(run.decision, Retry)
            run.hand_out()
        run.commit(run.busy()[0])
        run.hand_out()
    for _ in range(most - 1):
        run.die(run.busy()[0])
        run.hand_out()
    run.die(run.busy()[0])
    assert run.decision == GiveUp(reason=f"{most} replicas died in a row without committing a shard. Last: killed")


def test_a_guilty_image_resets_the_row_and_the_count_of_its_shard():
    failures = Failures(replicas=1, shard_attempts=3)
    shard = spec(0)
    assert failures.after_death([shard], {}, "killed") == Retry(shards=(shard,))
    assert failures.after_death([shard], {"000000": ["0a"]}, "killed") == Retry(shards=(shard,))
    assert failures.after_death([shard], {"000000": ["0a"]}, "killed") == Retry(shards=(shard,), guilty=("0a",))
    assert failures.caution(shard) == Caution(noted=True, alone=frozenset({"0a"}), skipped=frozenset({"0a"}))
    for _ in range(2):
        assert failures.after_death([shard], {"000000": []}, "killed") == Retry(shards=(shard,))
    assert isinstance(failures.after_death([shard], {"000000": []}, "killed"), GiveUp)


def test_lost_shards_go_back_in_the_order_in_which_they_were_begun():
    failures = Failures(replicas=1, shard_attempts=3)
    assert failures.after_death([spec(7), spec(2)], {}, "killed") == Retry(shards=(spec(7), spec(2)))
    assert failures.needs_care(spec(7))
    assert failures.needs_care(spec(2))
    assert not failures.needs_care(spec(3))


def test_a_journal_of_an_earlier_session_accuses_nobody():
    """It counts only once the shard is handled with care."""
    failures = Failures(replicas=1, shard_attempts=9)
    for _ in range(2):
        assert failures.after_death([spec(0)], {"000000": ["0a"]}, "killed").guilty == ()
    assert failures.after_death([spec(0)], {"000000": ["0a"]}, "killed").guilty == ("0a",)
    stopped = Failures(replicas=1, shard_attempts=1).after_death([spec(0)], {"000000": ["0a"]}, "killed")
    assert "the last time at the keys 0a, …, 0b." in stopped.reason


def test_a_shard_that_used_up_its_attempts_is_named_with_its_last_keys():
    failures = Failures(replicas=1, shard_attempts=2)
    failures.after_death([spec(3)], {}, "killed")
    decision = failures.after_death([spec(3)], {"000003": ["3a", "3b"]}, "out of memory")
    assert decision.reason.startswith("shard 000003 lost its replica 2 times, the last time at the keys 3a, 3b.")
    assert decision.reason.endswith("Last: out of memory")


def test_without_a_journal_the_first_and_the_last_key_are_named():
    decision = Failures(replicas=1, shard_attempts=1).after_death([spec(3), spec(4)], {}, "killed")
    assert "shard 000003 or 000004 lost its replica 1 times, the last time at the keys 3a, …, 4b." in decision.reason
