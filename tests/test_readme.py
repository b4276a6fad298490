"""What the README shows is true: its Python runs, its options and make targets exist, its links lead somewhere."""

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


def test_reading_a_sample_works_as_shown(tmp_path):
    done = run_inline(tmp_path / "out/demo", "--model", "fake")
    assert done.returncode == 0, done.stderr
    (block,) = [block for block in PYTHON_BLOCKS if "webdataset" in block]
    # In a process of its own: webdataset leaves the tar open, which warns here when it is collected.
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 18
    assert all(re.fullmatch(r"\d{12} \(\d+, \d+\) \d\.\d+(e-\d+)?", line) for line in lines)


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
    shown -= {"--help", "--working-dir"}
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
    assert [link for link in links if not (document.parent / link).exists()] == []
