"""A request becomes tasks, all checked before any work, and files in their places."""

import json

import pytest

from pipeline.errors import CollectionError, ConfigError, PipelineError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.datasets import DATASETS
from pipeline.evaluation.job import brief, evaluate
from pipeline.evaluation.tasks import find_tasks
from pipeline.options import from_options
from tests.pipeline.evaluation.make import make_folders, saliency, save, truth


def make_config(out, **options):
    given = {"out": str(out), "engine": "inline"} | options
    config: EvaluationConfig = from_options(EvaluationConfig, given, missing=None)
    return config


def evaluated(config):
    return evaluate(find_tasks(config), config)


def make_dataset(root, name, count):
    """The dataset in its published folders, with maps in `maps/NAME`."""
    folder = root / "data" / name
    for number in range(count):
        save(folder / DATASETS[name].images[0] / f"{number}.jpg", saliency(number))
        save(folder / DATASETS[name].masks[0] / f"{number}.png", truth(number))
        save(root / "maps" / name / f"{number}.png", saliency(number))


@pytest.fixture
def small(monkeypatch):
    """Datasets of three images."""
    for name, dataset in DATASETS.items():
        monkeypatch.setitem(
            DATASETS, name, type(dataset)(count=3, images=dataset.images, masks=dataset.masks, folders=dataset.folders)
        )


def test_results_of_one_pair_of_folders_are_in_out_itself(tmp_path):
    folder = make_folders(tmp_path / "in", 3)
    documents = evaluated(make_config(tmp_path / "out", predictions=str(folder / "maps"), masks=str(folder / "masks")))
    assert [document["name"] for document in documents] == ["maps on masks"]
    assert json.loads((tmp_path / "out/evaluation.json").read_bytes()) == json.loads(json.dumps(documents[0]))
    assert brief("out", documents) == {
        "out": "out",
        "results": [{name: documents[0][name] for name in ("name", "counts", "metrics")}],
    }


def test_maps_are_measured_without_stretching_on_request(tmp_path):
    folder = make_folders(tmp_path / "in", 2)
    options = {"predictions": str(folder / "maps"), "masks": str(folder / "masks")}
    (stretched,) = evaluated(make_config(tmp_path / "1", **options))
    (as_they_are,) = evaluated(make_config(tmp_path / "2", normalize=False, **options))
    assert (stretched["settings"]["normalize"], as_they_are["settings"]["normalize"]) == (True, False)
    assert stretched["metrics"]["mae"] != as_they_are["metrics"]["mae"]


def test_several_datasets_have_a_folder_each_and_a_table_of_all(tmp_path, small):
    for name in ("ECSSD", "PASCAL-S"):
        make_dataset(tmp_path, name, 3)
    options = {"dataset": ("PASCAL-S", "ECSSD"), "root": str(tmp_path / "data"), "predictions": str(tmp_path / "maps")}
    documents = evaluated(make_config(tmp_path / "out", **options))
    assert [document["name"] for document in documents] == ["PASCAL-S", "ECSSD"]
    for name in ("ECSSD", "PASCAL-S"):
        assert json.loads((tmp_path / "out" / name / "evaluation.json").read_bytes())["name"] == name
    table = (tmp_path / "out/evaluation.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| PASCAL-S", "| ECSSD"]


def test_results_of_one_dataset_are_in_out_itself(tmp_path, small):
    make_dataset(tmp_path, "HKU-IS", 3)
    options = {"dataset": ("HKU-IS",), "root": str(tmp_path / "data"), "predictions": str(tmp_path / "maps/HKU-IS")}
    (document,) = evaluated(make_config(tmp_path / "out", **options))
    assert (document["name"], document["counts"]["measured"]) == ("HKU-IS", 3)
    assert (tmp_path / "out/evaluation.json").is_file()


def test_a_dataset_without_maps_is_predicted(tmp_path, small):
    make_dataset(tmp_path, "ECSSD", 3)
    options = {"dataset": ("ECSSD",), "root": str(tmp_path / "data"), "model": "fake"}
    (document,) = evaluated(make_config(tmp_path / "out", **options))
    assert document["made_with"]["weights"] == "fake"
    assert document["risk_coverage"]
    assert (tmp_path / "out/run/run.json").is_file()


def test_figures_of_datasets_are_set_beside_published_ones(tmp_path, small):
    for name in ("ECSSD", "HKU-IS"):
        make_dataset(tmp_path, name, 3)
    options = {"dataset": ("ECSSD", "HKU-IS"), "root": str(tmp_path / "data"), "published": True}
    documents = evaluated(make_config(tmp_path / "out", predictions=str(tmp_path / "maps"), **options))
    for document in documents:
        models = {model["name"]: model["figures"] for model in document["published"]["models"]}
        assert (
            models["BiRefNet"]["mae"]["difference"]
            == document["metrics"]["mae"] - models["BiRefNet"]["mae"]["published"]
        )
        page = (tmp_path / "out" / document["name"] / "evaluation.md").read_text()
        assert f"| {document['name']} | BiRefNet | " in page.partition("## Published figures")[2]
    assert "| HKU-IS | BiRefNet | 0.020 (+" in (tmp_path / "out/evaluation.md").read_text()
    assert [result["published"] for result in brief("out", documents)["results"]] == [
        document["published"] for document in documents
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"masks": "masks", "predictions": "maps"}, "give --dataset and --root"),
        ({"release": "r", "predictions": "maps"}, "leave out --published"),
        ({"dataset": ("ECSSD",), "root": "r", "normalize": False}, "leave out --no-normalize"),
    ],
)
def test_published_figures_are_refused_where_there_are_none(tmp_path, options, said):
    with pytest.raises(ConfigError, match=said):
        make_config(tmp_path / "out", published=True, **options).check()


def test_a_dataset_with_photos_and_masks_in_one_folder(tmp_path, small):
    for number in range(3):
        save(tmp_path / f"data/PASCAL-S/Imgs/{number}.jpg", saliency(number))
        save(tmp_path / f"data/PASCAL-S/Imgs/{number}.png", truth(number))
        save(tmp_path / f"maps/{number}.png", saliency(number))
    options = {"dataset": ("PASCAL-S",), "root": str(tmp_path / "data")}
    (photos,) = find_tasks(make_config(tmp_path / "out", **options))
    assert {pair.source.suffix for pair in photos.pairs} == {".jpg"}
    (maps,) = find_tasks(make_config(tmp_path / "out", predictions=str(tmp_path / "maps"), **options))
    assert {pair.mask.suffix for pair in photos.pairs + maps.pairs} == {".png"}


def test_another_number_of_images_than_published_is_refused_unless_requested(tmp_path):
    make_dataset(tmp_path, "ECSSD", 4)
    options = {"dataset": ("ECSSD",), "root": str(tmp_path / "data"), "predictions": str(tmp_path / "maps/ECSSD")}
    with pytest.raises(CollectionError, match="there must be 1000"):
        find_tasks(make_config(tmp_path / "out", **options))
    (task,) = find_tasks(make_config(tmp_path / "out", count=4, **options))
    assert len(task.pairs) == 4


def test_no_work_starts_if_the_last_of_several_datasets_is_wrong(tmp_path, small):
    make_dataset(tmp_path, "ECSSD", 3)
    make_dataset(tmp_path, "HKU-IS", 2)
    options = {"dataset": ("ECSSD", "HKU-IS"), "root": str(tmp_path / "data"), "predictions": str(tmp_path / "maps")}
    with pytest.raises(CollectionError, match="there must be 3"):
        evaluated(make_config(tmp_path / "out", **options))
    assert not (tmp_path / "out").exists()


def test_options_that_contradict_are_refused_here_too(tmp_path):
    with pytest.raises(ConfigError):
        evaluated(make_config(tmp_path / "out"))


@pytest.mark.parametrize("maps", [{"predictions": "maps"}, {"images": "photos", "model": "fake", "ensemble_size": 2}])
def test_the_limit_on_pixels_holds_for_photos_maps_and_masks(tmp_path, maps):
    folder = make_folders(tmp_path / "in", 2)
    maps = {name: str(folder / value) if name in ("predictions", "images") else value for name, value in maps.items()}
    pixels = truth(1).size
    for limit, measured in ((pixels, 2), (pixels - 1, 0)):
        config = make_config(tmp_path / str(limit), masks=str(folder / "masks"), max_image_pixels=limit, **maps)
        if measured:
            (document,) = evaluated(config)
            assert document["counts"]["measured"] == measured
        else:
            with pytest.raises(PipelineError, match=rf"too_many_pixels.*the limit is {limit} pixels"):
                evaluated(config)


def test_a_limit_that_no_library_could_keep_is_refused_at_the_start(tmp_path):
    with pytest.raises(ValueError, match="max_image_pixels is 500000001; it must be at most 500000000"):
        make_config(tmp_path, predictions="a", masks="b", max_image_pixels=500_000_001)
