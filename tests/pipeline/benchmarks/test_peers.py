"""Ours beside peers, in small forms: that the same work is measured. No figure is asserted."""

import importlib.util
import inspect
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from model.config import EnsembleConfig
from model.saliency import torch_dtype
from pipeline.benchmarks import networks, peer_tars, peers
from pipeline.benchmarks.model_work import ModelWork
from pipeline.benchmarks.peer_models import EMPTY_PROMPT_TOKENS, marigold, squared_photo
from pipeline.benchmarks.peers import Peers
from pipeline.errors import ConfigError
from tests.model.conftest import build_tiny

SMALL = ModelWork(ensemble_size=3, denoise_steps=1, threads=1)
# What is used of img2dataset's module of that name.
WRITER = """
import json
import webdataset as wds
class WebDatasetSampleWriter:
    def __init__(self, shard_id, output_folder, save_caption, oom_shard_count, schema, encode_format):
        self.tarwriter = wds.TarWriter(open(f"{output_folder}/{shard_id:0{oom_shard_count}d}.tar", "wb"))
        self.encode_format, self.names = encode_format, schema.names
    def write(self, img_str, key, caption, meta):
        assert list(meta) == self.names
        self.tarwriter.write({"__key__": key, self.encode_format: img_str, "json": json.dumps(meta, indent=4)})
    def close(self):
        self.tarwriter.close()
        self.tarwriter.stream.close()
"""


@pytest.fixture
def _tiny_model(monkeypatch):
    """Measure the real classes at tiny width instead of the embedded model."""
    monkeypatch.setattr(
        networks, "measured_pipeline", lambda size, config: build_tiny().to(dtype=torch_dtype(config.dtype))
    )


@pytest.fixture
def writer_module(tmp_path, monkeypatch):
    """A package img2dataset that can't be imported, with its module `writer`."""
    package = tmp_path / "packages" / "img2dataset"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import no_such_tracker")
    (package / "writer.py").write_text(WRITER)
    monkeypatch.syspath_prepend(str(package.parent))
    yield
    sys.modules.pop("img2dataset", None)


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


@pytest.mark.usefixtures("_tiny_model")
@pytest.mark.parametrize("way", ["ours", "marigold", "marigold, one batch"])
def test_a_photo_is_predicted_by_each_model(way):
    case = next(case for case in Peers(photos=1, work=SMALL).cases() if case["way"] == way)
    found = peers.measure(Path(), **case)
    assert found["photo_s"] > found["align_s"] >= 0
    assert (found["align_s"] > 0) is (way != "ours")


def test_marigold_sees_as_many_pixels_members_and_steps_with_the_same_networks(image_calls):
    pipeline, theirs = image_calls
    calls = {"unet": [], "encoder": [], "decoder": []}
    for name, network in (
        ("unet", pipeline.unet),
        ("encoder", pipeline.vae.encoder),
        ("decoder", pipeline.vae.decoder),
    ):
        network.register_forward_pre_hook(lambda _, inputs, name=name: calls[name].append(tuple(inputs[0].shape)))
    square = squared_photo(networks.sample_photos(1)[0][1])
    theirs(square, 3, 2)
    assert calls["encoder"] == [(1, 3, 64, 64)]
    assert calls["unet"] == [(3, 8, 8, 8)] * 2
    assert calls["decoder"] == [(3, 4, 8, 8)]
    assert theirs.pipeline.empty_text_embedding.shape == (1, EMPTY_PROMPT_TOKENS, 64)


@pytest.fixture
def image_calls():
    from pipeline.benchmarks.peer_models import _marigolds

    pipeline = build_tiny()
    made = marigold(pipeline)

    def predict(photo, members, steps):
        asked = EnsembleConfig(ensemble_size=members, denoise_steps=steps)
        output = _marigolds(made, "marigold, one batch", asked, [])("7", photo)
        assert output.prediction.shape == output.uncertainty.shape == (1, *photo.shape[:2], 1)

    predict.pipeline = made
    return pipeline, predict


def test_marigold_is_there_without_transformers_which_nothing_else_takes_for_installed():
    before = importlib.util.find_spec("transformers")
    assert type(marigold(build_tiny())).__name__ == "MarigoldDepthPipeline"
    assert importlib.util.find_spec("transformers") == before


@pytest.mark.parametrize(("height", "width"), [(4, 9), (9, 4), (5, 5)])
def test_the_middle_of_a_photo_is_as_large_a_square_as_there_is(height, width):
    pixels = np.indices((height, width)).sum(0, dtype=np.uint8)[..., None].repeat(3, 2)
    square = squared_photo(pixels)
    side = min(height, width)
    assert square.shape == (side, side, 3)
    assert square[0, 0, 0] == (height - side) // 2 + (width - side) // 2


@pytest.mark.usefixtures("writer_module")
def test_all_writers_write_the_same_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(peer_tars, "TAR_SAMPLES", 2)
    found = {}
    for writer in peer_tars._WRITERS:
        (tmp_path / writer).mkdir()
        case = {"part": "tars", "way": writer, "size": "", "photos": 0, "samples": 5, "dtype": "float32"}
        result = peers.measure(tmp_path / writer, **case, ensemble_size=1, denoise_steps=1, threads=1, device="cpu")
        assert result["samples_per_s"] > 0
        tars = sorted((tmp_path / writer / "measured").rglob("*.tar"))
        assert len(tars) == 3
        found[writer] = [sample for path in tars for sample in samples_in(path)]
    assert [key for key, _, _ in found["bare"]] == [f"{number:012d}" for number in range(5)]
    assert all(samples == found["bare"] for samples in found.values())


def samples_in(path):
    with tarfile.open(path) as tar:
        contents = {name: tar.extractfile(name).read() for name in tar.getnames()}
    keys = sorted({name.partition(".")[0] for name in contents})
    return [(key, contents[f"{key}.jpg"], json.loads(contents[f"{key}.json"])) for key in keys]


def test_a_writer_that_is_not_installed_is_refused_with_what_installs_it():
    if importlib.util.find_spec("img2dataset"):
        pytest.skip("img2dataset is installed")
    with pytest.raises(ConfigError, match="run pip install --no-deps img2dataset"):
        Peers(writers=("bare", "img2dataset")).cases()


def test_a_precision_that_marigold_lacks_on_a_cpu_is_refused_before_anything_is_measured():
    with pytest.raises(ConfigError, match="--dtype bfloat16: Marigold resizes photos in that precision"):
        Peers(dtype="bfloat16").cases()
    Peers(dtype="bfloat16", parts=("tars",)).cases()
    Peers(dtype="bfloat16", work=ModelWork(device="cuda")).cases()


def test_ways_are_measured_in_turn_and_parts_can_be_left_out():
    cases = Peers(repeats=2, sizes=("nano", "full"), writers=("bare", "webdataset")).cases()
    models = [(case["size"], case["way"], case["photos"]) for case in cases if case["part"] == "model"]
    one_round = ["ours", "marigold", "marigold, one batch"]
    assert models == [("nano", way, 4) for way in one_round * 2] + [("full", way, 1) for way in one_round * 2]
    assert [case["way"] for case in cases if case["part"] == "tars"] == ["bare", "webdataset"] * 2
    assert {case["part"] for case in Peers(parts=("tars",)).cases()} == {"tars"}
    for case in cases:
        inspect.signature(peers.measure).bind(Path(), **case)


def test_models_are_compared_with_ours_and_writers_with_webdataset_by_medians():
    def model(way, photo_s, align_s=0.0):
        times = {"photo_s": photo_s, "align_s": align_s, "cpu_s": 3 * photo_s}
        return {"part": "model", "size": "nano", "way": way, "dtype": "float32", **times}

    def tars(way, rate):
        return {"part": "tars", "size": "", "way": way, "samples_per_s": rate, "sample_bytes": 100_000}

    found = [model("ours", seconds) for seconds in (1.0, 2.0, 9.0)]
    found += [model("marigold", seconds, 1.0) for seconds in (3.0, 4.0, 5.0)]
    found += [tars("bare", rate) for rate in (2000, 3000, 1000)]
    found += [tars("webdataset", rate) for rate in (4000, 1000, 5000)]
    lines = list(Peers().table(found))
    assert lines[2] == "| nano | ours | float32 | 2.00 s | 0.00 s | 1.00 × | 1.00 × | 1.00 × |"
    assert lines[3] == "| nano | marigold | float32 | 4.00 s | 1.00 s | 2.00 × | 1.50 × | 2.00 × |"
    assert lines[4] == ""
    assert lines[7:] == [
        "| bare | 2,000 | 1,000 to 3,000 | 200 | 0.50 |",
        "| webdataset | 4,000 | 1,000 to 5,000 | 400 | 1.00 |",
    ]
    (alone,) = list(Peers().table([tars("bare", 10)]))[2:]
    assert cells(alone)[-1] == ""
