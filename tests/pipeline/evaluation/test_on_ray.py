"""Plain functions as tasks on a Ray cluster: in order, complete, and with their own exceptions. One cluster for all."""

import os
import signal
import threading
import time

import pytest

from pipeline.config import ClusterConfig
from pipeline.errors import ReplicaError, Stopped, StorageError
from pipeline.replicas.on_ray.tasks import run_tasks
from tests.pipeline.evaluation.make import evaluate_maps, make_folders

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("on_cluster"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def square_late(number):
    """Later items finish sooner."""
    time.sleep(0.05 * (8 - number) / 8)
    return number * number


def fail_at_3(number):
    if number == 3:
        raise StorageError("it is a three")
    return number


def die_at_3(number):
    if number == 3:
        os._exit(1)
    return number


def die_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        os._exit(1)
    return "alive"


def test_answers_are_in_the_order_of_the_items_and_reported_as_they_come():
    told = []
    assert run_tasks(square_late, range(9), attempts=1, on_answer=told.append) == [n * n for n in range(9)]
    assert told == [n * n for n in range(9)]
    assert run_tasks(square_late, [], attempts=1) == []


def test_an_exception_of_a_task_is_raised_unchanged():
    with pytest.raises(StorageError, match="it is a three"):
        run_tasks(fail_at_3, range(9), attempts=3)


def test_a_task_that_lost_its_process_is_done_again(tmp_path):
    assert run_tasks(die_once, [str(tmp_path / "died")], attempts=2) == ["alive"]
    with pytest.raises(ReplicaError):
        run_tasks(die_once, [str(tmp_path / "died too")], attempts=1)


def test_a_task_that_always_kills_its_process_ends_it():
    with pytest.raises(ReplicaError, match="did not end in 2 tries"):
        run_tasks(die_at_3, range(9), attempts=2)


def test_a_request_to_stop_counts_even_if_all_answers_are_ready():
    def stop(_):
        os.kill(os.getpid(), signal.SIGTERM)

    told = []
    with pytest.raises(Stopped):
        run_tasks(fail_at_3, [1] * 300, attempts=1, on_answer=lambda answer: told.append(answer) or stop(answer))
    assert len(told) == 1


def test_an_evaluation_on_ray_equals_that_of_one_process_to_the_last_bit(tmp_path):
    folder = make_folders(tmp_path, 20)
    (folder / "maps/im009.png").write_bytes(b"no image")
    inline = evaluate_maps(folder)
    on_ray = evaluate_maps(folder, cluster=ClusterConfig())
    assert on_ray.summary == inline.summary
    assert on_ray.failures == inline.failures
    assert [image.name for image in on_ray.images] == [image.name for image in inline.images]
    assert [image.truth_sha256 for image in on_ray.images] == [image.truth_sha256 for image in inline.images]


def wait_long(_):
    time.sleep(20)  # the last test of the module, since it keeps the cores busy


def test_a_request_to_stop_does_not_wait_for_the_answer():
    timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM))
    # If `run_tasks` ended before the timer did, its signal would end this process, in whatever test comes next.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        timer.start()
        started_s = time.monotonic()
        with pytest.raises(Stopped):
            run_tasks(wait_long, range(2), attempts=1)
        assert time.monotonic() - started_s < 15
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)
