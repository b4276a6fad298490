"""Memory: what is counted, what fits, fewer members after it ran out; devices and limits are stubs."""

import gc
import types
from contextlib import suppress

import numpy as np
import psutil
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model import memory
from model.memory import (
    FREE_SHARE,
    MOST_AT_ONCE,
    LiveTensors,
    free_bytes,
    is_out_of_memory,
    members_that_fit,
    with_fewer_when_out_of_memory,
)
from model.prediction import ModelMemoryError
from tests.model.make import make_ensemble

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FLOAT_BYTES = 4
SYSTEM_BYTES = 8_000_000

OUT_OF_MEMORY = {
    "torch's on a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "python's": MemoryError(),
    "numpy's": MemoryError("Unable to allocate 711. PiB"),
    "cuBLAS's": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cuDNN's": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "CUDA's": torch.AcceleratorError("CUDA error: out of memory"),
    "torch's on a CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
}
each_out_of_memory = pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Writes the files of a control group on a system with `SYSTEM_BYTES` free."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=SYSTEM_BYTES))
    monkeypatch.setattr(memory, "_CONTAINER", tmp_path)

    def write(**files):
        for name, text in files.items():
            (tmp_path / f"memory.{name}").write_text(f"{text}\n")

    return write


@pytest.fixture
def _no_collection(monkeypatch):
    """Garbage collection takes 0.3 s with everything that pytest holds."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


def make_work(fits, error, tried):
    """Work that succeeds with up to `fits` at once, and records what was tried."""

    def work(at_once):
        tried.append(at_once)
        if at_once > fits:
            raise error
        return f"done by {at_once}"

    return work


# Properties of the count


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["make", "view", "change", "free"]), st.integers(0, 50)), max_size=30))
def test_live_bytes_are_those_of_the_storages_that_somebody_holds(steps):
    held, storages, peak = [], {}, 0
    with LiveTensors() as tensors:
        for step, number in steps:
            if step == "make":
                held.append(torch.zeros(number))
            elif step == "view" and held:
                held.append(held[number % len(held)][:1])
            elif step == "change" and held:
                held[number % len(held)].add_(1)
            elif step == "free" and held:
                del held[number % len(held)]
            storages = {id(held_one.untyped_storage()): held_one.untyped_storage().nbytes() for held_one in held}
            assert tensors.live_bytes == sum(storages.values())
            peak = max(peak, tensors.live_bytes)
    assert tensors.peak_bytes == peak


@pytest.mark.parametrize("side_px", [64, 128])
def test_memory_of_a_prediction_is_nearly_linear_in_its_pixels(tiny, image_of, side_px):
    taken, twice_as_large = (peak_bytes(tiny, image_of, side, members=2) for side in (side_px, 2 * side_px))
    assert 3.6 < twice_as_large / taken < 4.02  # less: upsampling has one more row and column, however large the map


def test_memory_of_a_prediction_is_linear_in_its_members_plus_a_part_for_the_image(tiny, image_of):
    one, two, four = (peak_bytes(tiny, image_of, 128, members) for members in (1, 2, 4))
    assert (four - two) / (two - one) == pytest.approx(2, rel=0.02)
    assert 2 * one > two > 1.8 * one  # so what one takes is enough for each of many, and not far from it


def test_two_images_take_no_more_memory_than_one_with_as_many_members(tiny, image_of):
    assert peak_bytes(tiny, image_of, 64, members=2, images=2) <= peak_bytes(tiny, image_of, 64, members=4)


def peak_bytes(pipeline, image_of, side_px, members, images=1):
    asked = make_ensemble(ensemble_size=members, denoise_steps=1, processing_res=side_px)
    with pipeline.inference_form.active(), LiveTensors() as tensors:
        pipeline.predict([image_of(9, 9)] * images, [str(number) for number in range(images)], asked)
    return tensors.peak_bytes


# Properties of what fits


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(1, 1e12), st.sampled_from(["cpu", "cuda"]))
@example(0, 10**12, 1.0, "cpu")
def test_more_free_memory_never_fits_fewer_members_and_all_fit_in_their_share(less, more, member_bytes, kind):
    less, more = sorted((less, more))
    with pytest.MonkeyPatch.context() as patch:
        fitting = []
        for free in (less, more):
            patch.setattr(memory, "free_bytes", lambda _device, free=free: free)
            fitting.append(members_that_fit(torch.device(kind), member_bytes))
    assert 0 <= fitting[0] <= fitting[1] <= MOST_AT_ONCE[kind]
    for free, count in zip((less, more), fitting, strict=True):
        assert count * member_bytes <= FREE_SHARE * free
        assert count == MOST_AT_ONCE[kind] or (count + 1) * member_bytes > FREE_SHARE * free * (1 - 1e-9)


@given(st.integers(1, 64), st.integers(0, 64))
def test_halving_ends_with_the_first_number_that_fits(at_once, fits):
    tried, result = [], None
    with pytest.MonkeyPatch.context() as patch, suppress(ModelMemoryError):
        patch.setattr(gc, "collect", lambda: 0)
        result = with_fewer_when_out_of_memory(make_work(fits, MemoryError(), tried), at_once)
    halves = [at_once >> times for times in range(at_once.bit_length())]  # down to 1
    too_many = [half for half in halves if half > fits]
    fitting = halves[len(too_many) : len(too_many) + 1]
    assert tried == too_many + fitting
    assert result == ((f"done by {fitting[0]}", fitting[0]) if fitting else None)


# Examples of the count


def test_each_way_to_a_tensor_is_counted_once():
    with LiveTensors() as tensors:
        values = torch.zeros(1000)
        assert tensors.live_bytes == 1000 * FLOAT_BYTES
        views = values[10:20], values.view(10, 100), values[:, None], torch.split(values, 300)
        assert tensors.live_bytes == 1000 * FLOAT_BYTES
        values.add_(1)
        values *= 2
        assert tensors.live_bytes == 1000 * FLOAT_BYTES
        more = values + 1
        assert tensors.live_bytes == 2000 * FLOAT_BYTES
        del more
        assert tensors.live_bytes == 1000 * FLOAT_BYTES
        del values
        assert tensors.live_bytes == 1000 * FLOAT_BYTES  # a view holds the storage
        del views
        assert tensors.live_bytes == 0
    assert tensors.peak_bytes == 2000 * FLOAT_BYTES


def test_tensors_made_in_inference_mode_or_another_precision_are_counted_too():
    with torch.inference_mode(), LiveTensors() as tensors:
        half = torch.zeros(100, dtype=torch.float16)
        assert tensors.live_bytes == 200
        del half
        assert tensors.live_bytes == 0


def test_tensors_made_outside_are_not_counted():
    before = torch.ones(1000)
    with LiveTensors() as tensors:
        product = before * 2
        del product
    after = torch.ones(1000)
    assert (len(before), len(after)) == (1000, 1000)
    assert (tensors.live_bytes, tensors.peak_bytes) == (0, 1000 * FLOAT_BYTES)


# Examples of free memory


def test_without_a_control_group_the_systems_memory_counts(container):
    assert free_bytes(CPU) == SYSTEM_BYTES


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"max": 5_000_000, "current": 2_000_000}, 3_000_000),
        ({"max": 5_000_000, "current": 4_000_000, "stat": "anon 1\ninactive_file 1500000\nshmem 7"}, 2_500_000),
        ({"max": 5_000_000, "current": 4_000_000, "stat": "anon 1"}, 1_000_000),
        ({"max": 5_000_000, "current": 4_000_000, "stat": "of another make"}, 1_000_000),
        ({"max": 50_000_000, "current": 2_000_000}, SYSTEM_BYTES),
        ({"max": 5_000_000, "current": 5_000_123}, 0),
        ({"max": "max", "current": 2_000_000}, SYSTEM_BYTES),
        ({"max": 5_000_000}, SYSTEM_BYTES),
        ({"max": ""}, SYSTEM_BYTES),
    ],
)
def test_a_containers_limit_counts_minus_its_use_apart_from_cached_files(container, files, free):
    container(**files)
    assert free_bytes(CPU) == free


def test_a_container_that_is_full_fits_nothing(container):
    container(max=1_000, current=2_000_000)
    assert members_that_fit(CPU, 10.0) == 0


def test_on_a_gpu_memory_that_torch_keeps_unused_is_free_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 300)
    assert free_bytes(CUDA) == 1400


def test_this_machine_has_some_memory_left():
    assert 1 << 20 < free_bytes(CPU) <= psutil.virtual_memory().total


# Running out


@each_out_of_memory
@pytest.mark.usefixtures("_no_collection")
def test_members_are_halved_until_they_fit(error, caplog):
    tried = []
    assert with_fewer_when_out_of_memory(make_work(1, error, tried), 8) == ("done by 1", 1)
    assert tried == [8, 4, 2, 1]
    assert [record.getMessage().rpartition("; ")[2] for record in caplog.records] == [
        f"continuing with {count} members at once" for count in (4, 2, 1)
    ]


@each_out_of_memory
@pytest.mark.usefixtures("_no_collection")
def test_a_single_member_that_does_not_fit_is_an_error_that_says_why(error):
    with pytest.raises(ModelMemoryError, match=r"one ensemble member at a time: .") as raised:
        with_fewer_when_out_of_memory(make_work(0, error, []), 8)
    assert (str(error) or "MemoryError") in str(raised.value)


def test_the_real_error_of_torch_on_a_cpu_is_known():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**14)
    assert is_out_of_memory(raised.value)
    with pytest.raises(ModelMemoryError, match="tried to allocate 400000000000000 bytes"):
        with_fewer_when_out_of_memory(lambda _at_once: torch.empty(10**14), 2)


def test_the_real_error_of_numpy_is_known():
    with pytest.raises(MemoryError) as raised:
        np.empty(10**17)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 can't be multiplied"), ValueError("x"), OSError(28, "")])
def test_any_other_error_is_passed_on_at_once(error):
    tried = []
    with pytest.raises(type(error)) as raised:
        with_fewer_when_out_of_memory(make_work(0, error, tried), 8)
    assert raised.value is error
    assert tried == [8]


def test_memory_of_a_failed_attempt_is_freed_before_the_next():
    held = []

    def work(at_once):
        held.append(tensors.live_bytes)
        values = [torch.zeros(1000)]
        values.append(values)  # freed by a search for garbage only
        if at_once > 1:
            raise MemoryError
        return at_once

    with LiveTensors() as tensors:
        assert with_fewer_when_out_of_memory(work, 4) == (1, 1)
    assert held == [0, 0, 0]


def test_on_a_gpu_torchs_cache_is_emptied_before_the_next_attempt(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    with_fewer_when_out_of_memory(make_work(2, MemoryError(), []), 8)
    assert len(emptied) == 2
