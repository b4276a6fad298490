"""How a pipeline's networks run on a device: memory layout, allocator, attention kernels, compilation.

None of it changes what is computed; all but the allocator can move the last bits.
"""

import contextlib
import ctypes
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch._dynamo.exc import TorchDynamoException
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.config import AttentionKernels, ModelConfig
from model.diffusion import SODDiffusionPipeline

_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
# Names and numbers of malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER_BYTES = 2**31 - 1
_TOP_PAD_BYTES = 256 << 20

_log = logging.getLogger(__name__)
T = TypeVar("T")


def prepare(pipeline: SODDiffusionPipeline, config: ModelConfig) -> SODDiffusionPipeline:
    """The pipeline, on its device already, in the memory layout asked for, compiled if that is asked for.

    Raises: ValueError: the device has no attention kernels of that kind.
    """
    require_kernels(config.attention, pipeline.device, pipeline.unet.dtype)
    if config.keep_memory and pipeline.device.type == "cpu":
        keep_freed_memory()
    layout = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[config.memory_format]
    for network in (pipeline.unet, pipeline.vae, pipeline.conditioner):
        network.to(memory_format=layout)
    if config.compile:
        # The UNet only: the nano model's ran in 0.87 of the time on a CPU, its decoder in 1.4 times as much.
        pipeline.unet.compile()
    return pipeline


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where its C library is glibc.

    glibc gives large blocks back to the system when they are freed; the next layer's activations are then mapped and
    zeroed anew, page by page. Without that, the nano model took 0.91 of the time with one thread and 0.84 with two,
    with a twelfth of the page faults and 8 % more memory; a pass of the full UNet 0.9.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER_BYTES), (_M_TOP_PAD, _TOP_PAD_BYTES)):
        mallopt(option, value)


def kernels(attention: AttentionKernels) -> AbstractContextManager[None]:
    """Attention by one kind of kernels only; `auto` leaves the choice to torch."""
    if attention == "auto":
        return contextlib.nullcontext()
    only: AbstractContextManager[None] = sdpa_kernel(_KERNELS[attention])
    return only


def require_kernels(attention: AttentionKernels, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse kernels that a device does not have.

    Raises: ValueError: it has none of that kind.
    """
    trial = torch.zeros(1, 1, 8, 64, device=device, dtype=dtype)
    try:
        with kernels(attention):
            functional.scaled_dot_product_attention(trial, trial, trial)
    except RuntimeError as error:
        raise ValueError(
            f"attention is {attention!r}: there are no such kernels for {device.type} and {str(dtype)[6:]}; "
            f"give one of {', '.join(('auto', *_KERNELS))}"
        ) from error


def or_uncompiled(pipeline: SODDiffusionPipeline, call: Callable[[], T]) -> T:
    """The call's result; where compiling the UNet fails, that of a second call with the UNet as it was."""
    try:
        return call()
    except TorchDynamoException as error:
        cause = getattr(error, "inner_exception", error)
        reason = f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"
    _log.warning("the UNet can't be compiled (%s); going on without", reason)
    pipeline.unet._compiled_call_impl = None
    return call()
