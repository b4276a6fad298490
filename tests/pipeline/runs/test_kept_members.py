"""Runs that keep the masks of their ensemble members: what is stored, bound, checked, and equal without the option."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.maps import encode_png
from pipeline.errors import RunMismatchError
from pipeline.files.maps import decode_masks, encode_masks
from pipeline.files.tars import encode_json
from pipeline.run import run
from pipeline.runs.binding import kept_binding
from pipeline.runs.candidates import KEPT, encode_members, read_members, read_rows
from pipeline.runs.check import _kept_against, verify_run
from pipeline.runs.commits import read_shard_record
from pipeline.runs.run_file import read_run
from pipeline.selection.scores import pairwise_iou
from tests.pipeline.make import make_collection, make_config, make_prediction, make_row, tree
from tests.pipeline.runs.test_check import rewrite_tar, whats

IMAGES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd"), st.binary(max_size=2)), max_size=3)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 4)
    inputs.file(3).write_bytes(inputs.file(3).read_bytes()[:60])
    return inputs


@pytest.fixture(scope="module")
def kept(inputs, tmp_path_factory):
    """Two shards; the third image failed. Not to be changed."""
    config = make_config(inputs, tmp_path_factory.mktemp("kept") / "run", keep_members=True)
    run(config)
    return Path(config.out)


@pytest.fixture
def broken(kept, tmp_path):
    """A copy to be changed."""
    return Path(shutil.copytree(kept, tmp_path / "run"))


def members_of(folder, shard="000000"):
    record = read_shard_record(str(folder), shard)
    files, rows = read_members(str(folder), record), read_rows(str(folder), record)
    return {row.key: (row, files[row.key]) for row in rows if row.status == "done"}


def change_kept(folder, change):
    """Replace each image's file of members in the first shard."""

    def changed(members):
        return [(name, change(name, content) if name.endswith(KEPT) else content) for name, content in members]

    rewrite_tar(folder, "000000", changed)


@given(IMAGES, IMAGES)
def test_shards_have_one_binding_of_members_exactly_if_they_have_the_same_or_none(some, others):
    def is_kept(images):
        return any(content for *_, content in images)

    is_same = some == others if is_kept(some) else not is_kept(others)
    assert (kept_binding(some) == kept_binding(others)) == is_same


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_the_masks_that_are_kept_are_those_that_pairwise_iou_compares(count, height, width, random):
    members = np.array([random.choice([0, 0.49, 0.5, 1]) for _ in range(count * height * width)])
    prediction = make_prediction(members.reshape(count, height, width))
    files = encode_members(make_row(members=count), prediction, keep=True)
    assert list(files) == ["saliency.png", "variance.png", KEPT, "json"]
    assert np.array_equal(decode_masks(files[KEPT], count), prediction.members >= 0.5)


def test_every_predicted_image_has_its_members_and_a_failed_one_none(kept):
    for shard, keys in (("000000", ["000000000001", "000000000002"]), ("000001", ["000000000004"])):
        found = members_of(kept, shard)
        assert list(found) == keys
        for row, files in found.values():
            assert pairwise_iou(decode_masks(files[KEPT], row.members)) == row.scores["pairwise_iou"]
    assert verify_run(str(kept)).problems == ()


def test_images_that_stop_early_keep_as_many_members_as_they_have(inputs, tmp_path):
    config = make_config(inputs, tmp_path / "run", keep_members=True, adaptive="on", ensemble_size=9)
    run(config)
    found = members_of(config.out)
    assert {row.members for row, _ in found.values()} < {3, 5, 7, 9}
    assert len(found) == 2
    assert verify_run(config.out).problems == ()


def test_without_the_option_a_run_is_as_before_and_with_it_everything_else_is_equal(inputs, kept, tmp_path):
    plain = make_config(inputs, tmp_path / "run")
    run(plain)
    (made_with, _), (plainly_made_with, _) = read_run(str(kept)), read_run(plain.out)
    assert made_with == {**plainly_made_with, "keep_members": "True"}
    records = [json.loads((folder / "commits/000000.json").read_bytes()) for folder in (kept, tmp_path / "run")]
    assert set(records[0]) - set(records[1]) == {"kept"}
    assert records[0]["binding"] == records[1]["binding"]
    assert records[0]["rows"] == records[1]["rows"]
    for (_, with_members), (_, without) in zip(members_of(kept).values(), members_of(plain.out).values(), strict=True):
        assert {name: content for name, content in with_members.items() if name != KEPT} == without


def test_a_run_is_not_continued_with_or_without_members_if_it_was_begun_otherwise(inputs, kept, broken):
    with pytest.raises(RunMismatchError, match="keep_members: made with True, requested None"):
        run(make_config(inputs, broken))


def test_a_failed_image_that_is_tried_again_gets_its_members_too(inputs, kept, tmp_path):
    # Its batch is that of image 3 alone, so the others keep the members that an earlier session stored.
    run(make_config(inputs, tmp_path / "run", keep_members=True))
    run(make_config(inputs, tmp_path / "run", keep_members=True, retry_failed=True, version="1.0.1"))
    assert tree(tmp_path / "run/candidates") == tree(kept / "candidates")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda _, content: content[:-20], "does not have the 3 masks of its row"),
        (lambda _, content: encode_png(np.zeros((32, 96), np.uint8)), "mode L"),
        (lambda _, content: encode_masks(np.ones((2, 32, 32), bool)), "64 px are not the width of 3 masks"),
        (lambda _, content: encode_masks(decode_masks(content, 3) ^ (np.arange(32) < 9)), "gives a pairwise_iou of"),
    ],
)
def test_members_that_are_not_those_of_the_row_are_found(broken, change, what):
    change_kept(broken, change)
    assert any(KEPT in found and what in found for found in whats(verify_run(str(broken))))


def test_members_exchanged_between_two_images_that_agree_as_much_are_found(inputs, broken):
    # The masks of each member turned by 90 degrees have the same pairwise_iou.
    change_kept(broken, lambda _, content: encode_masks(decode_masks(content, 3).transpose(0, 2, 1)))
    assert whats(verify_run(str(broken))) == ["binds other images, maps or scores to each other than the shard has"]


def test_members_that_are_missing_and_members_that_should_not_be_there_are_found(broken):
    rewrite_tar(broken, "000000", lambda members: [pair for pair in members if not pair[0].endswith(KEPT)])
    assert any("not ['json', 'members.png', 'saliency.png'" in found for found in whats(verify_run(str(broken))))


def test_a_record_without_its_binding_of_members_is_found(broken):
    path = broken / "commits/000000.json"
    values = json.loads(path.read_bytes())
    assert len(values.pop("kept")) == 64
    path.write_bytes(encode_json(values))
    assert whats(verify_run(str(broken))) == ["binds other images, maps or scores to each other than the shard has"]


def test_at_an_images_own_size_its_members_have_that_size(kept):
    made_with = {"processing_res": "0", "weights": "real"}
    row, files = next(iter(members_of(kept).values()))
    assert list(_kept_against(row.key, files[KEPT], row, (32, 32), made_with)) == []
    (what,) = _kept_against(row.key, files[KEPT], row, (30, 32), made_with)
    assert "masks of 32 x 32 px; they were made at its image's own size" in what
