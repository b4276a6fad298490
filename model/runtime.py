"""How a pipeline's networks run on a device: memory layout, allocator, attention kernels, compilation.

None of it changes what is computed; everything but the allocator can change the last bits.
"""

import ctypes
import logging
import sys
from collections.abc import Callable
from typing import TypeVar

import torch
from torch._dynamo.exc import TorchDynamoException

from model.attention import require_kernels
from model.config import ModelConfig
from model.diffusion import SODDiffusionPipeline

_COMPILED_FORMS = 64
"""Batch sizes that the UNet is compiled for; torch's own limit is 8, and further sizes run uncompiled."""
# Names and numbers of malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER_BYTES = 2**31 - 1
_TOP_PAD_BYTES = 256 << 20

_log = logging.getLogger(__name__)
T = TypeVar("T")


def prepare(pipeline: SODDiffusionPipeline, config: ModelConfig) -> SODDiffusionPipeline:
    """Give a pipeline that is already on its device the configured memory layout and kernels; compile it if requested.

    Raises: ValueError: the device has no attention kernels of that kind.
    """
    require_kernels(config.attention, pipeline.unet)
    pipeline.attention = config.attention
    if config.keep_memory and pipeline.device.type == "cpu":
        keep_freed_memory()
    layout = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[config.memory_format]
    for network in (pipeline.unet, pipeline.vae, pipeline.conditioner, pipeline.mask_decoder):
        if network is not None:
            network.to(memory_format=layout)
    if config.compile and can_compile(pipeline.device):
        # Only the UNet: on a CPU, the nano model's ran in 0.87 of the time, its decoder in 1.4 times the time. Each
        # batch size is compiled for itself: otherwise earlier sizes would decide whether torch compiles one anew.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _COMPILED_FORMS)
        pipeline.unet.compile(dynamic=False)
    return pipeline


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, if its C library is glibc.

    By default glibc returns large freed blocks to the system, so the next layer's activations are mapped and zeroed
    anew, page by page. With memory kept, the nano model took 0.91 of the time with one thread and 0.84 with two, a
    twelfth of the page faults and 8 % more memory; a pass of the full UNet took 0.9 of the time.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER_BYTES), (_M_TOP_PAD, _TOP_PAD_BYTES)):
        mallopt(option, value)


def can_compile(device: torch.device) -> bool:
    """Whether compiling works here, which needs a C++ compiler or Triton; compiles one line to find out, in seconds."""
    try:
        torch.compile(lambda x: x.sin() + 1, dynamic=False)(torch.ones(8, device=device))
    except TorchDynamoException as error:
        _log.warning("no compiler for the UNet (%s); continuing uncompiled", _reason(error))
        return False
    return True


def or_uncompiled(pipeline: SODDiffusionPipeline, call: Callable[[], T]) -> T:
    """Return the call's result; if compiling the UNet fails, call once more with the uncompiled UNet."""
    try:
        return call()
    except TorchDynamoException as error:
        reason = _reason(error)
    _log.warning("can't compile the UNet (%s); continuing uncompiled", reason)
    pipeline.unet._compiled_call_impl = None
    return call()


def _reason(error: TorchDynamoException) -> str:
    cause = getattr(error, "inner_exception", error)
    return f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"
