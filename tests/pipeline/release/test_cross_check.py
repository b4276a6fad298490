"""A release whose annotations have instances: masks are compared with them, and policies can use the agreement."""

import shutil

import numpy as np
import pytest

from pipeline.files.maps import decode_png
from pipeline.release.check.verify import verify_release
from tests.pipeline.make import make_collection, make_instances, make_key, write_annotations
from tests.pipeline.release.editing import edit_manifest


@pytest.fixture(scope="module")
def checked(tmp_path_factory, release_of):
    """A release of ten images: those with even ids are accepted, 5 and 10 have no instances."""
    folder = tmp_path_factory.mktemp("checked")
    inputs = make_collection(folder / "in", 10)
    write_annotations(inputs, **make_instances(inputs.entries))
    return release_of(inputs, folder / "out")


def rows_of(release):
    return {row["image_id"]: row for row in release.manifest()}


def halves(mask):
    left = np.zeros_like(mask)
    left[:, : mask.shape[1] // 2] = True
    return {"dog": left, "car": ~left}


def test_the_manifest_has_the_agreement_with_the_best_union(checked):
    for number, row in rows_of(checked).items():
        if number % 5 == 0:
            assert (row["instance_iou"], row["categories"], row["supercategory"]) == (None, [], "")
        elif row["verdict"] == "accepted":
            mask = decode_png(checked.samples()[row["key"]]["mask.png"]) == 255
            parts = halves(mask)
            unions = [*parts.values(), parts["dog"] | parts["car"]]
            best = max((mask & union).sum() / (mask | union).sum() for union in unions)
            assert row["instance_iou"] == pytest.approx(best)
            assert row["supercategory"] == {"dog": "animal", "car": "vehicle"}[row["categories"][0]]


def test_rejected_images_are_compared_too(checked):
    rejected = [row for row in checked.manifest() if row["verdict"] == "rejected" and row["image_id"] % 5]
    assert len(rejected) == 4
    assert all(0 <= row["instance_iou"] <= 1 for row in rejected)


def test_the_check_compares_again_if_given_the_annotations(checked):
    assert verify_release(str(checked.folder), str(checked.inputs.annotations)).problems == ()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, release_of):
    """A release of six images, 3 of which has failed; 2 has a stray point, 4 an outline of another size."""
    folder = tmp_path_factory.mktemp("damaged")
    inputs = make_collection(folder / "in", 6)
    inputs.file(3).write_bytes(b"no image")
    instances = make_instances(inputs.entries)
    for annotation in instances["annotations"]:
        if annotation["image_id"] == 2:
            annotation["segmentation"] = [*annotation["segmentation"], [5, 5]]
        if annotation["image_id"] in (3, 4):
            annotation["segmentation"] = {"size": [1, 2], "counts": [2]}
    write_annotations(inputs, **instances)
    return release_of(inputs, folder / "out")


def test_the_manifest_says_how_many_instances_were_ignored(damaged):
    assert {number: row["instances_ignored"] for number, row in rows_of(damaged).items()} == {
        **dict.fromkeys((1, 2, 3, 5, 6), 0),
        4: 2,
    }
    assert verify_release(str(damaged.folder), str(damaged.inputs.annotations)).problems == ()


def test_a_stray_point_beside_an_outline_changes_no_agreement(damaged, checked):
    assert rows_of(damaged)[2]["instance_iou"] == rows_of(checked)[2]["instance_iou"] > 0
    assert rows_of(damaged)[4]["instance_iou"] is None


def test_the_log_of_a_release_says_how_many_outlines_were_left_out_and_why(damaged, release_of, caplog):
    with caplog.at_level("WARNING"):
        release_of(damaged.inputs, damaged.config.out, version="1.0.1")
    said = [record.getMessage() for record in caplog.records if "outline" in record.getMessage()]
    assert len(said) == 2
    assert "2 of 8 instances have no outline that can be compared" in said[0]
    assert "2 run lengths of another size than the image's (annotation" in said[0]
    assert "2 polygons of fewer than three corners (annotation" in said[1]


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_forged_number_of_ignored_instances_is_found(damaged, tmp_path, number):
    folder = tmp_path / "copy"
    shutil.copytree(damaged.folder, folder)
    edit_manifest(folder, lambda rows: rows[number - 1].update(instances_ignored=7))
    found = verify_release(str(folder), str(damaged.inputs.annotations)).problems
    assert any(f"{make_key(number)}: instances_ignored is 7; the annotations give" in problem.what for problem in found)


@pytest.mark.parametrize(
    ("column", "value"), [("instance_iou", 0.999), ("categories", ["horse"]), ("supercategory", "food")]
)
def test_a_forged_agreement_is_found(checked, tmp_path, column, value):
    folder = tmp_path / "copy"
    shutil.copytree(checked.folder, folder)
    edit_manifest(folder, lambda rows: rows[1].update({column: value}))
    found = verify_release(str(folder), str(checked.inputs.annotations)).problems
    assert any(f"{make_key(2)}: agreement with the annotations' instances is" in problem.what for problem in found)


def test_a_policy_can_bound_the_agreement_and_distribute_over_supercategories(checked, release_of):
    out = checked.config.out
    strict = release_of(checked.inputs, out, version="2.0.0", thresholds=("instance_iou >= 0.2",))
    reasons = {number: row["reason"] for number, row in rows_of(strict).items() if number % 2 == 0}
    assert reasons[10] == "instance_iou_unknown"
    assert verify_release(str(strict.folder), str(checked.inputs.annotations)).problems == ()
    even = release_of(checked.inputs, out, version="3.0.0", target_images=2, strata="even")
    kinds = [row["supercategory"] for row in even.manifest() if row["verdict"] == "accepted"]
    assert len(set(kinds)) == 2
    assert verify_release(str(even.folder)).problems == ()


def test_other_instances_are_another_release(checked, release_of, tmp_path):
    inputs = make_collection(tmp_path / "in", 4)
    write_annotations(inputs, **make_instances(inputs.entries))
    first = release_of(inputs, tmp_path / "out")
    instances = make_instances(inputs.entries)
    instances["annotations"].pop()
    write_annotations(inputs, **instances)
    second = release_of(inputs, tmp_path / "out", version="2.0.0")
    digests = [release.release_json()["made_from"]["instances"] for release in (first, second)]
    assert digests[0] != digests[1]
    assert {row["key"] for row in first.manifest()} == {make_key(number) for number in range(1, 5)}
