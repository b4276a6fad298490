"""What the live page draws, as numbers from 0 to 100: shares of a width or height, which a browser stretches."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipeline.progress.words import minutes
from pipeline.watching.summary import STATES, ReplicaState, ReplicaSummary, Summary

MOST_ROWS = 120
LEVELS = 4
"""Shades of working: images per second, of the most that any replica had in a bin."""
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_MOST_TICKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Images per second over time."""

    line: str
    """Points of a polyline."""
    area: str
    """Points of the polygon below it."""
    most: float
    """Images per second at the top of the chart."""
    ticks: tuple[Tick, ...]
    """Of its height, from the bottom."""
    per_s: tuple[float, ...]
    """By bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A stretch of a replica's time in which it looks the same."""

    left: float
    width: float
    state: ReplicaState
    level: int
    """1 to LEVELS for a replica that works; 0 for others."""
    replica: str
    from_s: float
    """Since the session began."""
    to_s: float
    images: float


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Where a replica ended."""

    at: float
    replica: str
    cause: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Replicas of one node, one after the other: each takes the place of the one before."""

    replica: str
    """The newest one."""
    is_living: bool
    cells: tuple[Cell, ...]
    ends: tuple[End, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """Rows of a node."""

    node: str
    note: str
    """What is wrong with it; "" if nothing is."""
    rows: tuple[Row, ...]


def span_s(summary: Summary) -> float:
    """Seconds that the charts show: all of the session."""
    return max((summary.ended_s or summary.at_s) - summary.began_s, summary.bin_s, 1e-9)


def time_ticks(summary: Summary) -> tuple[Tick, ...]:
    """Marks of round durations since the session began."""
    span = span_s(summary)
    step = (
        next((step for step in _STEPS_S if span / step <= _MOST_TICKS), 0)
        or math.ceil(span / _MOST_TICKS / 86400) * 86400
    )
    return tuple(Tick(at=100 * at / span, label=minutes(at)) for at in range(0, int(span) + 1, step))


def rates(summary: Summary) -> Rates:
    """Images per second over time; the last bin counts for the part of it that is over."""
    span, width = span_s(summary), summary.bin_s
    bins = math.ceil(span / width - 1e-9)
    amounts = (*summary.finished, *[0.0] * bins)[:bins]
    lengths = [min(width, span - place * width) for place in range(bins)]
    if bins > 1 and lengths[-1] < width / 2:  # too short to tell a rate
        amounts, lengths = (*amounts[:-2], amounts[-2] + amounts[-1]), [*lengths[:-2], lengths[-2] + lengths[-1]]
    per_s = tuple(amount / length for amount, length in zip(amounts, lengths, strict=True))
    most, ticks = _scale(max(per_s, default=0.0))
    points, left = list[str](), 0.0
    for rate, length in zip(per_s, lengths, strict=True):
        right, top = left + 100 * length / span, 100 - 100 * rate / most
        points += [f"{left:.2f},{top:.2f}", f"{right:.2f},{top:.2f}"]
        left = right
    line = " ".join(points)
    return Rates(line=line, area=f"0,100 {line} 100,100", most=most, ticks=ticks, per_s=per_s)


def lanes(summary: Summary) -> tuple[tuple[Lanes, ...], int]:
    """Replicas over time, by node; those of nodes with something wrong first. Also: how many replicas have no row."""
    span = span_s(summary)
    most = _busiest(summary)
    notes = {node.name: node.reason or ("" if node.state == "there" else node.state) for node in summary.nodes}
    deaths = {node.name: node.deaths for node in summary.nodes}
    by_node: dict[str, list[ReplicaSummary]] = {}
    for replica in summary.replicas:
        by_node.setdefault(replica.node, []).append(replica)
    order = sorted(by_node, key=lambda node: (not node, not notes.get(node), not deaths.get(node), natural(node)))
    found, room, left_out = list[Lanes](), MOST_ROWS, 0
    for node in order:
        rows = _packed(by_node[node])
        left_out += sum(map(len, rows[room:]))
        drawn = tuple(_row(row, summary, span, most) for row in rows[:room])
        room -= len(drawn)
        if drawn:
            found.append(Lanes(node=node, note=notes.get(node, ""), rows=drawn))
    return tuple(found), left_out


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts r2 before r10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _packed(replicas: Sequence[ReplicaSummary]) -> list[list[ReplicaSummary]]:
    """Rows of replicas that do not overlap, each put where one ended before it began."""
    rows: list[list[ReplicaSummary]] = []
    for replica in sorted(replicas, key=lambda one: (one.began_s, natural(one.name))):
        free = [row for row in rows if row[-1].ended_s is not None and row[-1].ended_s <= replica.began_s]
        if free:
            max(free, key=lambda row: row[-1].ended_s or 0.0).append(replica)
        else:
            rows.append([replica])
    return rows


def _row(replicas: Sequence[ReplicaSummary], summary: Summary, span: float, most: float) -> Row:
    ends = tuple(
        End(at=100 * (one.ended_s - summary.began_s) / span, replica=one.name, cause=one.cause, said=one.said)
        for one in replicas
        if one.ended_s is not None and one.cause != "surplus"
    )
    return Row(
        replica=replicas[-1].name,
        is_living=replicas[-1].state != "ended",
        cells=tuple(cell for one in replicas for cell in _cells(one, summary, span, most)),
        ends=ends,
    )


def _cells(replica: ReplicaSummary, summary: Summary, span: float, most: float) -> Iterator[Cell]:
    """Bins of a replica; neighbours that look the same are one cell."""
    width, began_s = summary.bin_s, summary.began_s
    first_s, last_s = replica.began_s - began_s, (replica.ended_s or summary.at_s) - began_s
    looks = list[tuple[ReplicaState, int]]()
    places = range(int(first_s / width), int(last_s / width) + 1)
    images = [_at(replica.finished, place) for place in places]
    for place, finished in zip(places, images, strict=True):
        seconds = {state: _at(replica.seconds[state], place) for state in STATES}
        state = max(STATES, key=seconds.__getitem__)
        looks.append((state, _level(finished / seconds[state], most) if state == "working" and seconds[state] else 0))
    if len(looks) > 1 and looks[-1][0] == looks[-2][0]:  # the last bin has just begun
        looks[-1] = looks[-2]
    for (state, level), group in groupby(zip(places, looks, images, strict=True), key=lambda one: one[1]):
        part = list(group)
        from_s, to_s = max(first_s, part[0][0] * width), min(last_s, (part[-1][0] + 1) * width)
        if to_s > from_s:
            yield Cell(
                left=100 * from_s / span, width=100 * (to_s - from_s) / span, state=state, level=level,
                replica=replica.name, from_s=from_s, to_s=to_s, images=sum(finished for _, _, finished in part),
            )  # fmt: skip


def _busiest(summary: Summary) -> float:
    """Images per second in the best whole bin of any replica."""
    whole = (replica.finished[:-1] or replica.finished for replica in summary.replicas)
    return max((amount for amounts in whole for amount in amounts), default=0.0) / summary.bin_s


def _level(per_s: float, most: float) -> int:
    return min(LEVELS, max(1, math.ceil(LEVELS * per_s / most))) if most > 0 else 1


def _at(amounts: Sequence[float], place: int) -> float:
    return amounts[place] if place < len(amounts) else 0.0


def _scale(most: float) -> tuple[float, tuple[Tick, ...]]:
    """A round number above `most`, and marks up to it."""
    if most <= 0:
        return 1.0, (Tick(at=0, label="0"),)
    size = 10 ** math.floor(math.log10(most))
    step = next(step for step in (0.2 * size, 0.5 * size, size, 2 * size, 5 * size) if most / step <= 4)
    count = math.ceil(most / step - 1e-9)
    top = count * step
    return top, tuple(Tick(at=100 * place / count, label=f"{place * step:g}"[:7]) for place in range(count + 1))
