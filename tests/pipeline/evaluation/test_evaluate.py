"""Folders of maps and masks become figures: the same wherever and in whatever chunks the images are measured."""

import numpy as np
import py_sod_metrics
import pytest

from pipeline.config import ClusterConfig
from pipeline.errors import PipelineError, UsageError
from pipeline.evaluation import evaluate as evaluate_module
from pipeline.evaluation.evaluate import gather
from pipeline.evaluation.measures import QUICK_METRICS
from pipeline.evaluation.outcomes import Failed
from pipeline.evaluation.summary import summarise
from tests.pipeline.evaluation.make import evaluate_maps, make_folders, make_measured, saliency, truth

COUNT = 20  # more than a chunk


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("folders"), COUNT)


@pytest.mark.filterwarnings("ignore:This class will be removed")
def test_the_figures_of_files_are_the_librarys_to_the_last_bit(folder):
    metrics = [py_sod_metrics.MAE(), py_sod_metrics.Smeasure(), py_sod_metrics.Fmeasure()]
    for number in range(1, COUNT + 1):
        for metric in metrics:
            metric.step(saliency(number), truth(number).astype(np.uint8) * 255)
    mae, s, f = (metric.get_results() for metric in metrics)
    found = evaluate_maps(folder).summary
    assert (found.mae, found.s_measure, found.max_f) == (mae["mae"], s["sm"], f["fm"]["curve"].max())


def test_every_pair_is_an_image_in_the_order_of_the_names(folder):
    found = evaluate_maps(folder)
    assert [image.name for image in found.images] == [f"im{number:03d}" for number in range(1, COUNT + 1)]
    assert (found.failures, found.risk_coverage) == ((), {})
    assert found.summary == summarise([image.measures for image in found.images])


@pytest.mark.parametrize("chunk_images", [1, 3, 100])
def test_the_size_of_the_chunks_changes_no_bit(folder, monkeypatch, chunk_images):
    expected = evaluate_maps(folder).summary
    monkeypatch.setattr(evaluate_module, "CHUNK_IMAGES", chunk_images)
    assert evaluate_maps(folder).summary == expected


def test_maps_as_they_are_and_a_choice_of_metrics(folder):
    stretched = evaluate_maps(folder, metrics=QUICK_METRICS).summary
    as_they_are = evaluate_maps(folder, metrics=QUICK_METRICS, normalize=False).summary
    assert stretched.mae != as_they_are.mae
    assert stretched.weighted_f is None


def test_a_broken_file_costs_only_itself_and_is_named(tmp_path, told):
    folder = make_folders(tmp_path, 5)
    (folder / "maps/im002.png").write_bytes(b"")
    (folder / "masks/im004.png").write_bytes(b"no image")
    found = evaluate_maps(folder)
    assert [image.name for image in found.images] == ["im001", "im003", "im005"]
    assert [failure.name for failure in found.failures] == ["im002", "im004"]
    assert found.summary == summarise([make_measured(number).measures for number in (1, 3, 5)])
    assert [line.split(":")[0] for line in told.lines] == ["im002 failed", "im004 failed"]


def test_if_nothing_can_be_measured_there_are_no_figures(tmp_path):
    folder = make_folders(tmp_path, 2)
    for number in (1, 2):
        (folder / f"maps/im00{number}.png").write_bytes(b"")
    with pytest.raises(PipelineError, match=r"none of the 2 .* measured; the first: .*maps/im001.png") as failure:
        evaluate_maps(folder)
    assert not isinstance(failure.value, UsageError), "the work was done: exit code 1, not 2"


def test_the_order_of_the_outcomes_changes_no_bit():
    outcomes = [make_measured(number, area=float(number % 3)) for number in range(1, 9)]
    outcomes += [Failed(name="b", reason="x"), Failed(name="a", reason="y")]
    found, reversed_ = gather(outcomes), gather(reversed(outcomes))
    assert (found.summary, found.risk_coverage) == (reversed_.summary, reversed_.risk_coverage)
    assert [failure.name for failure in found.failures] == ["a", "b"]
    assert found.failures == reversed_.failures
    assert list(found.risk_coverage) == ["area"]


def test_the_images_measured_are_counted(folder, told):
    evaluate_maps(folder, metrics=("mae",), cluster=ClusterConfig(engine="inline", progress_every_s=3))
    measuring = told.opened[0]
    assert (measuring.name, measuring.total, measuring.every_s) == ("measuring maps", 20, 3)
    assert told.ended[0] == ("measuring maps", 20, True)
