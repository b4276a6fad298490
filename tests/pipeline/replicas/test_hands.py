"""Who gets which shard: idle replicas first, a second one only while others would not begin it sooner, care alone."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import ShardSpec
from pipeline.replicas.hands import SHARDS_IN_HAND, Free, Hand, Waiting


def spec(index):
    return ShardSpec(index=index, samples=())


class Table:
    """Replicas, a queue, and the shards that need care."""

    def __init__(self, replicas, shards, careful=()):
        self.needs_care = lambda spec: spec.index in careful
        self.hands = [Hand(replica=f"r{number}", is_ready=True) for number in range(replicas)]
        self.specs = [spec(index) for index in range(shards)]
        self.waiting, self.free = Waiting(self.specs, self.needs_care), Free()
        for hand in self.hands:
            self.free.note(hand, self.needs_care)

    def hand_out(self):
        """Returns how many were handed out, and checks the rules at each step."""
        number = 0
        for hand, shard in self.free.handouts(self.waiting, len(self.hands)):
            idle = [other for other in self.hands if not other.shards]
            assert hand in idle if idle else len(self.waiting) + 1 >= len(self.hands)
            hand.shards[shard.name] = shard
            self.free.note(hand, self.needs_care)
            number += 1
        return number

    def in_hand(self):
        return [[shard.index for shard in hand.shards.values()] for hand in self.hands]


def test_all_get_one_before_any_gets_two():
    table = Table(3, 9)
    assert table.hand_out() == 6
    assert table.in_hand() == [[0, 3], [1, 4], [2, 5]]


def test_nobody_gets_a_second_one_that_another_might_begin_sooner():
    table = Table(3, 5)
    table.hand_out()
    assert table.in_hand() == [[0], [1], [2]]


def test_a_shard_that_needs_care_has_a_replica_for_itself_and_comes_first_once_it_was_lost():
    table = Table(2, 6, careful=[7])
    table.waiting.put_back([spec(7)])
    table.hand_out()
    assert table.in_hand() == [[7], [0, 1]]


def test_a_hand_that_may_not_work_gets_nothing_and_one_that_is_not_ready_neither():
    table = Table(2, 6)
    table.free.note(table.hands[0], table.needs_care, may_work=False)
    table.hands[1].is_ready = False
    table.free.note(table.hands[1], table.needs_care)
    assert table.hand_out() == 0


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40)


@given(st.integers(1, 4), st.integers(0, 12), st.sets(st.integers(0, 11)), STEPS)
def test_no_shard_is_lost_or_in_two_hands_and_care_is_kept(replicas, shards, careful, steps):
    table, done = Table(replicas, shards, careful), []
    table.hand_out()
    for commits, place in steps:
        busy = [hand for hand in table.hands if hand.shards]
        if not busy:
            break
        hand = busy[place % len(busy)]
        if commits:
            done.append(hand.shards.pop(next(iter(hand.shards))))
        else:
            lost = list(hand.shards.values())
            hand.shards.clear()
            table.waiting.put_back(lost)
        table.free.note(hand, table.needs_care)
        table.hand_out()
        held = [shard for hand in table.hands for shard in hand.shards.values()]
        waiting = [*table.waiting._careful, *table.waiting._others]
        assert Counter([*done, *held, *waiting]) == Counter(table.specs)
        for hand in table.hands:
            assert len(hand.shards) <= SHARDS_IN_HAND
            assert len(hand.shards) < 2 or not any(map(table.needs_care, hand.shards.values()))
        assert bool(held) == (len(done) < shards)
