"""Options of predicting photos: defaults, spellings, the preset, and requests that contradict themselves."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from jobs.predict import parse
from model.config import REFERENCE_PRESET, EnsembleConfig, ModelConfig
from pipeline.errors import ConfigError
from pipeline.photos.config import OFFICIAL_OPTIONS, PhotosConfig
from tests.pipeline.photos.make import make_config

REQUIRED = ["--input-rgb-path", "photos", "--output-dir", "out"]


# Examples


def test_the_defaults_are_those_of_a_run_except_the_batch_size_which_free_memory_decides():
    config = parse(REQUIRED)
    assert config == PhotosConfig(
        input_rgb_path="photos", output_dir=Path("out"), model=ModelConfig(), ensemble=EnsembleConfig(batch_size=0)
    )


def test_options_are_written_with_dashes_or_underscores_and_switches_need_no_value():
    dashes = ["--ensemble-size=3", "--denoise-steps", "4", "--save-uncertainty", "--no-overlay", "--half-precision"]
    config = parse([*REQUIRED, *dashes])
    assert (config.ensemble.ensemble_size, config.ensemble.denoise_steps) == (3, 4)
    assert (config.save_uncertainty, config.overlay, config.half_precision) == (True, False, True)
    arguments = [*REQUIRED, *dashes]
    underscores = [re.sub(r"(?<=\w)-(?=\w)", "_", argument) for argument in arguments]
    assert underscores != arguments
    assert parse(underscores) == config


def test_the_original_names_of_the_official_paths_are_accepted():
    paths = [f"--{name}={name}" for name in OFFICIAL_OPTIONS]
    config = parse(["--input_rgb_path=photos", "--output_dir=out", *paths])
    assert config.is_official
    assert [str(getattr(config, name)) for name in OFFICIAL_OPTIONS] == list(OFFICIAL_OPTIONS)
    assert not parse(REQUIRED).is_official


@pytest.mark.parametrize("arguments", [[], ["--reference"], ["--no-reference"]])
def test_the_preset_sets_its_options_if_requested_and_no_others(arguments):
    wanted = arguments == ["--reference"]
    preset = {name: option.value for name, option in REFERENCE_PRESET.items()} if wanted else {}
    expected = asdict(EnsembleConfig(batch_size=0)) | preset
    assert asdict(parse([*arguments, *REQUIRED]).ensemble) == expected


@pytest.mark.parametrize("before", [False, True])
def test_options_beside_the_preset_win_wherever_they_stand(before):
    own = ["--alignment", "none", "--no-stretch", "--batch-size", "4"]
    ensemble = parse([*REQUIRED, *(own if before else []), "--reference", *([] if before else own)]).ensemble
    assert (ensemble.alignment, ensemble.stretch, ensemble.batch_size) == ("none", False, 4)
    assert (ensemble.reduction, ensemble.batch_stats, ensemble.resize_filter) == ("median", True, "bicubic")


def test_one_member_is_enough_without_uncertainty():
    assert make_config("photos", Path("out"), ensemble_size=1).ensemble.ensemble_size == 1


# Faults


@pytest.mark.parametrize("missing", OFFICIAL_OPTIONS)
def test_two_of_the_three_official_paths_are_refused_with_the_name_of_the_third(missing):
    given = {name: Path("weights") for name in OFFICIAL_OPTIONS if name != missing}
    with pytest.raises(ConfigError) as refused:
        make_config("photos", Path("out"), **given)
    first = min(given, key=OFFICIAL_OPTIONS.index).replace("_", "-")
    assert str(refused.value) == f"--{first} is given without --{missing.replace('_', '-')}; official weights need all"


@pytest.mark.parametrize("given", OFFICIAL_OPTIONS)
def test_one_of_the_three_official_paths_is_refused_with_the_names_of_the_others(given):
    others = " and ".join("--" + name.replace("_", "-") for name in OFFICIAL_OPTIONS if name != given)
    with pytest.raises(ConfigError, match=f"is given without {others};"):
        make_config("photos", Path("out"), **{given: Path("weights")})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"model": "/a/folder", **dict.fromkeys(OFFICIAL_OPTIONS, Path("weights"))},
            "--model /a/folder and --stable-diffusion-repo-path both name weights; give one of them",
        ),
        ({"model": "fake"}, "--model fake: the stand-in paints discs; photos need `nano` or a folder"),
        ({"model": "fake:sleep_s=1"}, "--model fake:sleep_s=1: the stand-in"),
        ({"save_uncertainty": True, "ensemble_size": 1}, "--save-uncertainty needs an --ensemble-size of at least 2"),
    ],
)
def test_contradicting_options_are_refused_by_name(options, said):
    with pytest.raises(ConfigError) as refused:
        make_config("photos", Path("out"), **options)
    assert said in str(refused.value)
