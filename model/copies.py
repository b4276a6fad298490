"""Values on their way to a GPU, which copies them from pinned memory by itself while the processor goes on."""

from collections.abc import Sequence

import torch
from torch import Tensor


def pinned(shape: Sequence[int], device: torch.device, strides: Sequence[int] | None = None) -> Tensor | None:
    """Pinned memory for float32 values that go to a GPU; `None` for other devices, which need none.

    It is given as `out` to the operation that makes the values: pinning them afterwards would copy them once more, and
    could take longer than it saves (https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html). torch keeps
    the memory until a copy from it has ended, whoever else lets it go.
    """
    if device.type != "cuda":
        return None
    if strides is None:
        return torch.empty(shape, pin_memory=True)
    return torch.empty_strided(shape, strides, pin_memory=True)


def on_its_way(values: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The values on a device. A GPU rounds to another precision itself: rounded before, they would not be pinned."""
    return values.to(device, non_blocking=device.type == "cuda").to(dtype)  # MPS may read what is freed by then
