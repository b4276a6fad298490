"""The pass `empty`: a score that rises as maps get fainter, smaller or less sure, and the witnesses that it asks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model.config import ModelConfig
from model.maps import encode_png
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError, RunMismatchError, SampleError
from pipeline.passes.config import PassConfig
from pipeline.passes.empty import Empty, emptiness
from pipeline.passes.folder import PassDocument, read_document, read_pass
from pipeline.passes.opening import open_pass
from pipeline.passes.options import EmptyOptions
from pipeline.passes.score import score_run
from pipeline.passes.score_pass import Candidate, Item, PassContext
from pipeline.run import run
from pipeline.runs.commits import read_shard_records
from pipeline.selection.columns import owned
from pipeline.selection.scores import Score
from tests.pipeline.make import make_collection, make_config, make_key, make_row, make_sample

MAPS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


def make_map(share, value=255, rest=0, side=100):
    """A square map of which that share has the value."""
    saliency = np.full(side * side, rest, np.uint8)
    saliency[: round(share * side * side)] = value
    return saliency.reshape(side, side)


def make_item(saliency, **earlier):
    candidate = Candidate(row=make_row(), files={"saliency.png": encode_png(saliency)}, earlier=earlier)
    return Item(sample=make_sample(), image=None, candidate=candidate)


def begin_witness(folder, name, *columns):
    """A pass of another model with these columns, of which nothing is scored yet."""
    scores = [Score(name=f"{name}_{column}", meaning="x", worse_when="low") for column in columns]
    document = PassDocument(kind="witness", fingerprint={"a": "b"}, columns=owned(scores, name), about={})
    open_pass(str(folder), name, document)


def make_pass(folder, *witnesses):
    context = PassContext(name="empty", run=str(folder), made_with={}, model=ModelConfig())
    return Empty(EmptyOptions(witnesses=witnesses), context)


# Properties


@given(MAPS)
def test_a_score_is_from_0_to_1_and_does_not_depend_on_where_things_are(saliency):
    found = emptiness(saliency)
    assert 0 <= found <= 1
    assert emptiness(saliency[::-1, ::-1]) == emptiness(saliency.T) == found


@given(MAPS)
def test_a_map_that_is_fainter_everywhere_shows_no_more(saliency):
    assert emptiness(saliency // 2) >= emptiness(saliency) - 1e-12


@given(st.floats(0.0005, 0.5), st.floats(0.0005, 0.5))
def test_a_larger_sure_object_shows_more(one, other):
    smaller, larger = sorted([one, other])
    assert emptiness(make_map(larger)) <= emptiness(make_map(smaller))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 255))
def test_a_witness_can_only_lower_the_score(tmp_path_factory, area, confidence, value):
    folder = tmp_path_factory.mktemp("run")
    begin_witness(folder, "isnet", "area", "confidence")
    item = make_item(make_map(0.2, value), isnet_area=area, isnet_confidence=confidence)
    (alone,), (together,) = make_pass(folder).score_all([item]), make_pass(folder, "isnet").score_all([item])
    assert 0 <= together["empty_score"] <= alone["empty_score"]


# Examples


@pytest.mark.parametrize(
    ("saliency", "low", "high"),
    [
        (make_map(0), 1, 1),
        (make_map(1), 0, 0),
        (make_map(0.2), 0, 0.001),
        (make_map(0.002), 0.6, 0.7),
        (make_map(0.2, value=128), 0.93, 1),
        (make_map(0.1, rest=150), 0.7, 0.8),
    ],
    ids=["nothing", "everything", "an object", "a small one", "half of the members", "a busy image"],
)
def test_what_maps_of_different_kinds_score(saliency, low, high):
    assert low <= emptiness(saliency) <= high


def test_a_witness_that_sees_nothing_changes_nothing_and_one_that_is_sure_decides(tmp_path):
    begin_witness(tmp_path, "isnet", "area", "confidence")
    begin_witness(tmp_path, "u2net", "area", "confidence")
    blind = {"isnet_area": 0.0, "isnet_confidence": 1.0}
    sure = {"u2net_area": 0.3, "u2net_confidence": 0.9}
    found = make_pass(tmp_path, "isnet", "u2net").score_all(
        [make_item(make_map(0), **blind, **dict.fromkeys(sure, 0.0)), make_item(make_map(0), **blind, **sure)]
    )
    assert [values["empty_score"] for values in found] == [1, pytest.approx(0.1)]


def test_a_run_is_scored_and_the_witnesses_are_in_the_fingerprint(tmp_path):
    config = make_config(make_collection(tmp_path / "in", 2), tmp_path / "run")
    run(config)
    found = score_run(PassConfig(run=config.out, kind="empty", cluster=ClusterConfig(engine="inline")), EmptyOptions())
    assert (found.scored, found.columns) == (2, ("empty_score",))
    rows = read_pass(config.out, "empty", read_shard_records(config.out, ["000000"])).rows
    scattered, agreed = (rows[make_key(number)].values["empty_score"] for number in (1, 2))
    assert agreed < 0.1 < scattered  # the stand-in's members agree on images of even ids
    document = read_document(config.out, "empty")
    assert document.fingerprint["option witnesses"] == "()"
    assert "s to the power 5" in document.about["How empty scenes are found"]
    context = PassContext(name="empty", run=config.out, made_with={}, model=ModelConfig())
    begin_witness(config.out, "isnet", "area", "confidence")
    (digest,) = Empty.made_with(EmptyOptions(witnesses=("isnet",)), context).values()
    assert len(digest) == 64


# Faults


def test_a_witness_that_the_run_does_not_have_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no score pass isnet; run sod score .* --name isnet first"):
        make_pass(tmp_path, "isnet")


def test_a_pass_that_is_no_witness_is_refused(tmp_path):
    begin_witness(tmp_path, "flip", "area")
    with pytest.raises(ConfigError, match="the score pass has no flip_confidence; give passes of kind `witness`"):
        make_pass(tmp_path, "flip")


def test_a_witness_that_has_not_scored_all_images_is_refused_before_any_work(tmp_path):
    config = make_config(make_collection(tmp_path / "in", 2), tmp_path / "run")
    run(config)
    begin_witness(config.out, "isnet", "area", "confidence")
    with pytest.raises(RunMismatchError, match="the score pass isnet has 2 images left to score"):
        score_run(
            PassConfig(run=config.out, kind="empty", cluster=ClusterConfig(engine="inline")),
            EmptyOptions(witnesses=("isnet",)),
        )


def test_an_image_that_a_witness_could_not_score_fails(tmp_path):
    begin_witness(tmp_path, "isnet", "area", "confidence")
    (found,) = make_pass(tmp_path, "isnet").score_all([make_item(make_map(0), isnet_area=None, isnet_confidence=0.5)])
    assert isinstance(found, SampleError)
    assert found.reason == "no_witness"


def test_a_witness_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match="give each pass once"):
        EmptyOptions(witnesses=("isnet", "isnet"))
