"""Validation: the library's figures for the masks that would be saved, a picture, and the best weights kept."""

import json
import os

import numpy as np
import py_sod_metrics
import pytest
from PIL import Image

from model.config import EnsembleConfig
from model.maps import quantise_saliency
from model.saliency import load_pipeline
from pipeline.errors import CollectionError
from pipeline.training import validation
from pipeline.training.config import DataConfig
from pipeline.training.validation import Validation, validation_pairs
from tests.pipeline.training.make import (
    make_config,
    make_pairs,
    rows_of,
    train_quietly,
    weights_of,
)

ENSEMBLE = EnsembleConfig(ensemble_size=2, denoise_steps=2)


@pytest.fixture(scope="module")
def tiny(tiny_weights):
    return load_pipeline(tiny_weights)


@pytest.mark.filterwarnings("ignore:This class will be removed:UserWarning")
def test_the_figures_are_the_librarys_for_the_saved_masks(tiny, tmp_path):
    make_pairs(tmp_path, 3, 40, 56)
    config = DataConfig(train_release=tmp_path, val_img=tmp_path / "photos", val_gt=tmp_path / "masks")
    pairs = validation_pairs(config)
    found = Validation(pairs, ENSEMBLE).run(tiny, tmp_path / "picture.png")
    mae, s, f = py_sod_metrics.MAE(), py_sod_metrics.Smeasure(), py_sod_metrics.Fmeasure()
    for number in range(3):
        pixels = np.asarray(Image.open(tmp_path / f"photos/{number}.png"))
        (prediction,) = tiny.predict([pixels], [str(number)], ENSEMBLE)
        Image.fromarray(quantise_saliency(prediction.saliency)).save(tmp_path / "map.png")
        saliency, mask = (np.asarray(Image.open(tmp_path / name)) for name in ("map.png", f"masks/{number}.png"))
        for metric in (mae, s, f):
            metric.step(saliency, mask)
    assert found["mae"] == pytest.approx(mae.get_results()["mae"], abs=1e-12)
    assert found["s_measure"] == pytest.approx(s.get_results()["sm"], abs=1e-12)
    assert found["max_f"] == pytest.approx(f.get_results()["fm"]["curve"].max(), abs=1e-12)


@pytest.mark.parametrize(("photos", "rows"), [(1, 1), (2, 1), (3, 2), (13, 6)])
def test_the_picture_has_a_row_for_every_two_of_the_first_twelve_photos(tmp_path, photos, rows):
    three = (np.zeros((30, 20, 3), np.uint8), np.full((30, 20), 255, np.uint8), np.full((30, 20), 99, np.uint8))
    picture = validation._grid([three] * min(photos, validation.GRID_PHOTOS))
    (tmp_path / "grid.png").write_bytes(picture)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (2 * 3 * 160, rows * 160)
        assert [grid.getpixel((x, 10)) for x in (10, 170, 330)] == [(0,) * 3, (255,) * 3, (99,) * 3]


def test_a_photo_without_a_mask_is_named_before_anything_is_learnt(tmp_path, pairs_folder, tiny_weights):
    make_pairs(tmp_path, 2)
    (tmp_path / "masks/1.png").unlink()
    options = {"val_img": tmp_path / "photos", "val_gt": tmp_path / "masks"}
    with pytest.raises(CollectionError, match=r"1\.png"):
        train_quietly(make_config(pairs_folder, tiny_weights, tmp_path / "out", **options))


@pytest.fixture
def train_with(tmp_path, pairs_folder, tiny_weights, monkeypatch):
    """Trains while the validations give the prescribed values; gives the output folder."""

    def run(values, **options):
        coming = iter(values)

        def judge(self, pipeline, picture):
            assert not pipeline.unet.training
            assert not pipeline.conditioner.training
            return dict.fromkeys(("mae", "s_measure", "max_f"), 0.5) | next(coming)

        monkeypatch.setattr(Validation, "run", judge)
        given = {"val_img": pairs_folder / "photos", "val_gt": pairs_folder / "masks", "validation_steps": 1}
        given |= {"max_train_steps": len(values), "checkpointing_steps": 1, "checkpoints_total_limit": None}
        train_quietly(make_config(pairs_folder, tiny_weights, tmp_path / "out", **(given | options)))
        return tmp_path / "out"

    return run


@pytest.mark.parametrize(
    ("best_by", "values", "best"),
    [("mae", [0.3, 0.1, 0.2], 2), ("s_measure", [0.3, 0.1, 0.2], 1), ("max_f", [0.1, 0.2, 0.2], 2)],
)
def test_the_best_by_the_configured_measure_is_kept(train_with, best_by, values, best):
    out = train_with([{best_by: value} for value in values], best_by=best_by)
    assert [float(row[best_by]) for row in rows_of(out)] == values
    assert json.loads((out / "best/origin.json").read_text())["step"] == best
    assert json.loads((out / "model/origin.json").read_text())["step"] == 3
    assert weights_of(out / "best")["unet"] != weights_of(out / "model")["unet"]


def test_the_best_model_that_a_killed_session_had_set_aside_is_back_when_the_training_goes_on(train_with):
    out = train_with([{"mae": value} for value in (0.1, 0.2)])
    (out / "best").rename(out / f".best.{'0' * 32}.replaced")
    assert train_with([{"mae": value} for value in (0.3,)], max_train_steps=3) == out
    assert json.loads((out / "best/origin.json").read_text())["step"] == 1


@pytest.mark.slow
def test_a_real_training_leaves_pictures_and_folders_that_predict(tmp_path, pairs_folder, tiny_weights):
    options = {"val_img": pairs_folder / "photos", "val_gt": pairs_folder / "masks", "validation_steps": 2}
    options |= {"validation_denoise_steps": 2, "max_train_steps": 4, "save_dtype": "float16"}
    train_quietly(make_config(pairs_folder, tiny_weights, tmp_path, **options))
    assert [row["step"] for row in rows_of(tmp_path) if row["mae"]] == ["2", "4"]
    pictures = sorted((tmp_path / "validation").iterdir())
    assert [path.name for path in pictures] == ["step-000002.png", "step-000004.png"]
    with Image.open(pictures[0]) as picture:
        assert picture.size == (960, 320)
    photo = np.asarray(Image.open(pairs_folder / "photos/0.png"))
    for name in ("model", "best"):
        (prediction,) = load_pipeline(tmp_path / name).predict([photo], ["0"], ENSEMBLE)
        assert prediction.saliency.shape == (64, 64)


def test_names_of_files_need_not_be_utf_8(tmp_path, tiny_weights):
    make_pairs(tmp_path, 2)
    for folder in (tmp_path / "photos", tmp_path / "masks"):
        (folder / "1.png").rename(folder / os.fsdecode("caf\u00e9.png".encode("latin-1")))
    options = {"val_img": tmp_path / "photos", "val_gt": tmp_path / "masks", "validation_denoise_steps": 1}
    train_quietly(make_config(tmp_path, tiny_weights, tmp_path / "out", max_train_steps=1, **options))
    assert rows_of(tmp_path / "out")[-1]["mae"]
