"""What `--dtype auto` stands for, settled where a request begins, so that plan, fingerprint and replicas have one."""

import logging
from dataclasses import replace
from typing import Literal

from model.config import ModelConfig
from model.precision import settled_precision
from pipeline.devices import why_no_gpu

_KNOWN: tuple[Literal["float32", "bfloat16", "float16"], ...] = ("float32", "bfloat16", "float16")

log = logging.getLogger(__name__)


def with_precision(model: ModelConfig, begun_with: str = "") -> ModelConfig:
    """The same with a precision in place of `auto`.

    Args: begun_with: the precision of the run that is resumed, which goes on with it; "" for a new one.
    """
    if model.dtype != "auto":
        return model
    for dtype in _KNOWN:
        if dtype == begun_with:
            log.info("%s: the run was begun with it", dtype)
            return replace(model, dtype=dtype)
    device = model.device
    if device == "auto":
        device = "cpu" if why_no_gpu() else "cuda"
    return settled_precision(model, device)
