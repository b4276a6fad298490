"""jobs/publish_release.py and jobs/verify_release.py as their users see them: what they print, and their exit codes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from jobs import publish_release, verify_release
from pipeline.run import run
from pipeline.runs.inputs import remember_model
from pipeline.runs.lease import held
from tests.pipeline.make import make_collection, make_config, tree
from tests.pipeline.release.editing import mend_sums

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(done_here):
    """Runs a job in this process."""
    mains = {"publish_release.py": publish_release.main, "verify_release.py": verify_release.main}

    def call_here(job, *arguments):
        done = done_here(mains[job], job, *arguments)
        assert "Traceback" not in done.stderr
        return done

    return call_here


@pytest.fixture
def build(call):
    """Makes a release in this process."""
    return lambda *arguments: call("publish_release.py", "build", *arguments)


def call_script(job, *arguments, variables=MappingProxyType({})):
    """Run a job as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | variables
    command = [sys.executable, str(ROOT / "jobs" / job), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A run of ten images, of which 2, 4, 6, 8 and 10 are accepted."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    config = make_config(inputs, tmp_path_factory.mktemp("run"))
    run(config)
    return Path(config.out)


def test_a_release_that_is_made_later_knows_where_the_model_was_fetched_and_which_bounds_it_recommends(build, out):
    commit = "ab" * 20
    remember_model(str(out), f"hf://org/name@{commit}", "cd" * 32, {"max_variance": 0.21})
    try:
        built = build(out, "--version", "7.0.0", "--engine", "inline")
        card = Path(json.loads(built.stdout)["release"], "README.md").read_text()
    finally:
        (out / "plan" / "model.json").unlink()
    stated = json.loads(Path(json.loads(built.stdout)["release"], "release.json").read_bytes())
    assert [stated["made_from"]["policy"][name] for name in ("max_variance", "max_variance_per_area")] == [0.21, 0.1]
    assert f"org/name at {commit}, <https://huggingface.co/org/name/tree/{commit}>" in card


def test_a_policy_file_makes_a_release_that_stands_the_check(build, call, out, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'version = "2.0.0"\ntarget_images = 3\nthresholds = ["border <= 0.9"]\nallowed_licenses = [1]\n'
        'splits = ["train=0.5", "test=0.5"]\nmax_variance = 0.2\nembed_images = false\n'
    )
    made = build(out, "--policy", policy, "--target-images", 2)
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    assert report["release"] == f"{out}/release/sod-benchmark-2.0.0"
    assert (report["images"], report["accepted"]) == (10, 2)
    record = json.loads(Path(report["release"], "release.json").read_text())
    assert record["made_from"]["policy"]["target_images"] == 2  # the command line wins
    assert record["made_from"]["policy"]["allowed_licenses"] == [1]
    checked = call("verify_release.py", report["release"], "--no-loaders")
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.splitlines()[-1] == "every file is as it should be"
    assert json.loads(call("verify_release.py", report["release"], "--json", "--no-loaders").stdout)["problems"] == []


def test_a_dry_run_counts_what_would_be_accepted_and_writes_nothing(build, out):
    before = tree(out)
    dry = build(out, "--version", "4.0.0", "--target-images", 2, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert tree(out) == before
    assert "2 of 10 images would be accepted" in dry.stderr
    assert "rejected: variance_above_max: 5\nrejected: beyond_target: 3" in dry.stderr
    assert dry.stderr.endswith("dry run: nothing was written\n")
    found = json.loads(dry.stdout)
    assert (found["version"], found["release"]) == ("4.0.0", f"{out}/release/sod-benchmark-4.0.0")
    assert (found["accepted"], found["rejected"]) == (2, {"beyond_target": 3, "variance_above_max": 5})
    refused = build(out, "--version", "4.0.0", "--max-variance", 0, "--dry-run")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "10 rejected (variance_above_max). Relax the policy, or give --allow-empty" in refused.stderr


def test_masks_alone_need_no_images(build, out, tmp_path):
    images = json.loads((out / "plan" / "inputs.json").read_text())["images"]
    shutil.move(images, tmp_path / "away")
    try:
        assert build(out, "--version", "5.0.0", "--no-embed-images").returncode == 0
        with_images = build(out, "--version", "5.1.0")
        assert with_images.returncode == 2
        assert images in with_images.stderr
    finally:
        shutil.move(tmp_path / "away", images)


def test_a_run_at_work_is_left_alone(build, out):
    with held(str(out)):
        refused = build(out, "--version", "6.0.0")
    assert refused.returncode == 2
    assert "works on this run" in refused.stderr


def test_a_release_is_pushed_where_others_get_it(call, out, tmp_path):
    release = out / "release" / "sod-benchmark-1.0.0"
    dry = call("publish_release.py", "push", release, tmp_path, "--dry-run", "--no-loaders")
    assert (dry.returncode, list(tmp_path.iterdir())) == (0, [])
    files = [path for path in release.rglob("*") if path.is_file() and path.name != "release.json"]
    assert f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes would be sent" in dry.stderr
    assert "bytes would be sent; 0 existed already" in dry.stderr
    operations = [line for line in dry.stderr.splitlines() if line.startswith("write ")]
    assert operations == json.loads(dry.stdout)["operations"]
    assert f"write sod-benchmark-1.0.0/NOTICE, {(release / 'NOTICE').stat().st_size} bytes" in operations
    assert operations[-1] == "write LATEST with the name sod-benchmark-1.0.0"
    pushed = call_script("publish_release.py", "push", release, tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert "loading the release with the libraries of its users" in pushed.stderr
    assert json.loads(pushed.stdout)["target"] == f"{tmp_path}/sod-benchmark-1.0.0"
    checked = call_script("verify_release.py", tmp_path / "sod-benchmark-1.0.0", "--no-loaders")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines()[-1] == "every file is as it should be"
    assert (tmp_path / "LATEST").read_text() == "sod-benchmark-1.0.0\n"


def test_a_push_to_the_hub_that_can_not_be_made_says_why_and_shows_no_token(out, tmp_path):
    release, token = out / "release" / "sod-benchmark-1.0.0", "hf_" + "SeCrEt09" * 4
    # Nobody listens at port 1; the real client is asked, without credentials of whoever runs this.
    alone = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(tmp_path), "no_proxy": "127.0.0.1"}
    for target, variables, code, said in (
        ("hf://models/org/name", alone, 2, "push to hf://datasets/ORG/NAME"),
        ("hf://datasets/org/name", alone, 2, "Log in with hf auth login"),
        ("hf://datasets/org/name", alone | {"HF_TOKEN": token}, 1, "the Hub failed"),
    ):
        refused = call_script(
            "publish_release.py", "push", release, target, "--dry-run", "--no-loaders", variables=variables
        )
        assert (refused.returncode, refused.stdout) == (code, ""), refused.stderr
        assert said in refused.stderr
        assert token not in refused.stderr


def test_a_damaged_release_is_named_with_exit_code_1(call, out, tmp_path):
    shutil.copytree(out / "release" / "sod-benchmark-1.0.0", tmp_path / "copy")
    (tmp_path / "copy" / "NOTICE").write_text("all of this is mine")
    checked = call("verify_release.py", tmp_path / "copy")
    assert checked.returncode == 1
    assert "NOTICE: has 19 bytes" in checked.stdout
    assert checked.stdout.splitlines()[-1] == "problems: 1"
    refused = call("publish_release.py", "push", tmp_path / "copy", tmp_path / "all")
    assert refused.returncode == 1
    assert "is not published; problems found: 1, the first in NOTICE: " in refused.stderr


def test_a_release_is_compared_with_its_run(call, out, tmp_path):
    release = out / "release" / "sod-benchmark-1.0.0"
    assert call("verify_release.py", release, "--run", out, "--no-loaders").returncode == 0
    refused = call("verify_release.py", release, "--run", tmp_path, "--no-loaders")
    assert refused.returncode == 2
    assert f"--run {tmp_path} is not a run" in refused.stderr
    for name in ("candidates", "commits"):
        shutil.copytree(out / name, tmp_path / "other" / name)
    record = tmp_path / "other" / "commits" / "000000.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"binding": "0" * 64}))
    checked = call("verify_release.py", release, "--run", tmp_path / "other", "--no-loaders")
    assert checked.returncode == 1
    assert "binds other images, maps or scores in shard 000000" in checked.stdout


def test_what_was_not_checked_is_counted_and_named_with_exit_code_4(call, out, tmp_path):
    release = tmp_path / "copy"
    shutil.copytree(out / "release" / "sod-benchmark-1.0.0", release)
    (release / "NOTICE").write_text("other words")
    record = json.loads((release / "release.json").read_text())
    (release / "release.json").write_text(json.dumps(record | {"texts": "0" * 64}))
    mend_sums(release)
    checked = call("verify_release.py", release, "--no-loaders")
    assert checked.returncode == 4, checked.stdout
    said = checked.stdout.splitlines()
    assert "not checked: 1" in said
    assert "NOTICE: what it says was not compared: another version of this tool wrote it" in said
    assert said[-1] == "nothing was found wrong, but not everything was checked: 1"
    as_json = call("verify_release.py", release, "--no-loaders", "--json")
    assert as_json.returncode == 4
    assert [entry["where"] for entry in json.loads(as_json.stdout)["unchecked"]] == ["NOTICE"]
    pushed = call("publish_release.py", "push", release, tmp_path / "all", "--dry-run", "--no-loaders")
    assert "not checked: NOTICE: " in pushed.stderr
    assert "4 nothing was found wrong, but not everything was checked" in " ".join(
        call("verify_release.py", "--help").stdout.replace("│", " ").split()
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--thresholds", "beauty>=1"], "unknown score 'beauty'"),
        (["--splits", "train=0.5"], "shares must be above 0 and add up to 1"),
        (["--rank-by", "area"], "rank_by is 'area'"),
        (["--target-images", "-1"], "target_images is -1"),
        (["--version", "../2"], "version is '../2'"),
        (
            ["--max-variance", "0.01"],
            "made from something else: policy.max_variance: made with 0.02, requested 0.01",
        ),
        (["--annotations", "/nowhere.json", "--version", "2"], "/nowhere.json"),
    ],
)
def test_nonsense_is_refused_with_what_and_why(build, out, arguments, said):
    refused = build(out, *arguments)
    assert refused.returncode == 2, refused.stderr
    assert said in " ".join(refused.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "content", ["thresholds = 3", "allowed_licenses = ['x']", "model = 'nano'", "max_variance = 7"]
)
def test_a_policy_file_that_is_none_is_refused_by_name(build, out, tmp_path, content):
    (tmp_path / "policy.toml").write_text(content)
    refused = build(out, "--policy", tmp_path / "policy.toml")
    assert refused.returncode == 2
    assert f"--policy {tmp_path / 'policy.toml'}: " in refused.stderr
    assert content.partition(" ")[0] in refused.stderr


def test_a_folder_without_run_or_release_is_a_wrong_request(build, call, tmp_path):
    for done in (build(tmp_path), call("verify_release.py", tmp_path), call("publish_release.py", "unmake")):
        assert done.returncode == 2
        assert done.stderr
