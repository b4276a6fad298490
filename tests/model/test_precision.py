"""Which precision `auto` is, for every processor and GPU; it is settled once, and said in one line."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import precision
from model.config import EnsembleConfig, ModelConfig
from model.precision import precision_of, settled_precision, slow_precision
from model.saliency import load_diffusion_model

FLAGS = ["sse2", "avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "bf16", "sve"]
GIVEN = ["float32", "bfloat16", "float16"]
AVX512 = "avx2 avx512f avx512bw avx512vl avx512_vnni"
flags_of_a_processor = st.sets(st.sampled_from(FLAGS))


@given(flags_of_a_processor)
def test_a_processor_gets_bfloat16_exactly_where_it_has_instructions_for_its_products(flags):
    dtype, reason = precision_of("cpu", flags, None)
    assert (dtype == "bfloat16") == bool(flags & {"amx_bf16", "avx512_bf16"})
    assert reason == "this processor has no bfloat16 matrix instructions" or dtype == "bfloat16"


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("avx2", "float32"),  # Zen 1 to 3, Intel up to Broadwell
        (AVX512, "float32"),  # Cascade Lake, Ice Lake
        (f"{AVX512} avx512_bf16", "bfloat16"),  # Cooper Lake, Zen 4
        (f"{AVX512} avx512_bf16 amx_tile amx_int8 amx_bf16", "bfloat16"),  # Sapphire Rapids
        ("asimd sve bf16 i8mm", "float32"),  # Arm: nobody measured one
        ("", "float32"),
    ],
)
def test_known_processors(flags, dtype):
    assert precision_of("cpu", flags.split(), None)[0] == dtype


@given(st.tuples(st.integers(1, 20), st.integers(0, 9)), flags_of_a_processor, st.sampled_from(["cuda", "cuda:1"]))
def test_a_gpu_gets_bfloat16_from_compute_capability_8_on_whatever_the_processor(capability, flags, device):
    assert (precision_of(device, flags, capability)[0] == "bfloat16") == (capability[0] >= 8)


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "xpu"])
@given(flags_of_a_processor)
def test_a_device_of_which_nothing_is_known_gets_float32(device, flags):
    assert precision_of(device, flags, None) == ("float32", f"nothing is known here of bfloat16 on {device}")


@given(st.sampled_from(["auto", *GIVEN]), st.sampled_from(["cpu", "mps"]))
def test_settling_is_idempotent_and_keeps_a_given_precision(dtype, device):
    config = ModelConfig(dtype=dtype)
    once = settled_precision(config, device)
    assert once.dtype != "auto"
    assert settled_precision(once, "mps") is once
    if dtype != "auto":
        assert once is config


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"avx2"}, "float32: this processor has no bfloat16 matrix instructions"),
        ({"avx2", "avx512_bf16"}, "bfloat16: this processor multiplies bfloat16 matrices (avx512_bf16)"),
    ],
)
def test_one_line_says_which_and_why(monkeypatch, caplog, flags, line):
    monkeypatch.setattr(precision, "processor_flags", lambda: flags)
    with caplog.at_level(logging.INFO):
        config = settled_precision(ModelConfig(dtype="auto"), "cpu")
        settled_precision(config, "cpu")
    assert caplog.messages == [line]


def test_the_gpu_of_that_number_is_asked(monkeypatch):
    monkeypatch.setattr(precision, "compute_capability", {0: (7, 5), 1: (9, 0)}.get)
    found = [settled_precision(ModelConfig(dtype="auto"), device).dtype for device in ("cuda", "cuda:0", "cuda:1")]
    assert found == ["float32", "float32", "bfloat16"]


@pytest.mark.parametrize("flags", [{"avx2"}, {"avx2", "amx_bf16"}])
def test_weights_are_loaded_in_the_settled_precision(monkeypatch, tiny_folder, flags):
    monkeypatch.setattr(precision, "processor_flags", lambda: flags)
    config = ModelConfig(model=str(tiny_folder), device="cpu", dtype="auto")
    model = load_diffusion_model(config, EnsembleConfig(ensemble_size=1))
    assert model.pipeline.unet.dtype == (torch.bfloat16 if "amx_bf16" in flags else torch.float32)


@given(st.sampled_from(GIVEN), flags_of_a_processor, st.sampled_from(["cpu", "cuda", "mps"]))
def test_only_a_processor_that_is_known_to_lack_the_instructions_is_slow(dtype, flags, device):
    wanted = {"bfloat16": {"amx_bf16", "avx512_bf16"}, "float16": {"avx512_fp16"}}.get(dtype, flags)
    lacks = bool(flags) and device == "cpu" and not flags & wanted
    warning = slow_precision(dtype, device, flags)
    assert warning.startswith(f"{dtype}: ") if lacks else warning == ""


@pytest.mark.parametrize("dtype", GIVEN)
def test_a_slow_precision_that_is_asked_for_is_used_with_a_warning(monkeypatch, caplog, tiny_folder, dtype):
    monkeypatch.setattr("model.saliency.processor_flags", lambda: {"avx2"})
    config = ModelConfig(model=str(tiny_folder), device="cpu", dtype=dtype)
    model = load_diffusion_model(config, EnsembleConfig(ensemble_size=1))
    assert str(model.pipeline.unet.dtype) == f"torch.{dtype}"
    said = [message.partition(";")[0] for name, _, message in caplog.record_tuples if name == "model.saliency"]
    assert said == ([] if dtype == "float32" else [f"{dtype}: this processor has no {dtype} matrix instructions"])
