"""A release whose policy combines scores: verdicts, manifest, card and page have it, and anyone can compute it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError, ReleaseExistsError
from pipeline.passes.config import PassConfig
from pipeline.passes.score import score_run
from pipeline.release.check.verify import verify_release
from pipeline.run import run
from pipeline.selection.combination import parse_combination
from tests.pipeline.make import make_collection
from tests.pipeline.release.editing import edit_manifest

PASS = """
from pipeline.errors import SampleError
from pipeline.selection.scores import Score

class Light:
    columns = (Score(name="light", meaning="mean of its pixels, 0 to 255", highest=255, worse_when="low"),)

    def score(self, sample, image, candidate):
        if sample.image_id == 6:
            raise SampleError("undecodable", "it hides")
        return {"light": float(image.mean())}
"""
TEXTS = ("iou_below 0.8", "intercept 1.0", "area 0.5", "light -0.02")


@pytest.fixture(scope="module")
def scored(tmp_path_factory, release_of):
    """A run of eight images, of which 2, 4, 6 and 8 are accepted by the default policy, and a pass over it."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 8)
    released = release_of(inputs, tmp_path_factory.mktemp("combined"))
    modules = tmp_path_factory.mktemp("modules")
    (modules / "light.py").write_text(PASS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(modules)
        score_run(PassConfig(run=released.config.out, kind="light:Light", cluster=ClusterConfig(engine="inline")))
    return released


def released_with(scored, version, **policy):
    config = scored.config
    release = replace(config.release, version=version)
    return Path(run(replace(config, release=release, policy=replace(config.policy, **policy))).release)


@pytest.fixture(scope="module")
def combined(scored):
    """Release, and the bound that its policy has: some images are on one side, some on the other."""
    rows = rows_of(released_with(scored, "1.0.1", combination=TEXTS))
    known = sorted(
        row["combination"] for row in rows if row["verdict"] == "accepted" and row["combination"] is not None
    )
    bound = known[len(known) // 2]
    policy = {"combination": TEXTS, "thresholds": (f"combination<={bound!r}",)}
    return released_with(scored, "1.1.0", **policy, rank_by="combination", target_images=7), bound


def rows_of(release):
    return pq.read_table(release / "manifest.parquet").to_pylist()


def test_anyone_can_compute_it_from_manifest_and_release_json(combined):
    release, _ = combined
    stated = json.loads((release / "release.json").read_bytes())["made_from"]
    combination = parse_combination(tuple(stated["policy"]["combination"]))
    rows = rows_of(release)
    assert [row["combination"] for row in rows] == [combination.value(row) for row in rows]
    assert {row["image_id"] for row in rows if row["combination"] is None} == {6}
    assert set(stated["passes"]) == {"combination", "light"}, "the pass that it needs is in the release too"


def test_verdicts_follow_it_and_what_is_unknown_is_rejected(combined):
    release, bound = combined
    reasons = {row["image_id"]: row["reason"] for row in rows_of(release)}
    assert reasons[6] == "combination_unknown"
    for row in rows_of(release):
        if row["verdict"] == "accepted":
            assert row["combination"] <= bound
    assert "combination_above_max" in reasons.values()


def test_page_card_and_croissant_show_it_and_the_check_finds_nothing_wrong(scored, combined):
    release, _ = combined
    card = (release / "README.md").read_text()
    assert "### combination" in card
    assert "intersection over union with the truth is below 0.8" in card
    assert "light -0.02" in card
    assert b'"combination"' in b"".join(path.read_bytes() for path in release.glob("**/*.js"))
    assert "combination" in (release / "croissant.json").read_text()
    assert not verify_release(str(release)).problems
    checked = verify_release(str(release), run=scored.config.out)
    assert not checked.problems


def test_the_check_finds_a_value_that_does_not_follow(combined, tmp_path):
    copy = shutil.copytree(combined[0], tmp_path / combined[0].name)

    def halve(rows):
        for row in rows:
            row["combination"] = row["combination"] and row["combination"] / 2

    edit_manifest(copy, halve)
    problems = [problem.what for problem in verify_release(str(copy)).problems]
    assert any("by the policy's coefficients it is" in what for what in problems), problems


def test_the_same_request_again_is_the_same_release_and_another_combination_another(scored, combined):
    release, bound = combined
    policy = {"combination": TEXTS, "thresholds": (f"combination<={bound!r}",)}
    policy |= {"rank_by": "combination", "target_images": 7}
    assert released_with(scored, "1.1.0", **policy) == release
    with pytest.raises(ReleaseExistsError, match="combination"):
        released_with(scored, "1.1.0", **policy | {"combination": (*TEXTS[:3], "light -0.03")})


def test_a_combination_of_scores_that_no_pass_has_is_refused_before_anything_is_written(scored):
    with pytest.raises(ConfigError, match="combination has heavy: unknown score 'heavy'"):
        released_with(scored, "1.2.0", combination=("intercept 0", "heavy 1"))
    assert not list(Path(scored.config.out).glob("release/*1.2.0*"))


def test_a_combination_of_the_runs_own_scores_needs_no_pass(scored):
    rows = rows_of(released_with(scored, "1.3.0", combination=("intercept 0", "area 1", "stability 1")))
    assert all(0.5 < row["combination"] < 1 for row in rows)
    assert "light" not in rows[0]


def test_no_pass_can_be_called_so(scored):
    config = PassConfig(run=scored.config.out, kind="flip", name="combination", cluster=ClusterConfig(engine="inline"))
    with pytest.raises(ConfigError, match="releases call the policy's combination of scores so"):
        score_run(config)
