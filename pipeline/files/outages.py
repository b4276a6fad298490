"""Which storages do not respond, since when, and how long to pause before the next try. Pure: it is told the time."""

import re
from dataclasses import dataclass

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
FORGOTTEN_S = 60.0
"""An outage of which nothing was heard for so long is over, for all we know."""
_PLACE = re.compile(r"[^:/]+(?:::[^:/]+)*://[^/]*|(?:/[^/]+){1,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageHealth:
    """How the storages of this process are."""

    errors: int = 0
    """Calls that a storage has failed since the process began, whether they were tried again or not."""
    away_s: float = 0.0
    """For how long the storage that is away longest has not responded; 0: all respond."""
    outages: int = 0
    """Outages that are over."""


@dataclass(slots=True)
class Outage:
    """A storage that does not respond. `since`, `last`: of the first and of the newest call that it has failed."""

    since: float
    last: float
    calls: int = 0
    """Calls that it has failed."""
    waiting: int = 0
    """Calls that wait for it."""
    is_said: bool = False
    """A line of the log tells of it."""
    is_over: bool = False


class Outages:
    """Which storages are away. It knows no clock: `now` is what every call is told, in seconds that never go back."""

    def __init__(self) -> None:
        self.errors = self.over = 0
        self._of = dict[str, Outage]()

    def failed(self, place: str, now: float) -> Outage:
        """A call failed. Returns: the outage that it is part of."""
        self.errors += 1
        outage = self._of.get(place)
        if outage is None or self._is_forgotten(outage, now):
            outage = self._of[place] = Outage(since=now, last=now)
        outage.last = now
        outage.calls += 1
        return outage

    def is_away(self, place: str, calls: int = 1) -> bool:
        """Have at least so many calls failed since it responded last?"""
        outage = self._of.get(place)
        return outage is not None and outage.calls >= calls

    def responded(self, place: str) -> Outage | None:
        """A call was answered. Returns: the outage that has ended with it."""
        outage = self._of.pop(place, None)
        if outage is not None:
            outage.is_over = True
            self.over += 1
        return outage

    def forget(self) -> None:
        """Start anew, as a session does: what was away before counts from its next failure."""
        self._of.clear()

    def health(self, now: float) -> StorageHealth:
        """What is known at a time."""
        away = [now - outage.since for outage in self._of.values() if not self._is_forgotten(outage, now)]
        return StorageHealth(errors=self.errors, away_s=max(away, default=0.0), outages=self.over)

    @staticmethod
    def _is_forgotten(outage: Outage, now: float) -> bool:
        return not outage.waiting and now - outage.last > FORGOTTEN_S


def pause_s(tries: int, chance: float) -> float:
    """Seconds until the next try: twice as many each time, up to a bound, and half of them by chance.

    Args: tries: failed ones so far, at least 1. chance: in [0, 1); by it, those who fail together do not come together.
    """
    return min(FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20), LONGEST_PAUSE_S) * (1 + chance) / 2


def place_of(url: str) -> str:
    """The storage that a path or URL is on, such as `s3://bucket` or `/mnt/nfs`: it is away as a whole."""
    found = _PLACE.match(url)
    return (found[0] if found else "") or url
