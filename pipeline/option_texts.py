"""What options say of themselves: name, type, default and text, read from configuration classes and their sources.

`--help`, the file of `--init` and shell completion are made from it. The classes are the only home of all this.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from pipeline.options import section_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of a configuration class or of one of its parts."""

    name: str
    """Name of the field."""
    flag: str
    """Name on the command line, with dashes; that of a place, such as RUN, for what has no name there."""
    wanted: Any
    """Its type."""
    default: Any
    """`dataclasses.MISSING` if the option has to be given."""
    text: str
    """Paragraphs without the source's line breaks."""
    section: str
    """The part that the option belongs to: see `section_of`; empty for the class itself."""
    is_place: bool
    """Given by its place on the command line, without a name."""
    in_file: bool
    """May a file of options have it?"""
    metavar: str
    """What `--help` calls its value; empty: a word for its type."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The values to choose from; empty if there are others."""
        wanted = get_args(self.wanted)[0] if self.takes_many else self.wanted
        return tuple(map(str, get_args(wanted))) if get_origin(wanted) is Literal else ()

    @property
    def takes_many(self) -> bool:
        """Is it a tuple?"""
        return get_origin(self.wanted) is tuple

    @property
    def kind(self) -> type:
        """Type of one value; `str` for choices."""
        wanted = self.wanted
        if isinstance(wanted, UnionType):
            wanted = next(kind for kind in get_args(wanted) if kind is not type(None))
        if self.takes_many:
            wanted = get_args(wanted)[0]
        return wanted if isinstance(wanted, type) else str


def options_of(config: type, section: str = "") -> Iterator[Option]:
    """All options of a configuration class in the order of its fields, those of its parts in their places."""
    for option in fields(config):
        wanted, marks = option.type, list[Any]()
        if get_origin(wanted) is Annotated:
            wanted, *marks = get_args(wanted)
        if is_dataclass(wanted):
            yield from options_of(wanted, section_of(option))  # type: ignore[arg-type]
            continue
        default = option.default_factory() if option.default_factory is not MISSING else option.default
        # Annotations of tyro: one says that an option has no name, others give names.
        is_place = any("Positional" in repr(mark) for mark in marks)
        name, metavar = (
            next((word for mark in marks if (word := getattr(mark, given, None))), "") for given in ("name", "metavar")
        )
        yield Option(
            name=option.name,
            flag=(metavar or option.name.upper()) if is_place else (name or option.name).replace("_", "-"),
            wanted=wanted,
            default=default,
            text=_texts(config).get(option.name, ""),
            section=section,
            is_place=is_place,
            in_file=not marks,  # see `read_toml`
            metavar=metavar,
        )


def about(config: type) -> str:
    """The text of a configuration class, in paragraphs without the source's line breaks."""
    return joined(config.__doc__ or "")


def part(config: type, section: str) -> type:
    """The class of a part.

    Raises: KeyError: the class has no such part.
    """
    found = {section_of(option): option.type for option in fields(config) if is_dataclass(option.type)}[section]
    return found  # type: ignore[return-value]


def joined(text: str) -> str:
    """A text whose paragraphs are one line each; lines that are set in, as in lists, stay lines."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines: list[str] = []
        for line in paragraph.split("\n"):
            if lines and not line.startswith(" ") and not lines[-1].startswith(" "):
                lines[-1] += f" {line}"
            else:
                lines.append(line)
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


@cache
def _texts(config: type) -> dict[str, str]:
    """What stands below a field, or behind it as a comment; fields of base classes too."""
    texts: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(kind))
        except (OSError, TypeError):  # made at run time, or built in: its bases have the texts
            continue
        (definition,) = ast.parse(source).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                texts[statement.target.id] = joined(_below(following) or _behind(statement, source))
    return texts


def _below(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value)
    return ""


def _behind(statement: ast.stmt, source: str) -> str:
    """The comment as a sentence, for it stands among sentences in `--help`."""
    line = source.splitlines()[(statement.end_lineno or 1) - 1].encode()[statement.end_col_offset :].decode()
    said = line.partition("# ")[2]
    return f"{said[0].upper()}{said[1:]}{'' if said[-1] in '.?!' else '.'}" if said else ""
