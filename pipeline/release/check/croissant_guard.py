"""What is looked at in somebody's `croissant.json` before mlcroissant reads it; pure.

mlcroissant does as it is told: it downloads addresses, clones repositories, reads any file of this machine, and fetches
the context of the document itself. A release needs none of that.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline.release.croissant import CONTEXT, FORMATS

_KEY = re.compile(r"@type|@id|[A-Za-z][A-Za-z0-9]*|rai:[A-Za-z]+")
"""With the context fixed, each property has one such name; others could say the same in disguise."""
_EMBEDDED = ("data", "examples")
_FORMATS = {*FORMATS.values(), "image/jpeg", "image/png"}


def strange_parts(document: Any, sums: Mapping[str, str]) -> Iterator[str]:
    """What asks for more than the files of the release, if anything does.

    Args:   sums: file of the release → its SHA-256.
    Raises: RecursionError: it is nested too deeply.
    """
    if not isinstance(document, dict) or document.get("@context") != CONTEXT:
        yield "its @context is not that of Croissant 1.0"
        return
    yield from _strange({name: value for name, value in document.items() if name != "@context"}, sums)


def with_tars(document: Mapping[str, Any], tars: Collection[str]) -> dict[str, Any]:
    """The same document, but records come from these tars only."""
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
                yield f"has {name!r}, which no document of a release has"
            yield from _strange(item, sums)
        if "encodingFormat" in value and value["encodingFormat"] not in _FORMATS:
            yield f"has files of the kind {value['encodingFormat']!r}"
        if "contentUrl" in value and (value["contentUrl"], value.get("sha256")) not in sums.items():
            yield f"names {value['contentUrl']!r}, which is no file of the release with that sum"
