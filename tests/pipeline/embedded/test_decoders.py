"""The last stage, on a tiny pipeline: both decoders learn, the rest stays, and what is stated is measured."""

import pytest
import torch

from model.decoder_choice import Agreement
from model.vae_digest import digest_of_network
from pipeline.distillation import examples
from pipeline.embedded import decoders
from pipeline.embedded.data import Pairs
from pipeline.embedded.decoders import state_agreement, train_decoders
from pipeline.embedded.loop import Schedule
from pipeline.embedded.views import Folder, Views


@pytest.fixture(autouse=True)
def _few_examples(monkeypatch):
    monkeypatch.setattr(examples, "_PART", 4)
    for name, number in {"DRAWN": 8, "SEEN": 4, "_AT_ONCE": 2, "HELD_OUT": 4}.items():
        monkeypatch.setattr(decoders, name, number)


@pytest.fixture
def data(composites_folder):
    return Views([Folder(Pairs.open(composites_folder), 1.0)])


def schedule(steps=2, **overrides):
    return Schedule(steps=steps, batch=2, learning_rate=1e-3, warmup_steps=1, ema_decay=0.5, **overrides)


def weights_of(pipeline):
    return {
        f"{name}.{key}": value.clone()
        for name in ("conditioner", "unet", "vae")
        for key, value in getattr(pipeline, name).state_dict().items()
    }


def test_a_mask_decoder_comes_and_of_the_rest_only_the_vaes_decoder_learns(tiny_pipeline, data, tmp_path):
    pipeline = tiny_pipeline(0)
    before = weights_of(pipeline)
    train_decoders(pipeline, data, schedule(), tmp_path, seed=0)
    assert pipeline.mask_decoder is not None
    changed = {name for name, value in weights_of(pipeline).items() if not torch.equal(value, before[name])}
    assert {tuple(name.split(".")[:2]) for name in changed} == {("vae", "decoder"), ("vae", "post_quant_conv")}


def test_a_stage_that_is_complete_gives_both_decoders_again(tiny_pipeline, data, tmp_path):
    first, again = tiny_pipeline(0), tiny_pipeline(0)
    for pipeline in (first, again):
        train_decoders(pipeline, data, schedule(), tmp_path, seed=0)
    assert len(list((tmp_path / "maps").rglob("*.safetensors"))) == 2
    for name in ("vae", "mask_decoder"):
        for one, other in zip(*(getattr(p, name).parameters() for p in (first, again)), strict=True):
            assert torch.equal(one, other)


def test_the_two_agree_better_after_more_steps(tiny_pipeline, data, tmp_path):
    found = []
    for steps in (1, 60):
        pipeline = tiny_pipeline(0)
        train_decoders(pipeline, data, schedule(steps), tmp_path / str(steps), seed=0)
        state_agreement(pipeline)
        found.append(pipeline.mask_decoder.stated.agreement[1].mae)
    assert found[1] < 0.7 * found[0]


def test_what_is_stated_is_of_this_vae_at_three_sides_of_drawn_maps_and_of_the_sample(tiny_pipeline, data, tmp_path):
    pipeline = tiny_pipeline(0)
    train_decoders(pipeline, data, schedule(), tmp_path, seed=0)
    state_agreement(pipeline)
    stated = pipeline.mask_decoder.stated
    assert stated.distilled_from == digest_of_network(pipeline.vae)
    assert [type(one) for one in stated.agreement] == [Agreement] * 6
    assert [one.maps_of for one in stated.agreement] == ["drawn"] * 3 + ["photographs"] * 3
    assert stated.agreement[1].side_px == stated.agreement[4].side_px == pipeline.default_processing_res
    assert pipeline.decoder == ("mask" if stated.is_close_at(pipeline.default_processing_res) else "vae")
