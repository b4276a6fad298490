"""Refuses a run before anything is read: weights, device and folder. Light to import, unlike `run.py`."""

from pipeline.config import RunConfig
from pipeline.preconditions import require_apart, require_model, require_outside, require_place


def require_surroundings(config: RunConfig) -> None:
    """Refuse a run whose weights, device or folder can't be used.

    Raises: ConfigError: one of them can't be, or the folder is among the images. UsageError: the folder is no path and
            no URL. StorageUnavailableError: its storage does not respond.
    """
    require_model(config.model, config.ensemble, config.cluster.engine)
    if not config.input.annotations:  # which leave out the run's own pictures
        require_apart(config.out, config.input.images, "--out")
    if config.release.previous:
        require_outside(config.out, config.release.previous, "--out")
    if not config.dry_run:
        require_place(config.out, "--out")
