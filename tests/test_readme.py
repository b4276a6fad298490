"""What the README shows is true: its Python runs, its options and make targets exist, its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.submitting import run_inline

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "model/README.md", ROOT / "model/nano/README.md"]
README = (ROOT / "README.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder in which the demo has left its release."""
    folder = tmp_path_factory.mktemp("readme")
    done = run_inline(folder / "out/demo", "--model", "fake")
    assert done.returncode == 0, done.stderr
    return folder


def lines_of(block, folder):
    """In a process of its own: the libraries leave files open, which warns here when they are collected."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("library", "line"),
    [
        ("webdataset", r"\d{12} \(\d+, \d+\) \d\.\d+(e-\d+)?"),
        ("datasets", r"\d{12} \(\d+, \d+\) \(\d+, \d+\) \d\.\d+"),
        ("pycocotools", r"\d+ \(\d+, \d+\) \[[\d., ]+\]"),
        ("tarfile", r"\d{12}\.mask\.png \(\d+, \d+\)"),
    ],
)
def test_a_release_is_read_as_shown(demo, library, line):
    (block,) = [block for block in PYTHON_BLOCKS if re.search(rf"^(from|import) .*\b{library}\b", block, re.MULTILINE)]
    found = [text for text in lines_of(block, demo) if re.fullmatch(line, text)]
    assert len(found) == 18


def test_samples_can_be_had_by_number_with_wids(demo):
    index = "out/demo/release/sod-benchmark-1.0.0/data/test/index.json"
    code = f"import wids; found = wids.ShardListDataset({index!r}); print(len(found), found[3]['__key__'])"
    assert lines_of(code, demo)[-1] == "18 000000000008"


def test_predicting_works_as_shown():
    (block,) = [block for block in PYTHON_BLOCKS if "load_model" in block]
    names = {"rgb_array": np.zeros((30, 40, 3), np.uint8)}
    exec(block, names)
    assert names["prediction"].saliency.shape == (30, 40)


JOBS = (
    *(
        ["coco_pseudolabel"],
        ["convert_checkpoint"],
        ["evaluate"],
        ["predict"],
        ["publish_release", "build"],
        ["publish_release", "push"],
    ),
    *(["train"], ["verify_release"], ["verify_run"]),
    *(("benchmark", kind) for kind in ("speed", "busy", "orchestration", "growth")),
)


def test_every_option_in_the_readme_is_one_of_a_job():
    helps = [
        subprocess.run(
            [sys.executable, f"jobs/{job}.py", *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for job, *command in JOBS
    ]
    known = " ".join(done.stdout for done in helps)
    shown = {option.replace("_", "-") for option in re.findall(r"(?<![\w-])--[a-z][a-z_-]+", README)}
    shown -= {"--help", "--working-dir", "--type"}  # the last two are of `ray job submit` and `hf repos create`
    assert len(shown) > 20
    assert [option for option in sorted(shown) if not re.search(rf"{option}(?![\w-])", known)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_make_targets_and_links_in_the_documents_exist(document):
    text = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text)) <= {(t, "") for t in targets} | {
        ("", t) for t in targets
    }
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if not (document.parent / link.partition("#")[0]).exists()] == []
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert [link for link in links if link.startswith("#") and link[1:] not in headings] == []
