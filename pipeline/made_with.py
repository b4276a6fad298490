"""Compares what a folder was made with to what is requested, so that two ways of making are never mixed.

Knows nothing about runs, releases or trainings: they say what the folder holds, what to do, and which error it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

_LONGEST_VALUE = 120
_MOST_LINES = 40
_SEPARATOR = ", "


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field that does not have the requested value."""

    name: str
    """Fields within fields are joined by dots, as in `policy.max_variance`."""
    stored: Any
    requested: Any

    def __str__(self) -> str:
        stored, requested, equal = _only_differing(self.stored, self.requested)
        texts = [str(value) or "''" for value in (stored, requested)]
        skipped = left = 0
        if max(map(len, texts)) > _LONGEST_VALUE:
            skipped = _common(*texts)
            left = _common(*(text[skipped:][::-1] for text in texts))
        before, now = (_shortened(text, skipped, left) for text in texts)
        more = f"; {equal} more {'is' if equal == 1 else 'are'} equal" if equal else ""
        return f"{self.name}: made with {before}, requested {now}{more}"


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
    if stored is None and now:  # all of it is missing: name what it has, field by field
        before = {}
    if requested is None and before:
        now = {}
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


def _only_differing(stored: Any, requested: Any) -> tuple[Any, Any, int]:
    """Lists, and texts that are lists with commas, without the entries that both have; and the number of those."""
    if all(isinstance(value, list | tuple) for value in (stored, requested)):
        return _without_equal(list(stored), list(requested))
    if all(isinstance(value, str) and _SEPARATOR in value for value in (stored, requested)):
        before, now, equal = _without_equal(stored.split(_SEPARATOR), requested.split(_SEPARATOR))
        if equal:
            return _SEPARATOR.join(before), _SEPARATOR.join(now), equal
    return stored, requested, 0


def _without_equal(stored: list[Any], requested: list[Any]) -> tuple[list[Any], list[Any], int]:
    before, now = list(stored), list(requested)
    for value in stored:
        if value in now:
            before.remove(value)
            now.remove(value)
    if not before and not now:
        return stored, requested, 0  # only their order differs
    return before, now, len(stored) - len(before)


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _shortened(text: str, skipped: int, left: int) -> str:
    rest = text[skipped : len(text) - left]
    is_cut = len(rest) > _LONGEST_VALUE or left
    return f"{'…' if skipped else ''}{rest[:_LONGEST_VALUE]}{'…' if is_cut else ''}"
