"""The files of an evaluation: equal bytes for equal figures, with everything that was measured."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from pipeline.evaluation.evaluate import gather
from pipeline.evaluation.outcomes import Failed
from pipeline.evaluation.report import Subject, document, encode_images, publish_evaluation
from pipeline.evaluation.tables import markdown, metrics_table
from pipeline.files.tars import encode_json
from pipeline.selection.scores import SCORES
from tests.pipeline.evaluation.make import make_measured
from tests.pipeline.make import tree

NOT_UTF8 = "caf\udce9"
"""The name of a file in Latin-1, as Python has it."""

MEASURED = make_measured(1)
FILES = {"evaluation.json", "evaluation.md", "images.parquet", "curves.png", "risk_coverage.png"}


@pytest.fixture(autouse=True, scope="module")
def figures():
    """Painted, unlike those of the other files."""


def make_subject(**overrides):
    fields = {"name": "ECSSD", "maps": "in/maps", "masks": "in/gt", "normalize": True, "made_with": {"seed": "0"}}
    return Subject(**fields | overrides)


def with_scores(number):
    return make_measured(number, **{score: float(number % 4 + index) for index, score in enumerate(SCORES)})


@pytest.fixture(scope="module")
def evaluation():
    return gather([with_scores(number) for number in range(1, 8)] + [Failed(name="im009", reason="undecodable: x")])


@pytest.fixture(scope="module")
def values(evaluation):
    return json.loads(encode_json(document(make_subject(), evaluation)))


@pytest.fixture(scope="module")
def published(evaluation, tmp_path_factory):
    """The folder of an evaluation."""
    folder = tmp_path_factory.mktemp("published")
    publish_evaluation(str(folder), make_subject(), evaluation)
    return folder


def test_publishing_twice_gives_the_same_bytes(evaluation, published, tmp_path):
    publish_evaluation(str(tmp_path), make_subject(), evaluation)
    first, second = tree(published), tree(tmp_path)
    assert set(first) == FILES
    assert first == second


def test_without_scores_there_is_no_picture_of_them(tmp_path):
    publish_evaluation(str(tmp_path), make_subject(), gather([make_measured(1), make_measured(2)]))
    assert set(tree(tmp_path)) == FILES - {"risk_coverage.png"}
    assert "scores" not in (tmp_path / "evaluation.md").read_text()


def test_the_json_has_everything_that_was_measured(evaluation, values):
    summary = evaluation.summary
    assert values["settings"] == {"maps": "in/maps", "masks": "in/gt", "normalize": True}
    assert values["made_with"] == {"seed": "0"}
    assert values["counts"] == {
        **{"pairs": 8, "measured": 7, "worst": 0, "failed": 1},
        **{"resized": 0, "empty_truths": 0, "constant_maps": 0},
    }
    assert values["metrics"]["s_measure"] == summary.s_measure
    assert values["metrics"]["max_f"] == max(values["curves"]["f_curve"])
    assert len(values["curves"]["precision"]) == 256
    assert values["failures"] == [{"name": "im009", "reason": "undecodable: x"}]
    assert {"pysodmetrics", "numpy", "scipy", "pillow", "opencv"} <= set(values["versions"])


def test_the_json_says_how_well_each_score_predicts_each_error(evaluation, values):
    assert set(values["risk_coverage"]) == set(SCORES)
    found, said = evaluation.risk_coverage["area"]["mae"], values["risk_coverage"]["area"]
    assert said["worse_when"] == "low"
    assert said["mae"]["aurc_random"] == pytest.approx(evaluation.summary.mae)
    assert said["mae"] == {
        "aurc": found.aurc,
        "aurc_oracle": found.oracle_aurc,
        "aurc_random": found.random_aurc,
        "e_aurc": found.aurc - found.oracle_aurc,
        "gain": found.gain,
        "third_dropped": found.third_dropped,
        "lowered_by": found.lowered_by,
    }


def test_the_digest_of_the_masks_depends_on_each_of_them(evaluation):
    measured = [make_measured(1), make_measured(2)]
    digests = {document(make_subject(), gather(measured[:count]))["truths_sha256"] for count in (1, 2)}
    assert len(digests) == 2


def test_images_have_a_row_each_with_their_measures_and_scores(evaluation):
    rows = pq.read_table(io.BytesIO(encode_images(evaluation))).to_pylist()
    assert [row["name"] for row in rows] == [f"im{number:03d}" for number in range(1, 8)]
    for row, image in zip(rows, evaluation.images, strict=True):
        assert row["s_measure"] == image.measures.s_measure
        assert row["max_f"] == image.measures.f_curve.max()
        assert row["iou"] == image.measures.iou
        assert {score: row[score] for score in SCORES} == image.scores
    assert np.mean([row["mae"] for row in rows]) == evaluation.summary.mae


def test_the_page_for_people_has_the_figures_with_four_decimals(evaluation, values):
    page = markdown(values)
    assert page.startswith("# ECSSD\n")
    assert f"| ECSSD | 7 | {evaluation.summary.mae:.4f} | {evaluation.summary.s_measure:.4f} |" in page
    assert "7 of 8 images measured; **1 failed**" in page
    assert "- im009: undecodable: x" in page
    found = evaluation.risk_coverage["pairwise_iou"]["s_error"]
    assert f"| 1 - S | `pairwise_iou` | low | {found.aurc:.4f} |" in page
    assert f"{found.gain:.2f} | {found.lowered_by:.1%} |" in page


def test_the_page_says_whether_maps_were_stretched(evaluation):
    assert "each stretched to 0..1" in markdown(document(make_subject(), evaluation))
    assert "not comparable" in markdown(document(make_subject(normalize=False), evaluation))


def test_the_page_says_why_single_members_have_no_risk_coverage(evaluation, values):
    assert "single ensemble member" not in markdown(values)
    alone = values | {"risk_coverage": {}, "made_with": {"ensemble_size": "1"}}
    assert "Each map is a single ensemble member: without a variance" in markdown(alone)
    assert "single ensemble member" not in markdown(alone | {"made_with": {}})


def test_the_page_names_remarkable_counts(values):
    counted = values | {"counts": values["counts"] | {"resized": 2, "empty_truths": 3, "constant_maps": 4}}
    page = markdown(counted)
    nothing = markdown(values | {"counts": values["counts"] | {"measured": 8, "failed": 0}, "failures": []})
    assert "\n8 of 8 images measured.\n" in nothing
    assert "2 maps resized" in page
    assert "3 masks without an object" in page
    assert "4 maps with a single value" in page


def test_missing_figures_are_dashes_and_zero_has_no_sign(values):
    score = dict.fromkeys(values["risk_coverage"]["area"]["mae"], -1e-17) | {"gain": None}
    some = values | {
        "metrics": dict.fromkeys(values["metrics"], None),
        "risk_coverage": {"area": {"worse_when": "low", **dict.fromkeys(("mae", "s_error", "iou_error"), score)}},
    }
    page = markdown(some)
    assert "| ECSSD | 7 |" + " – |" * 10 in page
    assert "| MAE | `area` | low | 0.0000 | 0.0000 | 0.0000 | – | 0.0% |" in page


def test_only_the_first_of_many_failures_are_listed(values):
    many = values | {"failures": [{"name": f"n{number:02d}", "reason": "x"} for number in range(25)]}
    page = markdown(many)
    assert "- n19: x\n- and 5 more" in page
    assert "n20" not in page
    assert "more, in" not in markdown(values | {"failures": many["failures"][:20]})


def test_several_datasets_stand_in_one_table(values):
    table = metrics_table([values, values | {"name": "HKU-IS"}])
    assert len(table) == 4
    assert [line.split(" | ")[0] for line in table[2:]] == ["| ECSSD", "| HKU-IS"]


def test_the_figures_are_images_that_are_not_empty(published):
    for name, size in (("curves.png", (1200, 528)), ("risk_coverage.png", (1728, 624))):
        with Image.open(published / name) as picture:
            assert picture.size == size
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 100


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=20))
@example(f"{NOT_UTF8}.png")
def test_images_of_any_names_have_a_row(name):
    measured = replace(MEASURED, name=name, unusable=f"undecodable: {name}")
    evaluation = replace(gather([MEASURED]), images=(measured,))
    (row,) = pq.read_table(io.BytesIO(encode_images(evaluation))).to_pylist()
    assert row["name"] == name.encode("utf-8", "backslashreplace").decode()
    assert row["unusable"] == f"undecodable: {row['name']}"


@pytest.mark.parametrize("name", ["cost_$5_vs_$10", r"a$\frac{$", NOT_UTF8, "two\nlines"])
def test_folders_of_any_names_have_figures(evaluation, name, tmp_path):
    publish_evaluation(str(tmp_path), make_subject(name=name), evaluation)
    assert set(tree(tmp_path)) == FILES
