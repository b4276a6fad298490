"""What a run was made with: everything that changes a byte of its candidates changes the fingerprint, nothing else."""

import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

import model
import pipeline
import pipeline.runs.fingerprint
from model.config import EnsembleConfig, ModelConfig
from pipeline.errors import ConfigError, RunMismatchError
from pipeline.files import storage
from pipeline.runs import machine
from pipeline.runs.fingerprint import check_fingerprint, digest_of, fingerprint
from pipeline.runs.machine import LIBRARIES
from tests.pipeline.make import Inputs, make_config

NOWHERE = Inputs(images=Path("/images"), annotations=Path("/annotations.json"), entries=[])
PACKAGES = {"model": model, "pipeline": pipeline}


def make_fingerprint(**options):
    return fingerprint(make_config(NOWHERE, "/out", **options))


def differing(first, second):
    assert first.keys() == second.keys()
    return {name for name in first if first[name] != second[name]}


@pytest.fixture
def weights(tmp_path):
    """A folder like that of a saved model."""
    folder = tmp_path / "weights"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.safetensors").write_bytes(b"weights")
    (folder / "unet" / "config.json").write_bytes(b"{}")
    (folder / "model_index.json").write_bytes(b"{}")
    return folder


# What matters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ensemble_size", 4),
        ("denoise_steps", 11),
        ("timestep_spacing", "trailing"),
        ("processing_res", 32),
        ("batch_images", 3),
        ("batch_size", 0),
        ("alignment", "affine"),
        ("reduction", "median"),
        ("stretch", True),
        ("batch_stats", True),
        ("resize_filter", "bicubic"),
        ("seed", 1),
        ("dtype", "bfloat16"),
        ("memory_format", "contiguous"),
        ("attention", "math"),
        ("compile", True),
        ("threads", 2),
        ("max_image_bytes", 1000),
        ("max_image_pixels", 1000),
    ],
)
def test_an_option_that_changes_a_candidate_changes_the_field_of_its_name(name, value):
    assert differing(make_fingerprint(), make_fingerprint(**{name: value})) == {name}
    assert make_fingerprint(**{name: value})[name] == str(value)


def test_if_images_stop_early_the_bounds_they_stop_by_are_a_field():
    early = make_fingerprint(adaptive="on")
    assert differing(make_fingerprint(), early) == {"adaptive", "stops_by"}
    assert differing(early, make_fingerprint(adaptive="on", max_variance=0.1)) == {"stops_by"}
    assert differing(early, make_fingerprint(adaptive="on", thresholds=("border<=0.3",))) == {"stops_by"}
    assert early == make_fingerprint(adaptive="on", target_images=3, version="2.0.0")


def test_every_option_of_the_ensemble_is_a_field():
    assert asdict(EnsembleConfig()).keys() <= make_fingerprint().keys()


def test_every_option_of_the_model_is_a_field_or_changes_no_byte():
    # As the digest of the weights, by settle_machine, and as the decoder that is used; no field says the VAE's.
    settled_elsewhere = {"model", "device", "decoder"}
    changes_nothing = {"keep_memory"}
    assert asdict(ModelConfig()).keys() - make_fingerprint().keys() == settled_elsewhere | changes_nothing


def test_another_frame_where_sizes_do_not_tell_is_another_run():
    assert differing(make_fingerprint(), make_fingerprint(orientation="upright")) == {"orientation"}


def test_other_shards_are_another_run():
    assert differing(make_fingerprint(), make_fingerprint(shard_size=7)) == {"shard_size"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_another_version_of_a_library_changes_its_field(library, monkeypatch):
    before, version = make_fingerprint(), machine._version
    monkeypatch.setattr(machine, "_version", lambda name: "0+other" if name == library else version(name))
    assert differing(before, make_fingerprint()) == {library}


def test_other_versions_of_libraries_are_accepted_on_request_and_nothing_else_is(tmp_path):
    stored = make_fingerprint()
    other = {**stored, "pyarrow": "0.1", "torch": "9"}
    with pytest.raises(RunMismatchError, match=r"pyarrow: made with .*, requested 0\.1"):
        check_fingerprint(str(tmp_path), stored, other)
    accepted = check_fingerprint(str(tmp_path), stored, other, accept_mixed=True)
    assert accepted == {"pyarrow": "0.1", "torch": "9"}
    assert digest_of(stored) == digest_of(other) != digest_of(make_fingerprint(seed=6))
    with pytest.raises(RunMismatchError, match="seed: made with"):
        check_fingerprint(str(tmp_path), stored, {**other, "seed": "6"}, accept_mixed=True)


@pytest.mark.parametrize("file", ["unet/model.safetensors", "unet/config.json"])
def test_a_changed_byte_of_the_weights_changes_the_weights(weights, file):
    before = make_fingerprint(model=str(weights))
    (weights / file).write_bytes(b"other")
    assert differing(before, make_fingerprint(model=str(weights))) == {"weights"}


@pytest.mark.parametrize(
    "name",
    [
        *("model/ensemble.py", "model/diffusion.py", "model/fake.py", "model/seeds.py", "model/saliency.py"),
        *("model/alignment.py", "model/geometry.py", "model/memory.py", "model/swin.py"),
        *(
            "pipeline/selection/stopping_rule.py",
            "pipeline/replicas/batches.py",
            "pipeline/runs/candidates.py",
            "pipeline/collection/images.py",
            "pipeline/files/maps.py",
        ),
        *("pipeline/records.py", "pipeline/selection/scores.py", "pipeline/files/tars.py", "pipeline/replicas/work.py"),
    ],
)
def test_a_change_of_the_code_that_makes_candidates_changes_the_code(name, tmp_path, monkeypatch):
    before = make_fingerprint()
    for package, imported in PACKAGES.items():
        for source in Path(imported.__file__).parent.rglob("*.py"):
            copy = tmp_path / package / source.relative_to(Path(imported.__file__).parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
        copied = SimpleNamespace(__file__=str(tmp_path / package / "__init__.py"))
        monkeypatch.setattr(pipeline.runs.fingerprint, package, copied)
    assert make_fingerprint() == before
    with (tmp_path / name).open("a") as source:
        source.write("\n# a change\n")
    assert differing(before, make_fingerprint()) == {"code"}


# What does not matter


@pytest.mark.parametrize(
    "options",
    [
        {"max_variance": 0.1, "min_area": 0.1, "max_area": 0.2},
        {"name": "another", "version": "2.0.0", "tar_bytes": 5},
        {"engine": "ray", "replicas": 7, "shard_attempts": 1, "progress_every_s": 1.0},
        {"images": "/elsewhere", "annotations": "/elsewhere.json", "max_failed_share": 1.0},
        {"model": "fake:sleep_s=1"},
        {"device": "cpu"},
        {"device": "cuda:1"},
        {"reference": True},  # what it sets, the command line has set by then
    ],
)
def test_an_option_that_changes_no_candidate_changes_nothing(options):
    assert make_fingerprint(**options) == make_fingerprint()


def test_the_same_weights_in_another_folder_are_the_same(weights, tmp_path):
    shutil.copytree(weights, tmp_path / "copy")
    assert make_fingerprint(model=str(tmp_path / "copy")) == make_fingerprint(model=str(weights))


# Faults


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_folder_without_weights_is_named(tmp_path, name):
    folder = str(tmp_path / name)
    with pytest.raises(ConfigError, match=f"--model {folder}"):
        make_fingerprint(model=folder)


def test_a_run_made_with_the_same_is_not_refused():
    check_fingerprint("/out", make_fingerprint(), make_fingerprint())


def test_a_refusal_names_the_run_and_every_field_that_differs_with_both_values():
    stored, present = make_fingerprint(seed=5, denoise_steps=7), make_fingerprint(seed=6, denoise_steps=8)
    with pytest.raises(RunMismatchError) as refused:
        check_fingerprint("/out", stored, present)
    lines = str(refused.value).splitlines()
    assert lines[0] == "/out holds a run that was made with something else:"
    assert lines[1:-1] == [
        "  denoise_steps: made with 7, requested 8",
        "  seed: made with 5, requested 6",
    ]


def test_the_advice_depends_on_what_is_committed_and_what_differs(tmp_path):
    def advice(stored, present):
        with pytest.raises(RunMismatchError) as refused:
            check_fingerprint(str(tmp_path), stored, present)
        return str(refused.value).splitlines()[-1]

    adaptive = {"adaptive": "on", "max_variance": 0.01}
    another_policy = make_fingerprint(**adaptive), make_fingerprint(**adaptive | {"max_variance": 0.02})
    assert advice(*another_policy) == f"Nothing is committed there: remove {tmp_path}, or give another --out"
    storage.publish(storage.join(str(tmp_path), "commits", "000000.json"), b"{}")
    assert f"(sod release build {tmp_path}), or give another --out" in advice(*another_policy)
    assert (
        advice(make_fingerprint(), make_fingerprint(seed=6))
        == "Request what the run was made with, or give another --out"
    )


@pytest.mark.parametrize(("stored", "present"), [({"new": "1"}, {}), ({}, {"new": "1"})])
def test_a_field_that_only_one_side_has_is_a_difference(stored, present):
    with pytest.raises(RunMismatchError, match="new: made with"):
        check_fingerprint("/out", stored, present)


def test_another_device_does_not_change_the_fingerprint():
    check_fingerprint("/out", make_fingerprint(device="auto"), make_fingerprint(device="cuda"))
