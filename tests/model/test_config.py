"""Properties, examples and faults of the model's and the ensemble's configuration."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import (
    EMBEDDED_MODEL,
    REFERENCE_PRESET,
    Alignment,
    EnsembleConfig,
    ModelConfig,
    Reduction,
    ResizeFilter,
)

ROOT = Path(__file__).parents[2]

VALID = {
    "ensemble_size": st.integers(1, 10**6),
    "denoise_steps": st.integers(1, 999),
    "processing_res": st.none() | st.just(0) | st.integers(8, 3200),
    "batch_images": st.integers(1, 10**6),
    "batch_size": st.none() | st.integers(0, 10**6),
    "seed": st.integers(0, 2**63 - 1),
}
INVALID = {
    "ensemble_size": st.integers(max_value=0),
    "denoise_steps": st.integers(max_value=0) | st.integers(min_value=1000),
    "processing_res": st.integers(max_value=-1) | st.integers(1, 7),
    "batch_images": st.integers(max_value=0),
    "batch_size": st.integers(max_value=-1),
    "seed": st.integers(max_value=-1) | st.integers(min_value=2**63),
}

faults = st.sampled_from(sorted(INVALID)).flatmap(lambda field: st.tuples(st.just(field), INVALID[field]))


# Properties


@given(st.fixed_dictionaries({}, optional=VALID))
def test_values_within_their_bounds_are_kept(fields):
    config = EnsembleConfig(**fields)
    assert {name: getattr(config, name) for name in fields} == fields


@given(st.fixed_dictionaries(VALID), faults)
def test_one_value_out_of_its_bounds_is_refused_with_its_name_and_value(fields, fault):
    name, value = fault
    with pytest.raises(ValueError, match=rf"^{name} is {value}; it must be "):
        EnsembleConfig(**{**fields, name: value})


@given(st.integers(max_value=0))
def test_a_model_needs_a_thread(threads):
    with pytest.raises(ValueError, match=rf"^threads is {threads}; it must be at least 1$"):
        ModelConfig(threads=threads)


@pytest.mark.parametrize("fields", [{"alignment": "affine"}, {"reduction": "median"}, {"stretch": True}], ids=str)
def test_members_that_are_not_taken_as_they_are_can_not_stop_early(fields):
    (value,) = fields.values()
    with pytest.raises(ValueError, match=rf"^adaptive is 'on', which judges the mean .* {value!r}"):
        EnsembleConfig(adaptive="on", **fields)
    EnsembleConfig(adaptive="off", **fields)


# Examples


@pytest.mark.parametrize(
    ("field", "last", "beyond"),
    [
        ("ensemble_size", 1, 0),
        ("denoise_steps", 1, 0),
        ("denoise_steps", 999, 1000),
        ("processing_res", 0, -1),
        ("processing_res", 8, 7),
        ("batch_images", 1, 0),
        ("batch_size", 0, -1),
        ("seed", 0, -1),
        ("seed", 2**63 - 1, 2**63),
    ],
)
def test_the_bounds_are_where_the_documentation_says(field, last, beyond):
    assert getattr(EnsembleConfig(**{field: last}), field) == last
    with pytest.raises(ValueError, match=f"^{field} is {beyond}; "):
        EnsembleConfig(**{field: beyond})


def test_statistics_of_an_image_need_more_than_one_position_in_the_coarsest_map():
    assert EnsembleConfig(batch_stats=True, processing_res=33).processing_res == 33
    assert EnsembleConfig(batch_stats=True, processing_res=0).processing_res == 0
    with pytest.raises(ValueError, match=r"^processing_res is 32; it must be at least 33 px .*\(batch_stats\)"):
        EnsembleConfig(batch_stats=True, processing_res=32)


def test_defaults_are_valid_and_cannot_be_changed():
    config = EnsembleConfig()
    with pytest.raises(FrozenInstanceError):
        config.seed = 1
    assert config == EnsembleConfig()


def test_the_reference_preset_is_of_valid_options_that_are_set_otherwise_by_default_and_each_says_what_it_does():
    preset = {name: option.value for name, option in REFERENCE_PRESET.items()}
    plain, as_reference = EnsembleConfig(), EnsembleConfig(**preset)
    allowed = {"alignment": Alignment, "reduction": Reduction, "resize_filter": ResizeFilter}
    assert preset.keys() == {"ensemble_size", "denoise_steps", "stretch", "batch_stats", *allowed}
    for name, option in REFERENCE_PRESET.items():
        assert getattr(plain, name) != option.value == getattr(as_reference, name)
        assert option.value in get_args(allowed.get(name, Literal[True, 10]))
        assert len(option.effect.split()) > 6


@pytest.mark.parametrize(
    ("model", "is_fake", "is_folder", "folder"),
    [
        ("nano", False, False, EMBEDDED_MODEL),
        ("fake", True, False, EMBEDDED_MODEL),
        ("fake:sleep_s=1", True, False, EMBEDDED_MODEL),
        ("fakes", False, True, Path("fakes")),
        ("/models/full", False, True, Path("/models/full")),
        ("./nano", False, True, Path("nano")),
    ],
)
def test_a_model_is_the_embedded_one_the_stand_in_or_a_folder(model, is_fake, is_folder, folder):
    config = ModelConfig(model=model)
    assert (config.is_fake, config.is_folder, config.folder) == (is_fake, is_folder, folder)


@pytest.mark.parametrize("model", ["s3://bucket/model", "hf://org/name@v1", "memory://m"])
def test_a_model_at_a_url_is_no_folder_here(model):
    config = ModelConfig(model=model)
    assert (config.is_url, config.is_folder, config.is_fake) == (True, False, False)
    with pytest.raises(ValueError, match="a URL can't be used here"):
        _ = config.folder


def test_the_embedded_model_lies_in_the_package():
    assert ROOT / "model" / "nano" == EMBEDDED_MODEL


@pytest.mark.parametrize("module", ["config", "seeds", "weights", "prediction", "loading", "fake", "decoder_choice"])
def test_what_the_command_line_imports_does_not_import_torch(module):
    script = f"import sys, model.{module}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
