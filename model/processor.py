"""What this machine computes with, asked of the system: torch, which takes seconds to load, does not say it all."""

import ctypes
import functools
from pathlib import Path

_CUDA = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h


@functools.cache
def processor_flags() -> frozenset[str]:
    """Extensions of the processor by the names that Linux has for them; empty where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return frozenset()
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(flags.partition(":")[2].split())


def compute_capability(number: int = 0) -> tuple[int, int] | None:
    """Major and minor compute capability of an NVIDIA GPU that CUDA sees; None if there is no such GPU."""
    try:
        driver = ctypes.CDLL(_CUDA)
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), number)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    )
    return None if failed else (major.value, minor.value)
