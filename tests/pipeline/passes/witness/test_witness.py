"""The witness pass on runs of the stand-in: its columns, its card, what it refuses, and that it keeps its witness."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from jobs.score_run import parse
from model.config import ModelConfig
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError, RunMismatchError, UsageError
from pipeline.files.maps import decode_png, mask_of
from pipeline.passes.agreement import iou
from pipeline.passes.config import PassConfig
from pipeline.passes.folder import read_document, read_pass
from pipeline.passes.mask_text import mask_from_text
from pipeline.passes.options import WitnessOptions
from pipeline.passes.score import score_run
from pipeline.passes.witness.witness import judge
from pipeline.run import run
from pipeline.runs.candidates import read_members
from pipeline.runs.commits import committed_shards, read_shard_records
from tests.pipeline.make import make_collection, make_config, make_key
from tests.pipeline.passes.networks import brightness, nowhere_for_dark

pytestmark = pytest.mark.usefixtures("fast_disk")
IMAGES = 4
SIDES = st.integers(1, 20)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Images whose left part is bright, the further to the right the higher their number."""
    made = make_collection(tmp_path_factory.mktemp("collection"), IMAGES)
    for entry in made.entries:
        pixels = np.zeros((entry["height"], entry["width"], 3), np.uint8)
        pixels[:, : 4 * entry["id"]] = 240
        Image.fromarray(pixels).save(made.images / entry["file_name"], quality=95)
    return made


@pytest.fixture(scope="module")
def original(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "run"
    run(make_config(inputs, folder))
    return folder


@pytest.fixture
def finished(original, tmp_path):
    """The folder of a run, for each test its own."""
    return str(shutil.copytree(original, tmp_path / "run"))


def witness_of(path, **options):
    given = {"witness": str(path), "witness_trained_on": "DUTS-TR"} if path else {}
    return WitnessOptions(**{**given, **options})


def score(folder, options, **config):
    given = {"run": folder, "kind": "witness", "batch_images": 2, "cluster": ClusterConfig(engine="inline")}
    return score_run(PassConfig(**{**given, **config}), options)


def values_of(folder, name="witness"):
    """Key → row of a pass."""
    return read_pass(folder, name, records_of(folder)).rows


def records_of(folder):
    return read_shard_records(folder, sorted(committed_shards(folder)))


def masks_of(folder):
    """Key → mask of the candidate."""
    members = {}
    for record in records_of(folder).values():
        members |= read_members(folder, record)
    return {key: mask_of(decode_png(files["saliency.png"])) for key, files in members.items()}


MAPS = st.tuples(SIDES, SIDES).flatmap(
    lambda sides: st.tuples(arrays(np.float32, sides, elements=st.floats(0, 1, width=32)), arrays(bool, sides))
)


@given(MAPS)
def test_the_columns_are_those_of_numpy(maps):
    saliency, mask = maps
    found = judge("x", saliency, mask)
    own = saliency >= 0.5
    sure = [abs(2 * float(p) - 1) for p, is_seen in zip(saliency.flat, (own | mask).flat, strict=True) if is_seen]
    assert found["x_iou"] == iou(own, mask)
    assert found["x_area"] == own.sum() / own.size
    assert found["x_confidence"] == pytest.approx(np.mean(sure or np.abs(2 * saliency.astype(float) - 1)))
    assert all(0 <= found[f"x_{name}"] <= 1 for name in ("iou", "confidence", "area"))
    assert np.array_equal(mask_from_text(found["x_mask"], *mask.shape), own)


@given(MAPS)
def test_a_witness_that_agrees_surely_has_all_ones(maps):
    _, mask = maps
    found = judge("x", mask.astype(np.float32), mask)
    assert (found["x_iou"], found["x_confidence"], found["x_area"]) == (1, 1, mask.mean())


def test_every_image_gets_the_witnesss_opinion(finished, inputs, tmp_path):
    report = score(finished, witness_of(brightness(tmp_path / "net.onnx", sides=(64, 64))))
    assert (report.scored, report.failed) == (IMAGES, 0)
    assert report.columns == ("witness_iou", "witness_confidence", "witness_area", "witness_mask")
    masks, rows = masks_of(finished), values_of(finished)
    for entry in inputs.entries:
        key = make_key(entry["id"])
        own = mask_from_text(rows[key].values["witness_mask"], entry["height"], entry["width"])
        bright = np.zeros_like(own)
        bright[:, : 4 * entry["id"]] = True
        assert np.mean(own != bright) < 0.05  # JPEG and two resizings blur the edge
        assert rows[key].values["witness_iou"] == iou(own, masks[key])
        assert rows[key].values["witness_area"] == own.mean()


@pytest.mark.parametrize("sides", [(16, 16), ("height", "width")])
def test_an_images_values_do_not_depend_on_its_batch(finished, tmp_path, sides):
    options = witness_of(brightness(tmp_path / "net.onnx", sides=sides, count="batch"), network_size=(16,))
    for images in (1, 3):
        score(finished, options, name=f"by{images}", batch_images=images)
    alone, together = values_of(finished, "by1"), values_of(finished, "by3")
    for key, row in alone.items():
        assert list(row.values.values()) == list(together[key].values.values())


def test_one_of_our_own_models_can_be_the_witness(finished):
    report = score(finished, witness_of(None, witness_model="fake", witness_trained_on="nothing", witness_members=2))
    assert report.scored == IMAGES
    assert all(row.values["witness_iou"] > 0.4 for row in values_of(finished).values())


def test_nan_on_one_image_fails_that_image_alone(finished, tmp_path):
    report = score(finished, witness_of(nowhere_for_dark(tmp_path / "net.onnx", below=0.2)), batch_images=4)
    assert (report.scored, report.failed) == (IMAGES - 1, 1)
    failed = {key: row for key, row in values_of(finished).items() if row.status == "failed"}
    assert {(row.reason, row.detail) for row in failed.values()} == {
        ("model_output", "the witness: the map holds NaN or infinity")
    }
    assert list(failed) == [make_key(1)]


# What is refused before the work


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "neither was given"),
        ({"witness": "a.onnx", "witness_model": "nano", "witness_trained_on": "x"}, "both were given"),
        ({"witness": "a.onnx"}, r"--witness-trained-on is empty: say what .* \"DUTS-TR, HRSOD-TR\""),
        ({"witness": "a.onnx", "witness_trained_on": "  "}, "--witness-trained-on is empty"),
        ({"witness": "a.onnx", "preset": "u2net"}, r"--witness a\.onnx: there is no such file"),
        ({"witness_model": "nowhere", "witness_trained_on": "x"}, "nowhere"),
    ],
)
def test_a_request_without_a_witness_is_refused_before_anything_is_written(finished, tmp_path, options, found):
    with pytest.raises(UsageError, match=found):
        score(finished, WitnessOptions(**options))
    assert not (tmp_path / "run/passes/witness/pass.json").exists()


def test_a_network_that_gives_no_map_is_refused_before_anything_is_written(finished, tmp_path):
    path = brightness(tmp_path / "net.onnx", gain=20.0, offset=-10.0)
    with pytest.raises(ConfigError, match="--network-values logits"):
        score(finished, witness_of(path))
    assert not (tmp_path / "run/passes/witness/pass.json").exists()
    assert score(finished, witness_of(path, network_values="logits")).scored == IMAGES


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"mean": (0.5, 0.5)}, r"mean is \(0\.5, 0\.5\); give one finite number, or three"),
        ({"std": (0.0,)}, r"std is \(0\.0,\); it must be above 0"),
        ({"std": (float("nan"),)}, "std is .*finite"),
        ({"network_size": (0,)}, r"network_size is \(0,\)"),
        ({"network_size": (1, 2, 3)}, "one or two numbers"),
        ({"witness_trained_on": "a\nb"}, "must be one line"),
        ({"witness_trained_on": "a" * 1001}, "at most 1000 characters"),
        ({"witness_steps": 0}, "witness_steps is 0"),
    ],
)
def test_options_out_of_range_are_refused_with_their_value(options, found):
    with pytest.raises(ValueError, match=found):
        WitnessOptions(**options)


def test_what_is_given_overrules_the_preset():
    preset = WitnessOptions(preset="isnet").signature
    given = WitnessOptions(preset="isnet", std=(0.25,), network_size=(320, 640), white="255", network_output="last")
    assert given.signature == replace(
        preset, std=(0.25, 0.25, 0.25), height_px=320, width_px=640, white="255", output="last"
    )
    assert given.signature.mean == (0.5, 0.5, 0.5)
    assert WitnessOptions(preset="u2net").trained_on == "DUTS-TR"
    assert WitnessOptions(preset="u2net", witness_trained_on="mine").trained_on == "mine"


def test_the_command_line_has_the_options():
    line = "RUN --pass witness --witness a.onnx --network-size 1024 --mean 0.5 --std 1 0.5 0.25 --white 255"
    config, options = parse([*line.split(), "--witness-trained-on", "DUTS-TR", "--name", "isnet"])
    assert config.called == "isnet"
    assert options == WitnessOptions(
        witness=str(Path.cwd() / "a.onnx"),
        network_size=(1024,),
        mean=(0.5,),
        std=(1.0, 0.5, 0.25),
        white="255",
        witness_trained_on="DUTS-TR",
    )


@pytest.mark.parametrize(
    ("given", "meant"), [("nano", "nano"), ("fake:fail_at=7", "fake:fail_at=7"), ("a/b", "/x/a/b")]
)
def test_a_folder_of_weights_is_found_from_any_working_folder(tmp_path, monkeypatch, given, meant):
    monkeypatch.chdir(tmp_path)
    _, options = parse(["RUN", "--pass", "witness", "--witness-model", given])
    assert options.witness_model == meant.replace("/x", str(tmp_path))


# The same witness to the end


def test_the_same_file_elsewhere_is_the_same_witness(finished, tmp_path):
    path = brightness(tmp_path / "net.onnx")
    score(finished, witness_of(path))
    report = score(finished, witness_of(path.rename(tmp_path / "moved.onnx")))
    assert report.computed == 0


def test_another_file_under_the_same_name_is_refused_with_both_digests(finished, tmp_path):
    path = brightness(tmp_path / "net.onnx")
    score(finished, witness_of(path))
    begun = read_document(finished, "witness").fingerprint["witness_sha256"]
    brightness(path, offset=0.1)
    with pytest.raises(RunMismatchError, match=f"witness_sha256: made with {begun}, requested [0-9a-f]{{64}}"):
        score(finished, witness_of(path))


def test_a_file_that_changes_while_the_pass_works_is_refused_in_the_replica(finished, tmp_path, monkeypatch):
    """A replica that starts later, or on another node, finds another file."""
    path = brightness(tmp_path / "net.onnx")

    def swap(*_arguments, **_options):
        brightness(path, offset=0.1)

    monkeypatch.setattr("pipeline.passes.score.process_shards", _after(swap))
    with pytest.raises(
        RunMismatchError, match=r"begun with a witness of SHA-256 [0-9a-f]{64}; net\.onnx has [0-9a-f]{64}"
    ):
        score(finished, witness_of(path))
    assert not committed_shards(f"{finished}/passes/witness")


def _after(action):
    from pipeline.replicas.engine import process_shards

    def call(*arguments, **options):
        action()
        return process_shards(*arguments, **options)

    return call


def test_the_network_is_loaded_only_where_the_work_is_done(finished, tmp_path, monkeypatch):
    """On the driver it is tried out once, on the CPU; a finished pass loads it for nothing else."""
    made = []
    from pipeline.passes.witness import witness

    network = witness.OnnxNetwork
    monkeypatch.setattr(witness, "OnnxNetwork", lambda *a, **o: made.append(o["device"]) or network(*a, **o))
    options = witness_of(brightness(tmp_path / "net.onnx"))
    score(finished, options, model=ModelConfig(device="auto"))
    assert made == ["cpu", "auto"]
    score(finished, options, model=ModelConfig(device="auto"))
    assert made == ["cpu", "auto", "cpu"]


# The card


def test_the_card_says_what_the_witness_is_and_what_it_was_trained_on(finished, tmp_path):
    path = brightness(tmp_path / "net.onnx")
    score(finished, witness_of(path, mean=(0.25,), std=(1.0,), witness_trained_on="my <b>own</b> photographs"))
    document = read_document(finished, "witness")
    assert document.about["Trained on"] == "my <b>own</b> photographs"
    assert document.about["Witness"] == f"net.onnx, SHA-256 {document.fingerprint['witness_sha256']}"
    assert "bilinear" in document.about["Asked"]
    assert "mean (0.25, 0.25, 0.25)" in document.about["Asked"]
    assert "Warning" not in document.about
    assert document.fingerprint["option witness_trained_on"] == "my <b>own</b> photographs"
    assert {"onnxruntime", "threads", "option white"} <= document.fingerprint.keys()
    assert "mean=(0.25, 0.25, 0.25)" in document.fingerprint["signature"]


@pytest.mark.parametrize(
    ("trained_on", "preset", "named"),
    [
        ("DUTS-TR, DUTS-TE", "none", "DUTS-TE"),
        ("", "birefnet", "DUTS-TE, HRSOD-TE"),
        ("HRSOD", "none", "perhaps HRSOD"),
    ],
)
def test_a_witness_that_has_seen_a_test_set_is_told_in_log_and_card(
    finished, tmp_path, caplog, trained_on, preset, named
):
    path = brightness(tmp_path / "net.onnx", gain=9.0, offset=-4.5)
    options = {"preset": preset, "network_size": (16,), "network_values": "logits", "witness_trained_on": trained_on}
    with caplog.at_level(logging.WARNING):
        score(finished, witness_of(path, **options))
    expected = f"The witness was trained on {named}"
    assert any(expected in record.message for record in caplog.records if record.levelname == "WARNING")
    assert read_document(finished, "witness").about["Warning"].startswith(expected)


def test_the_runs_own_model_as_its_witness_is_told_too(finished, caplog):
    with caplog.at_level(logging.WARNING):
        score(finished, witness_of(None, witness_model="fake", witness_trained_on="nothing"))
    assert "The witness has the run's own weights" in caplog.text
    assert "own weights" in read_document(finished, "witness").about["Warning"]


def test_masks_are_texts_that_the_page_can_read(finished, tmp_path):
    score(finished, witness_of(brightness(tmp_path / "net.onnx")))
    for row in values_of(finished).values():
        stored = json.loads(row.values["witness_mask"])
        assert stored.keys() == {"size", "counts"}
        assert all(type(side) is int for side in stored["size"])
