"""Deterministic weights by formula: equal on every machine, so only inputs and outputs need storing."""

import zlib

import torch


def fill_(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Fill a state dict in place, tensor by tensor, from the CRC-32 of each key.

    Floating tensors only; integer buffers (relative position indices, batch counters) stay unchanged.
    """
    for key, value in state.items():
        if not value.is_floating_point():
            continue
        draw = torch.randn(value.shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
        if key.endswith("running_var"):
            draw = 1 + 0.2 * draw.tanh()
        elif key.endswith("running_mean"):
            draw = 0.1 * draw
        elif key.endswith("gamma"):
            draw = 0.3 + 0.05 * draw
        elif key.endswith("bias") or key.endswith("bias_table") or key.endswith("threshold"):
            draw = 0.02 * draw
        elif value.ndim == 1:
            draw = 1 + 0.1 * draw
        else:
            draw = draw / value[0].numel() ** 0.5
        value.copy_(draw)
    return state
