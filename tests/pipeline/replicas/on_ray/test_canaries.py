"""A canary on the node of a real cluster."""

import pytest

from pipeline.config import ClusterConfig
from pipeline.replicas.on_ray.canaries import look_from, look_from_nodes
from tests.pipeline.make import make_collection, tree
from tests.pipeline.replicas.test_canary import make_setup

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("on_cluster"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_a_node_tells_what_it_sees_and_one_that_is_gone_tells_nothing(tmp_path):
    inputs, out = make_collection(tmp_path / "in", 3), tmp_path / "out"
    (finding,) = look_from_nodes(make_setup(inputs, out), ClusterConfig())
    assert finding.node
    assert finding.lacks == {}
    assert tree(out) == {}
    assert look_from({"ab" * 28: "gone"}, make_setup(inputs, out)) == []
    setup = make_setup(inputs, out, code="ab")
    inputs.file(1).unlink()
    (finding,) = look_from_nodes(setup, ClusterConfig())
    assert [lack.partition(":")[0] for lack in finding.lacks] == ["code", "image 000000000001 is missing"]
