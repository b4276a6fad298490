"""The section of rejected images: what is counted, what is left out, and that it changes no figure of accepted ones."""

import json
from collections import Counter

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.job import has_failures
from pipeline.evaluation.measures import measure
from pipeline.files.maps import mask_of
from pipeline.options import from_options
from pipeline.passes.mask_text import rle_of
from pipeline.runs.candidates import read_maps
from pipeline.runs.commits import committed_shards, read_shard_record
from tests.pipeline.evaluation.make import saliency, save


@pytest.fixture(scope="module")
def candidate_masks(released):
    """Key → mask that a rejected image would have had."""
    run = released.config.out
    rejected = {row["key"] for row in released.manifest() if row["verdict"] == "rejected"}
    return {
        key: mask_of(maps.saliency)
        for shard in committed_shards(run)
        for key, maps in read_maps(run, read_shard_record(run, shard))
        if key in rejected
    }


@pytest.fixture
def all_maps(maps, candidate_masks):
    """Predictions of rejected images too, and of one that has failed."""
    for number, (key, mask) in enumerate(candidate_masks.items()):
        save(maps / f"{key}.png", saliency(number, *mask.shape))
    save(maps / f"{3:012d}.png", saliency(3))
    return maps


def without(document, *fields):
    """The document without the names of folders and these fields of the release."""
    release = {name: value for name, value in document["release"].items() if name not in fields}
    return document | {"release": release, "settings": ""}


def test_figures_of_rejected_images_are_those_of_their_candidates(
    evaluated, all_maps, candidate_masks, released, tmp_path
):
    alone, document = evaluated(all_maps, "alone"), evaluated(all_maps, run=released.config.out)
    fields = ("rejected", "surplus", "surplus_names")
    assert without(document, *fields) == without(alone, *fields)
    assert (alone["release"]["surplus"], document["release"]["surplus_names"]) == (5, [f"{3:012d}.png"])
    found = document["release"]["rejected"]
    assert (found["images"], found["measured"], found["missing"], found["unusable"]) == (4, 4, 0, [])
    groups = {group["stratum"]: group for group in found["groups"]}
    assert {name: group["images"] for name, group in groups.items()} == {"accepted": 5, "rejected": 4, "all": 9}
    maes = [measure(saliency(n, *mask.shape), mask).mae for n, mask in enumerate(candidate_masks.values())]
    assert groups["rejected"]["metrics"]["mae"] == np.mean(maes)
    assert groups["accepted"]["metrics"] == document["metrics"]
    whole = (5 * groups["accepted"]["metrics"]["mae"] + 4 * groups["rejected"]["metrics"]["mae"]) / 9
    assert groups["all"]["metrics"]["mae"] == pytest.approx(whole)
    assert all(
        low <= groups["all"]["metrics"][name] <= high for name, (low, high) in groups["all"]["intervals"].items()
    )
    reasons = {group["stratum"]: (group["rejected"], group["images"]) for group in found["by_reason"]}
    expected = Counter(row["reason"] for row in released.manifest() if row["verdict"] == "rejected")
    assert reasons == {reason: (count, count) for reason, count in expected.items()}
    page = (tmp_path / "out/evaluation.md").read_text()
    assert "4 images were rejected. 4 of them were measured; 0 have no prediction, 0 an unusable one" in page
    assert "**These masks are worse estimates than those of accepted images**" in page
    assert f"| rejected | 4 | {groups['rejected']['metrics']['mae']:.4f} (" in page
    assert "Accepted and rejected" not in (tmp_path / "alone/evaluation.md").read_text()


def test_rejected_images_without_a_usable_prediction_are_left_out_and_counted(evaluated, all_maps, released, tmp_path):
    (all_maps / f"{1:012d}.png").unlink()
    (all_maps / f"{5:012d}.png").write_bytes(b"")
    document = evaluated(all_maps, run=released.config.out)
    found = document["release"]["rejected"]
    assert (found["images"], found["measured"], found["missing"]) == (4, 2, 1)
    assert [entry["name"] for entry in found["unusable"]] == [f"{5:012d}"]
    assert document["counts"]["worst"] == document["counts"]["failed"] == 0
    assert has_failures(document)
    assert f"- {5:012d}: undecodable" in (tmp_path / "out/evaluation.md").read_text()
    assert sum(group["images"] for group in found["by_reason"]) == 2


def test_without_predictions_of_rejected_images_there_are_only_counts(evaluated, maps, released):
    document = evaluated(maps, run=released.config.out)
    found = document["release"]["rejected"]
    assert (found["measured"], found["missing"], found["by_reason"]) == (0, 4, [])
    assert [group["stratum"] for group in found["groups"]] == ["accepted", "all"]
    assert not has_failures(document)


def test_run_lengths_of_rejected_images_are_read_at_their_size(evaluated, masks, candidate_masks, released, tmp_path):
    everything = {**masks, **candidate_masks}
    results = [{"image_id": int(key), "segmentation": rle_of(mask)} for key, mask in everything.items()]
    (tmp_path / "results.json").write_text(json.dumps(results))
    found = evaluated(tmp_path / "results.json", run=released.config.out)["release"]["rejected"]
    assert found["measured"] == 4
    assert {group["stratum"]: group["metrics"]["mae"] for group in found["groups"]}["all"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"release": "r"}, "--run needs --predictions: a release does not have the photos of rejected images"),
        ({"predictions": "p", "masks": "m"}, "are of a release: give --release"),
    ],
)
def test_a_run_without_predictions_or_without_a_release_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        from_options(EvaluationConfig, {"out": "out", "run": "run", **options}, missing=None).check()
