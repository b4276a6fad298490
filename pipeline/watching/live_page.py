"""Makes the live page of a summary; writes nothing. All texts from outside are escaped by the template."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import jinja2

from pipeline.progress.words import minutes
from pipeline.shown import printable, shown
from pipeline.watching.charts import lanes, natural, rates, span_s, time_ticks
from pipeline.watching.pictures import Picture
from pipeline.watching.post_mortem import moment
from pipeline.watching.summary import ReplicaSummary, Summary
from pipeline.watching.words import cause_in_words

MOST_TABLE_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the bar of progress."""

    kind: str
    label: str
    count: int
    share: float
    """0 to 100."""


def live_page(
    summary: Summary, folder: str, every_s: float, pictures: Sequence[Picture] = (), *, may_release: bool = False
) -> bytes:
    """The page, whole.

    Args:
        folder: of the run; its passwords are not shown.
        every_s: seconds between two writes.
        may_release: may a release be made once all shards are done? A score pass makes none.
    """
    place = printable(shown(folder)).rstrip("/")
    rows, without_row = lanes(summary)
    charts = {"began_s": summary.began_s, "bin_s": summary.bin_s, "span_s": span_s(summary)}
    found = rates(summary)
    page = (
        _templates()
        .get_template("live.html.jinja")
        .render(
            s=summary,
            name=place.rpartition("/")[2] or place,
            place=place,
            every_s=every_s,
            may_release=may_release,
            state=_state(summary),
            parts=_parts(summary),
            rates=found,
            ticks=time_ticks(summary),
            lanes=rows,
            without_row=without_row,
            replicas=sorted(summary.living, key=lambda one: natural(one.name))[:MOST_TABLE_ROWS],
            outcomes=_outcomes(summary),
            pictures=pictures,
            style=_asset("live.css"),
            script=_asset("live.js"),
            script_hash=_hash(_asset("live.js")),
            data=json.dumps({**charts, "per_s": [round(rate, 4) for rate in found.per_s]}).replace("<", "\\u003c"),
        )
    )
    return page.encode()


def _state(summary: Summary) -> tuple[str, str]:
    """A class and a word."""
    if summary.ended_s is None:
        return "running", "running"
    return ("ended", "ended before all was done") if summary.reason else ("finished", "all shards done")


def _outcomes(summary: Summary) -> list[tuple[str, int]]:
    order = ("accepted", "rejected", "done", "failed")
    known = [(name, summary.outcomes[name]) for name in order if name in summary.outcomes]
    return known + [(name, count) for name, count in sorted(summary.outcomes.items()) if name not in order]


def _parts(summary: Summary) -> list[Part]:
    """What the bar of progress is made of, from left to right."""
    total = max(1, summary.images)
    left = max(0, summary.images - summary.settled - summary.in_flight)
    counts = [
        ("earlier", "by earlier sessions", summary.earlier),
        *((name, name, count) for name, count in _outcomes(summary)),
        ("flight", f"finished, not {'yet ' if summary.ended_s is None else ''}committed", summary.in_flight),
        ("left", "left", left),
    ]
    return [
        Part(kind=kind, label=label, count=count, share=100 * count / total) for kind, label, count in counts if count
    ]


def _memory(count_bytes: int) -> str:
    return f"{count_bytes / 1e9:.2f} GB" if count_bytes else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def _in_states(replicas: Sequence[ReplicaSummary]) -> list[tuple[str, int]]:
    words = {"working": "working", "idle": "idle", "loading": "loading", "asked": "waiting for a place"}
    counts = {word: sum(replica.state == state for replica in replicas) for state, word in words.items()}
    return [(word, count) for word, count in counts.items() if count]


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _words(name: str) -> str:
    return name.replace("_", " ")


@cache
def _asset(name: str) -> str:
    return (files("pipeline.watching") / "page" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """How a policy of content names a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


@cache
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.watching", "page"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    templates.filters |= {
        "minutes": minutes, "memory": _memory, "percent": _percent, "number": _number, "moment": moment,
        "in_states": _in_states, "most_first": _most_first, "words": _words, "cause": cause_in_words,
    }  # fmt: skip
    return templates
