"""Runs with an adaptive ensemble: the same verdicts with fewer members, the same bytes however they are cut off."""

import io
import json

import pyarrow.parquet as pq
import pytest

from pipeline.errors import RunMismatchError
from pipeline.files import storage
from pipeline.run import run
from tests.pipeline.make import SessionEnded, end_at_write, make_collection, make_config, tree

pytestmark = pytest.mark.usefixtures("small_pages")

COUNT = 8
WHOLE = {"ensemble_size": 10, "adaptive": "off"}
EARLY = {"ensemble_size": 10, "adaptive": "on"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("inputs") / "in", COUNT)


@pytest.fixture(scope="module")
def early(inputs, tmp_path_factory):
    config = make_config(inputs, tmp_path_factory.mktemp("early"), **EARLY)
    run(config)
    return config


def manifest_of(config):
    content = storage.read(storage.join(config.out, "release/sod-benchmark-1.0.0", "manifest.parquet"))
    return pq.read_table(io.BytesIO(content)).to_pylist()


def test_verdicts_are_those_of_whole_ensembles_and_the_manifest_says_how_many_members_there_were(
    inputs, early, tmp_path
):
    whole = make_config(inputs, tmp_path, **WHOLE)
    run(whole)
    pairs = list(zip(manifest_of(early), manifest_of(whole), strict=True))
    assert [(one["key"], one["verdict"], one["reason"]) for one, _ in pairs] == [
        (other["key"], other["verdict"], other["reason"]) for _, other in pairs
    ]
    assert {other["members"] for _, other in pairs} == {10}
    assert {one["members"] for one, _ in pairs} <= {3, 5, 7, 10}
    assert sum(one["members"] for one, _ in pairs) < 10 * COUNT
    assert {one["verdict"] for one, _ in pairs} == {"accepted", "rejected"}


def test_the_result_of_an_image_does_not_depend_on_the_others(inputs, early, tmp_path):
    """Alone in its batch it has the same row; the stand-in's last bits do not depend on batches."""
    run(alone := make_config(inputs, tmp_path, **EARLY, batch_images=1))
    rows = [{name: value for name, value in row.items() if name != "shard"} for row in manifest_of(alone)]
    assert rows == [{name: value for name, value in row.items() if name != "shard"} for row in manifest_of(early)]


@pytest.mark.parametrize("number", [3, 8, 13])
def test_a_run_that_was_cut_off_and_resumed_has_the_same_bytes(inputs, early, tmp_path, number):
    config = make_config(inputs, tmp_path, **EARLY)
    with pytest.MonkeyPatch.context() as patch:
        end_at_write(patch, number, after=True)
        with pytest.raises(SessionEnded):
            run(config)
    run(config)
    assert tree(config.out) == tree(early.out)


def test_resuming_with_other_bounds_is_refused_since_they_decide_which_images_stop(inputs, tmp_path):
    config = make_config(inputs, tmp_path, **EARLY)
    run(config)
    with pytest.raises(RunMismatchError, match=r"stops_by: made with ensemble_variance<=0.02 .*, requested"):
        run(make_config(inputs, tmp_path, **EARLY, max_variance=0.03))
    run(make_config(inputs, tmp_path, **EARLY, target_images=1, version="1.1.0"))


def test_the_fingerprint_says_that_images_could_stop_and_by_which_bounds(early):
    fingerprint = json.loads(storage.read(storage.join(early.out, "run.json")))["fingerprint"]
    assert fingerprint["adaptive"] == "on"
    assert "area>=0.005" in fingerprint["stops_by"]


def test_card_page_and_croissant_say_that_some_images_have_fewer_members(early):
    for name in ("README.md", "index.html", "croissant.json"):
        content = storage.read(storage.join(early.out, "release/sod-benchmark-1.0.0", name)).decode()
        assert "An ensemble of up to 10 SOD-diffusion runs" in content
