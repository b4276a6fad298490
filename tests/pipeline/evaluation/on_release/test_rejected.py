"""Rejected images are measured against the run's own masks, and only a run that the release was made from is taken."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError, RunMismatchError, StorageError
from pipeline.evaluation.contents import drawn
from pipeline.evaluation.on_release.rejected import open_rejected
from pipeline.release.check.release_json import StatedShard
from pipeline.release.opened import open_release
from pipeline.runs.candidates import read_maps
from pipeline.runs.commits import committed_shards, create_again, read_shard_record

REJECTED = [f"{number:012d}" for number in (1, 5, 7, 9)]


@pytest.fixture(scope="module")
def opened(released):
    return open_release(str(released.folder))


@pytest.fixture(scope="module")
def run(released):
    return released.config.out


def stating(opened, **stated):
    """The same release, if its `release.json` stated something else."""
    return replace(opened, stated=replace(opened.stated, **stated))


def test_masks_are_where_the_candidates_have_a_saliency_of_half_or_more(opened, run):
    rejected = open_rejected(run, opened, ("test",))
    assert list(rejected.rows) == REJECTED
    stored = {
        key: maps for shard in committed_shards(run) for key, maps in read_maps(run, read_shard_record(run, shard))
    }
    masks = rejected.masks(REJECTED)
    assert list(masks) == REJECTED
    for key, mask in masks.items():
        assert np.array_equal(drawn(mask), stored[key].saliency / 255 >= 0.5)
    assert any(drawn(mask).any() for mask in masks.values())
    assert rejected.masks(["000000000007"]) == {"000000000007": masks["000000000007"]}


@given(share=st.floats(0.01, 0.99))
def test_each_rejected_image_is_of_one_split(opened, run, share):
    parted = stating(opened, shares={"train": share, "test": 1 - share}, splits=frozenset({"train", "test"}))
    parts = [open_rejected(run, parted, (split,)).rows for split in ("train", "test")]
    assert sorted(key for part in parts for key in part) == REJECTED
    assert list(open_rejected(run, parted, ("test", "train")).rows) == REJECTED


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (
            {"made_with": {"ensemble_size": "99"}},
            r"(?s)has other candidates than .*ensemble_size: made with \d+, requested 99",
        ),
        ({}, "has other candidates than sod-benchmark 1.0.0 was made from, although both were made alike"),
        ({"shards": (StatedShard(shard="000099", images=1, binding=""),)}, "it has no shard 000099"),
    ],
)
def test_a_run_with_other_candidates_is_refused_with_what_differs(opened, run, stated, said):
    with pytest.raises(RunMismatchError, match=said):
        open_rejected(run, stating(opened, candidates="0" * 64, **stated), ("test",))


def test_a_run_that_has_tried_images_again_is_refused_with_what_to_do(opened, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    assert create_again(str(tmp_path / "run"), read_shard_record(str(tmp_path / "run"), "000000"))
    assert open_rejected(str(tmp_path / "run"), opened, ("test",)).rows  # with the same files it is the same run
    with pytest.raises(RunMismatchError, match=r"it has tried images again since then\. Build another --version"):
        open_rejected(str(tmp_path / "run"), stating(opened, candidates="0" * 64), ("test",))


def test_what_is_no_run_is_refused(opened, tmp_path):
    with pytest.raises(CollectionError, match="is not a run, or nothing of it is committed"):
        open_rejected(str(tmp_path), opened, ("test",))


def test_a_torn_candidate_and_one_of_another_size_are_storage_errors(opened, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    rejected = open_rejected(str(tmp_path / "run"), opened, ("test",))
    larger = {key: row | {"width": row["width"] + 1} for key, row in rejected.rows.items()}
    with pytest.raises(StorageError, match=r"the map of 0{11}5 has \d+ x \d+ px, its image"):
        replace(rejected, rows=larger).masks(["000000000005"])
    with pytest.raises(StorageError, match="has no map of 000000000003, which the release says was predicted"):
        rejected.masks(["000000000003"])
    for path in Path(tmp_path / "run/candidates").glob("*.tar"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError):
        rejected.masks(REJECTED)
