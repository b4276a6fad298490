"""Properties, examples and faults of options: from a TOML file, from the command line, and from both."""

import re
import sys
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.coco_pseudolabel import main, parse
from jobs.command_line import USAGE, run_job
from jobs.publish_release import BuildConfig
from model.config import REFERENCE_MODEL, REFERENCE_PRESET
from pipeline.config import ClusterConfig, ReleaseConfig, RunConfig
from pipeline.errors import ConfigError
from pipeline.options import from_options, option_types, read_toml
from pipeline.selection.policy import PolicyConfig

REQUIRED = ["--out", "o", "--images", "i", "--annotations", "a"]
OPTIONS = sorted(option_types(RunConfig))
OUT_OF_BOUNDS = [
    ("max_variance", 0.26, "0.25"),
    ("max_variance", -0.1, "0"),
    ("max_variance_per_area", 251, "250"),
    ("min_area", 1.1, "1"),
    ("max_area", -0.1, "0"),
    ("max_area", 0.001, "min_area is 0.005"),
    ("max_failed_share", 1.5, "1"),
    ("shard_size", 0, "above 0"),
    ("max_image_bytes", 0, "above 0"),
    ("max_image_pixels", -1, "above 0"),
    ("max_image_pixels", 500_000_001, "at most 500000000: larger images take more than 2 GB"),
    ("tar_bytes", 0, "above 0"),
    ("shard_attempts", 0, "above 0"),
    ("progress_every_s", 0, "above 0"),
    ("replicas", -1, "0"),
    ("threads", 0, "at least 1"),
    ("ensemble_size", 0, "at least 1"),
    ("batch_images", 0, "at least 1"),
    ("batch_size", -1, "at least 0"),
    ("denoise_steps", 0, "from 1"),
    ("processing_res", 7, "at least 8"),
    ("seed", -1, "from 0"),
    ("seed", 1 << 63, "from 0"),
    ("name", "a/b", "ASCII letters"),
    ("name", "", "ASCII letters"),
    ("name", "b" * 250, "at most 255 characters together"),
    ("version", "1" * 246, "at most 255 characters together"),
    ("version", "1 0", "ASCII letters"),
    ("version", "é", "ASCII letters"),
]


@pytest.fixture
def toml(tmp_path):
    """Writes a TOML file; returns its path."""

    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text)
        return str(path)

    return write


def option(name):
    return "--" + name.replace("_", "-")


def values_of(config):
    """All options of a configuration, flat."""
    flat = {}
    for name, value in asdict(config).items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


def exit_code(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["coco_pseudolabel.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_job(main)
    return ended.value.code


# Properties


@given(st.floats(0, 0.25), st.integers(1, 10**9), st.integers(0, 2**63 - 1), st.sampled_from(["float32", "bfloat16"]))
def test_options_end_up_in_their_parts(max_variance, shard_size, seed, dtype):
    given_options = {"max_variance": max_variance, "shard_size": shard_size, "seed": seed, "dtype": dtype}
    config = from_options(RunConfig, given_options, missing="not given")
    assert config.policy.max_variance == max_variance
    assert (config.shard_size, config.ensemble.seed, config.model.dtype) == (shard_size, seed, dtype)
    assert config.out == config.input.images == "not given"
    assert config.input.annotations == ""


@given(st.text("ab./\\ :é~", max_size=5))
def test_a_release_name_never_leaves_its_folder(name):
    if re.fullmatch("[ab]+", name):
        assert ReleaseConfig(name=name).name == name
    else:
        with pytest.raises(ValueError, match=re.escape(f"name is {name!r}")):
            ReleaseConfig(name=name)


# Examples


def test_no_two_parts_have_an_option_of_the_same_name():
    options = from_options(RunConfig, {}, missing="")
    parts = [asdict(part) for part in (options.input, options.model, options.ensemble, options.policy)]
    parts += [asdict(part) for part in (options.cluster, options.release)]
    names = [name for part in parts for name in part]
    assert len(names) == len(set(names))


def test_the_file_sets_options_of_every_part_and_type(toml):
    path = toml('images = "photos"\nmax_variance = 0.1\nensemble_size = 4\nengine = "inline"\nshard_size = 8\n')
    config = parse(["--config", path, "--out", "o", "--annotations", "a"])
    assert (config.input.images, config.policy.max_variance, config.ensemble.ensemble_size) == ("photos", 0.1, 4)
    assert (config.cluster.engine, config.shard_size, config.config) == ("inline", 8, path)


@given(st.lists(st.sampled_from(["seed", "shard_size", "max_variance", "threads", "engine"]), unique=True))
def test_a_file_may_have_sections_for_some_options_and_none_for_others(tmp_path_factory, in_sections):
    values = {"seed": 5, "shard_size": 8, "max_variance": 0.1, "threads": 3, "engine": "inline"}
    sections = {"seed": "ensemble", "max_variance": "policy", "threads": "model", "engine": "cluster"}
    lines = [f"{name} = {value!r}" for name, value in values.items() if name not in in_sections or name == "shard_size"]
    lines += [f"[{sections[name]}]\n{name} = {values[name]!r}" for name in in_sections if name in sections]
    path = tmp_path_factory.getbasetemp() / "sections.toml"
    path.write_text("\n".join(lines))
    assert read_toml(str(path), RunConfig, "--config") == values


def test_options_that_neither_file_nor_command_line_sets_have_their_defaults(toml):
    defaults = values_of(parse(REQUIRED))
    changed = values_of(parse([*REQUIRED, "--config", toml("seed = 5")]))
    assert {name for name in OPTIONS if changed[name] != defaults[name]} == {"seed", "config"}


def test_an_optional_number_may_be_none(toml):
    path = toml("processing_res = 96\nbatch_size = 0")
    for arguments, expected in ((["--processing-res", "None"], (None, 0)), (["--batch-size", "None"], (96, None))):
        ensemble = parse([*REQUIRED, "--config", path, *arguments]).ensemble
        assert (ensemble.processing_res, ensemble.batch_size) == expected


def test_the_command_line_wins_over_the_file(toml):
    path = toml('out = "there"\nseed = 5\nmax_variance = 0.1\n')
    config = parse(["--seed", "6", f"--config={path}", *REQUIRED])
    assert (config.out, config.ensemble.seed, config.policy.max_variance) == ("o", 6, 0.1)


@pytest.mark.parametrize("name", [name for name, kind in option_types(RunConfig).items() if kind is float])
def test_a_whole_number_in_the_file_is_the_float_of_the_command_line(toml, name):
    value = 0 if name in ("max_variance", "min_area") else 1
    in_file = values_of(parse([*REQUIRED, "--config", toml(f"{name} = {value}")]))[name]
    assert in_file == value
    assert type(in_file) is float


# The reference preset


@pytest.mark.parametrize("in_file", [None, False, True])
@pytest.mark.parametrize("argument", [None, "--no-reference", "--reference"])
def test_the_command_line_overrides_a_request_for_the_preset_in_the_file(toml, in_file, argument):
    arguments = [] if in_file is None else ["--config", toml(f"reference = {str(in_file).lower()}")]
    values = values_of(parse([*REQUIRED, *arguments, *([argument] if argument else [])]))
    wanted = bool(in_file) if argument is None else argument == "--reference"
    defaults = values_of(parse(REQUIRED))
    preset = {name: option.value for name, option in {**REFERENCE_PRESET, **REFERENCE_MODEL}.items()}
    expected = defaults | (preset if wanted else {}) | {"reference": wanted, "config": values["config"]}
    assert values == expected


def test_options_given_with_the_preset_override_it_wherever_they_are(toml):
    path = toml("reference = true\nalignment = 'affine'\nreduction = 'mean'")
    ensemble = parse([*REQUIRED, "--config", path, "--reduction", "median", "--no-stretch"]).ensemble
    assert (ensemble.alignment, ensemble.reduction, ensemble.stretch) == ("affine", "median", False)
    assert (ensemble.batch_stats, ensemble.resize_filter) == (True, "bicubic")


# Faults


@pytest.mark.parametrize(("name", "value", "bound"), OUT_OF_BOUNDS)
def test_a_value_out_of_bounds_is_refused_by_name_in_the_file(toml, name, value, bound):
    with pytest.raises(ConfigError, match=rf"run\.toml.*{name}.*{re.escape(str(value))}") as refused:
        read_toml(toml(f"{name} = {value!r}"), RunConfig, "--config")
    assert bound in str(refused.value)


@pytest.mark.parametrize(("name", "value", "bound"), OUT_OF_BOUNDS)
def test_a_value_out_of_bounds_is_refused_by_name_on_the_command_line(name, value, bound, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert exit_code([*REQUIRED, f"{option(name)}={value}"], monkeypatch) == USAGE
    shown = capsys.readouterr().err
    assert name in shown
    assert str(value) in shown
    assert bound in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_such = 1", "unknown option 'no_such'. Options are accept_mixed, adaptive, address_column, alignment"),
        ("max-variance = 0.1", "unknown option 'max-variance'. Did you mean max_variance?"),
        ("ensemble_sise = 4", "unknown option 'ensemble_sise'. Did you mean ensemble_size?"),
        ("[polcy]\nmax_variance = 0.1", r"unknown section \[polcy\]. Did you mean policy\? Sections are cluster"),
        ("[model]\nmax_variance = 0.1", r"max_variance is in section \[model\]; move it to \[policy\]"),
        ("max_variance = 0.1\n[policy]\nmax_variance = 0.2", "max_variance is given twice"),
        ("[policy]\nmax_varianc = 0.1", "unknown option 'max_varianc'. Did you mean max_variance?"),
        ("[policy.deeper]\nmax_variance = 0.1", "unknown option 'deeper'"),
        ("shard_size = '4'", "shard_size is '4'; it must be int"),
        ("shard_size = 4.0", "shard_size is 4.0; it must be int"),
        ("shard_size = true", "shard_size is True; it must be int"),
        ("allow_hosts = 'a.example'", "allow_hosts is 'a.example'; it must be a list of str"),
        ("allow_hosts = ['http://a.example']", "allow_hosts has 'http://a.example'; it must be names or addresses"),
        ("allow_hosts = ['a.example:80']", "allow_hosts has 'a.example:80'; it must be names or addresses"),
        ("max_variance = 'low'", "max_variance is 'low'; it must be float"),
        ("max_variance = nan", "max_variance is nan; it must be from 0 to 0.25"),
        ("out = 3", "out is 3; it must be str"),
        ("out = ['a']", r"out is \['a'\]; it must be str"),
        ("batch_size = 'all'", "batch_size is 'all'; it must be int"),
        ("processing_res = true", "processing_res is True; it must be int"),
        ("processing_res = 64.0", "processing_res is 64.0; it must be int"),
        ("stretch = 1", "stretch is 1; it must be bool"),
        ("reference = 'yes'", "reference is 'yes'; it must be bool"),
        ("alignment = 'both'", "alignment is 'both'; it must be one of none, affine, reference"),
        ("dtype = 'float8'", "dtype is 'float8'; it must be one of auto, float32, bfloat16, float16"),
        ("engine = 'rya'", "engine is 'rya'; it must be one of ray, inline"),
        ("engine = 1", "engine is 1; it must be one of ray, inline"),
        ("seed = ", "at end of document"),
    ],
)
def test_an_unusable_file_is_refused_with_the_option_and_its_value(toml, text, message):
    with pytest.raises(ConfigError, match=rf"run\.toml: .*{message}"):
        read_toml(toml(text), RunConfig, "--config")


@pytest.mark.parametrize(
    "text",
    [
        "root:$6$hunter2:19000:0:99999:7:::",
        "hunter2",
        "[hunter2]\nx = 1",
        "hunter2 = 1",
        "a.hunter2 = 1\na.hunter2 = 2",
        '"hunter2" = {hunter2 = 1, hunter2 = 2}',
        "AWS_SECRET_ACCESS_KEY = 'hunter2'",
        "x = 'hunter2\\q'",
        "x = 'hunter2",
        "[x]\n[x]\nhunter2 = 1",
        "\x01hunter2",
    ],
)
@pytest.mark.parametrize("kind", [RunConfig, BuildConfig])
def test_nothing_of_a_file_that_is_not_the_one_that_was_meant_is_quoted(toml, text, kind):
    with pytest.raises(ConfigError, match=r"run\.toml: ") as refused:
        read_toml(toml(text), kind, "--config")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = " + "[" * 100_000, "more than 64 levels deep"),
        ("seed = " + "[" * 90 + "]" * 90, "more than 64 levels deep"),
        ("seed = " + "1" * 5000, "too many digits"),
        ("seed = " + "1" * 102, "too many digits"),
        ("stall_after_s = nan", "stall_after_s is nan; it must be above 0"),
        ("# " + "x" * (1 << 20), "more than 1,048,576 bytes"),
    ],
    ids=lambda value: value[:12],
)
def test_a_file_beyond_all_bounds_is_refused_and_no_other_error_is_raised(toml, text, message):
    with pytest.raises(ConfigError, match=rf"run\.toml: .*{message}"):
        read_toml(toml(text), RunConfig, "--config")


@pytest.mark.parametrize("text", ['run = "x"', "run = {x = 1}", "release = 'x'", "selection = 1"])
def test_a_policy_file_can_not_say_what_has_no_name_on_the_command_line(toml, text):
    with pytest.raises(ConfigError, match=r"unknown (option '|section \[)"):
        read_toml(toml(text), BuildConfig, "--policy")


def test_a_file_that_never_ends_is_refused():
    with pytest.raises(ConfigError, match="more than 1,048,576 bytes"):
        read_toml("/dev/zero", RunConfig, "--config")


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(ConfigError, match=f"--config {tmp_path / name}"):
        read_toml(str(tmp_path / name), RunConfig, "--config")


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"run\.toml"):
        read_toml(str(tmp_path / "run.toml"), RunConfig, "--config")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--out"),
        (REQUIRED[:2], "--images"),
        ([*REQUIRED, "--no-such", "1"], "--no-such"),
        ([*REQUIRED, "--seed", "x"], "--seed"),
        ([*REQUIRED, "--engine", "rya"], "--engine"),
        ([*REQUIRED, "--config"], "--config"),
        ([*REQUIRED, "--config", "absent.toml"], "absent.toml"),
    ],
)
def test_a_wrong_command_line_ends_with_exit_code_2_and_names_the_option(arguments, named, capsys, monkeypatch):
    assert exit_code(arguments, monkeypatch) == USAGE
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("text", ["max_variance = 5", "engine = 'rya'", "nope = 1", "seed = 'x'", "="])
def test_a_wrong_file_ends_with_exit_code_2_and_is_named(toml, text, capsys, monkeypatch):
    assert exit_code([*REQUIRED, "--config", toml(text)], monkeypatch) == USAGE
    assert "run.toml" in capsys.readouterr().err


def test_bounds_that_leave_no_area_are_refused_naming_both():
    with pytest.raises(ValueError, match=r"min_area is 0\.9, but max_area is 0\.1"):
        PolicyConfig(min_area=0.9, max_area=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("creator", "a\nb"),
        ("creator", "x" * 201),
        ("published_on", "today"),
        ("published_on", "2026-02-30"),
        ("published_on", "2026-99-99"),
        ("published_on", "2026-11-24T00:00"),
        ("homepage", "javascript:alert(1)"),
        ("homepage", "https://x/>\n# heading"),
        ("homepage", "https://user:secret@x/"),
        ("errata", "somebody"),
        ("errata", "a@b.org> [x](javascript:alert(1))"),
        ("mask_license", "MIT"),
        ("model_name", "a\nb"),
        ("collection_url", "file:///etc/passwd"),
    ],
)
def test_facts_of_a_publication_are_one_printable_line(name, value):
    with pytest.raises(ValueError, match=f"{name} is "):
        ReleaseConfig(**{name: value})


def test_a_publication_may_name_its_creator_day_and_homepage():
    ReleaseConfig(creator="Ünï Lab, e.V.", published_on="2026-11-24", homepage="https://example.org:8080/~a/sod-1.0")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_replicas": 3, "max_replicas": 2}, "min_replicas is 3; it must be at most max_replicas, 2"),
        ({"replicas": 4, "max_replicas": 2}, "replicas is 4; with it, min_replicas and max_replicas can't be given"),
        ({"storage_patience_s": float("nan")}, "storage_patience_s is nan"),
        ({"gpus_per_replica": 1.5}, "it must be a whole number, or less than 1"),
        ({"resources": ("memory",)}, "it must be a name and an amount"),
        ({"resources": ("GPU=2",)}, "--gpus-per-replica for GPUs"),
        ({"labels": ("zone",)}, "it must be a label and its value"),
        ({"labels": ("zone=a", "zone=b")}, "labels has zone twice"),
        ({"resources": ("spot=1", "spot=2")}, "resources has spot twice"),
    ],
)
def test_options_of_a_cluster_that_can_t_be_meant_are_refused(options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        ClusterConfig(**options)
