"""The recipe from composites to a model that predicts, on a tiny pipeline; killed anywhere, it ends in equal files."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.config import EnsembleConfig
from model.saliency import DiffusionModel, load_pipeline
from pipeline.distillation import examples
from pipeline.embedded import decoders, loop, recipe, sources, stages
from pipeline.embedded.config import EmbeddedTrainingConfig
from pipeline.embedded.loop import Schedule
from pipeline.embedded.recipe import train_embedded
from pipeline.errors import CollectionError, ConfigError, ModelError, RunMismatchError


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
def _small_trainings(tiny_pipeline):
    """A tiny pipeline, batches of two, a checkpoint at every other step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "new_pipeline", lambda seed, side_px: tiny_pipeline(seed))
        small = {"batch": 2, "checkpoint_every": 2, "warmup_steps": 1}
        patch.setattr(stages, "PART_VIEWS", 3)
        patch.setattr(examples, "_PART", 4)
        for name, number in {"DRAWN": 8, "SEEN": 4, "_AT_ONCE": 2, "HELD_OUT": 4}.items():
            patch.setattr(decoders, name, number)
        patch.setattr(recipe, "Schedule", lambda **fields: Schedule(**(fields | small)))
        patch.setattr(stages, "STATISTICS_MASKS", 8)
        yield


@pytest.fixture(scope="module")
def config(composites_folder, tiny_pipeline, tmp_path_factory):
    """Three steps a stage, from a random backbone."""
    folder = tmp_path_factory.mktemp("training")
    torch.save(dict(tiny_pipeline(5).conditioner.backbone.state_dict()), folder / "backbone.pth")
    return EmbeddedTrainingConfig(
        data=composites_folder, out=folder / "out", backbone=folder / "backbone.pth", threads=1,
        conditioner_steps=3, vae_steps=3, diffusion_steps=3, ensemble_steps=3, decoders_steps=3,
        cached_views=8,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(config):
    """The folder of a model whose training nothing stopped."""
    return train_embedded(config)


def test_the_trained_model_loads_and_predicts(trained, config):
    assert trained == config.out / "model"
    model = DiffusionModel(load_pipeline(trained), EnsembleConfig(ensemble_size=2, denoise_steps=1), threads=1)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    (prediction,) = model.predict([image], ["000000000001"])
    assert prediction.saliency.shape == (50, 70)
    assert 0 <= prediction.saliency.min() < prediction.saliency.max() <= 1


def test_the_model_is_stored_in_half_precision(trained):
    weights = [load_file(path) for path in trained.rglob("*.safetensors")]
    assert len(weights) == 4
    assert {value.dtype for tensors in weights for value in tensors.values()} <= {torch.float16, torch.int64}


def test_killed_in_every_stage_and_run_again_the_model_is_the_same(config, trained, tmp_path, monkeypatch):
    again = dataclasses.replace(config, out=tmp_path)
    for steps in (2, 3, 3, 3, 3):  # in each of the five stages, after a checkpoint
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            with pytest.raises(Interruption):
                train_embedded(again)
    assert [path.name for path in sorted(tmp_path.glob("*.pt"))] == [
        "conditioner.pt", "decoders.pt", "diffusion.pt", "ensemble.pt", "vae.pt",
    ]  # fmt: skip
    assert not (tmp_path / "model").exists()
    assert files_of(train_embedded(again)) == files_of(trained)


def test_stages_one_by_one_make_the_same_model(config, trained, tmp_path):
    again = dataclasses.replace(config, out=tmp_path)
    assert train_embedded(dataclasses.replace(again, stage="vae")) is None
    assert [path.name for path in tmp_path.glob("*.pt")] == ["vae.pt"]
    assert train_embedded(dataclasses.replace(again, stage="conditioner")) is None
    assert files_of(train_embedded(again)) == files_of(trained)


def test_a_finished_training_takes_no_step_again(config, trained, monkeypatch):
    before = files_of(trained)
    interrupt_after(monkeypatch, 0)
    assert files_of(train_embedded(config)) == before


def test_another_seed_makes_another_model(config, trained, tmp_path):
    other = train_embedded(dataclasses.replace(config, out=tmp_path, seed=1))
    assert files_of(other).keys() == files_of(trained).keys()
    assert files_of(other) != files_of(trained)


@pytest.mark.usefixtures("trained")
def test_a_folder_begun_with_another_seed_is_refused(config):
    with pytest.raises(RunMismatchError, match="seed: made with 0, requested 1\nGive another --out"):
        train_embedded(dataclasses.replace(config, seed=1))


@pytest.mark.usefixtures("trained")
def test_a_folder_begun_for_another_side_is_refused(config):
    with pytest.raises(RunMismatchError, match="side_px: made with 256, requested 192\nGive another --out"):
        train_embedded(dataclasses.replace(config, side_px=192))


@pytest.mark.usefixtures("trained")
def test_a_folder_begun_with_other_composites_is_refused(config, tmp_path):
    shutil.copytree(config.data, tmp_path / "data")
    (tmp_path / "data" / "recipe.json").write_text(json.dumps({"count": 8, "seed": 1}))
    with pytest.raises(RunMismatchError, match="composites_sha256: made with "):
        train_embedded(dataclasses.replace(config, data=tmp_path / "data"))


def test_without_composites_nothing_is_begun(config, tmp_path):
    with pytest.raises(CollectionError, match=r"no recipe\.json"):
        train_embedded(dataclasses.replace(config, data=tmp_path, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [{}, {"a": torch.zeros(3)}], ids=["empty", "too few"])
def test_another_files_tensors_are_no_backbone(config, tmp_path, content):
    torch.save(content, tmp_path / "b.pth")
    with pytest.raises(ModelError, match=r"b\.pth does not hold the backbone's weights"):
        train_embedded(dataclasses.replace(config, out=tmp_path, backbone=tmp_path / "b.pth"))


def test_a_missing_backbone_is_named(config, tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.pth: there is no such file"):
        train_embedded(dataclasses.replace(config, out=tmp_path / "out", backbone=tmp_path / "nowhere.pth"))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    "field", ["conditioner_steps", "vae_steps", "diffusion_steps", "ensemble_steps", "decoders_steps"]
)
def test_a_checkpoint_of_another_length_is_refused_before_any_step(config, tmp_path, monkeypatch, field):
    shutil.copy(config.out / f"{field.removesuffix('_steps')}.pt", tmp_path)
    interrupt_after(monkeypatch, 0)
    with pytest.raises(RunMismatchError, match="from a training of 3 steps, this one has 4"):
        train_embedded(dataclasses.replace(config, out=tmp_path, **{field: 4}))


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("missing", "later"),
    [
        ("conditioner", "diffusion.pt, ensemble.pt, decoders.pt"),
        ("vae", "diffusion.pt, ensemble.pt, decoders.pt"),
        ("diffusion", "ensemble.pt, decoders.pt"),
        ("ensemble", "decoders.pt"),
    ],
)
def test_a_stage_is_not_trained_before_others_that_were_trained_after_it(config, tmp_path, monkeypatch, missing, later):
    """Their checkpoints would put its networks back as they were."""
    shutil.copytree(config.out, tmp_path / "out")
    (tmp_path / "out" / f"{missing}.pt").unlink()
    interrupt_after(monkeypatch, 0)
    with pytest.raises(RunMismatchError, match=f"holds {later}, trained after a {missing} stage that is not complete"):
        train_embedded(dataclasses.replace(config, out=tmp_path / "out"))


@pytest.mark.usefixtures("trained")
def test_another_number_of_cached_views_is_refused(config):
    with pytest.raises(RunMismatchError, match="cached_views: made with 8, requested 9"):
        train_embedded(dataclasses.replace(config, cached_views=9))


def test_bounds_of_other_weights_are_not_recommended(trained):
    assert load_pipeline(trained).facts.recommended_bounds == {}


def test_photographs_are_seen_beside_composites(config, composites_folder, tmp_path):
    config = dataclasses.replace(config, photographs=composites_folder, out=tmp_path / "out", stage="conditioner")
    assert train_embedded(config) is None
    claimed = json.loads((tmp_path / "out" / "training.json").read_text())
    assert claimed["photographs_sha256"] == claimed["composites_sha256"]
    with pytest.raises(RunMismatchError, match="photographs_sha256"):
        train_embedded(dataclasses.replace(config, photographs=None))


def test_code_in_a_backbone_is_not_run(config, tmp_path, malice):
    torch.save({"weight": malice(tmp_path / "touched")}, tmp_path / "b.pth")
    with pytest.raises(ModelError):
        train_embedded(dataclasses.replace(config, out=tmp_path, backbone=tmp_path / "b.pth"))
    assert not (tmp_path / "touched").exists()


def test_a_backbone_that_is_not_given_is_fetched_into_the_cache(config, tmp_path, monkeypatch):
    def fetch(folder):
        asked.append(folder)
        raise sources.SourceError("no registry here")

    asked = []
    monkeypatch.setattr(recipe, "backbone_weights", fetch)
    with pytest.raises(sources.SourceError):
        train_embedded(dataclasses.replace(config, out=tmp_path, backbone=None))
    assert asked == [config.data / "cache"]
