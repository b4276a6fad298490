"""The precision that `--dtype auto` stands for on a machine, and a warning of one that is slow there; no torch.

bfloat16 is taken only where its matrix products have instructions of their own. Elsewhere it is emulated, and slower
than float32. float16 is never taken: its range ends at 65,504.
"""

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Literal

from model.config import ModelConfig
from model.processor import compute_capability, processor_flags

_PRODUCTS = {"bfloat16": ("amx_bf16", "avx512_bf16"), "float16": ("amx_fp16", "avx512_fp16")}
"""Precision → the instructions that multiply its matrices. With avx512_bf16, the embedded model took 0.67 of float32's
time per image in bfloat16, and 6.0 times as long in float16 (AMD EPYC, Zen 4); with AVX-512 or AVX2 only, set by
ONEDNN_MAX_CPU_ISA on the same processor, 2.1 and 6.2 times as long in bfloat16."""
_FIRST_WITH_BFLOAT16 = (8, 0)
"""Compute capability: tensor cores multiply bfloat16 since Ampere (NVIDIA's Ampere tuning guide)."""

log = logging.getLogger(__name__)


def precision_of(
    device: str, flags: Collection[str], capability: tuple[int, int] | None
) -> tuple[Literal["float32", "bfloat16"], str]:
    """The precision that suits a device, and why.

    Args: device: `cpu`, `cuda`, `cuda:N` or another of torch's, not `auto`. flags: as `processor_flags`, for a CPU.
          capability: as `compute_capability`, for `cuda`.
    """
    kind = device.partition(":")[0]
    if kind == "cpu":
        if found := [flag for flag in _PRODUCTS["bfloat16"] if flag in flags]:
            return "bfloat16", f"this processor multiplies bfloat16 matrices ({found[0]})"
        return "float32", "this processor has no bfloat16 matrix instructions"
    if kind == "cuda" and capability is not None:
        version = ".".join(map(str, capability))
        if capability >= _FIRST_WITH_BFLOAT16:
            return "bfloat16", f"this GPU multiplies bfloat16 matrices (compute capability {version})"
        return "float32", f"this GPU does not multiply bfloat16 matrices (compute capability {version})"
    return "float32", f"nothing is known here of bfloat16 on {device}"


def settled_precision(config: ModelConfig, device: str) -> ModelConfig:
    """The same with a precision in place of `auto`, and one line that says which and why.

    Args: device: that the model will be on, not `auto`.
    """
    if config.dtype != "auto":
        return config
    dtype, reason = precision_of(device, processor_flags(), capability_of(device))
    log.info("%s: %s", dtype, reason)
    return replace(config, dtype=dtype)


def capability_of(device: str) -> tuple[int, int] | None:
    """As `compute_capability`, by the name of a device; None for a CPU."""
    kind, _, number = device.partition(":")
    return compute_capability(int(number or 0)) if kind == "cuda" else None


def slow_precision(dtype: str, device: str, flags: Collection[str]) -> str:
    """What to say of a precision that is slower than float32 on a device; "" if it is not known to be.

    Args: device: of torch, not `auto`. flags: as `processor_flags`.
    """
    wanted = _PRODUCTS.get(dtype)
    if wanted is None or device.partition(":")[0] != "cpu" or not flags or not {*wanted}.isdisjoint(flags):
        return ""
    return (
        f"{dtype}: this processor has no {dtype} matrix instructions; without them, the embedded model took 2 to 6 "
        "times as long as in float32"
    )
