"""Tables and numbers in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.shown import printable


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def number(value: float | None, form: str = ".4f") -> str:
    """A number in a cell."""
    return "–" if value is None else format(value, form.replace(".", "z.", 1))  # z: no -0.00


def all_printable(value: Any) -> Any:
    """The value with every text in it as people may see it: names of files may have been made to confuse."""
    if isinstance(value, Mapping):
        return {name: all_printable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [all_printable(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value
