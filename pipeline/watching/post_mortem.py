"""What happened in a session, for whoever asks after its cluster is gone: one JSON object per line, of bounded size.

RUN/live/session-20261127T024641Z-3f2a.jsonl

The first line says who works, and where. Each incident has a line: when, what, where and why. The last line says how
far the work was when the file was written; a session that is killed leaves the file as it was some seconds before.
"""

import json
import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.software import software
from pipeline.watching.summary import Incident, Summary

MOST_GRAVE, MOST_OTHERS = (200, 800), (100, 100)
"""Incidents that are kept, of the grave ones and of the others: so many of the first, and so many of the newest. They
are counted apart, so that a thousand replicas that start push out no death."""
MOST_REPLICAS = 800
"""Living replicas that the last line names."""
_COUNTS = (
    "images",
    "settled",
    "shards",
    "shards_done",
    "shards_in_work",
    "outcomes",
    "failures",
    "deaths",
    "retries",
    "blamed_images",
    "storage_errors",
)


class _Ends:
    """The first and the newest of many incidents, with their numbers."""

    def __init__(self, first: int, newest: int) -> None:
        self._most = first
        self._first = list[tuple[int, Incident]]()
        self._newest = deque[tuple[int, Incident]](maxlen=newest)

    def add(self, number: int, found: Incident) -> None:
        (self._first if len(self._first) < self._most else self._newest).append((number, found))

    def kept(self) -> Iterator[tuple[int, Incident]]:
        yield from self._first
        yield from self._newest


class PostMortem:
    """Gathers incidents; `lines` makes the file of them."""

    def __init__(self, at_s: float) -> None:
        self._who = {"at": moment(at_s), "event": "session", "host": socket.gethostname(), "pid": os.getpid()}
        self._who |= {f"code_{name}": value for name, value in software().items()}
        self._grave, self._others = _Ends(*MOST_GRAVE), _Ends(*MOST_OTHERS)
        self._count = 0

    def add(self, found: Incident) -> None:
        """Keep an incident, unless there are too many like it."""
        (self._grave if found.grave else self._others).add(self._count, found)
        self._count += 1

    def content(self, summary: Summary) -> bytes:
        """The file as it is now."""
        return "".join(f"{json.dumps(line, ensure_ascii=True)}\n" for line in self._lines(summary)).encode()

    def _lines(self, summary: Summary) -> Iterator[Mapping[str, Any]]:
        yield self._who
        kept = sorted((*self._grave.kept(), *self._others.kept()), key=lambda one: one[0])
        after = -1
        for number, found in kept:
            if left_out := number - after - 1:
                yield {"event": "left_out", "incidents": left_out}
            yield _line(found)
            after = number
        counts = {name: getattr(summary, name) for name in _COUNTS}
        living = {
            replica.name: {"node": replica.node, "state": replica.state, "shards": replica.shards[:4]}
            for replica in summary.living[:MOST_REPLICAS]
        }
        yield {"at": moment(summary.at_s), "event": "as_of", **counts, "replicas": living}


def _line(found: Incident) -> dict[str, Any]:
    return {"at": moment(found.at_s), "event": found.kind, **found.values, "said": found.words}


def moment(at_s: float) -> str:
    """A moment as people and programs read it, in UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
