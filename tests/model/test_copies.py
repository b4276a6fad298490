"""Where pixels and noise wait for a GPU: in pinned memory, with the same values and layout as anywhere else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import copies
from model.copies import on_its_way, pinned
from model.geometry import preprocess

CPU, CUDA, META = map(torch.device, ("cpu", "cuda", "meta"))


@pytest.fixture
def asked(monkeypatch):
    """Lets torch give ordinary memory for pinned memory, which needs a GPU, and collects what was asked for."""
    found = []

    def plain(make):
        def call(*arguments, pin_memory):
            found.append(pin_memory)
            return make(*arguments)

        return call

    for name in ("empty", "empty_strided"):
        monkeypatch.setattr(copies.torch, name, plain(getattr(torch, name)))
    return found


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from([CPU, META]))
def test_devices_that_are_no_gpu_need_no_pinned_memory(shape, device):
    assert pinned(shape, device) is None


@pytest.mark.parametrize("side_px", [0, 16])
def test_pixels_for_a_gpu_are_made_in_pinned_memory_and_equal_those_for_the_cpu(image_of, asked, side_px):
    images = [image_of(20, 30), image_of(20, 30, 1)]
    for_gpu, for_cpu = preprocess(images, side_px, CUDA), preprocess(images, side_px)
    assert asked == [True]
    assert torch.equal(for_gpu, for_cpu)
    assert for_gpu.stride() == for_cpu.stride()


def test_noise_for_a_gpu_is_made_in_pinned_memory(tiny, asked, monkeypatch):
    monkeypatch.setattr("model.diffusion.on_its_way", lambda values, _device, dtype: values.to(dtype))
    like = torch.zeros(1, 4, 8, 8)
    expected = tiny._member_latents(["7", "8"], range(2), 3, like)
    assert asked == []
    found = tiny._member_latents(["7", "8"], range(2), 3, _Elsewhere(like))
    assert asked == [True]
    assert torch.equal(found, expected)


class _Elsewhere(torch.Tensor):
    """Says that it is on a GPU."""

    device = CUDA

    @staticmethod
    def __new__(cls, values):
        return values.as_subclass(cls)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_arrive_as_a_plain_copy_gives_them(dtype):
    values = torch.linspace(0, 1, 1000)
    assert torch.equal(on_its_way(values, CPU, dtype), values.to(CPU, dtype))
