"""Is there such a device? Asked of the driver, before torch is loaded, which takes seconds. torch has the last word.

On a cluster, the machine that asks may have no GPU while those that work have some: `require_device` is for the machine
that works, `require_device_of_cluster` for Ray's driver.
"""

import ctypes
import importlib.metadata
import os
import re
import sys
from pathlib import Path

from pipeline.errors import ConfigError

_DRIVER = "libcuda.so.1"
_OF_AMD = Path("/dev/kfd")
"""With it, `cuda` may be one of AMD's GPUs, which NVIDIA's driver knows nothing of."""
_NAME = re.compile(r"auto|(cpu|cuda|mps|xpu)(:(0|[1-9]\d{0,2}))?")


def require_known_device(device: str) -> None:
    """Check that a device has one of the names that there are.

    Raises: ConfigError: it has another name.
    """
    if not _NAME.fullmatch(device):
        raise ConfigError(f"--device {device}: there is no such device; give auto, cpu, cuda, or cuda:N for GPU N")


def require_device(device: str) -> None:
    """Check that this machine has a device, as far as that can be told without torch.

    Raises: ConfigError: it has another name than devices have, or there is no such GPU here.
    """
    require_known_device(device)
    kind, _, number = device.partition(":")
    if kind != "cuda" or not sys.platform.startswith("linux") or _OF_AMD.exists():
        return
    gpus, reason = _gpus_here()
    if not gpus:
        raise ConfigError(f"--device {device}: {reason}. Give --device cpu, or run this where there is a GPU")
    if number and int(number) >= gpus:
        there = "1 GPU, cuda:0" if gpus == 1 else f"{gpus} GPUs, cuda:0 to cuda:{gpus - 1}"
        raise ConfigError(f"--device {device}: this machine has {there}")
    if reason := _why_no_cuda():
        raise ConfigError(
            f"--device {device}: {reason}. Install a build with it (https://pytorch.org/get-started/locally), or give "
            "--device cpu"
        )


def require_device_of_cluster(device: str, gpus: float) -> None:
    """Check that replicas on a Ray cluster can have a device.

    Args:   gpus: of the whole cluster.
    Raises: ConfigError: the cluster has no GPU, or the number of one is given.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return
    if not gpus:
        raise ConfigError(
            f"--device {device}: the Ray cluster has no GPU (`ray status` lists what it has). Give --device cpu, or "
            "connect to a cluster with GPUs"
        )
    if number not in ("", "0"):
        raise ConfigError(
            f"--device {device}: on Ray, each replica has one GPU of its own, which it knows as cuda:0. Give --device "
            "cuda; CUDA_VISIBLE_DEVICES decides which GPUs a cluster uses that is started here"
        )


def why_no_gpu() -> str:
    """Why torch can't use an NVIDIA GPU here, as far as that can be told without torch; empty if it can."""
    gpus, reason = _gpus_here()
    return reason if not gpus else _why_no_cuda()


def gpus_here() -> int:
    """The number of GPUs that CUDA sees on this machine."""
    return _gpus_here()[0]


def _gpus_here() -> tuple[int, str]:
    """The number of GPUs that CUDA sees, as torch would count them; and why there is none."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return 0, f"this machine has no NVIDIA driver ({_DRIVER} can't be loaded)"
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if not failed and count.value:
        return count.value, ""
    if (hidden := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return 0, f"CUDA sees no GPU, and CUDA_VISIBLE_DEVICES is {hidden!r}"
    return 0, f"the NVIDIA driver finds no GPU on this machine{f' (error {failed})' if failed else ''}"


def _why_no_cuda() -> str:
    version = _torch_version()
    return f"torch {version} is built without CUDA" if "+cpu" in version else ""


def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
