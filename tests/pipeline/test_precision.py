"""`auto` is settled where a request begins: no fingerprint has it, and no run mixes two precisions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import model.precision
import pipeline.precision
from model.config import ModelConfig
from pipeline.errors import RunMismatchError
from pipeline.model_at_hand import with_model_here
from pipeline.precision import with_precision
from pipeline.run import run
from pipeline.runs.fingerprint import model_fields
from tests.pipeline.make import make_collection, make_config

WITH, WITHOUT = {"avx2", "avx512_bf16"}, {"avx2"}


@pytest.fixture
def on(monkeypatch):
    """Sets the processor's flags, on a machine without a GPU."""
    monkeypatch.setattr(pipeline.precision, "why_no_gpu", lambda: "there is none")
    return lambda flags: monkeypatch.setattr(model.precision, "processor_flags", lambda: flags)


@given(st.sampled_from(["auto", "float32", "bfloat16", "float16"]), st.sampled_from(["auto", "cpu"]))
def test_no_fingerprint_has_auto(dtype, device):
    config = ModelConfig(model="fake", dtype=dtype, device=device)
    field = model_fields(config)["dtype"]
    assert field != "auto"
    assert field == with_precision(config).dtype == model_fields(with_precision(config))["dtype"]
    if dtype != "auto":
        assert field == dtype


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), "bfloat16"), ((7, 5), "float32")])
def test_where_there_is_a_gpu_it_is_asked_and_not_the_processor(monkeypatch, on, capability, dtype):
    on(WITH if dtype == "float32" else WITHOUT)
    monkeypatch.setattr(pipeline.precision, "why_no_gpu", lambda: "")
    monkeypatch.setattr(model.precision, "compute_capability", lambda number: capability)
    assert with_precision(ModelConfig(dtype="auto")).dtype == dtype
    assert with_precision(ModelConfig(dtype="auto", device="cpu")).dtype != dtype


@pytest.mark.parametrize("flags", [WITH, WITHOUT])
def test_a_run_states_the_precision_that_auto_was(tmp_path, on, flags):
    on(flags)
    run(make_config(make_collection(tmp_path, 2), tmp_path / "run", dtype="auto"))
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["fingerprint"]
    assert stored["dtype"] == ("bfloat16" if flags is WITH else "float32")


@pytest.mark.parametrize(("first", "second"), [(WITH, WITHOUT), (WITHOUT, WITH)])
def test_a_run_goes_on_with_its_own_precision_on_another_processor(tmp_path, on, first, second):
    inputs = make_collection(tmp_path, 2)
    on(first)
    run(make_config(inputs, tmp_path / "run", dtype="auto"))
    on(second)
    resumed = make_config(inputs, tmp_path / "run", dtype="auto")
    fresh = make_config(inputs, tmp_path / "other", dtype="auto")
    assert with_model_here(resumed).model.dtype != with_model_here(fresh).model.dtype
    assert run(resumed).computed == 0


def test_another_precision_that_is_asked_for_is_refused(tmp_path, on):
    inputs = make_collection(tmp_path, 2)
    on(WITHOUT)
    run(make_config(inputs, tmp_path / "run", dtype="auto"))
    with pytest.raises(RunMismatchError, match="dtype: made with float32, requested bfloat16"):
        run(make_config(inputs, tmp_path / "run", dtype="bfloat16"))


def test_a_run_that_states_nonsense_is_asked_no_more(on):
    on(WITHOUT)
    assert with_precision(ModelConfig(dtype="auto"), "float8").dtype == "float32"
