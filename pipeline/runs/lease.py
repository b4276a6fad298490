"""Locks a run for one session: a lease in the run's folder, kept alive by a heartbeat.

RUN/lease/000001.json   who holds the run: created exclusively, never changed, and removed when the session ends
RUN/lease/000001.beat   its heartbeat: changed by its owner every few seconds

A session that was killed leaves its lease behind; the next session creates the next number, and only one of several
can. The highest number owns the run. An owner that slept finds a higher number at its next beat, or, if the other
session has ended by then, no lease of its own: in both cases it has lost the run, and stops. The beat has a file of its
own, so it can't bring back a lease that another session has removed. Clocks of different machines are never compared:
the lease of another machine is stale if its beat does not change while it is watched.

The lease saves work and confusion, not data: a session that slept may be awake for one more write before it looks, so
whatever counts is created exclusively, with or without a lease.
"""

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict

from model.documents import parse_json
from pipeline.errors import LeaseLostError, RunBusyError, StorageError, StorageUnavailableError
from pipeline.files import patience, storage
from pipeline.files.tars import encode_json
from pipeline.runs.holder import HELD, Holder, myself, runs, this_machine

log = logging.getLogger(__name__)

BEAT_S = 5.0
"""Seconds between beats."""
PATIENCE_S = 30.0
"""How long the lease of another machine is watched for a beat before its session counts as dead."""
_LAST_BEAT_S, _REMOVAL_S = 0.5, 5.0
FOLDER = "lease"
"""Where it lies in the run's folder."""


class Lease:
    """A lock on a run, held until `check` says otherwise."""

    def __init__(self, run: str, number: int, holder: Holder) -> None:
        self._run, self._number, self._holder = run, number, holder
        self._beats = 0
        self._lost = ""
        self._looked, self._outages = time.monotonic(), patience.storage_health().outages

    @property
    def file(self) -> str:
        """Its name in the run's folder, as long as this session holds the run."""
        return f"{FOLDER}/{self._number:06d}.json"

    def check(self) -> None:
        """Raise LeaseLostError if another session has taken over the run. It may have, while this one waited for
        storage: so after an outage the lease itself is looked at, before the next beat is due."""
        if patience.storage_health().outages != self._outages:
            with patience.none_here(), suppress(StorageUnavailableError, OSError):
                self._look()
        if self._lost:
            raise LeaseLostError(f"{self._run}: {self._lost}; this session stops, and what is committed counts")

    def confirm(self) -> None:
        """Check the lease itself if the last look is over a second old; for steps that can't be undone.

        Raises: LeaseLostError: as `check`.
        """
        if time.monotonic() - self._looked > 1:
            self._look()
        self.check()

    def confirm_now(self) -> None:
        """Check the lease itself, however short ago the last look was; for what may have failed because it was lost.

        Raises: LeaseLostError: as `check`.
        """
        self._look()
        self.check()

    def beat(self) -> None:
        """Show that this session is alive, unless it has lost the run."""
        self._look()
        if not self._lost:
            self._beats += 1
            beat = encode_json({"owner": self._holder.owner, "beats": self._beats})
            storage.publish(_beat_url(self._run, self._number), beat)

    def _look(self) -> None:
        self._looked, self._outages = time.monotonic(), patience.storage_health().outages
        newest = _newest(self._run)
        if newest is not None and newest[0] > self._number:
            holder = newest[1]
            self._lost = (
                f"the session on {holder.host} (process {holder.pid}) took over this run, because this session did "
                "not answer"
            )
        elif newest is None or newest[1].owner != self._holder.owner:
            self._lost = "the lease of this session is gone: another session took over this run while it did not answer"


@contextmanager
def held(run: str, *, beat_s: float = BEAT_S, patience_s: float = PATIENCE_S) -> Iterator[Lease]:
    """Hold the run's lease during the block.

    Raises: RunBusyError: another session works on the run.
    """
    owner = uuid.uuid4().hex
    number, dead = _settle_with_others(run, patience_s)
    if dead:
        log.info("the session on %s (process %d) died; taking over its run", dead.host, dead.pid)
    number += 1
    holder = myself(owner)
    lease, ended = Lease(run, number, holder), threading.Event()
    heart = threading.Thread(target=_beat, args=(lease, ended, beat_s), name="lease", daemon=True)
    # From here on a signal may come between any two lines: whatever was created by then is removed.
    try:
        HELD.add(owner)  # first: a session in another thread takes an owner that is not in it for dead
        made = storage.create(_url(run, number), encode_json(asdict(holder)))
        # An object store's client that lost the answer asks again, and then hears that the object exists: it is ours.
        if not made and _read(run, number).owner != owner:
            raise RunBusyError(f"{run}: another session has just begun to work on this run. Let it finish")
        heart.start()
        yield lease
    except KeyboardInterrupt:
        with suppress(Exception):  # the folder may exist without a lease
            storage.remove_if_empty(storage.join(run, FOLDER))
        raise
    finally:
        ended.set()
        if heart.is_alive():
            # Where nobody answers, a beat may take as long as the client asks; nobody waits for it any more.
            heart.join(_LAST_BEAT_S if patience.is_known_away(run) else None)
        HELD.discard(owner)
        _remove(run, number, owner)


def refuse_busy(run: str, patience_s: float = PATIENCE_S) -> None:
    """Check that no session works on a run, without holding it.

    Raises: RunBusyError: one does.
    """
    _settle_with_others(run, patience_s)


def session_of(run: str, patience_s: float = PATIENCE_S) -> tuple[Holder, bool] | None:
    """Who holds a run, and whether that session is alive; None if nobody does. Writes nothing.

    Args: patience_s: how long the lease of another machine is watched for a beat.
    """
    newest = _newest(run)
    if newest is None:
        return None
    holder = newest[1]
    return holder, _is_alive(run, holder, patience_s)


def _beat(lease: Lease, ended: threading.Event, beat_s: float) -> None:
    """Beat until the session ends. It does not wait as others do for a storage that is away: it asks at every beat, so
    that once the storage is back, the next beat comes before anybody takes this session for dead."""
    is_missed = False
    with patience.none_here():
        while not ended.wait(beat_s):
            try:
                lease.beat()
            except Exception as error:  # noqa: BLE001 (storage can be away in a hundred ways)
                if not is_missed:
                    log.warning("the lease could not be renewed (%s); trying again every %.0f s", error, beat_s)
                is_missed = True
            else:
                if is_missed:
                    log.info("the lease is renewed again")
                is_missed = False


def _settle_with_others(run: str, patience_s: float) -> tuple[int, Holder | None]:
    """The highest number in use with its holder, once that one is known to be gone; 0 if no lease exists."""
    newest = _newest(run)
    if newest is None:
        return 0, None
    holder = newest[1]
    if _is_alive(run, holder, patience_s):
        raise RunBusyError(_busy(run, holder))
    return newest


def _is_alive(run: str, holder: Holder, patience_s: float) -> bool:
    is_seen = runs(holder) if holder.machine == this_machine() else None
    return _changes(run, patience_s) if is_seen is None else is_seen


def _changes(run: str, patience_s: float) -> bool:
    log.info(
        "a session that can't be seen from here holds %s; watching for %.0f s whether it is alive", run, patience_s
    )
    seen, end = _pulse(run), time.monotonic() + patience_s
    while time.monotonic() < end:
        time.sleep(min(1.0, patience_s / 4))
        now = _pulse(run)
        if now != seen:
            return now is not None  # None: its session has ended in the meantime
    return False


def _pulse(run: str) -> tuple[int, Holder, bytes] | None:
    """The lease that counts, with its last beat."""
    newest = _newest(run)
    if newest is None:
        return None
    try:
        return *newest, storage.read(_beat_url(run, newest[0]))
    except StorageUnavailableError:
        raise
    except StorageError:
        return *newest, b""  # its session has not had the time for one


def _busy(run: str, holder: Holder) -> str:
    return (
        f"{run}: a session on {holder.host} (process {holder.pid}) works on this run. Let it finish, or stop it and "
        "run the same command again to resume"
    )


def _newest(run: str) -> tuple[int, Holder] | None:
    """Number and holder of the lease that counts; a lease that can't be read has a holder that no longer runs."""
    names = [name for name in storage.list_names(storage.join(run, FOLDER)) if name.endswith(".json")]
    for name in sorted(names, reverse=True):
        with suppress(ValueError):
            number = int(name.removesuffix(".json"))
            return number, _read(run, number)
    return None


def _read(run: str, number: int) -> Holder:
    try:
        return Holder(**parse_json(storage.read(_url(run, number))))
    except StorageUnavailableError:
        raise  # its session may be alive
    except (StorageError, ValueError, TypeError):  # removed in the meantime, torn, or from another version
        return Holder(owner="", machine=this_machine(), host="an unknown machine", pid=0, started=0)


def _remove(run: str, number: int, owner: str) -> None:
    """Remove our lease and those of dead sessions before it; nothing if the number is not ours, or nobody answers."""
    if patience.is_known_away(run):
        return
    # A lease left behind does no harm: the next session finds that we are gone.
    with suppress(Exception), patience.lasting(_REMOVAL_S):
        if _read(run, number).owner != owner:
            return
        for name in storage.list_names(storage.join(run, FOLDER)):
            stem = name.partition(".")[0]
            if stem.isdecimal() and int(stem) <= number:
                storage.remove(storage.join(run, FOLDER, name))
        storage.remove_if_empty(storage.join(run, FOLDER))


def _url(run: str, number: int) -> str:
    return storage.join(run, FOLDER, f"{number:06d}.json")


def _beat_url(run: str, number: int) -> str:
    return storage.join(run, FOLDER, f"{number:06d}.beat")
