"""Tables and numbers in Markdown."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def number(value: float | None, form: str = ".4f") -> str:
    """A number in a cell."""
    return "–" if value is None else format(value, form.replace(".", "z.", 1))  # z: no -0.00
