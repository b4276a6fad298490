"""Who gets which shard next: nobody idles, and what needs care is alone in its process."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import ShardSpec
from pipeline.replicas.dispatch import SHARDS_IN_HAND, Hand, names, next_handout


def spec(index):
    return ShardSpec(index=index, samples=())


def make_hands(*shards):
    """A replica for each list of shards that one has in hand."""
    return [
        Hand(replica=place, calls={index: spec(index) for index in indices}) for place, indices in enumerate(shards)
    ]


def handed_out(hands, waiting, careful=()):
    """Replica and shard of everything that is handed out now."""
    waiting, found = deque(map(spec, waiting)), []
    while handout := next_handout(hands, waiting, lambda shard: shard.index in careful):
        hand, shard = handout
        waiting.remove(shard)
        hand.calls[f"call {shard.name}"] = shard
        found.append((hand.replica, shard.index))
    return found


@given(st.integers(1, 5), st.integers(0, 20), st.sets(st.integers(0, 19)))
def test_a_shard_that_needs_care_is_alone_in_hand_and_nobody_has_too_many(replicas, shards, careful):
    hands = make_hands(*[[] for _ in range(replicas)])
    handed_out(hands, range(shards), careful)
    for hand in hands:
        indices = {shard.index for shard in hand.calls.values()}
        assert len(indices) <= (1 if indices & careful else SHARDS_IN_HAND)
    assert sum(bool(hand.calls) for hand in hands) == min(replicas, shards)


@given(st.integers(1, 5), st.integers(0, 20), st.sets(st.integers(0, 19)), st.randoms())
def test_every_shard_is_handed_out_once_whoever_finishes_first(replicas, shards, careful, chance):
    hands, done = make_hands(*[[] for _ in range(replicas)]), []
    waiting = list(range(shards))
    while found := handed_out(hands, waiting, careful) or [hand for hand in hands if hand.calls]:
        for handout in found:
            if isinstance(handout, tuple):
                waiting.remove(handout[1])
        busy = chance.choice([hand for hand in hands if hand.calls])
        done.append(busy.calls.pop(chance.choice(list(busy.calls))).index)
    assert sorted(done) == list(range(shards))


def test_everybody_gets_a_first_shard_before_anybody_gets_a_second():
    assert handed_out(make_hands([], []), range(10)) == [(0, 0), (1, 1), (0, 2), (1, 3)]


def test_near_the_end_nobody_gets_a_second_shard_that_another_might_begin_sooner():
    assert handed_out(make_hands([], []), range(3)) == [(0, 0), (1, 1)]
    assert handed_out(make_hands([7], []), [8]) == [(1, 8)]


def test_one_replica_has_the_next_shard_until_there_is_none():
    assert handed_out(make_hands([]), range(2)) == [(0, 0), (0, 1)]


def test_what_needs_care_waits_for_a_replica_without_work_and_holds_up_nobody():
    hands = make_hands([5], [6])
    assert handed_out(hands, [1, 2, 7, 8, 9], careful={1, 2}) == [(0, 7), (1, 8)]
    hands[1].calls.clear()
    assert handed_out(hands, [1, 2, 9], careful={1, 2}) == [(1, 1)]
    assert handed_out(hands, [2, 9, 10], careful={1, 2}) == []
    hands[1].calls.clear()
    assert handed_out(hands, [2, 9, 10], careful={1, 2}) == [(1, 2)]


def test_shards_are_named_in_messages():
    assert names([spec(1), spec(42)]) == "000001 and 000042"
