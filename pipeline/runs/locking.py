"""Locks a run, or a score pass of it, for one session, and finds out whether another session has."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from pipeline.errors import ConfigError, StorageUnavailableError
from pipeline.files.patience import is_known_away
from pipeline.files.trials import require_exclusive_create
from pipeline.runs.lease import Lease, held


@contextmanager
def locked(run: str) -> Iterator[Lease]:
    """Lock the run for this session.

    Raises: ConfigError: its folder can't be written. RunBusyError: another session works on it. LeaseLostError: another
            session took over during the block, which then failed.
    """
    with ExitStack() as stack:
        require_exclusive_create(run)
        try:
            lease = stack.enter_context(held(run))
        except OSError as error:
            raise ConfigError(f"the run's folder {run} can't be written ({error}); give a folder that can") from error
        try:
            yield lease
        except Exception:
            # After another session took over, that is the reason for whatever failed here. If nobody can tell, for the
            # storage is away, the failure stays what it was.
            if not is_known_away(run):
                with suppress(StorageUnavailableError):
                    lease.confirm_now()
            raise
