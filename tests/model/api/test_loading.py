"""`model.load`: what it takes, what it refuses, and that importing the package costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import model
from model.api import hub
from model.config import EnsembleConfig, ModelConfig


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "numpy", "PIL", "diffusers")
    code = f"import sys, model; assert callable(model.load); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_nothing_given_is_the_embedded_model_with_the_defaults_of_predict():
    sod = model.load()
    assert sod.config == ModelConfig(threads=1)  # torch has one thread in these tests
    assert sod.ensemble == EnsembleConfig(ensemble_size=10, denoise_steps=2, batch_size=0)
    assert sod.pipeline.default_processing_res == 192
    assert repr(sod) == "Segmenter('nano', cpu, float32, 1 threads, 10 members x 2 steps, seed 0)"


@pytest.mark.parametrize(("of_torch", "cores", "threads"), [(8, 2, 2), (2, 8, 2), (1, 1, 1)])
def test_threads_are_those_of_torch_but_no_more_than_there_are_cores(monkeypatch, of_torch, cores, threads):
    monkeypatch.setattr("torch.get_num_threads", lambda: of_torch)
    monkeypatch.setattr("model.api.loading.usable_cores", lambda: cores)
    assert model.load("fake").config.threads == threads
    assert model.load("fake", threads=5).config.threads == 5


def test_device_and_precision_may_be_those_of_torch(tiny_folder):
    sod = model.load(tiny_folder, device=torch.device("cpu"), dtype=torch.float16)
    assert (sod.config.device, sod.config.dtype) == ("cpu", "float16")
    assert sod.pipeline.unet.dtype == torch.float16


def test_a_folder_and_options_by_name(tiny_folder):
    sod = model.load(tiny_folder, dtype="bfloat16", threads=1, ensemble_size=3, seed=5, reduction="median")
    assert str(sod.pipeline.unet.dtype) == "torch.bfloat16"
    assert (sod.config.threads, sod.ensemble.ensemble_size, sod.ensemble.seed) == (1, 3, 5)
    assert sod.ensemble.reduction == "median"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"ensemble_sise": 3}, TypeError, "there is no option 'ensemble_sise'; did you mean 'ensemble_size'?"),
        ({"wings": 2}, TypeError, "there is no option 'wings': revision, ensemble_size, denoise_steps, .*device"),
        ({"adaptive": "on"}, TypeError, "there is no option 'adaptive'"),
        ({"ensemble_size": 0}, ValueError, "ensemble_size is 0; it must be at least 1"),
        ({"ensemble_size": "3"}, ValueError, "ensemble_size is '3'; it must be a whole number or None$"),
        ({"ensemble_size": True}, ValueError, "ensemble_size is True; it must be a whole number or None$"),
        ({"processing_res": "big"}, ValueError, "processing_res is 'big'; it must be a whole number or None"),
        ({"alignment": "afine"}, ValueError, "alignment is 'afine'; it must be one of .*Did you mean 'affine'?"),
        ({"dtype": "fp16"}, ValueError, "dtype is 'fp16'; it must be one of auto, float32, bfloat16, float16"),
        ({"stretch": 1}, ValueError, "stretch is 1; it must be True or False"),
        ({"device": "nonsense"}, ValueError, "device nonsense can't be used"),
        (
            {"dtype": torch.float64},
            ValueError,
            "dtype is 'float64'; it must be one of auto, float32, bfloat16, float16",
        ),
        ({"device": 0}, ValueError, "device is 0; it must be a string"),
        ({"revision": 3}, TypeError, "revision is 3; give a branch, tag or commit as a string, or None"),
        ({"revision": ["main"]}, TypeError, r"revision is \['main'\]; give a branch"),
        ({"revision": "main"}, ValueError, "revision is 'main', but nano is no repository of the Hub; leave it out"),
        ({"model": "naon"}, ValueError, "there is no folder 'naon' here; give one, 'nano', or a repository"),
        ({"model": "/no/such/folder"}, ValueError, "there is no folder '/no/such/folder' here"),
        ({"model": "tests"}, ValueError, r"tests holds no model_index\.json"),
        ({"model": None}, TypeError, "model is of type NoneType; give 'nano', a folder"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_refused_with_what_was_probably_meant(given, error, said):
    with pytest.raises(error, match=said):
        model.load(**given)


@pytest.fixture
def asked(tiny_folder, monkeypatch, tmp_path):
    """The Hub has the tiny model as `org/tiny`; what was asked of it."""
    asked = []

    def snapshot_download(repository, *, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        if repository != "org/tiny":
            raise OSError(f"404 Client Error.\n\nRepository Not Found for url: https://hub/{repository}")
        return str(tiny_folder)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_repository_is_fetched_without_anything_that_could_run(asked):
    sod = model.load("org/tiny", revision="v1")
    assert sod.pipeline.default_processing_res == 64
    assert asked == [("org/tiny", "v1", ["*.safetensors", "*.json"])]
    assert repr(sod).startswith("Segmenter('org/tiny', ")


@pytest.mark.parametrize(
    ("name", "options", "revision"),
    [("hf://org/tiny", {}, None), ("hf://org/tiny@v1", {}, "v1"), ("hf://org/tiny", {"revision": "v1"}, "v1")],
)
def test_a_repository_may_be_named_as_on_the_command_line(asked, name, options, revision):
    model.load(name, **options)
    assert asked == [("org/tiny", revision, ["*.safetensors", "*.json"])]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("s3://bucket/model", {}, "s3://bucket/model can't be loaded; give 'nano', a folder, or a repository"),
        ("hf://org", {}, "hf://org can't be loaded"),
        ("hf://org/tiny@v1", {"revision": "v2"}, "revision is 'v2', and hf://org/tiny@v1 names another"),
    ],
)
def test_urls_of_other_kinds_and_two_revisions_are_refused(asked, name, options, said):
    with pytest.raises(ValueError, match=said):
        model.load(name, **options)
    assert asked == []


def test_a_folder_of_that_name_goes_before_the_hub(asked, tiny_folder):
    Path("org").mkdir()
    Path("org/tiny").symlink_to(tiny_folder)
    model.load("org/tiny")
    assert asked == []


def test_a_repository_that_there_is_not_is_refused_in_one_line(asked):
    with pytest.raises(ValueError, match="there is no folder 'org/absent' here, and the Hub does not give") as refused:
        model.load("org/absent", revision="v2")
    assert "at revision v2: OSError: 404 Client Error. Repository Not Found" in str(refused.value)
    assert "\n" not in str(refused.value)
