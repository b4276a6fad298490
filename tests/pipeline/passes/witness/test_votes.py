"""Votes of several witnesses: shares and majorities are those of numpy, and only witnesses vote."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from model.config import ModelConfig
from model.maps import encode_png
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError, RunMismatchError
from pipeline.passes.agreement import iou
from pipeline.passes.check import verify_passes
from pipeline.passes.config import PassConfig
from pipeline.passes.folder import pass_folder, read_document, read_pass
from pipeline.passes.mask_text import mask_from_text, mask_to_text
from pipeline.passes.options import FlipOptions, VotesOptions, WitnessOptions
from pipeline.passes.rows import commit_rows, read_rows
from pipeline.passes.score import score_run
from pipeline.passes.score_pass import Candidate, Item
from pipeline.passes.witness.votes import Votes
from pipeline.run import run
from pipeline.runs.commits import committed_shards, read_shard_record, read_shard_records
from tests.pipeline.make import make_collection, make_config, make_row, make_sample
from tests.pipeline.passes.networks import brightness, nowhere_for_dark

pytestmark = pytest.mark.usefixtures("fast_disk")
MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda sides: st.tuples(arrays(bool, sides), st.lists(arrays(bool, sides), min_size=2, max_size=5))
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run with two witnesses; the second can't see the first image, which is dark."""
    folder = tmp_path_factory.mktemp("original")
    inputs = make_collection(folder / "collection", 4)
    first = inputs.entries[0]
    Image.new("RGB", (first["width"], first["height"]), (9, 9, 9)).save(inputs.file(1))
    run(make_config(inputs, folder / "run"))
    score(folder / "run", "witness", witness(brightness(folder / "one.onnx")), name="one")
    score(folder / "run", "witness", witness(nowhere_for_dark(folder / "two.onnx", below=0.3)), name="two")
    return folder / "run"


@pytest.fixture
def finished(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


def witness(path):
    return WitnessOptions(witness=str(path), witness_trained_on="nothing")


def score(folder, kind, options, **config):
    inline = ClusterConfig(engine="inline")
    return score_run(PassConfig(run=str(folder), kind=kind, cluster=inline, batch_images=2, **config), options)


def values_of(folder, name):
    records = read_shard_records(str(folder), sorted(committed_shards(str(folder))))
    return read_pass(str(folder), name, records).rows


def counted(mask, ballots, names=None):
    """The values of an image on which these witnesses have these masks; None: it failed."""
    votes = object.__new__(Votes)
    votes._name, votes._witnesses = "votes", tuple(names or (f"w{n}" for n in range(len(ballots))))
    earlier = {}
    for name, ballot in zip(votes._witnesses, ballots, strict=True):
        if ballot is not None:
            earlier |= {f"{name}_iou": iou(ballot, mask), f"{name}_mask": mask_to_text(ballot)}
    files = {"saliency.png": encode_png(np.where(mask, 255, 0).astype(np.uint8))}
    candidate = Candidate(row=make_row(), files=files, earlier=earlier)
    (found,) = votes.score_all([Item(sample=make_sample(), image=None, candidate=candidate)])
    assert found.keys() == {column.name for column in votes.columns}
    return found


@given(MASKS)
def test_shares_and_majority_are_those_of_numpy(masks):
    mask, ballots = masks
    found, ious = counted(mask, ballots), [iou(ballot, mask) for ballot in ballots]
    majority = np.mean(ballots, axis=0) > 0.5
    assert found["votes_share_50"] == sum(one >= 0.5 for one in ious) / len(ious)
    assert found["votes_share_80"] == sum(one >= 0.8 for one in ious) / len(ious)
    assert found["votes_iou"] == iou(majority, mask)
    assert np.array_equal(mask_from_text(found["votes_mask"], *mask.shape), majority)


@given(MASKS, st.randoms())
def test_the_order_of_the_witnesses_does_not_matter(masks, random):
    mask, ballots = masks
    shuffled = list(ballots)
    random.shuffle(shuffled)
    assert counted(mask, shuffled) == counted(mask, ballots)


@given(MASKS)
def test_a_witness_that_failed_has_no_vote(masks):
    mask, ballots = masks
    assert counted(mask, [*ballots, None]) == counted(mask, ballots)


def test_two_witnesses_see_in_common_what_both_see():
    left, top = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    left[:, :2] = top[:2] = True
    found = counted(left, [left, top])
    assert np.array_equal(mask_from_text(found["votes_mask"], 4, 4), left & top)
    assert (found["votes_share_50"], found["votes_iou"]) == (0.5, 0.5)


def test_without_any_vote_nothing_is_known():
    assert set(counted(np.ones((2, 2), bool), [None, None]).values()) == {None}


def test_the_witnesses_of_a_run_vote(finished):
    report = score(finished, "votes", VotesOptions(votes_of=("one", "two")))
    assert (report.scored, report.failed) == (4, 0)
    one, two, votes = (values_of(finished, name) for name in ("one", "two", "votes"))
    assert {row.status for row in two.values()} == {"done", "failed"}
    for key, row in votes.items():
        ious = [rows[key].values[f"{name}_iou"] for name, rows in (("one", one), ("two", two)) if rows[key].values]
        assert row.values["votes_share_50"] == np.mean([found >= 0.5 for found in ious])


def test_votes_know_what_their_witnesses_were_made_with(finished, tmp_path):
    options = VotesOptions(votes_of=("one", "two"))
    score(finished, "votes", options)
    shutil.rmtree(finished / "passes/two")
    score(finished, "witness", witness(brightness(tmp_path / "other.onnx", offset=0.2, gain=0.5)), name="two")
    with pytest.raises(RunMismatchError, match=r"witness two: made with [0-9a-f]{64}, requested [0-9a-f]{64}"):
        score(finished, "votes", options)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((), "--votes-of names 0 passes; name the witness passes that vote, at least two"),
        (("one",), "names 1 passes"),
        (("one", "three"), r"--votes-of three: .* has no such pass \(there: flip, one, two\)"),
        (("one", "flip"), "--votes-of flip: this pass is no witness"),
    ],
)
def test_only_witnesses_of_the_run_vote(finished, names, found):
    score(finished, "flip", FlipOptions(), model=ModelConfig(model="fake"))
    with pytest.raises(ConfigError, match=found):
        score(finished, "votes", VotesOptions(votes_of=names))
    assert not (finished / "passes/votes/pass.json").exists()


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="give each pass once"):
        VotesOptions(votes_of=("one", "one"))


def test_a_witness_that_is_not_finished_is_named(finished):
    for commit in (finished / "passes/two/commits").glob("*"):
        commit.unlink()
    with pytest.raises(RunMismatchError, match=r"the score pass two has 4 images left .*--pass witness --name two"):
        score(finished, "votes", VotesOptions(votes_of=("one", "two")))


def test_votes_are_counted_again_where_a_witness_has_answered_since(finished):
    options = VotesOptions(votes_of=("one", "two"))
    score(finished, "votes", options)
    before = values_of(finished, "votes")
    folder, columns = pass_folder(str(finished), "two"), read_document(str(finished), "two").columns
    record = read_shard_record(folder, "000000")
    *rows, last = read_rows(folder, record, columns)
    size = json.loads(last.values["two_mask"])["size"]
    rows.append(replace(last, values={**last.values, "two_mask": mask_to_text(np.zeros(size, bool)), "two_iou": 0.0}))
    facts = {"scored": record.scored, "made_with": record.made_with}
    commit_rows(folder, "000000", rows, columns, **facts, before=record)
    with pytest.raises(RunMismatchError, match="votes has 3 images left to score"):
        values_of(finished, "votes")
    score(finished, "votes", options)
    after = values_of(finished, "votes")
    assert {key for key in before if before[key] != after[key]} == {last.key}
    assert all(check.scored == 4 for check in verify_passes(str(finished)) if check.name == "votes")
