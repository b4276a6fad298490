"""Models of others are asked for maps: functions of users, networks in ONNX, our own."""

import sys
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.config import EnsembleConfig, ModelConfig
from model.prediction import ModelOutputError
from pipeline.errors import ConfigError
from pipeline.evaluation.models.config import OtherModelConfig
from pipeline.evaluation.models.predictors import open_predictor, to_map
from tests.pipeline.passes.networks import brightness

PHOTO = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


CHANGED = {
    "ensemble_size": 3,
    "denoise_steps": 1,
    "timestep_spacing": "leading",
    "processing_res": 96,
    "seed": 7,
    "alignment": "affine",
    "reduction": "median",
    "stretch": True,
    "batch_stats": True,
    "resize_filter": "bicubic",
}
NOT_STATED = {"adaptive": "on", "batch_images": 2, "batch_size": 1}
"""Photos are predicted one by one, with all of their members; `batch_size` changes the last bits alone."""


def opened(**options):
    return open_predictor(OtherModelConfig(**options), ModelConfig(model="fake"), EnsembleConfig(ensemble_size=2))


def about_own(**ensemble):
    return open_predictor(OtherModelConfig(), ModelConfig(model="fake"), EnsembleConfig(**ensemble)).about


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A function that puts a module into the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)

    yield write
    for name in ("mine_a", "mine_b", "mine_c", "mine_d"):
        sys.modules.pop(name, None)


@given(arrays(np.uint8, st.tuples(st.integers(2, 5), st.integers(2, 5))))
def test_the_same_map_in_any_form_is_the_same_map(levels):
    assert (to_map(levels, "x") == levels).all()
    assert (to_map(levels / 255, "x") == levels).all()
    assert (to_map((levels / 255).astype(np.float32)[None, :, :, None], "x") == levels).all()
    assert (to_map(levels > 127, "x") == (levels > 127) * 255).all()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (np.zeros((3, 4, 2)), r"shape \(3, 4, 2\); a map is \[h, w\]"),
        (None, "gives NoneType"),
        (np.zeros((0, 4)), "a map is"),
        (np.array([["a", "b"], ["c", "d"]]), "gives <U1; a map is bool, uint8"),
        (np.array([[0, 300], [1, 2]]), "gives int64"),
        (np.array([[0.0, np.nan], [0, 0]]), "NaN or infinity"),
        (np.array([[0.0, 254.0], [0, 0]]), "values from 0 to 254; they must be from 0 to 1"),
    ],
)
def test_what_is_no_map_is_named(found, said):
    with pytest.raises(ModelOutputError, match=said):
        to_map(found, "mine:f")


def test_a_function_in_the_working_folder_is_asked_and_cannot_change_the_photo(own_module):
    own_module("mine_a", "def f(image):\n    image[:] = 0\n    return image[..., 0]\n")
    predictor = opened(function="mine_a:f", trained_on=" DUTS-TR ")
    photo = PHOTO.copy()
    assert (predictor.map_of(photo, "k") == 0).all()
    assert (photo == PHOTO).all()
    assert predictor.about["trained_on"] == "DUTS-TR"
    own_module("mine_b", "def f(image):\n    return image[..., 0]  # another source\n")
    assert opened(function="mine_b:f").about["source"] != predictor.about["source"]


def test_what_a_function_raises_costs_its_photo(own_module):
    own_module("mine_c", "def f(image):\n    raise KeyError('no such layer')\n")
    with pytest.raises(ModelOutputError, match="mine_c:f: KeyError: 'no such layer'"):
        opened(function="mine_c:f").map_of(PHOTO, "k")
    own_module("mine_d", "import sys\n\ndef f(image):\n    sys.exit(0)\n")
    with pytest.raises(ModelOutputError, match="mine_d:f: SystemExit: 0"):
        opened(function="mine_d:f").map_of(PHOTO, "k")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nowhere_at_all:f", "ModuleNotFoundError"),
        ("mine_d:g", "the module mine_d has no function g"),
        ("mine_d:number", "has no function number"),
    ],
)
def test_a_function_that_is_not_there_is_refused(own_module, function, said):
    own_module("mine_d", "number = 1\n")
    with pytest.raises(ConfigError, match=said):
        opened(function=function)


@pytest.mark.parametrize("function", ["nothing", ":f", "module:"])
def test_a_function_is_given_with_its_module(function):
    with pytest.raises(ValueError, match=r"give it as package\.module:name"):
        OtherModelConfig(function=function)
    with pytest.raises(ValueError, match="give one of them"):
        OtherModelConfig(function="a:b", onnx="x.onnx")


def test_a_network_is_asked_as_its_options_say(tmp_path):
    path = brightness(tmp_path / "net.onnx")
    predictor = opened(onnx=str(path), preset="none", network_size=(16,))
    found = predictor.map_of(np.full((5, 9, 3), 255, dtype=np.uint8), "k")
    assert found.shape == (5, 9)
    assert found.min() > 250
    assert predictor.about["kind"] == "onnx"
    assert len(predictor.about["weights"]) == 64


def test_our_own_model_is_asked_with_the_noise_of_the_key():
    predictor = opened()
    one, again, other = (predictor.map_of(PHOTO, key) for key in ("a", "a", "b"))
    assert (one == again).all()
    assert (one != other).any()
    assert predictor.about["kind"] == "sod-diffusion"


@pytest.mark.parametrize(("option", "value"), CHANGED.items())
def test_every_setting_that_changes_a_map_of_our_own_is_stated(option, value):
    plain, changed = about_own(), about_own(**{option: value})
    assert {name for name in plain if plain[name] != changed[name]} == {f"ensemble {option}"}
    assert changed[f"ensemble {option}"] == str(value)


@pytest.mark.parametrize(("option", "value"), NOT_STATED.items())
def test_settings_of_batches_and_of_stopping_early_are_not_stated(option, value):
    assert about_own(**{option: value}) == about_own()


def test_no_setting_of_the_ensemble_is_forgotten():
    assert {field.name for field in fields(EnsembleConfig)} == CHANGED.keys() | NOT_STATED.keys()


def test_settings_that_are_left_to_the_weights_are_stated_as_the_weights_have_them():
    assert about_own() == about_own(ensemble_size=10, denoise_steps=10)


def test_our_own_model_states_its_device():
    assert about_own()["device"] == "cpu"
