"""A recipe of CONTRIBUTING.md, followed in a copy of the tree: nothing but the files that it names has to change."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict

import pyarrow.parquet as pq
import pytest

from tests.documents import ROOT, TEXTS

SAMPLE = ROOT / "pipeline/sample"
MEASURE = """
def _edge_contrast(maps: Maps) -> float:
    import numpy as np

    rows, columns = np.abs(np.diff(maps.saliency, axis=0)), np.abs(np.diff(maps.saliency, axis=1))
    return float(max(rows.max(initial=0), columns.max(initial=0)))
"""
ROW = """    Score(
        name="edge_contrast",
        meaning="the largest step of the saliency map between two neighbouring pixels, 0 to 1",
        worse_when="low",
        rankable=True,
        measure=_edge_contrast,
    ),
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the tree with another score, in the one file that the recipe names."""
    project = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__", "nano", "sample")
    for layer in ("jobs", "model", "pipeline"):
        shutil.copytree(ROOT / layer, project / layer, ignore=ignored)
    recipe = TEXTS["CONTRIBUTING.md"].split("### Add a score\n")[1].split("\n### ")[0]
    (named,) = set(re.findall(r"`(pipeline/[\w/]+\.py)`", recipe))
    path = project / named
    text = path.read_text(encoding="utf-8")
    for before, added in (("\n_ROWS = (\n", MEASURE), ('    Score(\n        name="instance_iou",', ROW)):
        assert text.count(before) == 1
        text = text.replace(before, f"{added}{before}")
    path.write_text(text, encoding="utf-8")
    return project


def test_a_score_that_is_added_by_the_recipe_is_in_manifest_page_and_policy(project):
    policy = ["--max-variance", "0.25", "--max-variance-per-area", "250", "--thresholds", "edge_contrast >= 0.45"]
    target = ["--rank-by", "edge_contrast", "--target-images", "3"]
    inputs = ["--images", str(SAMPLE / "images"), "--annotations", str(SAMPLE / "instances_sample.json")]
    job = ["jobs/coco_pseudolabel.py", *inputs, "--out", "out", "--model", "fake", "--engine", "inline"]
    done = subprocess.run(
        [sys.executable, *job, *policy, *target], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    release = project / "out/release/sod-benchmark-1.0.0"
    found = defaultdict(list)
    for row in pq.read_table(release / "manifest.parquet", use_threads=False).to_pylist():
        found[row["reason"] or row["verdict"]].append(row["edge_contrast"])
    assert found.keys() == {"accepted", "beyond_target", "edge_contrast_below_min"}
    assert len(found["accepted"]) == 3
    assert 0 <= max(found["edge_contrast_below_min"]) < 0.45 <= min(found["beyond_target"])
    assert max(found["beyond_target"]) <= min(found["accepted"]) <= 1
    page = (release / "page/release.js").read_text(encoding="utf-8")
    assert '"name":"edge_contrast"' in page  # among the scores
    assert '{"score":"edge_contrast","sense":">=","bound":0.45}' in page
    assert '"edge_contrast":[' in (release / "page/data-000.js").read_text(encoding="utf-8")
    assert "edge_contrast" in (release / "README.md").read_text(encoding="utf-8")
