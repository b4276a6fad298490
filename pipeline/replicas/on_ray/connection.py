"""The connection of this process to a Ray cluster; without one, a cluster is started on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pipeline
from pipeline.errors import ConfigError, Stopped
from pipeline.preconditions import ray_address
from pipeline.progress.stages import stage
from pipeline.replicas.on_ray.authenticated import ray
from pipeline.replicas.signals import stop_flag_then_interrupt

OBJECT_STORE_BYTES = 100 << 20  # 100 MiB; specs and rows are all that goes through it
START_PATIENCE_S = 20.0
"""How long Ray may go on starting once somebody has asked to stop; a scheduler kills after 30 s."""


@contextmanager
def connected(*, for_training: bool = False) -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS (set in a submitted job), or start one on this machine for the block.

    Args: for_training: Ray Train logs by itself, and without a dashboard warned every second.
    """
    if ray.is_initialized():
        yield
        return
    address = ray_address()
    os.environ["RAY_COLOR_PREFIX"] = "0"  # colours are control characters, which a job's streams escape
    local: dict[str, Any] = {}
    if address == "local":
        # Workers import this checkout by name, whatever folder the job was started in.
        checkout = {"env_vars": {"PYTHONPATH": str(Path(pipeline.__file__).resolve().parents[1])}}
        local = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": for_training, "runtime_env": checkout}
    what = "starting Ray" if address == "local" else "connecting to the Ray cluster"
    try:
        with stop_flag_then_interrupt(START_PATIENCE_S) as stop, _handlers_of_ray_left_out(), stage(what):
            try:
                ray.init(address=address, log_to_driver=for_training, logging_level=logging.WARNING, **local)
            except ValueError as error:
                raise ConfigError(f"RAY_ADDRESS is {address}: {error}") from error
            if stop.is_set():
                raise Stopped("asked to stop while Ray was starting. Run the same command again to begin or resume")
        yield
    finally:
        ray.shutdown()


@contextmanager
def _handlers_of_ray_left_out() -> Iterator[None]:
    """Keep our signal handlers while Ray starts.

    Ray's own ones raise SystemExit at any line: the process ended with code 15 and no word, or in an abort of C++ code.
    """
    utils: Any = ray._private.utils
    of_ray = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = of_ray
