"""Benchmarks of the model: small forms of each, and their tables. No measured figure is asserted."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import members
from model.architectures import build_pipeline
from model.mask_decoder import MaskDecoder
from model.saliency import torch_dtype
from pipeline.benchmarks import adaptive, breakdown, choices, decoders, limit, networks, passes, speed
from pipeline.benchmarks.adaptive import Adaptive
from pipeline.benchmarks.breakdown import Breakdown
from pipeline.benchmarks.choices import Choices
from pipeline.benchmarks.decoders import Decoders
from pipeline.benchmarks.limit import Limit
from pipeline.benchmarks.model_work import ModelWork
from pipeline.benchmarks.networks import sample_photos
from pipeline.benchmarks.passes import Passes
from pipeline.benchmarks.reference import members_one_by_one
from pipeline.benchmarks.speed import Speed
from pipeline.errors import ConfigError
from pipeline.runs.machine import instruction_set
from tests.model.conftest import build_tiny
from tests.model.make import make_ensemble

SMALL = {"size": "nano", "dtype": "float32", "threads": 1, "device": "cpu"}


@pytest.fixture
def _tiny_model(monkeypatch):
    """Measure the real classes at tiny width instead of the embedded model."""
    monkeypatch.setattr(
        networks, "measured_pipeline", lambda size, config: build_tiny().to(dtype=torch_dtype(config.dtype))
    )


def test_the_references_way_gives_our_members():
    """So that equal work is compared; the pipeline's golden tests compare ours with the reference itself."""
    tiny = build_tiny()
    ((key, photo),) = sample_photos(1)
    theirs = members_one_by_one(tiny, photo, key, 3, 2).numpy()
    (ours,) = tiny.predict([photo], [key], make_ensemble(ensemble_size=3))
    np.testing.assert_allclose(theirs, ours.members, rtol=0, atol=1e-4)


def test_photographs_begin_again_when_they_run_out():
    keys = [key for key, _ in sample_photos(39)]
    assert len(set(keys)) == 37
    assert keys[37:] == keys[:2]


@pytest.mark.usefixtures("_tiny_model")
@pytest.mark.parametrize("way", ["reference", "exact", "adaptive"])
def test_a_way_of_working_is_timed_with_the_members_that_it_took(way):
    found = speed.measure(Path(), way=way, images=2, ensemble_size=4, denoise_steps=1, **SMALL)
    assert found["seconds_per_image"] > 0
    assert found["members"] == 4  # four are one round


@pytest.mark.usefixtures("_tiny_model")
def test_a_pass_is_timed_against_matrix_products_and_its_operations_are_counted(monkeypatch):
    monkeypatch.setattr(limit, "MATRIX_SIDE", 64)
    found = limit.measure(Path(), batch=2, compiled=False, **SMALL)
    assert found["share"] == pytest.approx(found["pass_rate"] / found["matrix_rate"])
    assert found["instructions"] == instruction_set()
    assert found["operations"] == pytest.approx(found["pass_rate"] * found["pass_s"])


def test_operations_are_those_that_torch_counts():
    with torch.device("meta"):
        unet = build_pipeline("nano").unet
        latents, context = torch.empty(2, 8, 24, 24), torch.empty(2, 576, 64)
        with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
            unet(latents, torch.tensor(5), encoder_hidden_states=context)
    assert 0.7 * counter.get_total_flops() < limit.operations("nano", 2) < counter.get_total_flops()


@pytest.mark.usefixtures("_tiny_model")
def test_the_parts_of_an_images_time_add_up_and_nothing_stays_replaced():
    before = members.preprocess
    found = breakdown.measure(Path(), images=2, ensemble_size=2, denoise_steps=1, **SMALL)
    assert set(found["parts"]) == set(breakdown.PARTS)
    assert all(seconds > 0 for seconds in found["parts"].values())
    assert sum(found["parts"].values()) < found["whole"]
    assert members.preprocess is before


def test_every_way_is_measured_in_turn_round_by_round():
    cases = Speed(rounds=2, sizes=("nano", "full"), dtypes=("float32", "bfloat16")).cases()
    ways = [(case["size"], case["way"], case["dtype"]) for case in cases]
    one_round = [
        ("nano", "reference", "float32"),
        *(("nano", way, dtype) for way in ("exact", "adaptive") for dtype in ("float32", "bfloat16")),
    ]
    assert ways[:10] == 2 * one_round
    assert ways[10:] == [("full", "reference", "float32"), ("full", "exact", "float32"), ("full", "exact", "bfloat16")]


def test_the_speed_is_the_median_against_that_of_the_reference():
    found = [
        {"size": "nano", "way": way, "dtype": "float32", "members": 10.0, "seconds_per_image": seconds}
        for way, seconds in [("reference", 4.0), ("exact", 1.0), ("reference", 6.0), ("exact", 2.0)] * 2
    ]
    _, _, theirs, ours = Speed().table(found)
    assert theirs == "| nano | reference | float32 | 10.0 | 5.00 s | 0.200 | 1.00 × |"
    assert ours == "| nano | exact | float32 | 10.0 | 1.50 s | 0.667 | 3.33 × |"


def test_tables_of_limit_and_breakdown():
    row = {"size": "nano", "dtype": "float32", "compiled": False, "first_s": 1.0, "pass_s": 0.5, "operations": 5e9,
           "pass_rate": 1e10, "matrix_rate": 2e10, "share": 0.5, "instructions": "x86_64 avx2"}  # fmt: skip
    assert list(Limit().table([row]))[2:] == [
        "| nano | float32 | no | 1.00 s | 0.500 s | 5.0 G | 10 G/s | 20 G/s | 50% | x86_64 avx2 |"
    ]
    parts = {"parts": {"encode": 0.25, "decode": 0.5}, "whole": 1.0}
    assert list(Breakdown().table([parts]))[2:] == [
        "| encode | 250.0 | 25.0% |",
        "| decode | 500.0 | 50.0% |",
        "| everything else | 250.0 | 25.0% |",
        "| all | 1000.0 | 100.0% |",
    ]


@pytest.mark.parametrize("kind", [ModelWork, Limit])
def test_nonsense_is_refused(kind):
    with pytest.raises(ValueError, match=r"^threads is 0; it must be at least 1$"):
        kind(threads=0)


@pytest.mark.parametrize(("kind", "name"), [(Adaptive, "seeds"), (Choices, "choices")])
def test_no_case_at_all_is_refused(kind, name):
    with pytest.raises(ValueError, match=rf"^{name} is \(\); give at least one$"):
        kind(**{name: ()})


@pytest.mark.usefixtures("_tiny_model")
def test_a_choice_is_compared_with_the_defaults_on_the_same_photographs():
    work = {"ensemble_size": 3, "denoise_steps": 1, "threads": 1, "device": "cpu"}
    same = choices.measure(Path(), size="nano", choice="no-keep-memory", images=2, **work)
    assert (same["iou"], same["difference"], same["same_verdicts"]) == ([1.0, 1.0], 0.0, 2)
    half = choices.measure(Path(), size="nano", choice="bfloat16", images=1, **work)
    assert 0.9 < half["iou"][0] <= 1
    assert 0 < half["difference"] < 0.5


def test_a_row_of_a_choice_has_its_time_and_its_masks_against_the_defaults():
    row = {"choice": "math", "seconds": 3.0, "default_seconds": 2.0, "iou": [1.0, 0.5], "difference": 0.25,
           "same_verdicts": 1, "images": 2}  # fmt: skip
    assert list(Choices().table([row]))[2:] == [
        "| math | 3.00 s | 2.00 s | 1.50 | 0.7500, least 0.5000 | 2.5e-01 | 1 of 2 |"
    ]


def test_both_ensembles_see_the_same_photographs_and_are_judged_by_their_masks():
    found = adaptive.measure(Path(), seed=3, images=2, ensemble_size=5, denoise_steps=1, threads=1, device="cpu")
    assert found["off"]["members"] == 5
    assert 3 <= found["on"]["members"] <= 5
    assert 0 <= found["same_verdicts"] <= 2
    for way in ("off", "on"):
        assert found[way]["s_measure"] > 0.5
        assert found[way]["mae"] < 0.5


def test_adaptive_ensembles_are_compared_per_seed_and_over_all():
    def row(seed, members, same):
        whole = {"members": 10, "seconds": 1.0, "s_measure": 0.875, "mae": 0.0625}
        return {
            "seed": seed,
            "images": 37,
            "same_verdicts": same,
            "off": whole,
            "on": whole | {"members": members, "seconds": members / 10, "s_measure": 0.5},
        }

    assert list(Adaptive().table([row(0, 4, 37), row(1, 6, 36)]))[2:] == [
        "| 0 | 4.0 of 10 | 0.40 of 1.00 s | 37 of 37 | 0.5000, whole 0.8750 | 0.0625, whole 0.0625 |",
        "| 1 | 6.0 of 10 | 0.60 of 1.00 s | 36 of 37 | 0.5000, whole 0.8750 | 0.0625, whole 0.0625 |",
        "| all | 5.0 of 10 | 0.50 of 1.00 s | 73 of 74 | 0.5000, whole 0.8750 | 0.0625, whole 0.0625 |",
    ]
    assert [case["seed"] for case in Adaptive(seeds=(4, 5)).cases()] == [4, 5]


def test_a_view_is_timed_against_the_prediction_that_it_repeats():
    (case,) = Passes(views=("larger",), model="fake", images=5, rounds=2, members=2, steps=1).cases()
    found = passes.measure(Path(), **case)
    assert found["view"] == "larger"
    assert len(found["ratios"]) == len(found["view_s"]) == 2 * 2  # two batches: of four, and of one
    assert all(ratio > 0 for ratio in found["ratios"])


def test_the_cost_of_a_view_is_the_median_of_the_ratios():
    found = {"view": "mirror", "images": 4, "view_s": [0.2, 0.3, 0.9], "prediction_s": [0.1, 0.3, 0.6]}
    _, _, row = Passes().table([found | {"ratios": [2.0, 1.0, 1.5], "cpu_ratios": [1.0, 1.25, 1.1]}])
    assert row == "| mirror | 0.300 s | 0.300 s | 1.500 | 1.000 to 1.500 | 1.100 |"


def test_both_decoders_paint_the_same_members_and_are_compared_with_each_other_and_with_masks(tmp_path):
    tiny = build_tiny()
    tiny.register_modules(mask_decoder=MaskDecoder(channels=(8, 8, 8), blocks=(1, 1, 1), norm_num_groups=4))
    tiny.save_pretrained(tmp_path)
    options = Decoders(
        model=str(tmp_path),
        images=2,
        rounds=1,
        worst=tmp_path / "worst.png",
        work=ModelWork(ensemble_size=2, threads=1),
    )
    (case,) = options.cases()
    assert json.loads(json.dumps(case)) == case
    found = decoders.measure(Path(), **case | {"denoise_steps": 1})
    assert found["ratio"] > 0
    assert len(found["iou"]) == len(found["difference"]) == 2
    assert 0 < max(found["difference"]) < 1
    assert found["s_measure"].keys() == found["mae"].keys() == {"vae", "mask"}
    assert len(list(Decoders().table([found]))) == 3
    picture = Image.open(io.BytesIO((tmp_path / "worst.png").read_bytes()))
    assert picture.width > 2 * 3 * 192  # two photographs side by side


def test_a_picture_that_can_not_be_written_is_refused_before_anything_is_measured(tmp_path):
    for place, said in ((tmp_path, "is a folder"), (Path("/proc/none/worst.png"), "nothing can be written there")):
        with pytest.raises(ConfigError, match=said):
            Decoders(worst=place).cases()
    (case,) = Decoders().cases()
    assert case["worst"] is None
