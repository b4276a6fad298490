"""A model is measured on a release in one command: it predicts, and its maps are measured as anybody's are."""

import json
import warnings

import pytest

from model.config import EnsembleConfig, ModelConfig
from pipeline.config import ClusterConfig
from pipeline.errors import CollectionError, ConfigError, RunMismatchError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.job import evaluate
from pipeline.evaluation.models.config import OtherModelConfig
from pipeline.evaluation.models.job import made_with_of, with_maps
from pipeline.evaluation.tasks import find_tasks


@pytest.fixture
def config(released, tmp_path):
    """A function that makes a configuration."""

    def make(**options):
        fixed = {"release": str(released.folder), "out": str(tmp_path / "out")}
        return EvaluationConfig(**{**fixed, "cluster": ClusterConfig(engine="inline"), **options})

    return make


def run(wanted):
    wanted.check()
    found = with_maps(wanted)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # pycocotools
        (document,) = evaluate(find_tasks(found), found)
    return document


def test_our_model_and_a_function_are_measured_by_one_command(config, tmp_path):
    own = config(model=ModelConfig(model="fake"), ensemble=EnsembleConfig(ensemble_size=2))
    document = run(own)
    assert document["counts"]["measured"] == 5
    assert document["name"] == "fake on sod-benchmark 1.0.0"
    assert document["made_with"]["kind"] == "sod-diffusion"
    assert document["made_with"]["ensemble ensemble_size"] == "2"
    centre = OtherModelConfig(function="pipeline.evaluation.models.baselines:centre_prior", trained_on="nothing")
    document = run(config(other=centre, out=str(tmp_path / "centre")))
    assert document["made_with"]["trained_on"] == "nothing"
    assert json.loads((tmp_path / "centre/evaluation.json").read_text())["metrics"] == document["metrics"]


def test_maps_of_another_model_are_not_measured_as_this_one(config):
    with_maps(config(other=OtherModelConfig(function="pipeline.evaluation.models.baselines:centre_prior")))
    with pytest.raises(RunMismatchError, match="name: made with"):
        with_maps(config(other=OtherModelConfig(function="pipeline.evaluation.models.baselines:grabcut")))


@pytest.mark.parametrize(("option", "value"), [("seed", 7), ("reduction", "median"), ("processing_res", 96)])
def test_maps_of_other_settings_are_not_measured_as_these(config, option, value):
    with_maps(config(model=ModelConfig(model="fake"), ensemble=EnsembleConfig(ensemble_size=2)))
    other = EnsembleConfig(ensemble_size=2, **{option: value})
    with pytest.raises(RunMismatchError, match=f"ensemble {option}: made with .*, requested {value}"):
        with_maps(config(model=ModelConfig(model="fake"), ensemble=other))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"other": OtherModelConfig(function="a:b"), "predictions": "maps"}, "--predictions are existing maps"),
        ({"other": OtherModelConfig(function="a:b"), "release": "", "images": "i", "masks": "m"}, "give --release"),
        ({"reference": True}, "--reference is for --images"),
        ({"masks": "m"}, "leave out --masks"),
    ],
)
def test_options_that_contradict_are_refused(config, options, said):
    with pytest.raises(ConfigError, match=said):
        config(**options).check()


def test_maps_are_written_to_a_local_folder(config):
    with pytest.raises(ConfigError, match="a model's maps are written to a local folder"):
        with_maps(config(out="s3://bucket/out"))


def test_a_folder_of_maps_from_elsewhere_says_nothing_of_its_model(tmp_path):
    assert made_with_of(tmp_path) == {}
    (tmp_path / "made_with.json").write_text("[")
    with pytest.raises(CollectionError, match=r"made_with\.json is malformed"):
        made_with_of(tmp_path)
