"""Time, for devices that work behind the caller's back."""

import time

import torch


def now() -> float:
    """Seconds, after everything that a GPU was asked to do is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
