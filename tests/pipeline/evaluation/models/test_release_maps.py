"""A model predicts the photos of a release; an interrupted prediction goes on, and two models are never mixed."""

import json

import numpy as np
import pytest
from PIL import Image

from model.prediction import ModelMemoryError, ModelOutputError
from pipeline.errors import CollectionError, ConfigError, RunMismatchError
from pipeline.evaluation.models.release_maps import predict_release
from pipeline.release.opened import open_release
from tests.pipeline.make import make_collection

KEYS = [f"{number:012d}" for number in (2, 4, 6, 8, 10)]


class Red:
    """The red channel of a photo; it can fail at a key, or be interrupted at one."""

    def __init__(self, name="red", fails_at="", ends_at="", error=ModelOutputError):
        self.about = {"kind": "test", "name": name}
        self._fails_at, self._ends_at, self._error = fails_at, ends_at, error
        self.asked = []

    def map_of(self, image, key):
        if key == self._ends_at:
            raise KeyboardInterrupt
        if key == self._fails_at:
            raise self._error("no map today")
        self.asked.append(key)
        return np.ascontiguousarray(image[..., 0])


@pytest.fixture(scope="module")
def opened(released):
    return open_release(str(released.folder))


def test_every_accepted_photo_gets_a_map_of_its_pixels(opened, released, tmp_path):
    found = predict_release(opened, Red(), tmp_path / "maps")
    assert (found.predicted, found.there, found.failures) == (5, 0, {})
    for key in KEYS:
        photo = Image.open(released.inputs.file(int(key))).convert("RGB")
        assert (np.asarray(Image.open(tmp_path / f"maps/{key}.png")) == np.asarray(photo)[..., 0]).all()
    assert json.loads((tmp_path / "maps/made_with.json").read_text())["release"] == opened.sha256


def test_an_interrupted_prediction_goes_on_where_it_ended(opened, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict_release(opened, Red(ends_at=KEYS[2]), tmp_path)
    rest = Red()
    found = predict_release(opened, rest, tmp_path)
    assert (found.predicted, found.there, rest.asked) == (3, 2, KEYS[2:])
    done = Red()
    assert predict_release(opened, done, tmp_path).there == 5
    assert done.asked == []


@pytest.mark.parametrize("error", [ModelOutputError, ModelMemoryError])
def test_a_photo_without_a_map_is_named_and_costs_no_other(opened, tmp_path, told, error):
    found = predict_release(opened, Red(fails_at=KEYS[1], error=error), tmp_path)
    assert dict(found.failures) == {KEYS[1]: "no map today"}
    assert found.predicted == 4
    assert f"{KEYS[1]} has no map: no map today" in told.lines


def test_maps_of_two_models_are_never_mixed(opened, tmp_path):
    predict_release(opened, Red(), tmp_path / "maps")
    with pytest.raises(RunMismatchError, match="name: made with red, requested blue"):
        predict_release(opened, Red("blue"), tmp_path / "maps")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(CollectionError, match=r"is not empty, and has no made_with\.json"):
        predict_release(opened, Red(), tmp_path / "other")
    (tmp_path / "maps/made_with.json").write_text("{")
    with pytest.raises(CollectionError, match="is malformed"):
        predict_release(opened, Red(), tmp_path / "maps")


def test_a_release_of_masks_alone_has_nothing_to_predict(release_of, tmp_path):
    masks = release_of(make_collection(tmp_path / "in", 4), tmp_path / "run", embed_images=False)
    with pytest.raises(ConfigError, match="has masks alone, so there is nothing to predict"):
        predict_release(open_release(str(masks.folder)), Red(), tmp_path / "maps")
    assert not (tmp_path / "maps").exists()
