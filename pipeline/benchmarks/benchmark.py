"""What every benchmark's module provides, and how its options are checked and its table is begun.

Importing this module is cheap: `sod bench --help` imports every benchmark for its options.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Literal, Protocol

from model.config import at_least

Case = dict[str, Any]
"""The arguments of one measurement; JSON values."""
Result = Mapping[str, Any]
"""What one measurement found; JSON values."""

PlaceKind = Literal["folder", "zip", "tars", "parquet"]
"""Kinds of places that images are measured in; `inputs.packed` makes them."""


class Benchmark(Protocol):
    """The options of a benchmark.

    Its module also has `measure(folder, **case)`, which is called for one case after the other, each in a process of
    its own, and returns the case's `Result`. It imports what it needs when it is called.
    """

    def cases(self) -> list[Case]:
        """The arguments of each measurement."""

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """Lines of Markdown that show the result of every case."""


def arguments_of(options: Any) -> Case:
    """All options, those of nested groups included, as the arguments of one measurement."""
    arguments: Case = {}
    for name in options.__slots__:
        value = getattr(options, name)
        arguments |= arguments_of(value) if is_dataclass(value) else {name: value}
    return arguments


def table_head(*columns: str) -> Iterator[str]:
    """The first two lines of a table."""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)


def at_least_one(options: Any, *names: str) -> None:
    """Refuse options that are below 1, and lists that are empty or hold a number below 1.

    Raises: ValueError: an option is; the message has its name and value.
    """
    for name in names:
        value = getattr(options, name)
        if not isinstance(value, tuple):
            at_least(options, 1, name)
        elif not value or min(value) < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


def not_empty(options: Any, *names: str) -> None:
    """Refuse options that list nothing.

    Raises: ValueError: a list is empty.
    """
    for name in names:
        if not getattr(options, name):
            raise ValueError(f"{name} is (); give at least one")
