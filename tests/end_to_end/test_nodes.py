"""A node that is gone for good, in small; `make cluster` has machines of their own, and all that happens to them."""

import threading

import pytest

from tests.end_to_end.nodes import second_node
from tests.end_to_end.submitting import digests, wait_for_commits

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("on_cluster"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_the_shards_of_a_node_that_is_gone_for_good_are_done_by_the_others(head, run_sample, tmp_path, undisturbed):
    with second_node(head, cpus=1) as node:

        def lose_it():
            wait_for_commits(tmp_path, 2)
            node.lose()

        loser = threading.Thread(target=lose_it)
        loser.start()
        run_sample(tmp_path, model="fake:sleep_s=0.15")
        loser.join()
        assert not node.is_there
    assert digests(tmp_path) == undisturbed
