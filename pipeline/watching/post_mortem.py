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

FIRST, NEWEST = 200, 800
"""Incidents that are kept: those at the beginning, and those at the end."""
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


class PostMortem:
    """Gathers incidents; `lines` makes the file of them."""

    def __init__(self, at_s: float) -> None:
        self._who = {"at": moment(at_s), "event": "session", "host": socket.gethostname(), "pid": os.getpid()}
        self._who |= {f"code_{name}": value for name, value in software().items()}
        self._first = list[Incident]()
        self._newest = deque[Incident](maxlen=NEWEST)
        self._count = 0

    def add(self, found: Incident) -> None:
        """Keep an incident, unless there are too many."""
        self._count += 1
        if len(self._first) < FIRST:
            self._first.append(found)
        else:
            self._newest.append(found)

    def content(self, summary: Summary) -> bytes:
        """The file as it is now."""
        return "".join(f"{json.dumps(line, ensure_ascii=True)}\n" for line in self._lines(summary)).encode()

    def _lines(self, summary: Summary) -> Iterator[Mapping[str, Any]]:
        yield self._who
        yield from map(_line, self._first)
        if left_out := self._count - len(self._first) - len(self._newest):
            yield {"event": "left_out", "incidents": left_out}
        yield from map(_line, self._newest)
        counts = {name: getattr(summary, name) for name in _COUNTS}
        living = {
            replica.name: {"node": replica.node, "state": replica.state, "shards": replica.shards[:4]}
            for replica in summary.living[:NEWEST]
        }
        yield {"at": moment(summary.at_s), "event": "as_of", **counts, "replicas": living}


def _line(found: Incident) -> dict[str, Any]:
    return {"at": moment(found.at_s), "event": found.kind, **found.values, "said": found.words}


def moment(at_s: float) -> str:
    """A moment as people and programs read it, in UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
