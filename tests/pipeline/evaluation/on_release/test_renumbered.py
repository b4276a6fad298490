"""Predictions of a collection whose images were numbered anew: its files have names that are other images' keys."""

import json
import tarfile
import warnings

import numpy as np
import pytest

from pipeline.config import ClusterConfig
from pipeline.errors import CollectionError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.grey import read_prediction
from pipeline.evaluation.job import evaluate
from pipeline.evaluation.models.config import OtherModelConfig
from pipeline.evaluation.models.job import with_maps
from pipeline.evaluation.on_release.task import release_task
from pipeline.evaluation.tasks import find_tasks
from pipeline.files.maps import decode_png
from pipeline.leaderboard.add import add_result
from pipeline.release.coco_json import encode_mask
from tests.pipeline.evaluation.make import save
from tests.pipeline.make import make_collection, renumber


def config_of(released, folder, **options):
    given = {"release": str(released.folder), "out": str(folder / "out"), "cluster": ClusterConfig(engine="inline")}
    return EvaluationConfig(**given, **options)


def named(released, how):
    """Key → name without suffix."""
    files = {row["key"]: row["file_name"] for row in released.manifest() if row["verdict"] == "accepted"}
    return {
        "keys": {key: key for key in files},
        "marked keys": {key: f"{key}.key" for key in files},
        "files": {key: name.removesuffix(".jpg") for key, name in files.items()},
        "whole files": files,
    }[how]


def predictions(released):
    """Key → a mask of its own."""
    sizes = {key: decode_png(members["mask.png"]).shape for key, members in released.samples().items()}
    return {
        key: np.arange(height * width).reshape(height, width) % (3 + place) == 0
        for place, (key, (height, width)) in enumerate(sizes.items())
    }


def as_folder(folder, masks, names):
    for key, mask in masks.items():
        save(folder / "maps" / f"{names[key]}.png", mask)
    return folder / "maps"


def as_tar(folder, masks, names):
    with tarfile.open(folder / "maps.tar", "w") as tar:
        for key, mask in masks.items():
            tar.add(save(folder / f"{key}.png", mask), arcname=f"{names[key]}.saliency.png")
    return folder / "maps.tar"


def as_data_set(folder, masks, names):
    images, annotations = [], []
    for number, (key, mask) in enumerate(masks.items()):
        segmentation = {"size": list(mask.shape), "counts": encode_mask(mask).counts}
        images.append({"id": number, "file_name": f"{names[key]}.jpg"})
        annotations.append({"image_id": number, "segmentation": segmentation})
    (folder / "maps.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder / "maps.json"


def require_paired(released, place, folder):
    """Has each image its own prediction?"""
    task = release_task(config_of(released, folder, predictions=str(place)))
    for pair in task.pairs:
        found = read_prediction(pair.source, plain=True)
        assert np.array_equal(found, predictions(released)[pair.name] * np.uint8(255))
    assert task.on_release.surplus == ()


@pytest.mark.parametrize("write", [as_folder, as_tar, as_data_set])
@pytest.mark.parametrize("how", ["keys", "files", "marked keys", "whole files"])
def test_predictions_named_in_one_way_are_each_of_their_image(renumbered, tmp_path, how, write):
    place = write(tmp_path, predictions(renumbered), named(renumbered, how))
    require_paired(renumbered, place, tmp_path)


@pytest.mark.parametrize("write", [as_folder, as_tar, as_data_set])
@pytest.mark.parametrize(("how", "advised"), [("keys", "marked keys"), ("files", "whole files")])
def test_names_that_are_keys_and_files_alike_are_refused_with_advice_that_works(
    permuted, tmp_path, how, advised, write
):
    place = write(tmp_path, predictions(permuted), named(permuted, how))
    with pytest.raises(CollectionError, match=r"maps.* could be of 0{9}\d{3}, whose key it is, or of 0{9}\d{3}, whose"):
        release_task(config_of(permuted, tmp_path, predictions=str(place)))
    (tmp_path / "advised").mkdir()
    require_paired(permuted, write(tmp_path / "advised", predictions(permuted), named(permuted, advised)), tmp_path)


def test_the_tars_of_the_release_are_named_by_keys(renumbered, tmp_path):
    task = release_task(config_of(renumbered, tmp_path, predictions=str(renumbered.folder / "data")))
    assert {pair.name: pair.source.member for pair in task.pairs} == {
        key: f"{key}.saliency.png" for key in renumbered.samples()
    }


@pytest.mark.parametrize("collection", ["renumbered", "permuted"])
def test_a_models_own_maps_are_measured_and_enter_a_leaderboard(collection, request, tmp_path):
    released = request.getfixturevalue(collection)
    centre = OtherModelConfig(function="pipeline.evaluation.models.baselines:centre_prior")
    found = with_maps(config_of(released, tmp_path, other=centre))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # pycocotools
        (document,) = evaluate(find_tasks(found), found)
    assert document["counts"]["measured"] == 5
    pairs = release_task(found).pairs
    assert {pair.name: pair.source.stem for pair in pairs} == {key: key for key in released.samples()}
    add_result(tmp_path / "out", tmp_path / "board", name="centre")
    assert len(list((tmp_path / "board").rglob("maps/*.webp"))) == 5


def test_a_prediction_of_a_rejected_image_is_of_no_accepted_one(release_of, tmp_path):
    """The file of the rejected image 1 is named like the key of the accepted image 2."""
    inputs = renumber(make_collection(tmp_path / "in", 4), lambda number: number + 1)
    released = release_of(inputs, tmp_path / "run")
    for name in ("000000000002.png", "000000000005.png"):
        save(tmp_path / "maps" / name, np.ones((4, 4), np.bool_))
    task = release_task(config_of(released, tmp_path, predictions=str(tmp_path / "maps")))
    assert {pair.name: pair.source and pair.source.name for pair in task.pairs} == {
        "000000000002": None,
        "000000000004": "000000000005.png",
    }
    assert task.on_release.surplus == ("000000000002.png",)
