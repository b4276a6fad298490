"""Checks before any work: each names the option, what was found, and what to do; none leaves a trace."""

import os
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from model.config import EnsembleConfig, ModelConfig
from pipeline import preconditions
from pipeline.errors import CollectionError, ConfigError, UsageError
from pipeline.photos.config import PhotosConfig
from pipeline.photos.preflight import at_home, check_request, refuse_full_precision
from pipeline.preconditions import (
    has_cluster,
    require_apart,
    require_model,
    require_new_folder,
    require_outside,
    require_place,
    require_target,
    require_there,
)
from pipeline.release.publish.login import require_login

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without a GPU: asked for one, it says so."""

    def refuse(device):
        if device.startswith("cuda"):
            raise ConfigError(f"--device {device}: no GPU here")

    monkeypatch.setattr(preconditions, "require_device", refuse)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_what_can_be_written_passes_and_stays_as_it_was(tmp_path):
    require_target(tmp_path / "deep" / "er", "--out")
    require_place(str(tmp_path / "deep"), "--out")
    require_place(f"memory://{uuid.uuid4().hex}/x", "--out")
    require_new_folder(tmp_path / "new", "--out")
    require_new_folder(tmp_path, "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for check in (require_target, lambda path, option: require_place(str(path), option), require_new_folder):
        with pytest.raises(ConfigError, match=r"--out .*/file/out: nothing can be written there \(Not a directory\)"):
            check(tmp_path / "file" / "out", "--out")
    with pytest.raises(ConfigError, match=r"--out .*file exists and is not an empty folder"):
        require_new_folder(tmp_path / "file", "--out")
    with pytest.raises(ConfigError, match="is not an empty folder"):
        require_new_folder(tmp_path, "--out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        require_target(tmp_path / "out", "--out")


def test_only_places_on_this_machine_are_looked_for(tmp_path):
    require_there(tmp_path, "--images")
    require_there("s3://bucket/images", "--images")
    with pytest.raises(CollectionError, match=r"--images .*/none: there is no such file or folder"):
        require_there(tmp_path / "none", "--images")


def test_weights_that_are_not_there_are_named(tmp_path):
    require_model(ModelConfig(device="cpu"))
    for model, said in ((tmp_path / "none", "there is no such folder"), (tmp_path, "it has no model_index.json")):
        with pytest.raises(ConfigError, match=f"--model {model}: {said}; give `nano` or a folder"):
            require_model(ModelConfig(model=str(model)))


def test_options_of_model_and_ensemble_that_contradict_are_refused():
    with pytest.raises(ConfigError, match="attention is 'math', whose memory grows"):
        require_model(ModelConfig(attention="math"), EnsembleConfig(processing_res=0))


@pytest.mark.usefixtures("no_gpu")
def test_the_machine_that_works_needs_the_device(monkeypatch):
    for engine in ("inline", "ray"):
        with pytest.raises(ConfigError, match="no GPU here"):
            require_model(ModelConfig(device="cuda"), engine=engine)
    require_model(ModelConfig(model="fake", device="cuda"))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert has_cluster()
    require_model(ModelConfig(device="cuda"), engine="ray")  # its machines are asked once they are known
    with pytest.raises(ConfigError, match="no GPU here"):
        require_model(ModelConfig(device="cuda"), engine="inline")
    with pytest.raises(ConfigError, match="there is no such device"):
        require_model(ModelConfig(device="gpu"), engine="ray")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input_rgb_path": "none"}, "--input-rgb-path none: no such file or folder"),
        ({"output_dir": Path("photo.jpg/out")}, "--output-dir photo.jpg/out: nothing can be written there"),
        ({"model": ModelConfig(device="cuda")}, "--device cuda: no GPU here"),
        ({"model": ModelConfig(model="none")}, "--model none: there is no such folder"),
        (
            dict.fromkeys(("stable_diffusion_repo_path", "pretrained_model_path", "swinb_model_path"), Path("none")),
            "--stable-diffusion-repo-path none: there is no such file or folder",
        ),
    ],
)
def test_a_request_to_predict_photos_is_checked_without_a_model(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"")
    given = {"input_rgb_path": "photo.jpg", "output_dir": Path("out")}
    check_request(PhotosConfig(**given))
    with pytest.raises(UsageError, match=said):
        check_request(PhotosConfig(**given | options))
    assert sorted(tmp_path.iterdir()) == [tmp_path / "photo.jpg"]


def test_half_precision_and_an_explicit_float32_contradict_each_other():
    config = PhotosConfig(input_rgb_path="x", output_dir=Path("out"), half_precision=True)
    for dtype in ("", "float16", "bfloat16"):
        refuse_full_precision(config, dtype)
    with pytest.raises(ConfigError, match="--half-precision asks for 16 bits, --dtype float32 for 32"):
        refuse_full_precision(config, "float32")


def test_a_push_to_the_hub_needs_a_token_and_is_told_so_without_the_network(monkeypatch, tmp_path):
    require_login("s3://bucket/releases")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(
        UsageError, match=r"nobody is logged in to the Hub\. Log in with hf auth login, or set HF_TOKEN"
    ):
        require_login("hf://datasets/org/name")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_x")
    require_login("hf://datasets/org/name")


def test_no_check_loads_torch_or_ray():
    modules = "pipeline.preflight, pipeline.photos.preflight, pipeline.release.publish.login, pipeline.training.config"
    modules += ", pipeline.distillation.folder"
    code = f"import sys, {modules}; sys.exit(', '.join({{'torch', 'ray', 'diffusers'}} & sys.modules.keys()) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_photos_in_subfolders_of_the_home_folder_are_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos/of/may").mkdir(parents=True)
    (tmp_path / "photos/of/may/1.jpg").touch()
    config = PhotosConfig(input_rgb_path="~/photos", output_dir=Path("~/masks"), recursive=True)
    check_request(at_home(config))
    with pytest.raises(CollectionError, match="which --recursive reads"):
        check_request(at_home(replace(config, recursive=False)))


def test_masks_beside_their_photos_are_refused_before_the_work(tmp_path):
    (tmp_path / "1.jpg").touch()
    with pytest.raises(ConfigError, match=r"is the folder of the images .*; give another one, .*/masks for example"):
        check_request(PhotosConfig(input_rgb_path=str(tmp_path), output_dir=tmp_path))


def test_a_folder_to_write_to_is_not_inside_the_folder_of_the_images(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)
    for out in ("photos", "photos/run", "photos/deep/run", "link/run", "photos/../photos/run"):
        with pytest.raises(
            ConfigError, match=f"^--out {tmp_path / out} is (inside )?the folder of the images {photos}"
        ):
            require_apart(f"{tmp_path / out}", f"{photos}", "--out")
    for out in (".", "run", "photos2", "photos/../run"):
        require_apart(f"{tmp_path / out}", f"{photos}", "--out")
    require_apart(f"{tmp_path / 'a.zip' / 'run'}", f"{tmp_path / 'a.zip'}", "--out")  # no folder
    with pytest.raises(ConfigError, match="is inside"):
        require_apart("s3://bucket/photos/run", "simplecache::s3://bucket//photos/", "--out")
    require_apart("s3://bucket/photos2", "s3://bucket/photos", "--out")


def test_a_release_takes_nothing_in_from_those_who_read_it(tmp_path):
    release = tmp_path / "release"
    release.mkdir()
    (tmp_path / "link").symlink_to(release)
    for out in ("release", "link/deep", "release/../release/deep"):
        with pytest.raises(ConfigError, match=f"^--out {tmp_path / out} is inside the release {release}.*outside it$"):
            require_outside(str(tmp_path / out), str(release), "--out")
    require_outside(str(tmp_path / "release2"), str(release), "--out")
    require_outside("s3://bucket/release/x", str(release), "--out")


@pytest.mark.parametrize("address", ["http://head:8265", "ray://head:10001", "https://user:secret@head"])
def test_the_address_at_which_jobs_are_submitted_is_no_cluster(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match="RAY_API_SERVER_ADDRESS") as refused:
        has_cluster()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("address", "has"), [(None, False), ("", False), ("local", False), ("10.0.0.5:6379", True)])
def test_a_cluster_is_what_ray_address_names(monkeypatch, address, has):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert has_cluster() == has
