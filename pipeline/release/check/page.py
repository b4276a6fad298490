"""Checks on a page whose texts another version of this tool wrote, so that they can't be compared word for word. Pure.

Whatever such a page says, nothing in it may run but scripts that some version of the tool is known to have had. Its
scripts and styles are known by their digests; the data scripts are calls with JSON; and the HTML has no tag, attribute
or address that the page of this version has not, and allows scripts of the release's own folder only.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from html.parser import HTMLParser

from pipeline.release.page.known import KNOWN_ASSETS

PAGE = "index.html"
_DATA = re.compile(r"(?:certificate|page/(?:release|(?:data|details|audit)-\d{3,}))\.js")
_CALL = re.compile(rb"sodPage\.(?:release|rows|details|certificate|audited)\((.*)\);\n", re.DOTALL)
_ASSET = re.compile(r"page/(?:vendor/)?[A-Za-z.]+\.(?:js|css|svg|txt)")
_EARLIER = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'\"><button aria-expanded aria-controls></button><h3></h3>"
)
"""What pages of earlier versions have, and those of this one lack; also the policy by which they forbid scripts."""
_LEADING = ("a", "link", "meta", "script")
"""Tags whose attributes lead somewhere or change what a browser does."""


def is_asset(name: str) -> bool:
    """Is it a script, style or licence of the page, the same in all releases of one version of this tool?"""
    return _ASSET.fullmatch(name) is not None and not is_data(name)


def is_data(name: str) -> bool:
    """Is it a script that holds the page's data?"""
    return _DATA.fullmatch(name) is not None


def asset_problem(name: str, content: bytes, known: Mapping[str, Collection[str]] | None = None) -> str:
    """Why a file can't be a script or style of the page, "" if one of its versions is known.

    Args: known: file → digests that it has had; those of the page of a release by default.
    """
    if hashlib.sha256(content).hexdigest() in (KNOWN_ASSETS if known is None else known).get(name, ()):
        return ""
    return "is not what any known version of this tool puts into a page"


def data_problem(content: bytes) -> str:
    """Why a script is more than a call of the page with JSON, "" if it is not."""
    call = _CALL.fullmatch(content)
    if call is None or not content.isascii() or b"<" in content:
        return "is more than a call with the page's data"
    try:
        json.loads(call[1], parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return f"is more than a call with the page's data: {error}"
    return ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def html_problems(content: bytes, ours: bytes, files: Collection[str]) -> Iterator[str]:
    """What the HTML of a page has that could load or run anything foreign.

    Args:   ours: the page as this version writes it. files: names of the release's files.
    Raises: ValueError: it is not UTF-8.
    """
    text = content.decode()
    found, expected, earlier = _Tags(text), _Tags(ours.decode()), _Tags(_EARLIER)
    if text.count("<") != found.marks or found.code.strip():
        yield "has comments, scripts or markup within the text"
    known = expected.tags + earlier.tags
    allowed = {(tag, name) for tag, attributes in known for name, _ in (*attributes, ("", ""))}
    values = {(tag, name, value) for tag, attributes in known for name, value in attributes}
    for tag, attributes in found.tags:
        for name, value in (*attributes, ("", "")):
            if (tag, name) not in allowed:
                yield f"has <{_shown(tag)} {_shown(name)}>, which no page has"
            elif name and tag in _LEADING and (tag, name, value) not in values and not _leads_to(name, value, files):
                yield f"has <{tag} {name}={_shown(value)}>, which is not a part of this release"
    policies = [tag for tag in known if ("http-equiv", "Content-Security-Policy") in tag[1]]
    first_script = next((place for place, (tag, _) in enumerate(found.tags) if tag == "script"), len(found.tags))
    if not any(policy in found.tags[:first_script] for policy in policies):
        yield "does not forbid foreign scripts before its first script"


def _leads_to(name: str, value: str, files: Collection[str]) -> bool:
    """Is the attribute a script or style of the page that is in the release? Pages have others with each version."""
    return name in ("src", "href") and value in files and (is_asset(value) or is_data(value))


class _Tags(HTMLParser):
    """All tags of a document with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str]]]] = []
        self.marks = 0
        """Tags, end tags and the declaration: as many as there are "<" in a page."""
        self.code = ""
        """Text within scripts and styles."""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.marks += 1
        self.tags.append((tag, [(name, value or "") for name, value in attrs]))

    def handle_endtag(self, tag: str) -> None:
        self.marks += 1

    def handle_decl(self, decl: str) -> None:
        self.marks += decl.lower() == "doctype html"

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.code += data


def _shown(text: str) -> str:
    return ascii(text)[1:-1][:100]
