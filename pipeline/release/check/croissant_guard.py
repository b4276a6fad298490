"""Vets a stranger's `croissant.json` before mlcroissant reads it; pure.

mlcroissant obeys the document: it downloads addresses, clones repositories, reads any file of this machine, and fetches
the document's own context. A release needs none of that.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline.release.croissant import CONTEXT, FORMATS

_KEY = re.compile(r"@type|@id|[A-Za-z][A-Za-z0-9]*|rai:[A-Za-z]+")
"""With the context fixed, every property has exactly one such name; any other could be a property in disguise."""
_EMBEDDED = ("data", "examples")
_FORMATS = {*FORMATS.values(), "image/jpeg", "image/png"}


def strange_parts(document: Any, sums: Mapping[str, str]) -> Iterator[str]:
    """Parts of the document that could make mlcroissant read anything but the files of the release.

    Args:   sums: file of the release → its SHA-256.
    Raises: RecursionError: the document is nested too deeply.
    """
    if not isinstance(document, dict) or document.get("@context") != CONTEXT:
        yield "its @context is not that of Croissant 1.0"
        return
    yield from _strange({name: value for name, value in document.items() if name != "@context"}, sums)


def with_tars(document: Mapping[str, Any], tars: Collection[str]) -> dict[str, Any]:
    """The document, with its records limited to these tars."""
    distribution = []
    for entry in document["distribution"]:
        if "containedIn" in entry:
            within = [container for container in entry["containedIn"] if container["@id"] in tars]
            entry = {**entry, "containedIn": within}
        distribution.append(entry)
    return {**document, "distribution": distribution}


def _strange(value: Any, sums: Mapping[str, str]) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _strange(item, sums)
    elif isinstance(value, dict):
        for name, item in value.items():
            if not _KEY.fullmatch(name) or name in _EMBEDDED:
                yield f"has {name!r}, which the document of a release never has"
            yield from _strange(item, sums)
        if "encodingFormat" in value and value["encodingFormat"] not in _FORMATS:
            yield f"has files of the format {value['encodingFormat']!r}"
        if "contentUrl" in value and (value["contentUrl"], value.get("sha256")) not in sums.items():
            yield f"names {value['contentUrl']!r}, which is not a file of the release with that sum"
