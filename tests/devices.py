"""The devices that a test is tried on: the CPU always, a GPU where `make gpu` runs it (`tests/conftest.py` skips it).

A test that is right on one and not on the other has found something: what it checks is promised for both.
"""

import gc
from contextlib import contextmanager

import pytest
import torch

from model.memory import LiveTensors

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
each_device = pytest.mark.parametrize("device", ["cpu", CUDA])


def memory_of(device):
    """What a test can find out about a device's memory, and do to it."""
    return {"cpu": _Counted, "cuda": _OfGpu}[device]()


class _Counted:
    """The CPU's, which ends the process when it runs out: tensors are counted instead, and fail above a limit."""

    def taken(self, call):
        """Bytes that a call has in tensors at most, and that it needs at least to succeed: here the same."""
        with LiveTensors() as tensors:
            call()
        return tensors.peak_bytes, tensors.peak_bytes

    @contextmanager
    def with_free(self, free_bytes):
        """Inside, new tensors find this much memory."""
        with _Limited(free_bytes):
            yield


class _Limited(LiveTensors):
    def __init__(self, free_bytes):
        super().__init__()
        self._free_bytes = free_bytes

    def _count(self, storage):
        super()._count(storage)
        if storage.nbytes() and self.live_bytes > self._free_bytes:
            raise torch.OutOfMemoryError(f"out of memory: {self.live_bytes} of {self._free_bytes} bytes")


class _OfGpu:
    """A GPU's. Its allocator keeps what was freed, so what a call has in tensors and what it takes are two figures."""

    def taken(self, call):
        """Bytes that a call has in tensors at most, and that it takes from the GPU."""
        self._give_back()
        held, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - held, torch.cuda.max_memory_reserved() - reserved

    @contextmanager
    def with_free(self, free_bytes):
        """Inside, all of the GPU's memory but this much is taken."""
        self._give_back()
        free_now, _ = torch.cuda.mem_get_info()
        ballast = torch.empty(free_now - free_bytes, dtype=torch.uint8, device="cuda")
        try:
            yield
        finally:
            del ballast
            self._give_back()

    def _give_back(self):
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
