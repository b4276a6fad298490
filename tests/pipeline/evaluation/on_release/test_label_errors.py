"""What an evaluation says of the labels that it was measured on."""

import dataclasses
import json
import shutil

import pytest

from pipeline.evaluation.comparison import compare_evaluations
from pipeline.evaluation.on_release.label_errors import (
    certificate_of,
    certificate_section,
    explained_in_words,
    newest,
    of_one_in_words,
    of_two_in_words,
)
from tests.pipeline.release.test_certified import STATED
from tests.pipeline.release.test_newest_certificate import certify

HOSTILE = "**<script>alert(1)</script>**"


def section(error=0.02, images=31):
    return certificate_section(dataclasses.replace(STATED, pixel_error=error), images)


def test_the_section_is_read_as_it_was_written():
    assert certificate_of(json.loads(json.dumps(section()))) == STATED
    assert certificate_of(certificate_section(None, 3)) is None


def test_the_newest_is_the_one_with_the_highest_number():
    other = dataclasses.replace(STATED, annex=2)
    assert newest(None, other, STATED) == other
    assert newest(None, None) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            section(),
            "Label errors can explain a difference in MAE of up to 0.0400 between two models (confidence 95 %)",
        ),
        (section(images=15), "a difference in MAE of up to 0.0827"),
        (section(0.5), "too weak to tell two models apart by MAE: label errors can explain any difference"),
        (section(None), "does not say how many pixels are wrong"),
    ],
)
def test_what_wrong_labels_explain_is_said_plainly(given, said):
    assert said in explained_in_words(given)


@pytest.mark.parametrize(
    ("given", "mae", "difference", "of_one", "of_two"),
    [
        (
            section(),
            0.04,
            0.04,
            "nobody can show by MAE that another model is better",
            "label errors alone could explain it",
        ),
        (section(), 0.05, -0.041, "", "0.0410 is larger: label errors alone can't explain it"),
        (section(0.5), 0.1, 0.1, "", ""),
        (section(None), 0.1, 0.1, "", ""),
        (None, 0.1, 0.1, "", ""),
    ],
)
def test_what_follows_for_one_model_and_for_two(given, mae, difference, of_one, of_two):
    for said, wanted in ((of_one_in_words(given, mae), of_one), (of_two_in_words(given, difference), of_two)):
        assert wanted in said
        assert bool(wanted) == bool(said)


def test_an_evaluation_and_a_comparison_say_what_the_newest_certificate_of_the_release_says(
    evaluated, maps, masks, released, tmp_path, fast_disk
):
    evaluated(maps, "before")
    assert "No human has checked these masks" in (tmp_path / "before/evaluation.md").read_text()
    copy = shutil.copytree(released.folder, tmp_path / "release")
    certify(copy, HOSTILE, 0.01)
    for name, predictions in (("after", maps), ("perfect", tmp_path / "perfect-maps")):
        if name == "perfect":
            shutil.copytree(maps, predictions)
            first = next(iter(masks))
            (predictions / f"{first}.png").write_bytes(released.samples()[first]["mask.png"])
        document = evaluated(predictions, name, release=str(copy))
        assert document["release"]["certificate"]["explained_mae_difference"] == 0.02
    page = (tmp_path / "after/evaluation.md").read_text()
    assert "up to 0.0200 between two models (confidence 95 %)" in page
    assert "<script" not in page
    # One of the two was evaluated before the certificate was made.
    for first in ("before", "after"):
        found = compare_evaluations([str(tmp_path / first), str(tmp_path / "perfect")], str(tmp_path / "compared"))
        assert found["certificate"]["explained_mae_difference"] == 0.02
        assert "label errors alone can't explain it" in (tmp_path / "compared/comparison.md").read_text()


def test_a_part_of_the_images_may_have_all_errors(evaluated, maps, released, tmp_path, fast_disk):
    copy = shutil.copytree(released.folder, tmp_path / "release")
    certify(copy, upper=0.01)
    (maps / f"{6:012d}.png").unlink()
    (maps / f"{8:012d}.png").unlink()
    for missing, explained in (("worst", 0.02), ("skip", 0.0334)):
        document = evaluated(maps, missing, missing=missing, release=str(copy))
        assert document["release"]["certificate"]["explained_mae_difference"] == explained
