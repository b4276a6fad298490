"""Read flat XML that others wrote: no document type, so no entities; nothing outside the file; little depth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from model.documents import require_small

_DEEPEST = 16
"""CVAT's files have 8 levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An element, and what is directly in it."""

    name: str
    attributes: Mapping[str, str]
    inside: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Names and attributes."""


def elements(content: bytes, *, root: str, of: tuple[str, ...], most_bytes: int) -> Iterator[Element]:
    """Yield the elements of these names that are directly in the root, with what is directly in them.

    Raises: ValueError: it is not XML with that root, is too large or too deep, or has a document type.
    """
    require_small(len(content), most_bytes)
    found = _Found(root, of)
    # Expat calls handlers while it parses, with all that it has read until then: recursion and copies stay small.
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = found.refuse_document_type
    parser.StartElementHandler, parser.EndElementHandler = found.start, found.end
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not XML: {expat.ErrorString(error.code)} (line {error.lineno})") from None
    yield from found.elements


class _Found:
    def __init__(self, root: str, of: tuple[str, ...]) -> None:
        self._root, self._of = root, of
        self._depth = 0
        self._open: Element | None = None
        self.elements: list[Element] = []

    def refuse_document_type(self, *_: object) -> None:
        raise ValueError("it has a document type (DOCTYPE), which no such file needs")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        if self._depth == 1 and name != self._root:
            raise ValueError(f"it begins with another element than {self._root}")
        if self._depth == 2:
            self._open = Element(name=name, attributes=attributes) if name in self._of else None
            self.elements += [self._open] if self._open else []
        elif self._depth == 3 and self._open:
            self._open.inside.append((name, attributes))

    def end(self, _: str) -> None:
        self._depth -= 1
