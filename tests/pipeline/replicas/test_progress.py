"""Examples of what is shown of a run's counts; time is a number that the tests set."""

import pytest

from pipeline.errors import ConfigError, ReleaseNotMadeError, StorageError
from pipeline.progress.stages import Stage, shown_by
from pipeline.progress.words import line
from pipeline.replicas.progress import Progress, working
from pipeline.selection.policy import PolicyConfig
from tests.pipeline.make import make_row, make_scores
from tests.pipeline.progress.make import Clock, Recorder

ACCEPTED, REJECTED = make_row(), make_row(scores=make_scores(ensemble_variance=0.2))
FAILED = make_row(reason="undecodable")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    return Progress(37, PolicyConfig(), clock)


def shown(progress, **options):
    """The line of a stage that shows these counts and nothing of time."""
    stage = Stage("labelling", progress.images, "images")
    progress.show(stage, **options)
    return line(stage)


def test_a_line_has_counts_and_shares(progress):
    progress.add_computed((ACCEPTED,) * 5 + (REJECTED,) * 2 + (FAILED,))
    assert shown(progress) == "labelling: 8 of 37 images; 71% accepted, 1 failed"


def test_images_at_which_memory_ran_short_are_counted(progress):
    progress.add_computed((ACCEPTED, make_row(fewer_at_once=4), make_row(fewer_at_once=2)))
    assert shown(progress).endswith("; memory ran short at 2")


def test_before_anything_is_done_nothing_is_claimed(progress):
    assert shown(progress) == "labelling: 0 of 37 images; 0 failed"
    assert progress.kept() == ""


def test_images_of_an_earlier_session_count_as_done_but_not_for_the_rate(progress, clock):
    progress.add_earlier(27)
    clock.now_s += 1
    progress.add_computed((ACCEPTED,) * 2)
    assert progress.computed == 2
    assert progress.images_per_s() == 2.0
    assert shown(progress) == "labelling: 29 of 37 images; 100% accepted, 0 failed"
    assert progress.settled == 29
    assert progress.kept() == "29 of 37 images are committed and stay"
    with progress.shown(5) as stage:
        assert (stage.done, stage.pace.per_s()) == (29, None)


def test_images_of_unfinished_shards_count_as_done(progress):
    assert shown(progress, in_flight=4) == "labelling: 4 of 37 images; 0 failed"
    assert shown(progress, in_flight=99).startswith("labelling: 37 of 37 images")


def test_failed_images_have_no_part_in_the_accepted_share(progress):
    progress.add_computed((FAILED,) * 37)
    assert shown(progress) == "labelling: 37 of 37 images; 37 failed"


def test_replicas_are_shown_in_one_phrase_however_many_there_are(progress):
    assert shown(progress, each_per_s=[1.5]).endswith("; 1 replica, 1.50 images/s")
    many = [1 + number / 1000 for number in range(500)]
    assert shown(progress, each_per_s=many).endswith("; 500 replicas, 1.00 to 1.50 images/s each")


def test_the_first_images_that_fail_are_named_when_they_do(progress):
    recorder = Recorder()
    with shown_by(recorder):
        for _ in range(4):
            progress.add_computed((ACCEPTED, FAILED, FAILED))
    named = f"{FAILED.key} failed: undecodable: {FAILED.detail}"
    assert recorder.lines[:5] == [named] * 5
    assert len(recorder.lines) == 6


def test_the_policy_decides_what_is_shown_as_accepted(clock):
    progress = Progress(1, PolicyConfig(max_variance=0.25), clock)
    progress.add_computed((REJECTED,))
    assert progress.decisions == {"accepted": 1}


def test_scores_alone_are_neither_accepted_nor_rejected(clock):
    progress = Progress(2, None, clock)
    progress.add_computed((REJECTED, FAILED))
    assert shown(progress).endswith("2 of 2 images; 1 failed")


def test_a_wrong_request_that_comes_after_images_were_computed_is_no_longer_one():
    progress = Progress(5, PolicyConfig())
    with pytest.raises(ConfigError, match=r"^no$"), working(progress):
        raise ConfigError("no")
    progress.add_computed([make_row(), make_row()], 2)
    with pytest.raises(ReleaseNotMadeError, match=r"no\. 2 of 5 images are committed and stay"), working(progress):
        raise ConfigError("no")
    with pytest.raises(StorageError, match=r"^torn$"), working(progress):
        raise StorageError("torn")
