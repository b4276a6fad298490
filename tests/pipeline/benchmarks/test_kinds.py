"""The kinds of benchmark: what each measures, and what its table shows."""

import importlib
import inspect
from pathlib import Path
from typing import get_args

import pytest

from pipeline.benchmarks import copies, dispatch, duplicates, orchestration, planning, scoring, witness
from pipeline.benchmarks.benchmark import PlaceKind
from pipeline.benchmarks.busy import Busy
from pipeline.benchmarks.copies import Copies
from pipeline.benchmarks.dispatch import Dispatch
from pipeline.benchmarks.duplicates import Duplicates
from pipeline.benchmarks.growth import Growth
from pipeline.benchmarks.inputs import make_collection, packed
from pipeline.benchmarks.kinds import KINDS, options_class
from pipeline.benchmarks.orchestration import Orchestration
from pipeline.benchmarks.planning import Planning
from pipeline.benchmarks.release import Release
from pipeline.benchmarks.resume import Resume
from pipeline.benchmarks.scoring import RAY, Scoring
from pipeline.benchmarks.witness import Witness
from pipeline.collection.gather import read_collection
from pipeline.collection.stores import read_bytes
from pipeline.errors import ConfigError
from pipeline.networks.presets import PRESETS
from tests.pipeline.make import tree
from tests.pipeline.passes.networks import brightness
from tests.pipeline.passes.photos import encoded, make_photo

WAYS = ["ray", "inline", "ray data", "loop", "webdataset"]


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_case_of_every_kind_has_the_arguments_of_its_measurement(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    is_net = Path("out/witness/is-net.onnx")  # `make witness` fetches it
    is_net.parent.mkdir(parents=True)
    is_net.touch()
    measure = importlib.import_module(f"pipeline.benchmarks.{kind}").measure
    cases = options_class(kind)().cases()
    assert cases
    for case in cases:
        inspect.signature(measure).bind(Path(), **case)


def test_every_module_with_a_measurement_is_in_the_table_of_kinds():
    modules = (Path(__file__).parents[3] / "pipeline/benchmarks").glob("*.py")
    assert {path.stem for path in modules if "\ndef measure(" in path.read_text()} == set(KINDS)


def test_ways_are_measured_in_turn_so_that_a_slow_hour_of_the_machine_slows_all_of_them():
    cases = Orchestration(widths_px=(64, 128), rounds=2).cases()
    assert [case["way"] for case in cases] == WAYS * 4
    assert [case["width"] for case in cases] == [64] * 10 + [128] * 10
    assert {(case["width"], case["height"]) for case in cases} == {(64, 48), (128, 96)}


def test_rates_are_medians_and_compared_with_ray_data_at_the_same_size():
    rates = {"ray": (90, 300, 400), "inline": (50, 60, 70), "ray data": (100, 200, 150), "loop": (10, 10, 10)}
    rates["webdataset"] = (40, 30, 20)
    found = [
        {
            "way": way,
            "width": width,
            "height": 48,
            "images_per_s": rates[way][place] * factor,
            "cpu_s": place / 100,
            "start_s": place,
        }
        for width, factor in ((64, 1), (128, 2))
        for place in range(3)
        for way in WAYS
    ]
    _, _, *rows = map(cells, Orchestration().table(found))
    assert rows[0] == ["64 x 48 px", "ray", "300", "90 to 400", "2.00", "in other processes", "1.0 s"]
    assert rows[1] == ["64 x 48 px", "inline", "60", "50 to 70", "0.40", "10.00 ms", "1.0 s"]
    assert [row[4] for row in rows] == ["2.00", "0.40", "1.00", "0.07", "0.20"] * 2
    assert [row[2] for row in rows[5:]] == ["600", "120", "300", "20", "60"]


def test_planted_copies_are_found_and_other_photographs_are_not(tmp_path):
    """A small form: without a network, six pictures. The long form is the next test."""
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(encoded(make_photo(number, 240, 160)))
    (case,) = Copies(photos=(str(tmp_path),), encoders=("none",)).cases()
    result = copies.measure(tmp_path, **case)
    assert result["pairs"] | {"most": 0} == {"tried": 15, "near": 0, "found": 0, "most": 0}
    for kind in ("half the size", "JPEG, quality 50", "mirrored", "grey"):
        assert result["kinds"][kind]["found"] == 6
    rows = [cells(line) for line in Copies().table([result])][2:]
    assert rows[0] == ["none", "half the size", "6", "100.0%", "100.0%", rows[0][-1]]
    assert len(rows) == len(copies.KINDS) + 1


@pytest.mark.thorough
def test_planted_copies_of_the_sample_are_found_by_the_embedded_model(tmp_path):
    (case,) = Copies(encoders=("model",)).cases()
    result = copies.measure(tmp_path, **case)
    assert result["pairs"]["found"] == 0
    for kind in ("half the size", "a quarter of the size", "JPEG, quality 50", "JPEG, quality 10"):
        assert result["kinds"][kind]["found"] >= 0.98 * result["kinds"][kind]["tried"]


def test_a_synthetic_collection_is_joined_and_its_copies_are_found(tmp_path):
    (case,) = Duplicates(images=(600,), test_images=50, copies=0.05).cases()
    result = duplicates.measure(tmp_path, **case)
    assert (result["planted"], result["found"]) == (30, 30)
    (row,) = list(map(cells, Duplicates().table([result])))[2:]
    assert (row[0], row[-1]) == ("600", "30 of 30")


@pytest.mark.parametrize("place", get_args(PlaceKind))
def test_the_same_images_are_measured_in_every_kind_of_place(tmp_path, place):
    inputs = packed(make_collection(tmp_path, 5, 8, 6), place)
    samples = read_collection(inputs).samples
    assert [sample.image_id for sample in samples] == [1, 2, 3, 4, 5]
    assert [read_bytes(sample) for sample in samples] == [
        (tmp_path / f"images/{sample.file_name}").read_bytes() for sample in samples
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # that loader closes no file
def test_webdatasets_loader_and_the_plain_loop_write_the_same_tars(tmp_path):
    inputs, written = make_collection(tmp_path, 70, 8, 6), []
    for way, place in (("loop", "folder"), ("webdataset", "tars")):
        (tmp_path / way).mkdir()
        orchestration._WAYS[way](tmp_path / way, packed(inputs, place), 2)
        written.append(tree(tmp_path / way))
    assert written[0].keys() == {"000000.tar", "000064.tar"}
    assert list(written[0].values()) == list(written[1].values())


def test_planning_is_measured_with_annotations_and_without(tmp_path):
    cases = Planning(images=3, places=("tars",)).cases()
    found = [planning.measure(tmp_path / str(number), **case) for number, case in enumerate(cases)]
    head, _, *rows = map(cells, Planning().table(found))
    assert head[:2] == ["images", "in"]
    assert [row[:2] for row in rows] == [["3", "tars, with annotations"], ["3", "tars, without annotations"]]
    assert all(300 < result["held_bytes"] / 3 < 1000 for result in found)


def test_every_option_of_how_busy_a_model_is_reaches_both_measurements():
    on_ray, inline = Busy(images=5, denoise_steps=2).cases()
    assert (on_ray["images"], on_ray["denoise_steps"], on_ray["engine"]) == (5, 2, "ray")
    assert inline == on_ray | {"engine": "inline"}


def test_a_witness_is_measured_beside_its_inference_and_the_first_turn_is_not_counted(tmp_path):
    preset = PRESETS["isnet"].signature
    path = brightness(tmp_path / "net.onnx", preset, sides=(preset.height_px, preset.width_px))
    options = Witness(witness=str(path), images=3, shard_size=1)
    (case,) = options.cases()
    found = witness.measure(tmp_path / "work", **case)
    assert found["images"] == 2
    assert found["inference_s"] > 0
    assert found["pass_s"] > 0
    _, _, row = map(cells, options.table([{**found, "inference_s": 2.0, "pass_s": 2.05}]))
    assert row == ["net.onnx", "2", "2.00 s/image", "2.05 s/image", "2.5%"]


def test_a_witness_that_is_not_there_is_named_before_it_is_measured(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file; `make witness` fetches IS-Net"):
        Witness(witness=str(tmp_path / "net.onnx")).cases()
    with pytest.raises(ValueError, match="the first turn of 4 is not counted: give more"):
        Witness(images=4, shard_size=4)


def test_scoring_gives_what_the_loop_of_the_library_gives(tmp_path):
    cases = [case for case in Scoring(images=3, side_px=40).cases() if case["way"] != RAY]
    found = []
    for number, case in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        found.append(scoring.measure(tmp_path / str(number), **case))
    _, _, *rows = map(cells, Scoring().table(found))
    assert [row[0] for row in rows] == [case["way"] for case in cases]
    assert [row[-1] for row in rows] == ["0", "0"]
    found[1]["figures"]["max_f"] += 0.01
    assert list(map(cells, Scoring().table(found)))[-1][-1] == "0.01"


def test_growth_is_shown_per_shard():
    found = {"shards": 2000, "plan_s": 1.5, "work_s": 40.0, "bytes": 8_000_000}
    _, _, row = map(cells, Growth().table([found]))
    assert row == ["2,000", "1.50 s", "40.0 s", "20.0 ms", "8 MB", "4.0 KB"]


def test_dispatching_loses_no_shard_while_nodes_come_and_go():
    found = dispatch.measure(Path(), shards=600, replicas=16, shard_images=2, shard_s=300.0)
    assert found["nodes_lost"] > 0
    assert found["returned"] > 0
    _, _, row = map(cells, Dispatch().table([found | {"seconds": 0.3, "bytes": 60_000, "simulated_s": 7200}]))
    assert row[:3] == ["600", "16", "2.00 h"]
    assert row[5:] == ["2,000 shards/s", "500 µs", "50.0 B per image"]


def test_one_measurement_per_size():
    assert [case["shards"] for case in Dispatch(shards=(3, 4)).cases()] == [3, 4]
    assert [case["shards"] for case in Resume(shards=(3, 4)).cases()] == [3, 4]
    assert [case["images"] for case in Release(images=(3, 4)).cases()] == [3, 4]
    assert [case["shards"] for case in Growth(shards=(3, 4)).cases()] == [3, 4]
