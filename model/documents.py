"""Read JSON, TOML and YAML that others wrote: within bounds, and without a word of it in any message.

A file may not be what was asked for (`--config /etc/shadow`), so errors say where a document is wrong, and never what
stands there. Light to import.
"""

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MOST_BYTES = 64 << 20  # 64 MiB: a release of 100,000 files describes itself in 20
_NESTING = re.compile(r"[\[\]{}]")
_OPENING = "[{"
_NESTING_LINE = re.compile(r"^ *(?:[-?] )+", re.MULTILINE)
DEEPEST = 64
LARGEST_NUMBER = 10**100
_SAID_FIRST = re.compile(r"[A-Z][a-z]+(?: [a-z/]+| '[=\]}\\,]')*")
"""The beginning of a parser's message, in which it quotes nothing."""


class DocumentError(ValueError):
    """A text is not the document it should be, or is beyond the bounds; the message quotes nothing of it."""


def read_document(file: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a local file that is to be parsed.

    Raises: DocumentError: it is larger. OSError: it can't be read.
    """
    with file.open("rb") as stream:
        content = stream.read(most_bytes + 1)
    require_small(len(content), most_bytes)
    return content


def parse_json(
    content: bytes,
    keep: Callable[[dict[str, Any]], Any] | None = None,
    *,
    most_bytes: int = MOST_BYTES,
    finite: bool = True,
) -> Any:
    """The value of a JSON document.

    Args:   keep: called with every object as soon as it is read; returns what replaces it.
            finite: refuse NaN and infinities, which no JSON should have.
    Raises: DocumentError: it is not JSON, too large or nested too deeply, or has a number that is too large.
    """
    require_small(len(content), most_bytes)
    try:
        value = json.loads(content, object_hook=keep)
    except json.JSONDecodeError as error:
        raise DocumentError(f"not JSON: {_said(error.msg)} (line {error.lineno}, column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise DocumentError(f"not JSON: no UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise DocumentError(_too_deep()) from None
    except ValueError:  # Python refuses to read numbers of more than 4,300 digits
        raise DocumentError("it has a number of too many digits") from None
    _require_bounded(value, finite)
    return value


def parse_object(content: bytes, **options: Any) -> dict[str, Any]:
    """The value of a JSON document that is an object; see `parse_json`.

    Raises: DocumentError: as `parse_json`; or it is something else.
    """
    value = parse_json(content, **options)
    if not isinstance(value, dict):
        raise DocumentError(f"a JSON object is needed, found {type(value).__name__}")
    return value


def parse_toml(content: bytes, most_bytes: int = 1 << 20) -> dict[str, Any]:
    """The tables and values of a TOML document.

    Raises: DocumentError: it is not TOML, too large or nested too deeply, or has a number that is too large.
    """
    require_small(len(content), most_bytes)
    try:
        value = tomllib.loads(content.decode())
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at [a-z0-9 ,]+\)$", str(error))
        raise DocumentError(f"not TOML: {_said(str(error))} {place[0] if place else ''}".rstrip()) from None
    except UnicodeDecodeError as error:
        raise DocumentError(f"not TOML: no UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise DocumentError(_too_deep()) from None
    except ValueError:
        raise DocumentError("it has a number of too many digits") from None
    _require_bounded(value, finite=False)  # TOML has nan and inf; who reads a number knows its range
    return value


def parse_yaml(text: str, most_bytes: int = 1 << 20) -> Any:
    """The value of a YAML document of plain values, without aliases: a few lines of them can stand for gigabytes.

    Raises: DocumentError: it is not YAML, has an alias, is too large or nested too deeply, or has a number that is too
            large.
    """
    import yaml

    require_small(len(text), most_bytes)
    _require_few_openings(text)
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise DocumentError("it has a YAML alias, which no document here needs")
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise DocumentError(f"not YAML{f' (line {mark.line + 1}, column {mark.column + 1})' if mark else ''}") from None
    except RecursionError:
        raise DocumentError(_too_deep()) from None
    except DocumentError:
        raise
    except (ValueError, OverflowError):
        raise DocumentError("it has a number or date that can't be read") from None
    _require_bounded(value, finite=True)
    return value


def _require_few_openings(text: str) -> None:
    """Refuse what opens many things inside each other: PyYAML takes 2 ms for each, 400 s for 200 KB of "["."""
    open_now = 0
    for found in _NESTING.finditer(text):
        open_now += 1 if found[0] in _OPENING else -1
        if open_now > DEEPEST:
            raise DocumentError(_too_deep())
    if any(len(found[0]) > 2 * DEEPEST for found in _NESTING_LINE.finditer(text)):
        raise DocumentError(_too_deep())


def require_small(found_bytes: int, most_bytes: int) -> None:
    """Refuse a document by its size.

    Raises: DocumentError: it has more than `most_bytes`.
    """
    if found_bytes > most_bytes:
        raise DocumentError(f"it has more than {most_bytes:,} bytes, and no such document needs as many")


def _require_bounded(value: Any, finite: bool) -> None:
    """Walk level by level: recursion is what deep nesting attacks."""
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        for item in level:
            if isinstance(item, int) and abs(item) > LARGEST_NUMBER:
                raise DocumentError("it has a number of too many digits")
            if finite and isinstance(item, float) and not math.isfinite(item):
                raise DocumentError("it has a number that is not finite")
        level = [inner for item in level if isinstance(item, dict | list) for inner in _inside(item)]
        if not level:
            return
    raise DocumentError(_too_deep())


def _inside(item: Any) -> Iterator[Any]:
    yield from item.values() if isinstance(item, dict) else item


def _too_deep() -> str:
    return f"it is nested more than {DEEPEST} levels deep"


def _said(message: str) -> str:
    found = _SAID_FIRST.match(message)
    return found[0] if found else "malformed"
