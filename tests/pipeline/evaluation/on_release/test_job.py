"""Maps against a release: every accepted image counts, and what has no usable prediction is worst, or left out."""

import json
import pickle
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.errors import ConfigError, PipelineError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Chunk, measure_chunk
from pipeline.evaluation.measures import measure
from pipeline.evaluation.outcomes import How
from pipeline.evaluation.summary import SCALARS
from pipeline.evaluation.tasks import find_tasks
from pipeline.options import from_options
from tests.pipeline.evaluation.make import saliency, save

ZERO = [name for name in SCALARS if name != "mae"]


def test_figures_are_those_of_the_masks_in_the_tars(evaluated, maps, masks, released):
    document = evaluated(maps)
    measures = [measure(saliency(number, *mask.shape), mask) for number, mask in enumerate(masks.values())]
    assert document["metrics"]["mae"] == np.mean([found.mae for found in measures])
    assert document["metrics"]["mean_of_max_f"] == np.mean([found.max_f for found in measures])
    assert document["metrics"]["max_f"] == max(np.mean([found.f_curve for found in measures], axis=0))
    counts = {"pairs": 5, "measured": 5, "worst": 0, "failed": 0, "resized": 0}
    assert document["counts"] | counts == document["counts"]
    release = document["release"]
    assert (release["name"], release["version"], release["images"]) == ("sod-benchmark", "1.0.0", 5)
    assert release["missing"] == release["unusable"] == release["surplus_names"] == []
    for found in release["strata"].values():
        assert sum(stratum["images"] for stratum in found["strata"]) == 5


def test_the_tars_of_the_release_give_what_its_saliency_maps_deserve(evaluated, released, tmp_path):
    document = evaluated(released.folder / "data")
    for key, members in released.samples().items():
        (tmp_path / "maps").mkdir(exist_ok=True)
        (tmp_path / "maps" / f"{key}.png").write_bytes(members["saliency.png"])
    assert document["metrics"] == evaluated(tmp_path / "maps", "again")["metrics"]


def broken(path):
    """Files that can't be measured."""
    mode = path.stem
    colours = Image.fromarray(np.full((9, 9, 3), (255, 0, 0), np.uint8))
    {
        "empty": lambda: path.write_bytes(b""),
        "colours": lambda: colours.save(path),
        "palette": lambda: colours.convert("P").save(path),
        "nan": lambda: Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(path, "TIFF"),
    }[mode]()


@pytest.mark.parametrize("kind", ["missing", "empty", "colours", "palette", "nan"])
def test_an_image_without_a_usable_prediction_is_worst_or_left_out(evaluated, maps, masks, tmp_path, kind):
    everything = evaluated(maps, "all")
    key = f"{6:012d}"
    lost = pq.read_table(tmp_path / "all/images.parquet").to_pylist()[2]
    (maps / f"{key}.png").unlink()
    if kind != "missing":
        broken(tmp_path / f"{kind}.png")
        shutil.move(tmp_path / f"{kind}.png", maps / f"{key}.png")
    worst, skipped = evaluated(maps, "worst"), evaluated(maps, "skip", missing="skip")
    assert worst["metrics"]["mae"] == pytest.approx(everything["metrics"]["mae"] + (1 - lost["mae"]) / 5)
    for name in ("s_measure", "weighted_f", "adaptive_f", "iou"):
        assert worst["metrics"][name] == pytest.approx(everything["metrics"][name] - lost[name] / 5)
        assert skipped["metrics"][name] == pytest.approx((5 * everything["metrics"][name] - lost[name]) / 4)
        assert worst["metrics"][name] == pytest.approx(4 / 5 * skipped["metrics"][name])
    row = pq.read_table(tmp_path / "worst/images.parquet").to_pylist()[2]
    assert (row["name"], row["mae"], row["s_measure"], max(row["f_curve"]), max(row["e_curve"])) == (key, 1, 0, 0, 0)
    assert (worst["counts"]["worst"], skipped["counts"]["failed"]) == (1, 1)
    named = worst["release"]["missing"] if kind == "missing" else [worst["release"]["unusable"][0]["name"]]
    assert named == [key]
    assert skipped["release"]["unusable"] == worst["release"]["unusable"]
    page = (tmp_path / "worst/evaluation.md").read_text()
    assert "An image without a usable prediction has the worst value of each metric: MAE 1, and 0 for all" in page
    assert "left out of all figures" in (tmp_path / "skip/evaluation.md").read_text()
    assert sum(entry["images"] for entry in worst["release"]["strata"]["object size"]["strata"]) == 5


def test_maps_of_another_size_are_resized_and_counted(evaluated, maps, masks):
    save(maps / f"{2:012d}.png", saliency(0, 50, 70))
    assert evaluated(maps)["counts"]["resized"] == 1


def test_surplus_predictions_are_counted_and_the_first_ones_named(evaluated, maps, tmp_path):
    for number in range(25):
        save(maps / f"other {number:02d}.png", saliency(number))
    release = evaluated(maps)["release"]
    assert release["surplus"] == 25
    assert release["surplus_names"] == [f"other {number:02d}.png" for number in range(20)]
    assert (
        "Predictions of none of these images, which do not count: 25, `other 00.png`"
        in (tmp_path / "out/evaluation.md").read_text()
    )


def test_nothing_is_reported_if_no_prediction_is_usable(evaluated, maps, tmp_path):
    for path in maps.iterdir():
        path.write_bytes(b"")
    with pytest.raises(PipelineError, match="none of the 5 images has a usable prediction; the first: undecodable"):
        evaluated(maps)
    assert not (tmp_path / "out").exists()


def test_pairs_reach_other_processes_unchanged(released, maps, tmp_path):
    given = {"out": "out", "release": str(released.folder), "predictions": str(maps)}
    (task,) = find_tasks(from_options(EvaluationConfig, given, missing=None))
    chunk = Chunk(pairs=task.pairs, how=How(plain_grey=True, unusable="is worst", counts_parts=True, metrics=("mae",)))
    assert measure_chunk(pickle.loads(pickle.dumps(chunk))) == measure_chunk(chunk)


def test_equal_requests_leave_equal_bytes(evaluated, maps, tmp_path):
    evaluated(maps, "1")
    evaluated(maps, "2")
    for name in ("evaluation.json", "evaluation.md", "images.parquet"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert "nan" not in json.loads((tmp_path / "1/evaluation.json").read_bytes())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"masks": "gt"}, "--release has its own masks; leave out --masks"),
        ({"images": "photos"}, "leave out --images"),
        ({"release": "", "masks": "gt", "missing": "skip"}, "are of a release: give --release"),
        ({"release": "", "masks": "gt", "splits": ("test",)}, "are of a release: give --release"),
        ({"out": ""}, "give --out"),
    ],
)
def test_options_that_contradict_a_release_are_refused(options, said):
    given = {"out": "out", "release": "r", "predictions": "p", **options}
    with pytest.raises(ConfigError, match=said):
        from_options(EvaluationConfig, given, missing=None).check()
