"""Patience with storage that does not respond: what failed is tried again for as long as the session allows.

A session's patience is a setting of its whole process, for calls come from many threads: `lasting` gives it to a block,
`begin` to the rest of the process, as a replica does. Without it nothing is tried again, so that a request is refused
at once when its storage can't be reached. Whoever waits keeps what it has: a replica goes on with its work.

`away.py` decides which failures are worth another try, and `outages.py` knows what is away, and since when.
"""

import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from pipeline.errors import RESUME, Stopped, StorageUnavailableError
from pipeline.files.away import is_away
from pipeline.files.of_process import OfProcess
from pipeline.files.outages import Outage, Outages, StorageHealth, pause_s, place_of
from pipeline.shown import shown, without_secrets

log = logging.getLogger(__name__)

SAID_AFTER_S = 3.0
"""Shorter outages are counted, but no line of the log tells of them: a store that slows us down has many."""
_CALLS_OF_AN_OUTAGE = 2
_LOOK_S = 0.2
"""Time between two looks, while waiting, at whether the storage is back or the session ends."""
_ANSWERS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_CAUSE_CHARACTERS = 200

Answer = TypeVar("Answer")


class Patience:
    """Tries again what a storage has failed. Thread-safe.

    Args: clock, sleep, chance: replaced in tests.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.session = Session()
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._outages = Outages()
        self._lock = threading.RLock()
        self._thread = threading.local()

    def health(self) -> StorageHealth:
        """How the storages are now."""
        with self._lock:
            return self._outages.health(self._clock())

    def is_known_away(self, url: str) -> bool:
        """As the function `is_known_away`."""
        return self._outages.is_away(place_of(url), _CALLS_OF_AN_OUTAGE)

    def begin(self, seconds: float) -> "Session":
        """As the function `begin`."""
        with self._lock:
            self._outages.forget()
            self.session = Session(seconds)
        return self.session

    @contextmanager
    def lasting(self, seconds: float) -> Iterator[None]:
        """As the function `lasting`."""
        with self._lock:
            before, session = self.session, self.begin(seconds)
            session.before = before
        try:
            yield
        finally:
            session.is_ended = session.is_left = True
            with self._lock:  # blocks of two threads may end in any order
                while self.session.is_left and self.session.before is not None:
                    self.session = self.session.before

    @contextmanager
    def none_here(self) -> Iterator[None]:
        """As the function `none_here`."""
        before, self._thread.session = getattr(self._thread, "session", None), Session()
        try:
            yield
        finally:
            self._thread.session = before

    def persist(self, url: str, attempt: Callable[[], Answer]) -> Answer:
        """As the function `persist`."""
        call = _Call(url, self._session())
        while True:
            before = sys.exception()
            try:
                answer = attempt()
            except Exception as error:
                if not is_away(error, before):
                    if isinstance(error, _ANSWERS):
                        self._responded(call.place)
                    raise
                failure = error
            else:
                self._responded(call.place)
                return answer
            # Outside of the except block: what the next try raises must not be taken for a consequence of this failure.
            self._wait(call, failure)

    def _wait(self, call: "_Call", failure: Exception) -> None:
        """Wait before the next try, or raise if there is none."""
        now = self._clock()
        with self._lock:
            outage = self._outages.failed(call.place, now)
            if call.is_impatient:
                raise failure
            call.failed(now)
            outage.waiting += 1
        try:
            away_s, most_s = now - min(outage.since, call.first), call.session.seconds
            if away_s >= most_s:
                raise StorageUnavailableError(
                    f"{call.url}: the storage has not responded for {away_s:.0f} s ({_cause(failure)}), longer than "
                    f"--storage-patience-s allows; existing files are unchanged. Once it responds, {RESUME[0].lower()}"
                    f"{RESUME[1:]}"
                ) from failure
            if away_s >= min(SAID_AFTER_S, most_s / 2):
                self._say(call, outage, failure)
            self._sleep_while(call, outage, now + min(most_s - away_s, pause_s(call.tries, self._chance())))
            if call.session.is_ended:
                raise Stopped(
                    f"asked to stop while {shown(call.place)} did not respond ({_cause(failure)}). {RESUME}"
                ) from failure
        finally:
            with self._lock:
                outage.waiting -= 1

    def _say(self, call: "_Call", outage: Outage, failure: Exception) -> None:
        with self._lock:
            is_said, outage.is_said = outage.is_said, True
        if not is_said:
            log.warning(
                "%s does not respond (%s); it is asked again and again, for %.0f s at most",
                *(shown(call.place), _cause(failure), call.session.seconds),
            )

    def _sleep_while(self, call: "_Call", outage: Outage, until: float) -> None:
        """Sleep until then, until another call was answered, or until the session ends."""
        while not (call.session.is_ended or outage.is_over) and (left_s := until - self._clock()) > 0:
            self._sleep(min(left_s, _LOOK_S))

    def _responded(self, place: str) -> None:
        if not self._outages.is_away(place):  # as nearly always, and asked without the lock
            return
        with self._lock:
            now, outage = self._clock(), self._outages.responded(place)
        if outage is not None and outage.is_said:
            log.info("%s responds again, after %.0f s", shown(place), now - outage.since)

    def _session(self) -> "Session":
        return getattr(self._thread, "session", None) or self.session


class Session:
    """For how long calls wait, from their first failure, until it `is_ended`: asked to stop, or over."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.is_ended = self.is_left = False
        self.before: Session | None = None
        """Of the block around this one's."""


class _Call:
    """A call of a storage with its tries."""

    def __init__(self, url: str, session: Session) -> None:
        self.url, self.place, self.session = url, place_of(url), session
        self.is_impatient = session.is_ended or session.seconds <= 0
        self.tries, self.first = 0, 0.0

    def failed(self, now: float) -> None:
        self.first = self.first if self.tries else now
        self.tries += 1


def _cause(failure: Exception) -> str:
    return without_secrets(f"{type(failure).__name__}: {str(failure)[:_CAUSE_CHARACTERS]}")


_OF_PROCESS = OfProcess(Patience)


def persist(url: str, attempt: Callable[[], Answer]) -> Answer:
    """Make an attempt, and make it again while the storage does not respond.

    Args:    url: what it is about.
             attempt: may be made several times; one that failed may have had its effect.
    Raises:  StorageUnavailableError: the storage was away for too long. Stopped: the session was asked to stop while
             this waited. Whatever the attempt raises if it is no sign of a storage that is away, or nobody waits.
    """
    return _OF_PROCESS.here.persist(url, attempt)


def storage_health() -> StorageHealth:
    """How the storages of this process are; any thread may ask."""
    return _OF_PROCESS.here.health()


def is_known_away(url: str) -> bool:
    """Has the storage failed again and again? For what can be left out then, as a session ends."""
    return _OF_PROCESS.here.is_known_away(url)


def begin(seconds: float) -> None:
    """Wait for storages from now on. Args: seconds: from the first failure of each; 0: not at all."""
    _OF_PROCESS.here.begin(seconds)


def lasting(seconds: float) -> AbstractContextManager[None]:
    """A block in which calls wait for storages; those that still wait at its end are sent away.

    Args: seconds: as for `begin`.
    """
    return _OF_PROCESS.here.lasting(seconds)


def none_here() -> AbstractContextManager[None]:
    """A block in which the thread that enters it does not wait."""
    return _OF_PROCESS.here.none_here()


def end() -> None:
    """End all waits of the session, now and later: it was asked to stop. For signal handlers too: it takes no lock."""
    _OF_PROCESS.here.session.is_ended = True
