"""Decisions about deaths: who is blamed, who is excused, and when a run gives up."""

from pipeline.records import Sample, ShardSpec
from pipeline.replicas.failures import EXCUSED_S, Death, Failures, GiveUp, Retry, Wait
from pipeline.replicas.suspects import Caution


def spec(index):
    """A shard of two images, `{index}a` and `{index}b`."""
    samples = tuple(
        Sample(key=f"{index}{part}", image_id=1, file_name="", width=1, height=1, license_id=1, location=None)
        for part in "ab"
    )
    return ShardSpec(index=index, samples=samples)


def die(failures, lost, in_work=None, said="killed", *, node="a", at_s=0.0, is_sure=True):
    death = Death(lost=tuple(lost), in_work=in_work or {}, node=node, at_s=at_s, said=said)
    return failures.after_death(death, is_sure=is_sure)


def test_a_guilty_image_resets_the_count_of_its_shard():
    failures = Failures(shard_attempts=3)
    shard = spec(0)
    assert die(failures, [shard], {}, "killed") == Retry(shards=(shard,))
    assert die(failures, [shard], {"000000": ["0a"]}, "killed") == Retry(shards=(shard,))
    assert die(failures, [shard], {"000000": ["0a"]}, "killed") == Retry(shards=(shard,), guilty=("0a",))
    assert failures.caution(shard) == Caution(noted=True, alone=frozenset({"0a"}), skipped=frozenset({"0a"}))
    for _ in range(2):
        assert die(failures, [shard], {"000000": []}, "killed") == Retry(shards=(shard,))
    assert isinstance(die(failures, [shard], {"000000": []}, "killed"), GiveUp)


def test_lost_shards_go_back_in_the_order_in_which_they_were_begun():
    failures = Failures(shard_attempts=3)
    assert die(failures, [spec(7), spec(2)], {}, "killed") == Retry(shards=(spec(7), spec(2)))
    assert failures.needs_care(spec(7))
    assert failures.needs_care(spec(2))
    assert not failures.needs_care(spec(3))


def test_a_journal_of_an_earlier_session_accuses_nobody():
    """It counts only once the shard is handled with care."""
    failures = Failures(shard_attempts=9)
    for _ in range(2):
        assert die(failures, [spec(0)], {"000000": ["0a"]}, "killed").guilty == ()
    assert die(failures, [spec(0)], {"000000": ["0a"]}, "killed").guilty == ("0a",)
    stopped = die(Failures(shard_attempts=1), [spec(0)], {"000000": ["0a"]}, "killed")
    assert "the last time at the keys 0a, …, 0b." in stopped.reason


def test_a_shard_that_used_up_its_attempts_is_named_with_its_last_keys():
    failures = Failures(shard_attempts=2)
    die(failures, [spec(3)], {}, "killed")
    decision = die(failures, [spec(3)], {"000003": ["3a", "3b"]}, "out of memory")
    assert decision.reason.startswith("shard 000003 lost its replica 2 times, the last time at the keys 3a, 3b.")
    assert decision.reason.endswith("Last: out of memory")


def test_without_a_journal_the_first_and_the_last_key_are_named():
    decision = die(Failures(shard_attempts=1), [spec(3), spec(4)], {}, "killed")
    assert "shard 000003 or 000004 lost its replica 1 times, the last time at the keys 3a, …, 4b." in decision.reason


def test_nobody_is_convicted_before_the_node_is_known_to_live():
    failures, shard = Failures(shard_attempts=3), spec(0)
    for _ in range(2):
        die(failures, [shard], {"000000": ["0a"]}, is_sure=False)
    before = failures.caution(shard)
    assert die(failures, [shard], {"000000": ["0a"]}, is_sure=False) == Wait()
    assert failures.caution(shard) == before
    assert die(failures, [shard], {"000000": ["0a"]}, is_sure=True).guilty == ("0a",)


def test_nor_does_the_run_give_up_before_that():
    failures = Failures(shard_attempts=1)
    assert die(failures, [spec(0)], is_sure=False) == Wait()
    assert isinstance(die(failures, [spec(0)], is_sure=True), GiveUp)


def test_deaths_shortly_before_the_end_of_their_node_are_forgotten():
    failures, shard = Failures(shard_attempts=3), spec(0)
    die(failures, [shard], node="a", at_s=0)
    die(failures, [shard], {"000000": ["0a"]}, node="b", at_s=100)
    assert failures.caution(shard).alone == {"0a"}
    failures.excuse("b", 100 + EXCUSED_S)
    assert failures.caution(shard) == Caution(noted=True)
    failures.excuse("a", 1 + EXCUSED_S)
    assert failures.needs_care(shard)  # that death was too long ago to be the node's
    failures.excuse("a", EXCUSED_S)
    assert not failures.needs_care(shard)


def test_who_was_found_guilty_stays_so():
    failures, shard = Failures(shard_attempts=3), spec(0)
    for _ in range(3):
        die(failures, [shard], {"000000": ["0a"]})
    failures.excuse("a", 1)
    assert failures.caution(shard) == Caution(noted=True, skipped=frozenset({"0a"}))


def test_a_committed_shard_is_forgotten():
    failures, shard = Failures(shard_attempts=2), spec(0)
    die(failures, [shard])
    failures.after_commit(shard)
    assert not failures.needs_care(shard)
    assert isinstance(die(failures, [shard]), Retry)
