"""Layout, kernels, allocator and compilation: the same maps, and a way out where a device or compiler has none."""

import ctypes
import logging
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from model import runtime
from model.config import ModelConfig
from model.prediction import ModelOutputError
from model.runtime import keep_freed_memory, kernels, or_uncompiled, prepare, require_kernels
from model.saliency import ready
from tests.model.make import assert_close, make_ensemble

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "options",
    [
        {"memory_format": "contiguous"},
        {"memory_format": "channels_last"},
        {"attention": "math"},
        {"attention": "flash"},
        {"keep_memory": False},
    ],
    ids=str,
)
def test_how_it_runs_moves_the_last_bits_only(tiny, own_tiny, image_of, options):
    images, keys = [image_of(20, 30), image_of(64, 50, 1)], ["7", "8"]
    model = ready(own_tiny, ModelConfig(**options), make_ensemble())
    for found, plain in zip(model.predict(images, keys), tiny(images, keys, make_ensemble()), strict=True):
        assert_close(found, plain)


@pytest.mark.parametrize(
    ("name", "layout"), [("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)]
)
def test_all_networks_lie_in_memory_as_asked_for(own_tiny, name, layout):
    prepare(own_tiny, ModelConfig(memory_format=name))
    for network in (own_tiny.unet, own_tiny.vae, own_tiny.conditioner):
        images = [weight for weight in network.parameters() if weight.ndim == 4]
        assert images
        assert all(weight.is_contiguous(memory_format=layout) for weight in images)


def test_only_kernels_of_the_kind_asked_for_are_in_use(monkeypatch):
    asked = []
    monkeypatch.setattr(runtime, "sdpa_kernel", lambda kind: asked.append(kind) or torch.inference_mode())
    with kernels("auto"):
        pass
    with kernels("flash"):
        pass
    assert asked == [torch.nn.attention.SDPBackend.FLASH_ATTENTION]


def test_kernels_that_a_device_lacks_are_refused_with_those_to_choose_from(own_tiny):
    with pytest.raises(
        ValueError, match=r"^attention is 'efficient': there are no such kernels for cpu and float32; give "
    ):
        ready(own_tiny, ModelConfig(attention="efficient"), make_ensemble())
    require_kernels("math", CPU, torch.float32)


def test_kept_memory_costs_fewer_page_faults():
    """In a process of its own, which takes and frees 64 MB fifty times, before and after."""
    script = (
        "import resource, torch\nfrom model.runtime import keep_freed_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(50): torch.ones(1 << 24)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "given_back = faults()\nkeep_freed_memory()\nprint(given_back, faults())"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    given_back, kept = map(int, found.split())
    assert kept < given_back / 3


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_without_glibc_memory_is_left_as_it_is(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())  # a C library that has no mallopt
    keep_freed_memory()


# Compilation


def test_a_compiled_unet_gives_the_same_maps(tiny, own_tiny, image_of):
    model = ready(own_tiny, ModelConfig(compile=True), make_ensemble())
    own_tiny.unet.compile(backend="eager")  # traced by dynamo as ever; the C++ compiler would take a minute
    (found,) = model.predict([image_of(20, 30)], ["7"])
    (again,) = model.predict([image_of(20, 30)], ["7"])
    assert_close(found, tiny([image_of(20, 30)], ["7"], make_ensemble())[0])
    assert np.array_equal(found.members, again.members)


def test_where_the_unet_cant_be_compiled_it_works_without(tiny, own_tiny, image_of, caplog):
    def fails(*_):
        raise RuntimeError("no C++ compiler")

    model = ready(own_tiny, ModelConfig(), make_ensemble())
    own_tiny.unet.compile(backend=fails)
    with caplog.at_level(logging.WARNING, logger="model.runtime"):
        (found,) = model.predict([image_of(20, 30)], ["7"])
    assert_close(found, tiny([image_of(20, 30)], ["7"], make_ensemble())[0])
    assert "the UNet can't be compiled (RuntimeError: no C++ compiler); going on without" in caplog.text
    caplog.clear()
    model.predict([image_of(20, 30)], ["7"])
    assert "compiled" not in caplog.text


def test_only_a_failed_compilation_is_tried_again(own_tiny):
    calls = []

    def call(error=None):
        calls.append(error)
        if error is not None and len(calls) == 1:
            raise error
        return "done"

    own_tiny.unet.compile()
    assert or_uncompiled(own_tiny, call) == "done"
    assert own_tiny.unet._compiled_call_impl is not None
    calls.clear()
    with pytest.raises(ModelOutputError):
        or_uncompiled(own_tiny, lambda: call(ModelOutputError("nan")))
    assert len(calls) == 1
    calls.clear()
    error = BackendCompilerFailed(lambda: None, RuntimeError("broken"), None)
    assert or_uncompiled(own_tiny, lambda: call(error)) == "done"
    assert own_tiny.unet._compiled_call_impl is None


@pytest.mark.parametrize("asked", [False, True])
def test_the_unet_is_compiled_if_asked_for(own_tiny, asked):
    prepare(own_tiny, ModelConfig(compile=asked))
    assert (own_tiny.unet._compiled_call_impl is not None) is asked
