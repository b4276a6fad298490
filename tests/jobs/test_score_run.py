"""jobs/score_run.py as its users see it: its command line, what it prints, and its exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import score_run, verify_run
from pipeline.passes.folder import read_document
from pipeline.passes.known import PASSES
from pipeline.passes.options import FlipOptions
from tests.documents import ROOT
from tests.pipeline.make import make_collection, make_key, tree
from tests.pipeline.passes.make import KIND, LEAST, SOURCE, copy_of, make_run, values_of, write_module

COUNT = 5


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """Candidates in shards of three and two images; not to be changed."""
    folder = tmp_path_factory.mktemp("predicted")
    return make_run(make_collection(folder / "in", COUNT), folder / "run")


@pytest.fixture
def run(predicted, tmp_path, monkeypatch):
    """A copy of the run, and a working folder that has a user's pass."""
    write_module(tmp_path)
    monkeypatch.chdir(tmp_path)
    return copy_of(predicted, tmp_path / "run")


@pytest.fixture
def score(run, run_here):
    """A session with the options of a command line; gives exit code, stdout and stderr."""
    return lambda *options: run_here(score_run.main, "score_run.py", run, "--engine", "inline", *map(str, options))


def test_a_pass_prints_one_line_of_json_and_what_it_did(score, run):
    code, out, err = score("--pass", KIND, "--scale", 0.5)
    assert code == 0
    (line,) = out.splitlines()
    report = json.loads(line)
    images_per_s = report.pop("images_per_s")
    assert images_per_s > 0
    assert report == {
        "name": "brightness", "folder": f"{run}/passes/brightness", "images": COUNT, "scored": COUNT, "failed": 0,
        "computed": COUNT, "not_predicted": 0, "columns": ["brightness_mean", "brightness_note"],
    }  # fmt: skip
    assert "brightness: 5 images scored, 0 failed; columns: brightness_mean, brightness_note" in err
    code, out, _ = score("--pass", KIND, "--scale", 0.5)
    assert (code, json.loads(out)["computed"]) == (0, 0)


def test_an_incomplete_run_is_scored_as_far_as_it_is_with_0_and_says_so(score, run):
    for path in [*Path(run).glob("commits/000001*"), *Path(run).glob("candidates/000001*")]:
        path.unlink()
    code, out, err = score("--pass", KIND)
    assert (code, json.loads(out)["not_predicted"]) == (0, 2)
    assert "2 images are not predicted yet. Finish the run, then run this command again" in err


def test_options_come_from_a_file_too_and_the_command_line_wins(score, run, tmp_path):
    (tmp_path / "pass.toml").write_text('scale = 0.5\nbatch_images = 3\nname = "dark"\n')
    assert score("--pass", KIND, "--config", "pass.toml", "--batch-images", 1)[0] == 0
    made_with = read_document(run, "dark").fingerprint
    assert (made_with["option scale"], made_with["batch_images"]) == ("0.5", "1")


def test_annotations_of_a_user_s_options_may_be_texts(score, tmp_path):
    write_module(
        tmp_path, SOURCE.replace("import os\n", "from __future__ import annotations\n\nimport os\n", 1), "later"
    )
    (tmp_path / "pass.toml").write_text("scale = 0.5\n")
    assert score("--pass", "later:Brightness", "--config", "pass.toml")[0] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pass", "flop"], "error: --pass flop: there is no such pass; give flip"),
        (["--pass", "nowhere:Pass"], "error: --pass nowhere:Pass: no module nowhere in this folder"),
        (["--pass", "own_pass:Nothing"], "error: --pass own_pass:Nothing: the module own_pass has no class Nothing"),
        (["--pass", KIND, "--scale", "2"], "scale is 2.0; it must be above 0 and at most 1"),
        (["--pass", KIND, "--batch-images", "0"], "batch_images is 0"),
        (["--pass", KIND, "--name", "../x"], "error: --name '../x': it must be lower-case letters"),
        (["--pass", KIND, "--images", "nowhere"], "nowhere"),
        (["--pass", KIND, "--sclae", "1"], "--sclae"),
        (["--pass", "flip", "--views", "upside"], "upside"),
        (["--pass", KIND, "--config", "none.toml"], "error: --config none.toml: "),
        ([], "--pass"),
        (["--pass"], "--pass"),
    ],
)
def test_a_wrong_request_ends_with_2_and_changes_nothing(score, run, options, said):
    before = tree(run)
    code, out, err = score(*options)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert tree(run) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("Options = 3", "its Options are no dataclass"),
        (
            "@dataclass(frozen=True, kw_only=True)\n    class Options:\n        threads: int = 1",
            "an option threads already",
        ),
    ],
)
def test_options_that_can_not_be_those_of_a_command_line_are_refused(score, tmp_path, options, said):
    start, end = SOURCE.index("    @dataclass"), SOURCE.index("    def __init__")
    write_module(tmp_path, f"{SOURCE[:start]}    {options}\n\n{SOURCE[end:]}", "odd")
    code, _, err = score("--pass", "odd:Brightness")
    assert (code, said in err) == (2, True)


def test_a_bug_of_a_user_s_pass_ends_with_1_and_is_shown_with_its_line(score, tmp_path):
    write_module(tmp_path, SOURCE.replace("mean = float(", "mean = 1 / 0 + float("), "buggy")
    code, out, err = score("--pass", "buggy:Brightness")
    assert (code, out) == (1, "")
    (line,) = [
        number for number, text in enumerate((tmp_path / "buggy.py").read_text().splitlines(), 1) if "1 / 0" in text
    ]
    assert f"failed: the score pass brightness failed at the keys {make_key(1)}, " in err
    assert f"ZeroDivisionError: division by zero (buggy.py, line {line})" in err


def test_a_pass_that_exits_scores_nothing_and_ends_with_1(score, tmp_path):
    write_module(tmp_path, SOURCE.replace("mean = float(", "raise SystemExit(0)\n        mean = float("), "leaving")
    code, out, err = score("--pass", "leaving:Brightness")
    assert (code, out) == (1, "")
    assert f"failed: the score pass brightness failed at the keys {make_key(1)}, " in err
    assert "SystemExit: 0 (leaving.py, line " in err


def test_a_pass_that_could_score_no_image_ends_with_3_and_the_first_reason(score, run, tmp_path):
    write_module(tmp_path, LEAST.replace("0}", "float('nan')}"), "odd")
    for _ in range(2):
        code, out, err = score("--pass", "odd:Zero")
        assert (code, json.loads(out)["scored"], json.loads(out)["failed"]) == (3, 0, COUNT)
        assert f"no image was scored. The first, {make_key(1)}: pass_output: zero is nan; it must be a number" in err
        assert "next: " not in err


def test_help_lists_every_pass_and_that_of_a_pass_its_options(run, run_here):
    def help_of(*options):
        code, out, err = run_here(score_run.main, "score_run.py", *options, "--help")
        assert (code, err) == (0, "")
        return out

    general = help_of()
    assert all(f"{name}: {known.meaning}" in " ".join(general.split()) for name, known in PASSES.items())
    assert "--views" not in general
    flip = help_of("--pass", "flip")
    assert "flip pass options" in flip
    assert (FlipOptions.__doc__ or "").split(".")[0][:40] in flip
    assert "--view-steps" in flip
    own = help_of("--pass", KIND)
    assert "What brightness is multiplied by. [default: 1.0]" in own


def test_ctrl_c_ends_a_script_with_what_is_committed(run, predicted, tmp_path):
    """In a process of its own, as a shell starts it."""
    command = [
        sys.executable,
        ROOT / "jobs/score_run.py",
        run,
        "--pass",
        KIND,
        "--engine",
        "inline",
        "--sleep-s",
        "0.4",
    ]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    first = Path(run, "passes/brightness/commits/000000.json")
    while not first.exists():
        assert job.poll() is None
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGINT)
    _, err = job.communicate()
    assert job.returncode == 1
    assert "stopped: asked to stop with 3 of 5 images committed. Run the same command again to resume." in err
    assert len(values_of(run)) == 3
    assert {name: content for name, content in tree(run).items() if not name.startswith("passes/")} == tree(predicted)


def test_verify_run_checks_and_repairs_the_passes_too(score, run, run_here):
    score("--pass", KIND)
    (rows,) = Path(run, "passes/brightness/scores").glob("000001*")
    whole = rows.read_bytes()
    code, out, _ = run_here(verify_run.main, "verify_run.py", run)
    assert (code, out.splitlines()[-1]) == (0, "score pass brightness: 5 images scored, 0 failed, 0 left to score")
    rows.write_bytes(whole[:-1])
    code, out, _ = run_here(verify_run.main, "verify_run.py", run)
    assert code == 1
    assert f"passes/brightness/scores/{rows.name}: " in out
    assert out.splitlines()[-1].startswith("broken shards: 1; --repair removes them, so that the pass scores them")
    code, out, _ = run_here(verify_run.main, "verify_run.py", run, "--json")
    (found,) = json.loads(out)["passes"]
    assert (code, found["name"], found["left"], found["broken"]) == (1, "brightness", 2, ["000001"])
    code, out, _ = run_here(verify_run.main, "verify_run.py", run, "--repair")
    assert code == 0
    assert out.splitlines()[-1].startswith("files removed: 2; run the command of this pass again")
    score("--pass", KIND)
    assert rows.read_bytes() == whole
    Path(run, "passes/brightness/pass.json").write_bytes(b"half")
    code, out, _ = run_here(verify_run.main, "verify_run.py", run, "--repair")
    assert code == 1
    assert "problems that --repair can't mend: 1, for example passes/brightness/pass.json: " in out
