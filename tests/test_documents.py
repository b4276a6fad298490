"""What the documents show is true: their code runs; their options, targets, files and links exist."""

import contextlib
import importlib
import io
import logging
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tyro

from jobs.commands import COMMANDS
from jobs.publish_release import BuildConfig
from pipeline.benchmarks.kinds import KINDS
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.options import read_toml
from pipeline.passes.known import PASSES
from tests.documents import BLOCKS, MAKE_TARGETS, NAMES, ROOT, TEXTS, anchors, tree

SAMPLE = ROOT / "pipeline/sample"
RELEASE = "out/demo/release/sod-benchmark-1.0.0"
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("*.py") if '__name__ == "__main__"' in path.read_text())
FASTER = {
    "jobs/coco_pseudolabel.py": "--model fake --engine inline",
    "--out out/minimal": "--allow-empty",  # the stand-in may reject the one image
    "jobs/predict.py": "--ensemble-size 2 --denoise-steps 1",
    "sod predict": "--ensemble-size 2 --denoise-steps 1",
    "sod label": "--model fake --engine inline",
    "jobs/evaluate.py": "--engine inline",
    "jobs/evaluate.py --images": "--model fake",
    "baselines:grabcut": "--function pipeline.evaluation.models.baselines:centre_prior",  # GrabCut takes a second each
    "--out out/models/nano": "--model fake",
    # The sample's annotations have no outlines, so `instance_iou` of the policy shown would be refused.
    "jobs/score_run.py": "--engine inline",
    "jobs/score_run.py /data/runs/coco-1 --pass flip": "--model fake",
    "jobs/publish_release.py build": "--engine inline --thresholds 'pairwise_iou >= 0.9'",
    "jobs/publish_release.py push": "--no-loaders",
    "jobs/audit_release.py certify": "--dry-run",
    "jobs/verify_release.py": "--no-loaders",
}
"""What is added to a command that is run: the stand-in instead of weights, no check that other tests make, and nothing
that would add to the release of the other blocks."""
OTHER_PROGRAMS = {"make", "hf", "pip", "kubectl", "ray", "sbatch", "sky"}
"""Programs in blocks that are not run, beside the jobs."""


def blocks(language, run):
    """Each once, though two documents show it."""
    return {block.code: block for block in BLOCKS if block.language == language and bool(block.not_run) != run}.values()


def block_id(block):
    return f"{block.document}:{block.code.splitlines()[0][:60]}"


def toml_name(block):
    """The name of the file, in the first line of a TOML block."""
    return re.match(r"# (\w+\.toml)\n", block.code).group(1)


def module_name(block):
    """The name of the file, in the first line of a Python block that is a module; empty for others."""
    found = re.match(r"# (\w+\.py)\n", block.code) if block.language == "python" else None
    return found.group(1) if found else ""


(SUBMISSION,) = [block for block in blocks("bash", run=True) if "ray job submit" in block.code]


@pytest.fixture(scope="module")
def home(tmp_path_factory, plain_figures):
    """A home folder with everything that the documents name, and the run that the README submits."""
    home = tmp_path_factory.mktemp("home")
    for layer in ("jobs", "model", "pipeline"):
        (home / layer).symlink_to(ROOT / layer)
    photos, masks = sorted((SAMPLE / "images").glob("*.jpg")), sorted((SAMPLE / "masks").glob("*.png"))
    for folder, files in (("photos", photos[:4]), ("masks", masks[:4]), ("maps", masks[:4])):
        (home / folder).mkdir()
        for file in files:
            shutil.copy(file, home / folder)
    (home / "data/coco/annotations").mkdir(parents=True)
    for annotations in (home / "data/coco/annotations/instances_train2017.json", home / "instances_train2017.json"):
        shutil.copy(SAMPLE / "instances_sample.json", annotations)
    with zipfile.ZipFile(home / "data/coco/train2017.zip", "w") as archive:
        for photo in photos:
            archive.write(photo, f"train2017/{photo.name}")
    for block in BLOCKS:
        if block.language == "toml":
            (home / toml_name(block)).write_text(on_this_machine(block.code, home))
        if name := module_name(block):
            (home / name).write_text(block.code)
    run_in_shell(SUBMISSION, home)
    shutil.copytree(home / "data/runs/coco-1", home / "out/demo")
    return home


def on_this_machine(text, home):
    """With the folders and buckets that the documents name inside of `home`."""
    text = re.sub(r"ray job submit .*? -- ", "", text)
    return text.replace("/data/", f"{home}/data/").replace("s3://bucket/", f"{home}/bucket/")


def commands_of(block, home):
    """The commands of a block as they are run."""
    for command in block.commands:
        added = [options for job, options in FASTER.items() if job in command]
        yield f"{on_this_machine(command, home)} {' '.join(added)}\n"


def run_in_shell(block, home):
    """Run all of a block as a user types it, in a shell whose home and folder is `home`."""
    in_home(["bash", "-euc", "".join(commands_of(block, home))], home)


def run_here(script, home):
    """Run a job's script in this process, which has imported already what each would import for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for name, value in surroundings(home).items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [str(home / "jobs"), *sys.path])
        patch.setattr(sys, "argv", [os.path.expanduser(word) for word in script])
        patch.setattr(logging, "basicConfig", lambda **_: None)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(script[0], run_name="__main__")
    assert ended.value.code == 0


def surroundings(home):
    """The environment of a user whose home is `home`."""
    return {
        "HF_HOME": str(home / "cache"),
        "HF_HUB_OFFLINE": "1",
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),  # fonts of matplotlib
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(home),
    }


def in_home(command, home):
    """In a process of its own: libraries leave files open, which warns here when they are collected."""
    environment = os.environ | surroundings(home)
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("block", [b for b in blocks("bash", run=True) if b != SUBMISSION], ids=block_id)
def test_commands_run_as_shown(home, block):
    if "ssh-keygen" in block.code and shutil.which("ssh-keygen") is None:
        pytest.skip("OpenSSH is not installed (make browser)")
    for command in commands_of(block, home):
        program, *script = shlex.split(command)
        if program in ("python", "sod"):
            run_here(script if program == "python" else ["jobs/sod.py", *script], home)
        else:
            in_home(["bash", "-euc", command], home)


OUTPUT = {
    "webdataset": (18, r"\d{12} \(\d+, \d+\) \d\.\d+(e-\d+)?"),
    "datasets": (18, r"\d{12} \(\d+, \d+\) \(\d+, \d+\) \d\.\d+"),
    "pycocotools": (18, r"\d+ \(\d+, \d+\) \[[\d., ]+\]"),
    "pandas": (5, r"\d{12}"),
    "tarfile": (18, r"\d{12}\.mask\.png \(\d+, \d+\)"),
    "wids": (1, r"18 000000000008"),
    "model": (
        1,
        r"SaliencyResult\('000000000003', 451 x 300 px, .* over \d+ members\)|\(1, 300, 451, 1\) \(1, 300, 451, 1\)",
    ),
}
"""Imported package → how many lines a Python block prints, and what each looks like."""


SCRIPTS = [block for block in blocks("python", run=True) if not module_name(block)]


@pytest.mark.parametrize("block", SCRIPTS, ids=block_id)
def test_python_runs_and_prints_what_it_should(home, block, monkeypatch, capsys):
    (package,) = [name for name in OUTPUT if re.search(rf"^(from|import) .*\b{name}\b", block.code, re.MULTILINE)]
    count, line = OUTPUT[package]
    if package == "model":  # ours, and imported already
        monkeypatch.chdir(home)
        exec(block.code, {})
        printed = capsys.readouterr().out.splitlines()
    else:
        printed = in_home([sys.executable, "-c", block.code], home)
    assert len([text for text in printed if re.fullmatch(line, text)]) == count


def test_every_module_is_short_and_named_by_a_command_that_runs_it(home):
    commands = " ".join(command for block in blocks("bash", run=True) for command in block.commands)
    modules = [block for block in blocks("python", run=True) if module_name(block)]
    assert modules
    for block in modules:
        assert len(block.code.splitlines()) <= 16  # fifteen, and its name
        assert f" --pass {module_name(block).removesuffix('.py')}:" in commands


@pytest.mark.parametrize("block", blocks("toml", run=True), ids=block_id)
def test_toml_files_are_read_by_the_job_that_takes_them(home, block):
    kind = {"run.toml": RunConfig, "policy.toml": BuildConfig, "combination.toml": BuildConfig}[toml_name(block)]
    assert read_toml(str(home / toml_name(block)), kind, "--config")


class Parsed(Exception):
    """A command line was understood, and its job is not to go on."""


def parse(job, arguments, monkeypatch):
    """Let a job read its command line, and no more."""
    module, cli = importlib.import_module(f"jobs.{job}"), tyro.cli

    def parse_only(*positional, **named):
        cli(*positional, **named)
        raise Parsed

    monkeypatch.setattr(tyro, "cli", parse_only)
    monkeypatch.setattr(sys, "argv", [f"jobs/{job}.py", *arguments])
    module.main()


@pytest.mark.parametrize("block", blocks("bash", run=False), ids=block_id)
def test_commands_that_no_test_runs_are_understood(block, monkeypatch):
    for command in block.commands:
        program, *arguments = shlex.split(command)
        if program == "sod":
            program, arguments = "python", ["jobs/sod.py", *arguments]
        if program != "python":
            assert program in OTHER_PROGRAMS
            continue
        job = Path(arguments[0]).stem
        if job == "demo":  # what it does not know goes to the main job
            (ROOT / arguments[0]).resolve(strict=True)
            job, arguments[1:] = "coco_pseudolabel", [*arguments[1:], "--images", "x", "--annotations", "x"]
        with pytest.raises(Parsed), monkeypatch.context() as context:
            parse(job, arguments[1:], context)


def test_a_command_line_that_is_wrong_is_not_understood(monkeypatch, capsys):
    for option in ("--overlays", "--nonsense"):
        with pytest.raises((SystemExit, ConfigError)) as refused:
            parse("predict", ["--input-rgb-path", "x", "--output-dir", "y", option], monkeypatch)
        assert option in capsys.readouterr().err + str(refused.value)


def test_only_these_blocks_are_not_run():
    assert {(block.document, block.not_run) for block in BLOCKS if block.not_run} == {
        ("README.md", "sets up .venv, then takes minutes"),
        ("CONTRIBUTING.md", "changes the developer's git hooks"),
        ("jobs/README.md", "starts a Ray cluster; tests/end_to_end/test_demo.py runs it"),
        ("jobs/README.md", "needs a cluster; tests/end_to_end/test_on_schedulers.py submits a job"),
        ("jobs/README.md", "each needs its scheduler; tests/jobs/test_cluster_recipes.py has stand-ins"),
        (
            "jobs/README.md",
            "needs the official weights; tests/jobs/test_convert_checkpoint.py uses files of their form",
        ),
        ("jobs/README.md", "needs Stable Diffusion 2 and a Swin-B"),
        (
            "jobs/README.md",
            "40 minutes for the embedded model on two shared cores, days for the official one; "
            "tests/jobs/test_distil_decoder.py runs a small one",
        ),
        ("jobs/README.md", "needs the public datasets"),
        ("jobs/README.md", "needs weights of other models; tests/pipeline/passes use tiny ones"),
        ("jobs/README.md", "takes minutes"),
        (
            "jobs/README.md",
            "needs more photos than the tests of documents have; tests/jobs/test_evaluate.py fits one",
        ),
        ("jobs/README.md", "takes minutes; tests/jobs/test_train.py runs shorter ones"),
        ("jobs/README.md", "takes minutes; tests/pipeline/benchmarks run shorter ones"),
        (
            "jobs/README.md",
            "needs a run and test sets; tests/pipeline/passes/duplicates/test_duplicates.py runs smaller ones",
        ),
        ("jobs/README.md", "takes minutes; tests/pipeline/benchmarks/test_kinds.py runs a shorter one"),
        ("jobs/README.md", "fetches packages and takes hours"),
        (
            "jobs/README.md",
            "takes minutes, and writes into model/nano; tests/pipeline/embedded/test_model_card.py runs it",
        ),
        ("pipeline/audit/README.md", "serves until somebody stops it; tests/pipeline/audit/test_serve.py drives it"),
        ("pipeline/release/README.md", "needs an account on the Hugging Face Hub"),
    }


def test_every_block_is_of_a_language_that_is_tested_and_every_mark_belongs_to_a_block():
    assert {block.language for block in BLOCKS} == {"", "bash", "python", "toml"}
    fences = sum(len(re.findall(r"^\s*```", text, re.MULTILINE)) for text in TEXTS.values())
    marks = sum(len(re.findall(r"<!-- not run", text)) for name, text in TEXTS.items() if name != "CONTRIBUTING.md")
    marks += len(re.findall(r"^<!-- not run", TEXTS["CONTRIBUTING.md"], re.MULTILINE))  # it also explains the mark
    assert (fences, marks) == (2 * len(BLOCKS), sum(bool(block.not_run) for block in BLOCKS))


def help_of(job, *arguments):
    """What a job's --help prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as context, contextlib.redirect_stdout(printed):
        context.setattr(sys, "argv", [f"jobs/{job}.py", *arguments, "--help"])
        with contextlib.suppress(SystemExit):
            importlib.import_module(f"jobs.{job}").main()
    return printed.getvalue()


FOREIGN_OPTIONS = {"--help", "--working-dir", "--runtime-env", "--type", "--quiet", "--block", "--max-worker-restart"}
FOREIGN_OPTIONS |= {"--secret", "--no-kill", "--kill-on-bad-exit", "--signal"}
"""Of `ray`, `hf`, `sha256sum`, `pytest`, `sky` and `srun`."""


def test_every_option_in_the_documents_is_one_of_a_job():
    kinds = re.findall(r"`(\w+)`", re.search(r"Kinds: (.*?)\.", TEXTS["jobs/README.md"], re.DOTALL).group(1))
    commands = [(one.script, *filter(None, [one.word])) for one in COMMANDS.values()] + [("sod",)]
    commands += [("score_run", "RUN", "--pass", kind) for kind in PASSES]
    known = " ".join(help_of(*command) for command in [*commands, *(("benchmark", kind) for kind in kinds)])
    text = " ".join(TEXTS[name] for name in NAMES)
    shown = {option.replace("_", "-") for option in re.findall(r"(?<![\w-])--[a-z][a-z_-]+", text)} - FOREIGN_OPTIONS
    assert len(shown) > 40
    assert [option for option in sorted(shown) if not re.search(rf"{option}(?![\w-])", known)] == []


def test_every_job_and_every_kind_of_measurement_has_its_place_in_the_readme_of_the_jobs():
    text = TEXTS["jobs/README.md"]
    assert sorted(re.findall(r"^## (\w+)\.py$", text, re.MULTILINE)) == JOBS
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


def test_the_table_of_commands_has_the_script_of_each():
    rows = re.findall(
        r"^\| `sod ([\w ]+)` \| \[`(\w+)\.py ?(\w*)`\]\(#(\w+)py\) \|$", TEXTS["jobs/README.md"], re.MULTILINE
    )
    assert rows == [(one.name, one.script, one.word, one.script) for one in COMMANDS.values()]


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 200


def trees(document):
    return [tree(block) for block in BLOCKS if block.document == document and not block.language]


def test_the_tree_in_the_readme_has_every_folder():
    (shown,) = trees("README.md")
    assert [path for path in shown if not (ROOT / path).is_dir()] == []
    packages = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("[jmp]*/**/__init__.py")}
    assert packages <= set(shown)


@pytest.mark.parametrize(
    ("document", "folder", "missing"),
    [
        # Only if a release came before, if the run has the pass, and once a run was scored.
        ("pipeline/release/README.md", RELEASE, {"CHANGELOG.md", "changes.csv", "duplicates.csv", "duplicates.png"}),
        ("pipeline/README.md", "out/demo", {"passes", "passes/flip"}),
    ],
)
def test_a_tree_has_what_is_in_the_folder(home, document, folder, missing):
    (shown,) = trees(document)
    shown = {path.partition("/")[2] for path in shown[1:]}
    assert {path for path in shown if not (home / folder / path).exists()} == missing
    there = {path.name for path in (home / folder).iterdir() if not path.name.startswith(".")}
    assert there <= {path.partition("/")[0] for path in shown}


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_links_and_files_in_the_documents_exist(name):
    text, folder = TEXTS[name], (ROOT / name).parent
    targets = {
        target for found in re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", text, re.MULTILINE) for target in found
    }
    assert targets - {""} <= MAKE_TARGETS
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = folder / path if path else ROOT / name
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link
    for path in re.findall(r"`([\w./-]+\.py|(?:jobs|model|pipeline|tests)/[\w./-]*)`", text):
        places = [ROOT / path, folder / path, ROOT / "jobs" / path, *([] if folder == ROOT else folder.rglob(path))]
        assert any(place.exists() for place in places), path


def test_the_buttons_of_the_page_are_called_as_its_description_says():
    judge = re.search(r"To judge a release in five minutes.*?\n\n", TEXTS["pipeline/release/README.md"], re.DOTALL)
    buttons = [re.sub(r"\s+", " ", name) for name in re.findall(r"\*([^*]+)\*", judge.group())]
    script = (ROOT / "pipeline/release/page/filters.js").read_text(encoding="utf-8")
    assert len(buttons) == 4
    assert [button for button in buttons if f'["{button}"' not in script] == []


def test_decisions_have_dates_and_each_subject_begins_with_its_oldest():
    subjects = re.split(r"^## ", TEXTS["pipeline/DECISIONS.md"], flags=re.MULTILINE)[1:]
    for subject in subjects:
        dates = re.findall(r"^### (.{10})", subject, re.MULTILINE)
        assert dates == sorted(dates)
        assert all(re.fullmatch(r"2026-\d\d-\d\d", date) for date in dates)
