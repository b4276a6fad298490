"""Layout, kernels, allocator and compilation: equal maps, and a fallback without kernels or compiler."""

import contextlib
import ctypes
import logging
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed
from torch.nn.attention import SDPBackend

from model import attention, runtime
from model.attention import kernels, require_kernels
from model.config import ModelConfig
from model.prediction import ModelOutputError
from model.runtime import can_compile, keep_freed_memory, or_uncompiled, prepare
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
def test_runtime_options_change_only_the_last_bits(tiny, own_tiny, image_of, options):
    images, keys = [image_of(20, 30), image_of(64, 50, 1)], ["7", "8"]
    model = ready(own_tiny, ModelConfig(**options), make_ensemble())
    for found, plain in zip(model.predict(images, keys), tiny.predict(images, keys, make_ensemble()), strict=True):
        assert_close(found, plain)


@pytest.mark.parametrize(
    ("name", "layout"), [("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)]
)
def test_all_networks_have_the_configured_memory_layout(own_tiny, name, layout):
    prepare(own_tiny, ModelConfig(memory_format=name))
    for network in (own_tiny.unet, own_tiny.vae, own_tiny.conditioner):
        images = [weight for weight in network.parameters() if weight.ndim == 4]
        assert images
        assert all(weight.is_contiguous(memory_format=layout) for weight in images)


def test_only_the_unet_uses_the_configured_kernels(own_tiny, image_of, monkeypatch):
    """The full autoencoder has a head of 512 channels, too wide for flash attention."""
    asked, active = [], []

    @contextlib.contextmanager
    def only(kind):
        asked.append(kind)
        active.append(kind)
        yield
        active.pop()

    model = ready(own_tiny, ModelConfig(attention="flash"), make_ensemble(ensemble_size=2, denoise_steps=1))
    monkeypatch.setattr(attention, "sdpa_kernel", only)
    seen = {}
    for name, network in (("unet", own_tiny.unet), ("vae", own_tiny.vae.encoder), ("decoder", own_tiny.vae.decoder)):
        network.register_forward_pre_hook(lambda *_, name=name: seen.update({name: list(active)}))
    model.predict([image_of(20, 30)], ["7"])
    assert asked == [SDPBackend.FLASH_ATTENTION]
    assert seen == {"unet": [SDPBackend.FLASH_ATTENTION], "vae": [], "decoder": []}


def test_auto_leaves_the_choice_of_kernels_to_torch(monkeypatch):
    monkeypatch.setattr(attention, "sdpa_kernel", lambda _: pytest.fail("a choice was made"))
    with kernels("auto"):
        pass


def test_kernels_that_a_device_lacks_are_refused_with_those_to_choose_from(own_tiny):
    with pytest.raises(
        ValueError, match=r"^attention is 'efficient': no such kernels exist for cpu, float32 and heads of \d+ chan"
    ):
        ready(own_tiny, ModelConfig(attention="efficient"), make_ensemble())
    require_kernels("math", own_tiny.unet)


def test_kernels_are_tried_with_every_width_of_head_of_the_unet(own_tiny, monkeypatch):
    tried = []
    monkeypatch.setattr(attention.functional, "scaled_dot_product_attention", lambda q, *_: tried.append(q.shape[-1]))
    require_kernels("flash", own_tiny.unet)
    widths = {layer.to_q.out_features // layer.heads for layer in attention.cross_attention_layers(own_tiny.unet)}
    assert set(tried) >= widths


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"processing_res": 0}])
def test_kernels_whose_memory_is_unpredictable_are_refused_where_memory_decides(own_tiny, settings):
    with pytest.raises(ValueError, match="attention is 'math', whose memory grows with the square"):
        ready(own_tiny, ModelConfig(attention="math"), make_ensemble(**settings))


@pytest.mark.parametrize("keep_memory", [True, False])
def test_memory_is_kept_if_configured(own_tiny, monkeypatch, keep_memory):
    kept = []
    monkeypatch.setattr(runtime, "keep_freed_memory", lambda: kept.append(True))
    prepare(own_tiny, ModelConfig(keep_memory=keep_memory))
    assert kept == [True] * keep_memory


@pytest.mark.thorough
def test_kept_memory_costs_fewer_page_faults():
    """In a process of its own, which takes and frees 64 MB twelve times, before and after."""
    script = (
        "import resource, torch\nfrom model.runtime import keep_freed_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(12): torch.ones(1 << 24)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "given_back = faults()\nkeep_freed_memory()\nprint(given_back, faults())"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    given_back, kept = map(int, found.split())
    assert kept < given_back / 3


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_without_glibc_nothing_changes(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())  # a C library that has no mallopt
    keep_freed_memory()


# Compilation


@pytest.mark.thorough
def test_a_compiled_unet_gives_the_same_maps(tiny, own_tiny, image_of, caplog, monkeypatch):
    monkeypatch.setattr(runtime, "can_compile", lambda _: True)
    model = ready(own_tiny, ModelConfig(compile=True), make_ensemble())
    own_tiny.unet.compile(backend="eager")  # traced by dynamo as ever; the C++ compiler would take a minute
    with caplog.at_level(logging.WARNING, logger="model.runtime"):
        (found,) = model.predict([image_of(20, 30)], ["7"])
        (again,) = model.predict([image_of(20, 30)], ["7"])
    assert_close(found, tiny.predict([image_of(20, 30)], ["7"], make_ensemble())[0])
    assert np.array_equal(found.members, again.members)
    assert own_tiny.unet._compiled_call_impl is not None
    assert (model.device_kind, "compiled" in caplog.text) == ("cpu", False)


def test_a_device_without_a_compiler_counts_as_another_kind_and_logs_why(own_tiny, caplog, monkeypatch):
    def fails(*_, **__):
        def call(_):
            raise BackendCompilerFailed(lambda: None, RuntimeError("no C++ compiler\nmore"), None)

        return call

    monkeypatch.setattr(torch, "compile", fails)
    model = ready(own_tiny, ModelConfig(compile=True), make_ensemble())
    assert model.device_kind == "cpu without a compiler"
    assert own_tiny.unet._compiled_call_impl is None
    assert "no compiler for the UNet (RuntimeError: no C++ compiler); continuing uncompiled" in caplog.text


@pytest.mark.thorough  # 18 s of a C++ compiler
def test_this_machine_can_compile_a_line():
    assert can_compile(torch.device("cpu"))


def test_a_unet_that_cant_be_compiled_runs_uncompiled(tiny, own_tiny, image_of, caplog):
    def fails(*_):
        raise RuntimeError("no C++ compiler")

    model = ready(own_tiny, ModelConfig(), make_ensemble())
    own_tiny.unet.compile(backend=fails)
    with caplog.at_level(logging.WARNING, logger="model.runtime"):
        (found,) = model.predict([image_of(20, 30)], ["7"])
    assert_close(found, tiny.predict([image_of(20, 30)], ["7"], make_ensemble())[0])
    assert "can't compile the UNet (RuntimeError: no C++ compiler); continuing uncompiled" in caplog.text
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
def test_the_unet_is_compiled_if_configured(own_tiny, asked):
    prepare(own_tiny, ModelConfig(compile=asked))
    assert (own_tiny.unet._compiled_call_impl is not None) is asked
