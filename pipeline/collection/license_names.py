"""Licences as people name them, with the ids that they get here.

COCO's eight licences have the ids that they have there, whatever their version and however they are spelled. The id of
any other follows from its text alone, so that it stays when a collection grows.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from pipeline.collection.collection import License
from pipeline.collection.spelled_numbers import whole_number
from pipeline.shown import shown

_FAMILIES = {
    "by-nc-sa": (1, "Attribution-NonCommercial-ShareAlike License"),
    "by-nc": (2, "Attribution-NonCommercial License"),
    "by-nc-nd": (3, "Attribution-NonCommercial-NoDerivs License"),
    "by": (4, "Attribution License"),
    "by-sa": (5, "Attribution-ShareAlike License"),
    "by-nd": (6, "Attribution-NoDerivs License"),
}
"""Creative Commons' name of a licence → COCO's id and name."""
_CREATIVE_COMMONS = "https://creativecommons.org"
_LICENSES_OF_CC = f"{_CREATIVE_COMMONS}/licenses/"
_NO_KNOWN = License(id=7, name="No known copyright restrictions", url="https://flickr.com/commons/usage/")
_GOVERNMENT = License(id=8, name="United States Government Work", url="https://www.usa.gov/copyright.shtml")
_FIRST_OWN_ID = 1001
"""Ids of other licences begin here: annotations number theirs from 0 or 1."""
_OWN_ID_BITS = 39
"""As many as keep an id below `MAX_NUMBER`; with 31, ten thousand texts would share an id in 2 of 100 collections."""

_URL_OF_CC = re.compile(
    r"(?:https?:)?(?://)?(?:www\.)?creativecommons\.org/(?:(?P<kind>licenses)/(?P<family>by(?:-nc)?(?:-sa|-nd)?)"
    r"|publicdomain/(?P<domain>zero|mark))(?:/(?P<version>[0-9.]+)(?P<port>/[a-z]{2,3}(?=/|$))?)?(?:[/#?].*)?",
    re.IGNORECASE,
)
_NAME_OF_CC = re.compile(
    r"(?:(?:cc )?(?P<family>by(?: nc)?(?: sa| nd)?|public domain mark|pdm)|cc (?P<zero>0|zero))"
    r"(?: (?P<version>\d) (?P<minor>\d))?"
)
"""A bare 0 is no licence: Flickr numbers "all rights reserved" so, and others what nobody knows."""
_WORDS = (
    ("creative commons", "cc"),
    ("no ?derivatives|no ?derivs", "nd"),
    ("attribution", "by"),
    ("non ?commercial", "nc"),
    ("share ?alike", "sa"),
    (r"licen[sc]es?|international|generic|unported|universal|deed", ""),
    (r"cc0", "cc 0"),
)
_NO_NAME = re.compile(r"[-+]?[0-9]*\.?[0-9]+\.?(e[-+]?[0-9]+)?|\[.*\]|\{.*\}|true|false", re.IGNORECASE | re.DOTALL)
_BEGINS_A_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_name(text: str) -> bool:
    """Can a text be the name or the address of a licence? A number can't, and no list or truth value."""
    text = text.strip()
    return bool(text) and whole_number(text) is None and _NO_NAME.fullmatch(text) is None


def license_named(text: str) -> License:
    """The licence that a name or an address means. Equal licences have equal ids, also in different versions."""
    text = " ".join(text.split())
    by_url = _URL_OF_CC.fullmatch(text)
    if by_url:
        family, domain = (by_url["family"] or "").lower(), (by_url["domain"] or "").lower()
        return _of_family(family, by_url["version"] or "", by_url["port"] or "") if family else _of_domain(domain)
    lower = text.lower()
    if re.fullmatch(r"(https?://)?(www\.)?flickr\.com/commons/usage/?", lower) or lower.startswith(
        "no known copyright"
    ):
        return _NO_KNOWN
    if re.fullmatch(r"(https?://)?(www\.)?usa\.gov/(copyright|government-works).*", lower) or (
        lower.startswith(("united states government work", "us government work", "u.s. government work"))
    ):
        return _GOVERNMENT
    by_name = _NAME_OF_CC.fullmatch(_plain(lower))
    if by_name:
        if by_name["zero"]:
            return _of_domain("zero")
        family = by_name["family"].replace(" ", "-")
        version = f"{by_name['version']}.{by_name['minor']}" if by_name["version"] else ""
        if family in _FAMILIES:
            return _of_family(family, version, "")
        return _of_domain("mark")
    is_url = _BEGINS_A_URL.match(text) is not None
    return License(id=_own_id(text), name="" if is_url else text, url=shown(text) if is_url else "")


def number_licenses(texts: Iterable[str], known: Mapping[int, License]) -> tuple[dict[str, int], dict[int, License]]:
    """Give ids to licences.

    Args:    texts: their names or addresses. known: licences that annotations describe; their ids stay theirs.
    Returns: text → id, and id → licence of those that are not known.
    """
    of_known = {
        license_named(said).id: licence.id for licence in known.values() for said in (licence.name, licence.url) if said
    }
    ids: dict[str, int] = {}
    new: dict[int, set[License]] = defaultdict(set)
    for text in set(texts):
        licence = license_named(text)
        number = of_known.get(licence.id, licence.id)
        if number in known and licence.id not in of_known:
            number = _own_id(licence.url or licence.name)
        ids[text] = number
        if number not in known:
            new[number].add(licence)
    return ids, {number: _as_one(number, licenses) for number, licenses in new.items()}


def _of_family(family: str, version: str, port: str) -> License:
    number, name = _FAMILIES[family]
    url = f"{_LICENSES_OF_CC}{family}/" + (f"{version}{port.lower()}/" if version else "")
    return License(id=number, name=f"{name} {version}".rstrip(), url=url)


def _of_domain(kind: str) -> License:
    url = f"{_CREATIVE_COMMONS}/publicdomain/{kind}/1.0/"
    return License(id=_own_id(url), name="CC0 1.0" if kind == "zero" else "Public Domain Mark 1.0", url=url)


def _as_one(number: int, licenses: Iterable[License]) -> License:
    """One description of licences with one id: those of a family of Creative Commons differ in their versions."""
    ordered = sorted(licenses, key=lambda licence: (licence.name, licence.url))
    if len(ordered) == 1:
        return License(id=number, name=ordered[0].name, url=ordered[0].url)
    families = {licence.url.removeprefix(_LICENSES_OF_CC).split("/")[0] for licence in ordered}
    of_cc = all(licence.url.startswith(_LICENSES_OF_CC) for licence in ordered) and len(families) == 1
    names = " or ".join(dict.fromkeys(licence.name or licence.url for licence in ordered))
    return License(id=number, name=names, url=f"{_LICENSES_OF_CC}{families.pop()}/" if of_cc else "")


def _plain(name: str) -> str:
    """A name in the words that Creative Commons abbreviates: "CC-BY-SA 4.0" becomes "cc by sa 4 0"."""
    plain = " ".join(re.sub(r"[^a-z0-9]+", " ", name).split())
    for words, short in _WORDS:
        plain = re.sub(rf"\b(?:{words})\b", short, plain)
    return " ".join(plain.split())


def _own_id(text: str) -> int:
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()
    return _FIRST_OWN_ID + (int.from_bytes(digest[:8]) >> (64 - _OWN_ID_BITS))
