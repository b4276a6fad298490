"""Runs whose model is at a URL: fetched before the work, bound to its digest, and named by the release."""

import pytest

from model.fake import FakeModel
from model.weights import weights_sha256
from pipeline.config import ReleaseConfig
from pipeline.errors import RunMismatchError
from pipeline.files import model_urls, storage
from pipeline.forecast import forecast
from pipeline.release.sources import with_model
from pipeline.replicas import setup
from pipeline.run import run
from pipeline.runs.check import verify_run
from pipeline.runs.inputs import remembered_model
from pipeline.runs.run_file import read_run
from tests.pipeline.make import make_collection, make_config, tree

pytestmark = pytest.mark.usefixtures("fast_disk")

URL = "memory://fetched_models/one"
FILES = {"model_index.json": b"{}", "unet/model.safetensors": b"weights"}
COMMIT = "ab" * 20


@pytest.fixture(autouse=True)
def loaded(tmp_path, monkeypatch):
    """The folders from which models were loaded; nothing is predicted by real ones."""
    folders = []

    def load_model(model, ensemble, enough):
        folders.append(model.folder)
        return FakeModel(ensemble=ensemble, enough=enough)

    monkeypatch.setattr(setup, "load_model", load_model)
    monkeypatch.setenv("SOD_CACHE", str(tmp_path / "cache"))
    for name, content in FILES.items():
        storage.publish(f"{URL}/{name}", content)
    yield folders
    storage.remove_tree(URL)


@pytest.fixture
def inputs(tmp_path):
    return make_collection(tmp_path / "in", 3)


def test_a_run_with_a_model_at_a_url_is_a_run_with_its_weights(inputs, tmp_path, loaded):
    config = make_config(inputs, tmp_path / "out", model=URL)
    dry = forecast(make_config(inputs, tmp_path / "out", model=URL, pilot_images=0))
    report = run(config)
    (folder,) = loaded
    assert tree(folder) == FILES
    made_with, _ = read_run(config.out)
    assert made_with["weights"] == dry.fingerprint["weights"] == weights_sha256(folder)
    assert remembered_model(config.out) == URL
    assert URL in storage.read(f"{report.release}/README.md").decode()
    assert verify_run(config.out).problems == ()
    assert run(config).computed == 0


def test_a_model_that_was_changed_at_its_url_is_another_model(inputs, tmp_path):
    config = make_config(inputs, tmp_path / "out", model=URL)
    run(config)
    storage.publish(f"{URL}/unet/model.safetensors", b"others")
    with pytest.raises(RunMismatchError, match="weights: made with"):
        run(config)


def test_a_run_with_a_folder_remembers_no_url(inputs, tmp_path):
    config = make_config(inputs, tmp_path / "out")
    run(config)
    assert remembered_model(config.out) == ""
    assert not (tmp_path / "out/plan/model.json").exists()


@pytest.mark.parametrize(
    ("url", "name", "address"),
    [
        (f"hf://org/name@{COMMIT}", f"org/name at {COMMIT}", f"https://huggingface.co/org/name/tree/{COMMIT}"),
        (f"hf://o/n@{COMMIT}/a/b", f"o/n/a/b at {COMMIT}", f"https://huggingface.co/o/n/tree/{COMMIT}/a/b"),
        ("s3://bucket/model", "s3://bucket/model", ""),
        ("s3://bucket/" + "a" * 200, "", ""),
        ("s3://bucket/\x1b[31m", "", ""),
        ("", "", ""),
    ],
)
def test_a_release_names_the_model_that_was_fetched(url, name, address):
    found = with_model(ReleaseConfig(), url)
    assert (found.model_name, found.model_url) == (name, address)


def test_what_the_publisher_says_of_the_model_comes_first():
    for given in (ReleaseConfig(model_name="mine"), ReleaseConfig(model_url="https://example.org/mine")):
        assert with_model(given, f"hf://org/name@{COMMIT}") == given


def test_a_model_is_fetched_before_a_run_is_begun(inputs, tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("cut off")

    monkeypatch.setattr(model_urls.model_cache, "fetch", fail)
    with pytest.raises(RuntimeError, match="cut off"):
        run(make_config(inputs, tmp_path / "out", model=URL))
    assert not (tmp_path / "out").exists()
