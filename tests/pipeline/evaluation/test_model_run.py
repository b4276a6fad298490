"""The pipeline predicts photos with the fake model; maps and scores of its candidates are measured."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from model.config import ModelConfig
from model.seeds import key_of
from pipeline.collection.coco import read_annotations
from pipeline.config import ClusterConfig
from pipeline.errors import RunMismatchError, StorageError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.measures import measure
from pipeline.evaluation.model_run import annotations_of, evaluate_model, made_with, run_url
from pipeline.evaluation.outcomes import How
from pipeline.evaluation.pairs import pair_files
from pipeline.files import storage
from pipeline.options import from_options
from pipeline.passes.config import PassConfig
from pipeline.passes.folder import read_pass
from pipeline.passes.options import FlipOptions
from pipeline.passes.score import score_run
from pipeline.release.build import complete_run
from pipeline.replicas.work import process_shard
from pipeline.runs.candidates import read_maps, read_rows
from pipeline.runs.commits import committed_shards, read_shard_record, read_shard_records
from pipeline.selection.scores import SCORES
from tests.pipeline.evaluation.make import make_folders, photo, save, truth
from tests.pipeline.make import candidate

COUNT = 7


class SessionEnded(Exception):
    """The session was ended here on purpose."""


def make_config(folder, out, **options):
    given = {"images": str(folder / "photos"), "masks": str(folder / "masks"), "out": str(out), "engine": "inline"}
    given |= {"model": "fake", "ensemble_size": 3, "shard_size": 3, "batch_images": 2}
    config: EvaluationConfig = from_options(EvaluationConfig, given | options, missing=None)
    return config


def evaluated(folder, out, **options):
    pairs = pair_files(folder / "photos", folder / "masks")
    return evaluate_model(pairs, str(out), How(), make_config(folder, out, **options))


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("photos"), COUNT)


def test_maps_and_scores_are_those_of_the_candidates(folder, tmp_path):
    found = evaluated(folder, tmp_path)
    run = run_url(str(tmp_path))
    assert sorted(committed_shards(run)) == ["000000", "000001", "000002"]
    maps, rows = {}, {}
    for shard in committed_shards(run):
        record = read_shard_record(run, shard)
        maps |= dict(read_maps(run, record))
        rows |= {row.key: row for row in read_rows(run, record)}
    assert [image.name for image in found.images] == [f"im{number:03d}" for number in range(1, COUNT + 1)]
    for number, image in enumerate(found.images, start=1):
        key = key_of(image.name)
        assert image.measures.mae == measure(maps[key].saliency, truth(number)).mae
        assert image.scores == rows[key].scores
    assert tuple(found.risk_coverage) == SCORES
    assert found.failures == ()


def test_ids_follow_the_names_and_sizes_the_headers(tmp_path):
    for number, name in enumerate(["b", "a", "c.d"]):
        save(tmp_path / f"photos/{name}.jpg", photo(1, 20 + number, 30))
        save(tmp_path / f"masks/{name}.png", truth(1, 20 + number, 30))
    pairs = pair_files(tmp_path / "photos", tmp_path / "masks")
    assert annotations_of(pairs)["images"] == [
        {"id": int(key_of("a")), "file_name": "a.jpg", "width": 30, "height": 21},
        {"id": int(key_of("b")), "file_name": "b.jpg", "width": 30, "height": 20},
        {"id": int(key_of("c.d")), "file_name": "c.d.jpg", "width": 30, "height": 22},
    ]


def test_two_names_of_one_number_get_two_ids(tmp_path):
    for name in ("01", "1", "2"):
        save(tmp_path / f"photos/{name}.jpg", photo(1))
        save(tmp_path / f"masks/{name}.png", truth(1))
    pairs = pair_files(tmp_path / "photos", tmp_path / "masks")
    assert [image["id"] for image in annotations_of(pairs)["images"]] == [1, 2, 3]


def test_a_session_that_ends_in_the_middle_is_resumed(folder, tmp_path, monkeypatch):
    expected = evaluated(folder, tmp_path / "undisturbed")
    computed = []

    def end_once(spec, *arguments):
        computed.append(spec.name)
        if computed == ["000000", "000001"]:
            raise SessionEnded
        return process_shard(spec, *arguments)

    monkeypatch.setattr("pipeline.replicas.setup.process_shard", end_once)
    with pytest.raises(SessionEnded):
        evaluated(folder, tmp_path / "out")
    assert committed_shards(run_url(str(tmp_path / "out"))) == {"000000": 0}
    found = evaluated(folder, tmp_path / "out")
    assert computed == ["000000", "000001", "000001", "000002"]
    assert (found.summary, found.risk_coverage) == (expected.summary, expected.risk_coverage)


def test_a_single_member_is_measured_without_scores_and_without_a_release_and_resumed(folder, tmp_path, monkeypatch):
    found = evaluated(folder, tmp_path, ensemble_size=1)
    run = run_url(str(tmp_path))
    assert len(found.images) == COUNT
    assert found.risk_coverage == {}
    assert {len(image.scores) for image in found.images} == {0}
    assert not storage.exists(storage.join(run, "release"))
    maps = {key: saliency for shard in committed_shards(run) for key, saliency in _maps_of(run, shard)}
    for number, image in enumerate(found.images, start=1):
        assert image.measures.mae == measure(maps[key_of(image.name)], truth(number)).mae
    monkeypatch.setattr("pipeline.replicas.setup.process_shard", None)
    assert evaluated(folder, tmp_path, ensemble_size=1).summary == found.summary
    with pytest.raises(RunMismatchError, match="one ensemble member per image: without a variance"):
        complete_run(run, read_annotations(str(tmp_path / "images.json")))


def _maps_of(run, shard):
    return [(key, maps.saliency) for key, maps in read_maps(run, read_shard_record(run, shard))]


def test_other_masks_are_measured_without_predicting_again(tmp_path, monkeypatch):
    folder = make_folders(tmp_path / "in", 3)
    before = evaluated(folder, tmp_path / "out")
    save(folder / "masks/im002.png", truth(5))
    monkeypatch.setattr("pipeline.replicas.setup.process_shard", None)
    after = evaluated(folder, tmp_path / "out")
    changed = [a.name for a, b in zip(before.images, after.images, strict=True) if a.truth_sha256 != b.truth_sha256]
    assert changed == ["im002"]


def test_other_options_of_the_model_are_refused(folder, tmp_path):
    evaluated(folder, tmp_path)
    with pytest.raises(RunMismatchError, match="ensemble_size: made with 3, requested 4"):
        evaluated(folder, tmp_path, ensemble_size=4)


def test_the_result_says_what_the_maps_were_made_with(folder, tmp_path):
    evaluated(folder, tmp_path, seed=5)
    found = made_with(str(tmp_path))
    assert (found["seed"], found["weights"], found["device"]) == ("5", "fake", "cpu")
    assert "torch" in found


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def not_an_image(path):
    path.write_bytes(b"no image")


def larger(path):
    save(path, photo(1, 24, 31))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut, "undecodable: 397131839426 ('im002.jpg')"),
        (not_an_image, "undecodable: 397131839426 ('im002.jpg')"),
        (larger, "size_mismatch: photo photos/im002.jpg has 31 x 24 px, mask masks/im002.png 30 x 24 px"),
    ],
)
def test_an_unusable_photo_costs_only_itself(tmp_path, spoil, said):
    folder = make_folders(tmp_path / "in", 4)
    spoil(folder / "photos/im002.jpg")
    found = evaluated(folder, tmp_path / "out")
    assert [image.name for image in found.images] == ["im001", "im003", "im004"]
    assert [failure.name for failure in found.failures] == ["im002"]
    assert said in found.failures[0].reason


def test_an_image_on_which_the_model_fails_costs_only_itself(folder, tmp_path):
    found = evaluated(folder, tmp_path, model=f"fake:fail_at={key_of('im004')}")
    assert [failure.name for failure in found.failures] == ["im004"]
    assert "model_output" in found.failures[0].reason
    assert found.summary.images == COUNT - 1


def test_a_broken_mask_costs_only_itself(tmp_path):
    folder = make_folders(tmp_path / "in", 2)
    not_an_image(folder / "masks/im001.png")
    found = evaluated(folder, tmp_path / "out")
    assert [failure.name for failure in found.failures] == ["im001"]
    assert "masks/im001.png" in found.failures[0].reason


def test_candidates_that_were_tampered_with_are_not_measured(folder, tmp_path):
    evaluated(folder, tmp_path)
    storage.publish(candidate(tmp_path / "run", "000001", "tar"), b"")
    with pytest.raises(StorageError, match="; expected "):
        evaluated(folder, tmp_path)


def test_the_annotations_are_kept_beside_the_run(folder, tmp_path):
    evaluated(folder, tmp_path)
    images = json.loads((tmp_path / "images.json").read_bytes())["images"]
    assert [f"{image['id']:012d}" for image in images] == [key_of(f"im{number:03d}") for number in range(1, COUNT + 1)]
    with Image.open(io.BytesIO((folder / "photos/im001.jpg").read_bytes())) as image:
        assert (images[0]["width"], images[0]["height"]) == image.size
    assert np.prod(image.size) > 0


def scored_run(out, **options):
    """The scores of `flip`, with the stand-in, of an evaluation's run."""
    model, cluster = ModelConfig(model="fake"), ClusterConfig(engine="inline")
    return score_run(
        PassConfig(run=run_url(str(out)), kind="flip", model=model, cluster=cluster, **options), FlipOptions()
    )


def test_scores_of_passes_count_when_the_evaluation_is_run_again(folder, tmp_path, monkeypatch):
    before = evaluated(folder, tmp_path)
    scored_run(tmp_path)
    monkeypatch.setattr("pipeline.replicas.setup.process_shard", None)  # nothing is predicted again
    found = evaluated(folder, tmp_path)
    added = ("flip_iou", "flip_dice", "flip_variance")
    assert tuple(found.risk_coverage) == (*SCORES, *added)
    run = run_url(str(tmp_path))
    values = read_pass(run, "flip", read_shard_records(run, sorted(committed_shards(run))))
    for image, unscored in zip(found.images, before.images, strict=True):
        assert image.scores == {**unscored.scores, **values.rows[key_of(image.name)].values}
    assert len(found.together) == 45
    assert (found.summary, len(before.together)) == (before.summary, 21)


def test_a_pass_that_is_not_complete_is_named_and_left_out(folder, tmp_path, caplog):
    evaluated(folder, tmp_path)
    scored_run(tmp_path)
    scored_run(tmp_path, name="whole")
    commits = tmp_path / "run/passes/flip/commits"
    next(iter(sorted(commits.iterdir()))).unlink()
    found = evaluated(folder, tmp_path)
    assert "whole_iou" in found.risk_coverage
    assert "flip_iou" not in found.risk_coverage
    assert "the scores of the pass flip are left out" in caplog.text
    assert "3 images left to score" in caplog.text
