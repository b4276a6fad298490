"""A distillation: what it learns from, that the loss falls, that it resumes to the same bytes, and what it leaves."""

import json
import shutil
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checkpoint_files import SAFETENSORS, read_tensors
from model.config import EMBEDDED_MODEL, ModelConfig
from model.decoder_choice import MASK_DECODER, Stated, decoder_of
from model.saliency import load_pipeline
from model.vae_digest import digest_of_folder, digest_of_network
from model.weights import weight_files, weights_sha256
from pipeline.distillation import distil as story
from pipeline.distillation import examples
from pipeline.distillation.agreement import measure_agreement
from pipeline.distillation.distil import distil
from pipeline.distillation.folder import require_folder
from pipeline.distillation.labelled import label
from pipeline.distillation.loss import distillation_loss
from pipeline.distillation.worst import WORST, draw_worst
from pipeline.errors import ConfigError, LeaseLostError, RunBusyError, RunMismatchError, StorageError
from pipeline.runs.locking import locked
from tests.model.conftest import TINY_PX


class Interruption(Exception):
    """What stops a distillation in these tests."""


@pytest.fixture(scope="module")
def teacher(source):
    """The loaded model, which decodes with its VAE."""
    return load_pipeline(source)


def interrupt_at(patch, call, function, module=story):
    """Have the given call of a function of the story raise instead."""
    module = examples if function == "label" else module
    calls, own = iter(range(10**6)), getattr(module, function)

    def counted(*arguments, **options):
        if next(calls) == call:
            raise Interruption
        return own(*arguments, **options)

    patch.setattr(module, function, counted)


# What it learns from


@given(st.integers(0, 2**32), st.sampled_from([8, 24, 64]), st.integers(1, 20))
@settings(max_examples=10, deadline=None)
def test_examples_are_latents_and_what_the_vae_paints_from_them(teacher, seed, side_px, count):
    made = label(teacher, side_px, count, seed, "any")
    assert made.latents.shape == (count, 4, side_px // 8, side_px // 8)
    assert made.maps.shape == (count, side_px, side_px)
    with torch.inference_mode():
        painted = teacher.decode(made.latents.float())
    assert torch.allclose(painted, made.maps.float(), atol=1e-3)


def test_examples_follow_from_seed_and_name(teacher):
    first, again, other, elsewhere = (label(teacher, 64, 4, *drawn).latents for drawn in
        ((0, "a"), (0, "a"), (1, "a"), (0, "b")))  # fmt: skip
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, elsewhere)


def test_most_latents_are_not_those_of_a_drawn_map(teacher, monkeypatch):
    shown = label(teacher, 64, 16, 0, "a").latents
    monkeypatch.setattr("pipeline.distillation.labelled._disturbed", lambda latents, _: latents)
    plain = label(teacher, 64, 16, 0, "a").latents
    changed = (shown != plain).flatten(1).any(1)
    assert 8 <= changed.sum() < 16


# What it learns


def test_the_loss_falls(request_for, teacher, tmp_path):
    config = request_for(tmp_path, steps=60, learning_rate=5e-3)
    unseen = label(teacher, 64, 8, 99, "unseen")
    losses = [
        distillation_loss(decoder(unseen.latents.float()), unseen.maps.float()).item()
        for decoder in (story._fresh(config, teacher), story.train(config, teacher))
    ]
    assert losses[1] < 0.9 * losses[0]


@pytest.mark.parametrize(("function", "call"), [("label", 1), ("distillation_loss", 0), ("distillation_loss", 7),
    ("measure_agreement", 0), ("save_with_network", 0)])  # fmt: skip
def test_stopped_anywhere_and_run_again_the_bytes_are_the_same(request_for, finished, tmp_path, function, call):
    config = request_for(tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, call, function)
        with pytest.raises(Interruption):
            distil(config)
    assert not (config.out / "model").exists()
    require_folder(config)
    resumed = distil(config)
    assert resumed.stated == finished[1].stated
    assert resumed.worst.read_bytes() == finished[1].worst.read_bytes()
    assert weights_sha256(resumed.model) == weights_sha256(finished[1].model)


def test_a_finished_distillation_is_done_at_once(finished, monkeypatch):
    config, made = finished
    monkeypatch.setattr(story, "train", None)
    require_folder(config)
    assert distil(config) == made


# What it leaves behind


def test_the_result_is_the_model_byte_by_byte_and_its_mask_decoder(source, finished):
    made = finished[1].model
    copied = {path.relative_to(source): path.read_bytes() for path in weight_files(source)}
    held = {path.relative_to(made): path.read_bytes() for path in weight_files(made)}
    changed = {path.as_posix() for path in held if held[path] != copied.get(path)}
    assert copied.keys() < held.keys()
    assert changed == {"model_index.json", f"{MASK_DECODER}/config.json", f"{MASK_DECODER}/{SAFETENSORS}"}
    assert {value.dtype for value in read_tensors(made / MASK_DECODER / SAFETENSORS).values()} == {torch.float16}
    index = json.loads((made / "model_index.json").read_bytes())
    assert index.pop(MASK_DECODER) == ["model.mask_decoder", "MaskDecoder"]
    assert index.items() <= json.loads((source / "model_index.json").read_bytes()).items()


def test_the_stated_agreement_is_what_a_new_measurement_gives(finished):
    config, made = finished
    fields = json.loads((made.model / MASK_DECODER / "config.json").read_bytes())
    assert Stated.of(fields["agreement"], fields["distilled_from"]) == made.stated
    assert [(one.side_px, one.maps) for one in made.stated.agreement] == [(40, 1), (TINY_PX, 6), (88, 1)]
    assert made.trained_px == TINY_PX
    found = measure_agreement(load_pipeline(made.model), config.held_out)
    assert found.agreement == made.stated.agreement
    assert made.worst.read_bytes() == draw_worst(found.worst)


def test_the_worst_maps_are_those_of_the_trained_side_whose_masks_agree_least(finished):
    made = finished[1]
    found = measure_agreement(load_pipeline(made.model), 10)
    ious = [one.iou for one in found.worst]
    assert ious == sorted(ious)
    assert len(ious) == WORST == 8
    assert {one.own.shape for one in found.worst} == {(TINY_PX, TINY_PX)}
    (mean,) = (one.iou for one in found.agreement if one.side_px == TINY_PX)
    assert sum(ious) / 8 <= mean + 1e-5


def test_the_result_knows_its_vae_and_refuses_another(source, finished, tmp_path):
    made = finished[1]
    assert (
        made.stated.distilled_from == digest_of_folder(source / "vae") == digest_of_network(load_pipeline(source).vae)
    )
    copied = tmp_path / "other"
    shutil.copytree(made.model, copied)
    pipeline = load_pipeline(source)
    next(pipeline.vae.parameters()).data += 1
    pipeline.vae.save_pretrained(copied / "vae")
    with pytest.raises(ValueError, match="was distilled from another VAE"):
        decoder_of(ModelConfig(model=str(copied), decoder="mask"))


@pytest.mark.thorough
def test_the_agreement_that_the_embedded_model_states_is_what_a_new_measurement_gives():
    embedded = load_pipeline(EMBEDDED_MODEL)
    stated = {one.side_px: one for one in embedded.mask_decoder.stated.agreement}
    for one in measure_agreement(embedded, stated[embedded.default_processing_res].maps).agreement:
        # Other processors round otherwise.
        assert one.as_fields() == pytest.approx(stated.pop(one.side_px).as_fields(), abs=1e-3)
    assert not stated


def test_the_embedded_decoder_is_that_of_the_embedded_vae():
    embedded = load_pipeline(EMBEDDED_MODEL)
    assert embedded.mask_decoder.stated.distilled_from == digest_of_network(embedded.vae)


def test_the_vae_agrees_with_itself(teacher, monkeypatch):
    monkeypatch.setattr(teacher, "decode_with", lambda _: None)
    found = measure_agreement(teacher, 4).agreement
    assert [(one.iou, one.mae, one.maps) for one in found] == [(1, 0, 1), (1, 0, 4), (1, 0, 1)]


def test_predictions_of_the_result_use_it_if_they_are_told_to(finished):
    assert decoder_of(ModelConfig(model=str(finished[1].model), decoder="mask")) == "mask"


# One session at a time


def test_a_second_session_is_refused_while_the_first_one_works_and_goes_on_afterwards(request_for, finished, tmp_path):
    config = request_for(tmp_path / "out")
    with locked(str(config.out)):
        require_folder(config)  # nothing but the lease is there yet
        with pytest.raises(RunBusyError, match=r"out: a session on .* works on this run\. Let it finish, or stop it"):
            distil(config)
        assert [path.name for path in config.out.iterdir()] == ["lease"]
    made = distil(config)
    assert weights_sha256(made.model) == weights_sha256(finished[1].model)
    assert not (config.out / "lease").exists()
    with locked(str(config.out)):
        assert distil(config) == made  # what is finished is only read


def test_a_folder_that_another_session_began_meanwhile_with_something_else_is_refused(request_for, tmp_path):
    config = request_for(tmp_path / "out")
    require_folder(config)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 0, "label")
        with pytest.raises(Interruption):
            distil(request_for(tmp_path / "out", seed=1))
    before = (config.out / "distillation.json").read_bytes()
    with pytest.raises(RunMismatchError, match="seed: made with 1, requested 0"):
        distil(config)
    assert (config.out / "distillation.json").read_bytes() == before


def test_what_another_session_finished_meanwhile_is_not_made_again(request_for, finished, tmp_path, monkeypatch):
    config, own = request_for(tmp_path / "out"), story.locked

    @contextmanager
    def after_another(folder):
        shutil.copytree(finished[1].model, config.out / "model")
        with own(folder) as lease:
            yield lease

    monkeypatch.setattr(story, "locked", after_another)
    monkeypatch.setattr(story, "train", None)
    assert distil(config).stated == finished[1].stated


@pytest.mark.parametrize("call", [0, 1, 2, 9, 14])  # before a part of examples, before a step, before saving
def test_a_session_that_lost_the_folder_stops_and_saves_no_model(request_for, tmp_path, monkeypatch, call):
    config, calls = request_for(tmp_path / "out"), iter(range(10**6))

    def check():
        if next(calls) == call:
            raise LeaseLostError("another session took over")

    monkeypatch.setattr(story, "locked", lambda _: nullcontext(SimpleNamespace(check=check)))
    config.out.mkdir()
    with pytest.raises(LeaseLostError):
        distil(config)
    assert not (config.out / "model").exists()
    assert next(calls) == call + 1


# Faults


@pytest.mark.parametrize(
    ("overrides", "said"),
    [({"seed": 1}, "seed: made with 0, requested 1"), ({"steps": 13}, "steps: made with 12, requested 13")],
)
def test_a_folder_that_was_begun_with_something_else_is_refused(request_for, finished, overrides, said):
    with pytest.raises(RunMismatchError, match=said):
        require_folder(request_for(finished[0].out, **overrides))


def test_a_folder_of_somebody_else_is_refused_and_stays(request_for, tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(ConfigError, match=r"holds thesis\.tex, and no distillation began it"):
        require_folder(request_for(tmp_path))
    (tmp_path / "distillation.json").write_text("[")
    with pytest.raises(ConfigError, match="can't be read"):
        require_folder(request_for(tmp_path))
    with pytest.raises(ConfigError, match=r"no folder|nothing can be written"):
        require_folder(request_for(tmp_path / "thesis.tex"))
    assert (tmp_path / "thesis.tex").read_text() == "all of it"


def test_a_torn_file_of_examples_is_named(request_for, finished, tmp_path):
    config = request_for(tmp_path / "out")
    (config.out / "examples").mkdir(parents=True)
    torn = config.out / "examples/00000.safetensors"
    torn.write_bytes((finished[0].out / "examples/00000.safetensors").read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"00000\.safetensors is not a readable file of examples"):
        distil(config)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"held_out": 0}, "held_out is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"seed": -1}, "seed is -1"),
        ({"model": "fake"}, "model is 'fake'; give a folder"),
        ({"model": "hf://a/b"}, "give a folder on this machine"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(request_for, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        request_for(tmp_path, **options)
