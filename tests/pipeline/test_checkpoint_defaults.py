"""A run takes steps, members and bounds from its weights where none are given, and so does a release made later."""

import json
import shutil
from pathlib import Path

import pytest

from model.config import EMBEDDED_MODEL
from pipeline.errors import ConfigError
from pipeline.forecast import forecast
from pipeline.run import run
from pipeline.runs.inputs import remembered_bounds
from tests.pipeline.make import make_collection, make_config

BOUNDS = ("max_variance", "max_variance_per_area")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("inputs") / "in", 1)


@pytest.fixture
def carry_out(inputs, tmp_path):
    """Runs one image; gives fingerprint and policy."""

    def made(**options):
        report = run(make_config(inputs, tmp_path / "out", **{"model": "nano", "ensemble_size": None} | options))
        fingerprint = json.loads((tmp_path / "out" / "run.json").read_bytes())["fingerprint"]
        policy = json.loads(Path(report.release, "release.json").read_bytes())["made_from"]["policy"]
        return fingerprint, tuple(policy[name] for name in BOUNDS)

    return made


def test_what_is_left_out_is_the_weights_own(carry_out, tmp_path):
    fingerprint, bounds = carry_out()
    assert (fingerprint["denoise_steps"], fingerprint["ensemble_size"]) == ("2", "10")
    assert bounds == (0.008, 0.04)
    assert remembered_bounds(str(tmp_path / "out")) == dict(zip(BOUNDS, bounds, strict=True))


@pytest.mark.parametrize(
    ("options", "bounds"),
    [
        ({"max_variance": 0.3 / 2}, (0.15, 0.04)),
        ({"denoise_steps": 3}, (0.02, 0.1)),  # what is recommended holds for two steps
        ({"denoise_steps": 2, "ensemble_size": 4}, (0.008, 0.04)),
    ],
)
def test_what_is_given_counts(carry_out, options, bounds):
    fingerprint, found = carry_out(**options)
    assert found == bounds
    assert fingerprint["denoise_steps"] == str(options.get("denoise_steps", 2))
    assert fingerprint["ensemble_size"] == str(options.get("ensemble_size", 10))


def test_what_is_taken_from_the_weights_is_said(carry_out, caplog):
    caplog.set_level("INFO")
    carry_out()
    assert (
        "not given, so taken from the weights or by default: ensemble_size 10, denoise_steps 2, max_variance 0.008"
        in caplog.text
    )
    assert "recommend bounds" not in caplog.text


def test_bounds_that_do_not_hold_for_other_settings_are_said(carry_out, caplog):
    carry_out(denoise_steps=1)
    assert "so max_variance 0.02 and max_variance_per_area 0.1 count: look at what they accept" in caplog.text


def test_damaged_words_of_a_run_about_its_model_are_said(tmp_path, caplog):
    (tmp_path / "plan").mkdir()
    for content in (b'{"recommended_bounds": {"max_variance": "x"}}', b"[]", b"{"):
        (tmp_path / "plan" / "model.json").write_bytes(content)
        caplog.clear()
        assert remembered_bounds(str(tmp_path)) == {}
        assert "plan/model.json is damaged" in caplog.text


def test_a_model_without_facts_leaves_no_word_of_them(carry_out, tmp_path):
    fingerprint, bounds = carry_out(model="fake")
    assert (fingerprint["denoise_steps"], bounds) == ("10", (0.02, 0.1))
    assert not (tmp_path / "out" / "plan" / "model.json").exists()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"default_ensemble_size": 1}, "is left out, and the weights are made for 1; it must be at least 2"),
        ({"default_denoise_steps": 0}, "default_denoise_steps is 0; it must be from 1 to 999"),
    ],
)
def test_weights_that_are_not_made_for_runs_are_refused_before_anything_is_written(
    carry_out, inputs, tmp_path, facts, said
):
    own = tmp_path / "own"
    shutil.copytree(EMBEDDED_MODEL, own)
    index = own / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_bytes()) | facts))
    with pytest.raises(ConfigError, match=said):
        carry_out(model=str(own))
    with pytest.raises(ConfigError, match=said):
        forecast(make_config(inputs, tmp_path / "out", model=str(own), ensemble_size=None, dry_run=True))
    assert not (tmp_path / "out").exists()
