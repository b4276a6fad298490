"""Compares what a folder was made with to what is requested, so that two ways of making are never mixed.

Knows nothing about runs, releases or trainings: they say what the folder holds, what to do, and which error it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

_LONGEST_VALUE = 120
_MOST_LINES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field that does not have the requested value."""

    name: str
    """Fields within fields are joined by dots, as in `policy.max_variance`."""
    stored: Any
    requested: Any

    def __str__(self) -> str:
        texts = [str(value) or "''" for value in (self.stored, self.requested)]
        skipped = 0
        if max(map(len, texts)) > _LONGEST_VALUE:
            skipped = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
        stored, requested = (_shortened(text, skipped) for text in texts)
        return f"{self.name}: made with {stored}, requested {requested}"


def differences(stored: Mapping[str, Any], requested: Mapping[str, Any]) -> list[Difference]:
    """Fields whose values differ, by name; a field that one side lacks counts as None there."""
    return list(_compared("", stored, requested))


def refusal(subject: str, found: Sequence[Difference], advice: str) -> str:
    """The message of a refusal: `subject`, one line for each difference, and what to do next."""
    lines = [f"  {difference}" for difference in found[:_MOST_LINES]]
    if len(found) > _MOST_LINES:
        lines.append(f"  and {len(found) - _MOST_LINES} more")
    return "\n".join([f"{subject}:", *lines, advice])


def _compared(name: str, stored: Any, requested: Any) -> Iterator[Difference]:
    before, now = _fields(stored), _fields(requested)
    if before is None or now is None:
        if stored != requested:
            yield Difference(name=name, stored=stored, requested=requested)
        return
    for field in sorted(before.keys() | now.keys()):
        yield from _compared(f"{name}.{field}" if name else field, before.get(field), now.get(field))


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a mapping, or of a list of mappings by their places; None for anything else."""
    if isinstance(value, list | tuple) and value and all(isinstance(entry, Mapping) for entry in value):
        return {str(place): entry for place, entry in enumerate(value)}
    return dict(value) if isinstance(value, Mapping) else None


def _shortened(text: str, skipped: int) -> str:
    rest = text[skipped:]
    return f"{'…' if skipped else ''}{rest[:_LONGEST_VALUE]}{'…' if len(rest) > _LONGEST_VALUE else ''}"
