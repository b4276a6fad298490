"""A network in ONNX: what it must look like, and that its maps are those that numpy finds."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper
from PIL import Image

from model.prediction import ModelOutputError
from pipeline.errors import ConfigError
from pipeline.networks.onnx_network import OnnxNetwork
from pipeline.networks.presets import PRESETS, Signature
from tests.pipeline.passes.networks import brightness, image_input, nowhere_for_dark, save

SIDES = st.integers(1, 40)
PIXELS = st.tuples(SIDES, SIDES).flatmap(lambda sides: arrays(np.uint8, (*sides, 3)))
OUTPUTS = {"u2net": {"after": 6}, "isnet": {"after": 11}, "birefnet": {"before": 3}, "rmbg": {}}
"""How many outputs stand beside the map."""


def network_at(path, signature=None, **options):
    return OnnxNetwork(path, signature or Signature(), **{"device": "cpu", "threads": 1, **options})


def small(signature, side=16):
    return Signature(
        **{name: getattr(signature, name) for name in Signature.__slots__} | {"height_px": side, "width_px": side}
    )


def expected(pixels, signature, *, gain, offset):
    """What numpy and Pillow say of a network that gives gain * brightness + offset."""
    sides = (signature.width_px, signature.height_px)
    resized = np.asarray(Image.fromarray(pixels).resize(sides, Image.Resampling.BILINEAR), dtype=np.float64)
    white = resized.max() or 1 if signature.white == "brightest" else 255
    found = gain * (resized / white).mean(axis=2) + offset
    if signature.values == "logits":
        found = 1 / (1 + np.exp(-found))
    elif signature.values == "stretched":
        found = (found - found.min()) / np.ptp(found) if np.ptp(found) > 1e-6 else np.zeros_like(found)
    image = Image.fromarray(found.astype(np.float32))
    return np.asarray(image.resize(pixels.shape[1::-1], Image.Resampling.BILINEAR))


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Preset → a small network of its signature, and what it computes."""
    folder, found = tmp_path_factory.mktemp("networks"), {}
    for name, preset in PRESETS.items():
        signature = small(preset.signature)
        function = {"gain": 9.0, "offset": -4.5} if signature.values == "logits" else {"gain": 0.8, "offset": 0.1}
        path = brightness(folder / f"{name}.onnx", signature, **function, **OUTPUTS[name])
        found[name] = (network_at(path, signature), signature, function)
    return found


@pytest.mark.parametrize("preset", PRESETS)
@given(pixels=PIXELS)
@settings(max_examples=12)
def test_a_map_is_that_of_numpy(networks, preset, pixels):
    network, signature, function = networks[preset]
    found, wanted = network.saliency_of(pixels), expected(pixels, signature, **function)
    assert found.shape == pixels.shape[:2]
    assert 0 <= found.min() <= found.max() <= 1
    if signature.values == "stretched" and np.ptp(pixels.astype(float)) < 40:
        return  # rounding is stretched as well
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    sure = np.abs(wanted - 0.5) > 4e-3
    assert np.array_equal((found >= 0.5)[sure], (wanted >= 0.5)[sure])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fits_a_network_of_the_published_size(tmp_path, preset):
    signature = PRESETS[preset].signature
    function = {"gain": 9.0, "offset": -4.5} if signature.values == "logits" else {"gain": 1.0, "offset": 0.0}
    sides = (signature.height_px, signature.width_px)
    path = brightness(tmp_path / "net.onnx", signature, sides=sides, **function, **OUTPUTS[preset])
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[10:40, 20:70] = 250
    mask = network_at(path, signature).saliency_of(pixels) >= 0.5
    inside = np.zeros((60, 90), bool)
    inside[10:40, 20:70] = True
    assert (mask != inside).mean() < 0.02  # the outline is resized twice


@given(pixels=PIXELS)
@settings(max_examples=10)
def test_open_axes_change_nothing(tmp_path_factory, pixels):
    folder = tmp_path_factory.mktemp("open")
    fixed = network_at(brightness(folder / "fixed.onnx"))
    open_ = brightness(folder / "open.onnx", sides=("height", "width"), count="batch")
    wanted = Signature(height_px=16, width_px=16)
    assert np.array_equal(network_at(open_, wanted).saliency_of(pixels), fixed.saliency_of(pixels))


def test_half_precision_is_given_and_taken(tmp_path):
    half = TensorProto.FLOAT16
    nodes = [helper.make_node("ReduceMean", ["image"], ["map"], axes=[1], keepdims=1)]
    output = helper.make_tensor_value_info("map", half, [1, 1, 16, 16])
    path = save(tmp_path / "net.onnx", nodes, [image_input(dtype=half)], [output])
    found = network_at(path).saliency_of(np.full((5, 7, 3), 204, np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 0.8, atol=1e-3)


def test_the_output_is_first_last_or_named(tmp_path):
    path = brightness(tmp_path / "net.onnx", before=1, after=1)
    pixels = np.full((4, 4, 3), 51, np.uint8)
    named = network_at(path, Signature(output="map")).saliency_of(pixels)
    np.testing.assert_allclose(named, 0.2, atol=1e-5)
    for output in ("first", "last", "before0"):
        with pytest.raises(ModelOutputError, match="no probabilities"):
            network_at(path, Signature(output=output)).saliency_of(pixels)
    with pytest.raises(ConfigError, match="--network-output second: its outputs are before0, map, after0"):
        network_at(path, Signature(output="second"))


def test_a_smaller_map_of_the_same_shape_will_do(tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["shown"], axes=[1], keepdims=1),
        helper.make_node("AveragePool", ["shown"], ["map"], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    output = helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, 4, 8])
    path = save(tmp_path / "net.onnx", nodes, [image_input(16, 32)], [output])
    found = network_at(path).saliency_of(np.full((9, 18, 3), 102, np.uint8))
    assert found.shape == (9, 18)
    np.testing.assert_allclose(found, 0.4, atol=1e-5)


def reduced(path, inputs, output_shape, *nodes, dtype=TensorProto.FLOAT):
    """A network with these inputs and nodes; "map" is its output."""
    return save(path, list(nodes), inputs, [helper.make_tensor_value_info("map", dtype, output_shape)])


def mean_of(axes, keepdims=1):
    return helper.make_node("ReduceMean", ["image"], ["map"], axes=axes, keepdims=keepdims)


WRONG_INPUTS = {
    "two inputs": (
        lambda path: reduced(
            path, [image_input(), image_input(name="trimap")], [1, 3, 16, 16],
            helper.make_node("Add", ["image", "trimap"], ["map"]),
        ),
        r"2 inputs \('image', 'trimap'\); a usable network takes one",
    ),
    "bytes": (
        lambda path: reduced(
            path, [image_input(dtype=TensorProto.UINT8)], [1, 3, 16, 16],
            helper.make_node("Cast", ["image"], ["map"], to=TensorProto.FLOAT),
        ),
        r"'image' is tensor\(uint8\) .*32- or 16-bit floating-point",
    ),
    "rank three": (
        lambda path: reduced(
            path, [helper.make_tensor_value_info("image", TensorProto.FLOAT, [3, 16, 16])], [1, 16, 16], mean_of([0])
        ),
        r"\[3, 16, 16\]; a usable network takes four axes",
    ),
    "colours last": (
        lambda path: reduced(
            path, [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 16, 16, 3])], [1, 16, 16, 1],
            mean_of([3]),
        ),
        r"\[1, 16, 16, 3\]; a usable network takes 1 image of 3 colours",
    ),
    "grey": (
        lambda path: reduced(path, [image_input(colours=1)], [1, 1, 16, 16], mean_of([1])),
        r"\[1, 1, 16, 16\]; a usable network takes 1 image of 3 colours",
    ),
    "batches of four": (
        lambda path: reduced(path, [image_input(count=4)], [4, 1, 16, 16], mean_of([1])),
        r"\[4, 3, 16, 16\]; a usable network takes 1 image of 3 colours",
    ),
    "open sides without a size": (
        lambda path: brightness(path, sides=("height", "width")),
        r"its height is open\. Give --network-size",
    ),
    "another operator set": (
        lambda path: reduced(path, [image_input()], [1, 1, 16, 16], helper.make_node("Foo", ["image"], ["map"])),
        r"is no network that onnxruntime can load: .*Foo",
    ),
    "a custom operator": (
        lambda path: reduced(
            path, [image_input()], [1, 1, 16, 16], helper.make_node("Run", ["image"], ["map"], domain="my.own")
        ),
        r"is no network that onnxruntime can load: .*",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_INPUTS)
def test_a_network_that_takes_something_else_is_refused_with_what_was_found(tmp_path, wrong):
    make, found = WRONG_INPUTS[wrong]
    path = make(tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match=found) as refusal:
        network_at(path)
    assert str(path) in str(refusal.value)


def test_a_size_that_is_not_the_files_is_refused(tmp_path):
    path = brightness(tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match=r"its height is 16 px, not 32\. Give --network-size as the file has it"):
        network_at(path, Signature(height_px=32, width_px=16))


WRONG_OUTPUTS = {
    "three maps": (
        lambda path: reduced(path, [image_input()], [1, 3, 16, 16], helper.make_node("Relu", ["image"], ["map"])),
        "'map' is 1 x 3 x 16 x 16, not one map",
    ),
    "a number": (lambda path: reduced(path, [image_input()], [], mean_of([0, 1, 2, 3], 0)), "is a number, not one map"),
    "a row": (
        lambda path: reduced(path, [image_input()], [1, 1, 1, 16], mean_of([1, 2])),
        "1 x 1 x 1 x 16, whose sides are not in the ratio",
    ),
    "whole numbers": (
        lambda path: reduced(
            path, [image_input()], [1, 1, 16, 16],
            helper.make_node("ArgMax", ["image"], ["map"], axis=1, keepdims=1), dtype=TensorProto.INT64,
        ),
        "holds int64, not floating-point numbers; name another one by --network-output",
    ),
    "NaN": (lambda path: nowhere_for_dark(path, below=2.0), "the map holds NaN or infinity"),
    "logits": (
        lambda path: brightness(path, gain=20.0, offset=-10.0),
        "values are from -.* to .*, which are no probabilities; if they are logits, give --network-values logits",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_OUTPUTS)
def test_a_network_that_gives_no_map_is_refused_when_it_is_tried_out(tmp_path, wrong):
    make, found = WRONG_OUTPUTS[wrong]
    network = network_at(make(tmp_path / "net.onnx"))
    with pytest.raises(ConfigError, match=rf"net\.onnx, tried on a plain picture: .*{found}"):
        network.try_out()
    with pytest.raises(ModelOutputError, match=found):
        network.saliency_of(np.full((8, 8, 3), 100, np.uint8))


def test_a_size_that_the_network_cannot_take_is_refused_when_it_is_tried_out(tmp_path):
    """Open axes, and a layer that fixes them all the same."""
    mask = helper.make_tensor("mask", TensorProto.FLOAT, [1, 1, 16, 16], [0.5] * 256)
    nodes = [
        helper.make_node("Mul", ["image", "mask"], ["masked"]),
        helper.make_node("ReduceMean", ["masked"], ["map"], axes=[1], keepdims=1),
    ]
    output = helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, "height", "width"])
    path = save(tmp_path / "net.onnx", nodes, [image_input("height", "width")], [output], [mask])
    with pytest.raises(ConfigError, match=r"can't be run on an image of 24 x 24 px: .*Is --network-size"):
        network_at(path, Signature(height_px=24, width_px=24)).try_out()
    network_at(path, Signature(height_px=16, width_px=16)).try_out()


def test_a_network_that_is_as_it_must_be_passes_the_trial(networks):
    for network, _, _ in networks.values():
        network.try_out()


def test_what_it_runs_on_names_the_version(tmp_path):
    network = network_at(brightness(tmp_path / "net.onnx"))
    assert network.device_kind == f"cpu with onnxruntime {onnxruntime.__version__}"


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_without_its_onnxruntime_is_refused(tmp_path, monkeypatch, device):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match=rf"--device {device}: this onnxruntime has no CUDA, .*onnxruntime-gpu"):
        network_at(brightness(tmp_path / "net.onnx"), device=device)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_gpu_that_onnxruntime_silently_leaves_out_is_refused(tmp_path, monkeypatch):
    """It says that it has CUDA, and begins on the CPU where the CUDA libraries are not those that it was built for."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(ConfigError, match=r"could not begin with CUDA and would use .*CPUExecutionProvider"):
        network_at(brightness(tmp_path / "net.onnx"), device="cuda")
