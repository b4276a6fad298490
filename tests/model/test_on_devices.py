"""What holds on every kind of device: precisions, equal runs, memory that runs out, copies, compilation.

On the CPU with every `make test`; on a GPU with `make gpu`.
"""

import logging

import numpy as np
import pytest
import torch

from model import geometry
from model.config import ModelConfig
from model.memory import free_bytes
from model.prediction import Prediction
from model.saliency import ready, torch_dtype
from tests.devices import CUDA, each_device, memory_of
from tests.model.conftest import build_tiny
from tests.model.make import BATCH_ATOL, MAPS, assert_equal, make_ensemble

DTYPES = ("float32", "bfloat16", "float16")
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture
def photos(image_of):
    """Three images of several sizes, and their keys."""
    return [image_of(20, 30), image_of(64, 50, 1), image_of(40, 40, 2)], ["7", "8", "9"]


def model_on(device, dtype="float32", *, options=None, **ensemble):
    """The tiny model on a device."""
    pipeline = build_tiny().to(dtype=torch_dtype(dtype))
    return ready(pipeline, ModelConfig(device=device, dtype=dtype, **(options or {})), make_ensemble(**ensemble))


# Precisions. On a GPU, torch's float32 has TF32's 10 bits in convolutions: emulated on the CPU, that moved no value by
# more than .0017 (three seeds); float16 moved them by .0042, bfloat16 by .030. A GPU also adds in another order.
TOLERANCE = {"float32": 0.006, "float16": 0.015, "bfloat16": 0.1}


def tolerance(device, dtype):
    """How far maps of the tiny model may be from those of float32 on the CPU."""
    return BATCH_ATOL if (device, dtype) == ("cpu", "float32") else TOLERANCE[dtype]


@each_device
@each_dtype
def test_every_precision_gives_the_maps_of_float32_on_the_cpu_within_its_tolerance(tiny, photos, device, dtype):
    found = model_on(device, dtype).predict(*photos)
    for prediction, expected in zip(found, tiny.predict(*photos, make_ensemble()), strict=True):
        assert_near(prediction, expected, tolerance(device, dtype))


def test_rounding_as_a_gpu_does_stays_within_the_tolerances(tiny, own_tiny, photos):
    """Convolutions whose inputs and weights have the 10 bits of TF32."""
    for network in (own_tiny.unet, own_tiny.vae, own_tiny.conditioner):
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.copy_(as_tf32(layer.weight))
                layer.register_forward_pre_hook(lambda _, inputs: tuple(map(as_tf32, inputs)))
    found = own_tiny.predict(*photos, make_ensemble())
    for prediction, expected in zip(found, tiny.predict(*photos, make_ensemble()), strict=True):
        assert_near(prediction, expected, tolerance("cuda", "float32"))
        assert not np.array_equal(prediction.members, expected.members)


def as_tf32(values):
    """float32 rounded to 10 bits behind the first, to even."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def assert_near(one: Prediction, other: Prediction, atol):
    for field in MAPS:
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=0, atol=atol, err_msg=field)


# Equal runs


@each_device
@each_dtype
def test_two_models_give_the_same_bytes(photos, device, dtype):
    first, second = (model_on(device, dtype).predict(*photos) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert_equal(one, other)


@each_device
@each_dtype
def test_a_second_prediction_gives_the_same_bytes_whatever_was_predicted_between(photos, device, dtype):
    model, (images, keys) = model_on(device, dtype), photos
    first = model.predict(images, keys)
    model.predict(images[1:2], ["another"])
    for one, other in zip(first, model.predict(images, keys), strict=True):
        assert_equal(one, other)


@each_device
def test_an_image_alone_gives_the_maps_that_it_has_among_others(photos, device):
    model, (images, keys) = model_on(device), photos
    for image, key, among in zip(images, keys, model.predict(images, keys), strict=True):
        (alone,) = model.predict([image], [key])
        assert_near(alone, among, tolerance(device, "float32"))


@each_device
def test_noise_does_not_depend_on_the_device(tiny, photos, device):
    """It is drawn on the CPU: another generator would give other members, not other last bits."""
    like = torch.empty(1, 4, 8, 8, device=device)
    found = tiny._member_latents(photos[1], range(3), 0, like)
    assert found.device.type == device
    assert torch.equal(found.cpu(), tiny._member_latents(photos[1], range(3), 0, like.cpu()))


# Memory


@each_device
def test_where_memory_really_runs_out_fewer_members_pass_at_once_with_the_maps_of_so_few(photos, device):
    images, keys = photos[0][:1], photos[1][:1]
    # A GPU's allocator takes memory in blocks of 2 to 20 MiB, so its batch has to be large.
    most, side_px = {"cpu": (8, 128), "cuda": (32, 256)}[device]
    settings = {"ensemble_size": most, "denoise_steps": 1, "processing_res": side_px}
    # Libraries take memory of their own at the first pass, and keep it.
    few, many = (model_on(device, batch_size=size, **settings) for size in (2, most))
    few.predict(images, keys)
    memory = memory_of(device)
    _, taken_by_few = memory.taken(lambda: few.predict(images, keys))
    needed_by_many, _ = memory.taken(lambda: many.predict(images, keys))
    assert needed_by_many > 1.5 * taken_by_few, "a batch that takes hardly more memory says nothing"
    with memory.with_free((taken_by_few + needed_by_many) // 2):
        (found,) = many.predict(images, keys)
    assert 2 <= found.fewer_at_once < most
    (expected,) = model_on(device, batch_size=found.fewer_at_once, **settings).predict(images, keys)
    assert expected.fewer_at_once == 0
    assert_near(found, expected, tolerance(device, "float32"))


@each_device
def test_the_memory_of_a_member_is_the_same_on_every_device(own_tiny, device):
    """So what fits is computed, not tried. Beside it, a GPU has its copies of what the CPU prepared."""
    on_cpu = ready(own_tiny, ModelConfig(device="cpu"), make_ensemble())
    assert model_on(device)._bytes_per_pixel == pytest.approx(on_cpu._bytes_per_pixel, rel=0.1)


@pytest.mark.gpu
def test_free_memory_of_a_gpu_is_less_by_what_a_tensor_holds_and_more_again_once_it_is_gone():
    device, size = torch.device("cuda"), 256 << 20
    torch.cuda.empty_cache()
    before = free_bytes(device)
    held = torch.empty(size, dtype=torch.uint8, device=device)
    assert before - free_bytes(device) == pytest.approx(size, rel=0.1)
    del held
    assert abs(before - free_bytes(device)) < 0.1 * size  # torch keeps it, unused


# Copies


@each_device
def test_copies_that_do_not_wait_bring_the_same_values_as_those_that_do(photos, device, monkeypatch):
    pinned, waits = geometry.pinned, []
    monkeypatch.setattr(geometry, "pinned", lambda *given: waits.append(pinned(*given)) or waits[-1])
    found = model_on(device).predict(*photos)
    assert [None if staged is None else staged.is_pinned() for staged in waits] == [None if device == "cpu" else True]
    for module, name, plain in (
        ("geometry", "pinned", lambda *_: None),
        ("diffusion", "pinned", lambda *_: None),
        ("members", "on_its_way", lambda values, device, dtype: values.to(device, dtype)),
        ("diffusion", "on_its_way", lambda values, device, dtype: values.to(device, dtype)),
    ):
        monkeypatch.setattr(f"model.{module}.{name}", plain)
    for one, other in zip(found, model_on(device).predict(*photos), strict=True):
        assert_equal(one, other)


# Kernels and compilation


@pytest.mark.gpu
@pytest.mark.parametrize("attention", ["flash", "efficient", "math"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_kernels_that_a_gpu_has_give_the_same_maps(tiny, photos, attention, dtype):
    try:
        model = model_on("cuda", dtype, options={"attention": attention})
    except ValueError as refused:  # by name, before anything is predicted: `test_runtime.py` has its words
        pytest.skip(str(refused))
    for prediction, expected in zip(model.predict(*photos), tiny.predict(*photos, make_ensemble()), strict=True):
        assert_near(prediction, expected, tolerance("cuda", dtype))


@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("default")  # Inductor warns that it could use TF32
@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.thorough), CUDA])  # minutes of C++
def test_a_compiled_unet_gives_the_plain_maps_and_the_same_bytes_each_time(tiny, photos, device, caplog):
    model = model_on(device, options={"compile": True})
    if model.device_kind != device:
        pytest.skip(f"this machine can't compile for {device}: it lacks Triton or a C++ compiler")
    with caplog.at_level(logging.WARNING, logger="model.runtime"):
        first, second = (model.predict(*photos) for _ in range(2))
    assert "continuing uncompiled" not in caplog.text
    assert model.pipeline.unet._compiled_call_impl is not None
    for one, other, plain in zip(first, second, tiny.predict(*photos, make_ensemble()), strict=True):
        assert_equal(one, other)
        assert_near(one, plain, tolerance("cuda", "float32"))


@each_device
def test_a_unet_that_can_t_be_compiled_gives_the_maps_of_one_that_was_not_to_be(photos, device, caplog):
    def fails(*_):
        raise RuntimeError("no compiler")

    model, plain = model_on(device), model_on(device)
    model.pipeline.unet.compile(backend=fails)
    with caplog.at_level(logging.WARNING, logger="model.runtime"):
        found = model.predict(*photos)
    assert "can't compile the UNet (RuntimeError: no compiler); continuing uncompiled" in caplog.text
    for one, other in zip(found, plain.predict(*photos), strict=True):
        assert_equal(one, other)
