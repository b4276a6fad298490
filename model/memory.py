"""How many ensemble members fit on a device at once: estimated from free memory, halved when memory runs out."""

import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from model.prediction import ModelMemoryError

MOST_AT_ONCE = {"cpu": 20, "cuda": 64}
"""Members at once by kind of device; more bring no gain. The nano model on one core: 2 at once gave 1.34 images/s,
5: 1.59, 10: 1.61, 20: 1.70, 80: 1.67. The figure for GPUs is a guess: no GPU was available for measuring."""

FREE_SHARE = 0.5
"""Share of the free memory that members may take. Only tensors are counted, not the kernels' work space or the memory
that allocators keep: the nano model on a CPU really took 0.1 GB more plus 1.2 to 1.5 times the count (512 and 1024 px).
"""

_SIGNS = (
    "DefaultCPUAllocator",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
"""In messages of errors that are plain RuntimeErrors: torch's on the CPU, and those of CUDA's libraries, whose own
memory torch's allocator knows nothing of (pytorch/pytorch#128601)."""

_CONTAINER = Path("/sys/fs/cgroup")
"""Where a process reads the limits of its control group (version 2)."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


def free_bytes(device: torch.device) -> int:
    """Free memory of a device, 0 or more; for the CPU, of the system or within the container's limit."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + unused)
    available = int(psutil.virtual_memory().available)
    try:
        left = int((_CONTAINER / "memory.max").read_text()) - int((_CONTAINER / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or the word "max"
        return available
    return max(0, min(available, left + _cached_bytes()))


def _cached_bytes() -> int:
    """The part of a container's memory that caches files and is given up when memory is needed."""
    try:
        counts = dict(line.split() for line in (_CONTAINER / "memory.stat").read_text().splitlines())
        return int(counts["inactive_file"])
    except (OSError, ValueError, KeyError):
        return 0


class LiveTensors(TorchDispatchMode):
    """While active, counts the bytes of tensors created and not yet freed; the count is the same on every device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = 0
        self.peak_bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, then count the storages that it created."""
        result = function(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._known:  # a view, or changed in place
            return
        self._known.add(storage._cdata)
        self.live_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._count_freed, storage._cdata, storage.nbytes())

    def _count_freed(self, identity: int, size_bytes: int) -> None:
        self._known.discard(identity)
        self.live_bytes -= size_bytes


def most_at_once(device_kind: str) -> int:
    """The largest useful number of members at once on a kind of device; unmeasured kinds count as GPUs."""
    return MOST_AT_ONCE.get(device_kind, MOST_AT_ONCE["cuda"])


def members_that_fit(device: torch.device, member_bytes: float) -> int:
    """How many members may pass through the networks at once: at most `MOST_AT_ONCE`, 0 if not even one fits."""
    return min(most_at_once(device.type), int(FREE_SHARE * free_bytes(device) / member_bytes))


def with_fewer_when_out_of_memory(work: Callable[[int], T], at_once: int) -> tuple[T, int]:
    """Call `work` with a number of members at once, and halve that number each time memory runs out.

    Returns: the result, and the number of members with which it succeeded.
    Raises:  ModelMemoryError: memory is too small even for one member at a time.
    """
    while True:
        try:
            return work(at_once), at_once
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]  # Python's MemoryError has no text
        # Only here, outside the handler: the error keeps the frames alive, and with them the failed attempt's tensors.
        if at_once == 1:
            raise ModelMemoryError(f"out of memory with one ensemble member at a time: {reason}")
        at_once //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        _log.warning("out of memory (%s); continuing with %d members at once", reason, at_once)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out. torch has its own error class for its allocator on GPUs; elsewhere only words tell."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(sign in str(error) for sign in _SIGNS)
