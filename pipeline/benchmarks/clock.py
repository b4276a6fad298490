"""A clock for devices that work while the caller goes on."""

import time

import torch


def now() -> float:
    """Seconds, read once everything that a GPU was asked to do is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
