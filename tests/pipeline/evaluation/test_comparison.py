"""Two evaluations are compared if they are of the same images and were measured alike."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import CollectionError, RunMismatchError, StorageError
from pipeline.evaluation.comparison import compare_evaluations
from pipeline.evaluation.evaluate import gather
from pipeline.evaluation.measures import measure
from pipeline.evaluation.outcomes import Measured
from pipeline.evaluation.report import Subject, publish_evaluation
from pipeline.evaluation.summary import SCALARS
from tests.pipeline.evaluation.make import saliency, truth


def publish(out, offset=0, images=6, release=None, normalize=True):
    """An evaluation of maps that are those of other numbers by `offset`."""
    measured = [
        Measured(
            name=f"im{number}",
            measures=measure(np.roll(saliency(number), offset, axis=1), truth(number)),
            truth_sha256=f"{number}",
        )
        for number in range(images)
    ]
    evaluation = gather(measured)
    subject = Subject(
        name=f"moved by {offset}", maps="maps", masks="gt", normalize=normalize, made_with={}, release=release or {}
    )
    publish_evaluation(str(out), subject, evaluation)
    return evaluation


def release(**overrides):
    stated = {"name": "r", "version": "1.0.0", "release_json_sha256": "ab", "missing_counts_as": "worst"}
    return (
        stated
        | {"strata": {}, "missing": [], "unusable": [], "surplus": 0, "splits": ["test"], "images": 6}
        | overrides
    )


@pytest.fixture
def outs(tmp_path):
    return [str(tmp_path / "1"), str(tmp_path / "2")]


def test_differences_are_those_of_the_two_summaries(outs, tmp_path):
    first, second = publish(outs[0]), publish(outs[1], 3)
    found = compare_evaluations(outs, str(tmp_path / "compared"))
    assert set(found["figures"]) == set(SCALARS)
    for name, figure in found["figures"].items():
        expected = getattr(second.summary, name) - getattr(first.summary, name)
        assert figure["difference"] == pytest.approx(expected, abs=1e-6)  # curves are stored in float32
        low, high = figure["interval"]
        assert low <= high
    assert json.loads((tmp_path / "compared/comparison.json").read_bytes()) == json.loads(json.dumps(found))
    page = (tmp_path / "compared/comparison.md").read_text()
    assert "# moved by 3 against moved by 0" in page
    assert "| max F ↑ |" in page


def test_the_images_on_which_they_differ_most_come_first(outs):
    first, second = publish(outs[0]), publish(outs[1], 3)
    found = compare_evaluations(outs)["differ_most"]
    by_hand = {
        one.name: abs(one.measures.mae - other.measures.mae)
        for one, other in zip(first.images, second.images, strict=True)
    }
    assert [image["name"] for image in found] == sorted(by_hand, key=lambda name: (-by_hand[name], name))


def test_a_comparison_with_itself_finds_nothing(outs):
    publish(outs[0])
    found = compare_evaluations([outs[0], outs[0]])
    assert found["differ_most"] == []
    assert all((figure["difference"], figure["p"]) == (0, 1) for figure in found["figures"].values())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"images": 5}, r"different numbers of images \(6 and 5\)"),
        ({"normalize": False}, "different scorers"),
        ({"release": release(version="2.0.0")}, r"different releases \(r 1.0.0, ab and r 2.0.0, ab\)"),
        ({"release": release(release_json_sha256="cd")}, "different releases"),
        ({"release": release(missing_counts_as="skip")}, r"different rules for missing predictions \(worst and skip\)"),
    ],
)
def test_what_was_not_measured_alike_is_not_compared(outs, other, said):
    publish(outs[0], release=release())
    publish(outs[1], **{"release": release()} | other)
    with pytest.raises(RunMismatchError, match=said):
        compare_evaluations(outs)


def test_other_masks_are_noticed(outs):
    publish(outs[0])
    publish(outs[1])
    path = f"{outs[1]}/images.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("truth_sha256")
    pq.write_table(table.set_column(place, "truth_sha256", pa.array(["x"] * 6)), path)
    with pytest.raises(RunMismatchError, match="different masks, so their figures can't be compared"):
        compare_evaluations(outs)


def test_folders_without_an_evaluation_of_now_are_refused(outs):
    with pytest.raises(CollectionError, match=r"there is no evaluation\.json; give the --out of an evaluation"):
        compare_evaluations(outs)
    publish(outs[0])
    publish(outs[1])
    with open(f"{outs[1]}/evaluation.json", "w") as file:
        file.write('{"format": 1}')
    with pytest.raises(CollectionError, match="an earlier version of the project made it; evaluate again"):
        compare_evaluations(outs)
    with open(f"{outs[1]}/evaluation.json", "w") as file:
        file.write("{")
    with pytest.raises(StorageError, match=r"can't be read .*evaluate again"):
        compare_evaluations(outs)
