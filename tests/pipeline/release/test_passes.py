"""A release with scores of passes: policies, manifest, page, card and Croissant have them; the check finds lies."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError, ReleaseExistsError, RunMismatchError, StorageError
from pipeline.passes.config import PassConfig
from pipeline.passes.score import score_run
from pipeline.release.check.verify import verify_release
from pipeline.run import run
from pipeline.selection.policy import PolicyConfig
from tests.pipeline.make import make_collection, make_key, tree, write_annotations
from tests.pipeline.release.editing import mend_sums

PASS = '''
from pipeline.errors import SampleError
from pipeline.selection.columns import Text
from pipeline.selection.scores import Score

class Light:
    """How light an image is; the sixth is hidden, the eighth unknown."""

    columns = (
        Score(name="light", meaning="mean of its pixels <b>, 0 to 255", highest=255, worse_when="low", rankable=True),
        Text(name="told_as", meaning="the image's number in words"),
    )

    def score(self, sample, image, candidate):
        if sample.image_id == 6:
            raise SampleError("undecodable", "it hides")
        return {"light": None if sample.image_id == 8 else float(image.mean()), "told_as": f"<i>{sample.image_id}"}

    @staticmethod
    def about(options, context):
        return {"Found by": "looking | at <script>alert(1)</script> pixels"}
'''


def score(out, **options):
    return score_run(PassConfig(run=str(out), kind="light:Light", cluster=ClusterConfig(engine="inline"), **options))


@pytest.fixture(scope="module")
def scored(tmp_path_factory, release_of):
    """A run of ten images with a release, of which 2, 4, 6, 8 and 10 are accepted, and a pass over it."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    inputs.file(3).write_bytes(b"no image")
    released = release_of(inputs, tmp_path_factory.mktemp("scored"))
    before = tree(released.config.out)
    modules = tmp_path_factory.mktemp("modules")
    (modules / "light.py").write_text(PASS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(modules)
        report = score(released.config.out)
    assert (report.scored, report.failed) == (8, 2)
    after = tree(released.config.out)
    assert {name: content for name, content in after.items() if not name.startswith("passes/")} == before
    return released


def released_with(scored, version, policy=None, **options):
    config = scored.config
    release = replace(config.release, version=version, **options)
    return run(replace(config, release=release, policy=policy or config.policy))


@pytest.fixture(scope="module")
def with_light(scored):
    """A release of the same run whose policy bounds the new score."""
    lights = {row["key"]: row for row in _rows(released_with(scored, "1.0.1", passes=("light",)).release)}
    limit = sorted(lights[make_key(number)]["light"] for number in (2, 4, 10))[1]
    policy = replace(scored.config.policy, thresholds=(f"light>={limit}",))
    return Path(released_with(scored, "1.1.0", policy).release), limit


def _rows(release):
    return pq.read_table(f"{release}/manifest.parquet").to_pylist()


def test_a_policy_that_names_a_score_of_a_pass_gets_it_and_unknown_ones_are_rejected(with_light):
    release, limit = with_light
    rows = {row["key"]: row for row in _rows(release)}
    accepted = [make_key(number) for number in (2, 4, 10) if rows[make_key(number)]["light"] >= limit]
    assert [key for key, row in rows.items() if row["verdict"] == "accepted"] == accepted
    assert len(accepted) == 2
    assert {rows[make_key(number)]["reason"] for number in (6, 8)} == {"light_unknown"}
    assert rows[make_key(3)]["light"] is rows[make_key(3)]["told_as"] is None
    assert (rows[make_key(2)]["told_as"], rows[make_key(8)]["told_as"]) == ("<i>2", "<i>8")
    assert "light_below_min" in {row["reason"] for row in rows.values()}


def test_release_json_states_what_the_pass_was_made_with_and_a_release_without_it_does_not(with_light, scored):
    made_from = json.loads((with_light[0] / "release.json").read_text())["made_from"]
    (stated,) = made_from["passes"].values()
    assert stated["pass"] == "light:Light"
    assert {*stated["fingerprint"]} >= {"code", "batch_images"}
    assert [column["name"] for column in stated["columns"]] == ["light", "told_as"]
    assert "passes" not in scored.release_json()["made_from"]


def test_the_best_are_chosen_by_a_score_of_a_pass(scored):
    policy = replace(scored.config.policy, target_images=1, rank_by="light")
    rows = _rows(released_with(scored, "1.2.0", policy).release)
    (best,) = [row for row in rows if row["verdict"] == "accepted"]
    assert best["light"] == max(row["light"] or 0 for row in rows if row["reason"] in ("", "beyond_target"))


def test_page_card_and_croissant_have_it_and_nothing_that_a_pass_says_is_markup(with_light):
    release = with_light[0]
    assert '"name":"light","sense":">="' in (release / "page/release.js").read_text().replace(
        '"meaning":"mean of its pixels \\u003cb>, 0 to 255",', ""
    )
    assert "<" not in (release / "page/data-000.js").read_text() + (release / "page/details-000.js").read_text()
    assert '"told_as":["' in (release / "page/details-000.js").read_text()
    card = (release / "README.md").read_text()
    assert "### light" in card
    assert "- Found by: looking &#124; at &#60;script&#62;" in card
    assert "<script>" not in card
    fields = {
        field["@id"]: field["dataType"]
        for record in json.loads((release / "croissant.json").read_text())["recordSet"]
        for field in record["field"]
    }
    assert (fields["manifest/light"], fields["images-test/told_as"]) == ("sc:Float", "sc:Text")


def test_the_check_finds_nothing_wrong_with_and_without_the_run(with_light, scored):
    for run_of in ("", scored.config.out):
        checked = verify_release(str(with_light[0]), run=run_of)
        assert checked.problems == ()


def test_the_check_finds_a_score_that_was_edited_with_its_sum(with_light, scored, copy_of):
    release = copy_of(with_light[0])
    table = pq.read_table(release / "manifest.parquet").to_pylist()
    schema = pq.read_schema(release / "manifest.parquet")
    for row in table:
        row["light"] = row["light"] and row["light"] + 0.5
    pq.write_table(pa.Table.from_pylist(table, schema=schema), release / "manifest.parquet", compression="zstd")
    mend_sums(release)
    problems = verify_release(str(release), run=scored.config.out).problems
    assert any("light is not what the score pass light of" in problem.what for problem in problems)
    table[1]["light"] = 300.0
    pq.write_table(pa.Table.from_pylist(table, schema=schema), release / "manifest.parquet", compression="zstd")
    mend_sums(release)
    problems = verify_release(str(release)).problems
    assert any("light is 300.0, which it can't be" in problem.what for problem in problems)


@pytest.fixture
def copy_of(tmp_path):
    def copy(folder):
        return Path(shutil.copytree(folder, tmp_path / "copy"))

    return copy


# Faults


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"policy": PolicyConfig(thresholds=("dark<=3",))}, "unknown score 'dark'; scores are .*light"),
        ({"policy": PolicyConfig(thresholds=("light>=256",))}, "light is never above 255"),
        ({"policy": PolicyConfig(thresholds=("told_as>=1",))}, "unknown score 'told_as'"),
        ({"passes": ("dark",)}, r"passes has 'dark', which is no score pass of .*there: light"),
    ],
)
def test_a_score_or_pass_that_there_is_not_is_refused_before_anything_is_written(scored, options, said):
    before = tree(scored.config.out)
    with pytest.raises(ConfigError, match=said):
        released_with(scored, "9.0.0", **options)
    assert tree(scored.config.out) == before


def test_a_damaged_pass_is_no_business_of_a_release_without_scores_of_passes(scored, tmp_path):
    out = shutil.copytree(scored.config.out, tmp_path / "run")
    (out / "passes/light/pass.json").write_bytes(b"{")
    config = replace(scored.config, out=str(out))
    release = run(replace(config, release=replace(config.release, version="7.0.0"))).release
    assert verify_release(release).problems == ()
    with pytest.raises(StorageError, match=r"light/pass\.json does not say what the pass was made with"):
        run(replace(config, release=replace(config.release, version="8.0.0", passes=("light",))))


def test_a_taken_version_with_other_passes_is_refused(scored, with_light):
    with pytest.raises(ReleaseExistsError, match="passes"):
        released_with(scored, "1.0.0", passes=("light",))


def test_a_run_that_has_grown_since_the_pass_is_refused_until_it_is_scored(tmp_path, release_of, monkeypatch):
    inputs = make_collection(tmp_path / "in", 7)
    entries = inputs.entries
    write_annotations(inputs, entries[:4])
    released = release_of(inputs, tmp_path / "run")
    (tmp_path / "light.py").write_text(PASS)
    monkeypatch.chdir(tmp_path)
    score(released.config.out)
    write_annotations(inputs, entries)
    grown = released.config
    with pytest.raises(ConfigError, match=r"needs the score pass light, and 3 images of .* are not computed yet"):
        run(replace(grown, release=replace(grown.release, version="2.0.0", passes=("light",))))
    run(replace(grown, release=replace(grown.release, version="2.0.0")))
    wanted = replace(grown, release=replace(grown.release, version="3.0.0", passes=("light",)))
    with pytest.raises(RunMismatchError, match=r"light has 3 images left to score.*--pass light:Light --name light"):
        run(wanted)
    assert score(released.config.out).computed == 3
    assert len(_rows(run(wanted).release)) == 7
