"""The licence fields of a COCO annotation JSON, as tools write them.

Ids as digits or as 1.0, a licence by its name or address, an empty list of licences: what has one plain meaning is
read. Anything else is remarked, and its licence is 0, "nothing is said", for it costs no image.
"""

import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.collection.collection import MAX_NUMBER, License
from pipeline.collection.license_names import number_licenses
from pipeline.collection.spelled_numbers import whole_number
from pipeline.shown import shown, text_as_utf8

_LONGEST = 2000


@dataclass(slots=True, kw_only=True)
class Licensing:
    """The licences that annotations describe, and what was wrong with their licence fields."""

    licenses: dict[int, License] = field(default_factory=dict)
    unclear: set[int] = field(default_factory=set)
    """Ids of which several descriptions are given."""
    left_out: list[str] = field(default_factory=list)
    """Descriptions of licences that can't be used."""
    unread: Counter[str] = field(default_factory=Counter)
    """Value in the field of an image → images; they have licence 0."""
    example: int = 0
    """Id of the first of these images."""
    named: dict[str, int] = field(default_factory=dict)
    """Name or address of a licence, as images have it → id."""

    def id_of(self, value: object, image_id: int) -> int:
        """The id of an image's licence; 0 if its field does not say it."""
        value = _alone(value)
        number = (
            self.named[value] if isinstance(value, str) and (value := text_as_utf8(value)) in self.named else _id(value)
        )
        if number is not None and number not in self.unclear:
            return number
        if value not in (None, "", []):
            self.example = self.example if self.unread else image_id
            self.unread[reprlib.repr(value)] += 1
        return 0

    def remarks(self) -> Iterator[str]:
        """What was not read, for the log."""
        if self.left_out:
            yield f"{len(self.left_out)} licences can't be used and are left out: {'; '.join(self.left_out[:3])}"
        if self.unread:
            yield says_nothing(self.unread, self.example)


def says_nothing(values: Counter[str], example: object) -> str:
    """The remark on licence fields that were not read. Args: values: what they have → images. example: an image."""
    most = ", ".join(value for value, _ in values.most_common(3))
    return (
        f"{values.total()} images have a `license` that says nothing ({most}; image {example}, for example), so their "
        "licence is 0, unknown"
    )


def licensing_of(document: Mapping[str, Any]) -> Licensing:
    """Read the licences that a document describes; those of its images are still to be read."""
    found = Licensing()
    entries = document.get("licenses")
    if entries is not None and not isinstance(entries, list):
        if entries:
            found.left_out.append(f"`licenses` is {reprlib.repr(entries)}, not a list")
        entries = []
    for index, entry in enumerate(entries or []):
        number = _id(entry.get("id")) if isinstance(entry, dict) else None
        if number is None:
            if _says_something(entry):
                found.left_out.append(f"licenses[{index}] has {_what_id(entry)}")
            continue
        licence = License(id=number, name=_text(entry.get("name")), url=shown(_text(entry.get("url"))))
        if found.licenses.setdefault(number, licence) != licence:
            found.unclear.add(number)
            found.left_out.append(f"licenses[{index}] has the id {number} of {found.licenses[number].name!r}")
    for number in found.unclear:
        del found.licenses[number]
    found.named, new = number_licenses(_names(document.get("images")), found.licenses)
    found.licenses |= new
    return found


def _names(entries: object) -> Iterator[str]:
    """What images have in place of an id: names and addresses of licences."""
    for entry in entries if isinstance(entries, list) else []:
        value = _alone(entry.get("license")) if isinstance(entry, dict) else None
        if isinstance(value, str) and 0 < len(value.strip()) < _LONGEST and whole_number(value) is None:
            yield text_as_utf8(value)


def _alone(value: object) -> object:
    """The value, or the only one in a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _id(value: object) -> int | None:
    number = None if isinstance(value, bool) else whole_number(value)
    return number if number is not None and 0 <= number <= MAX_NUMBER else None


def _what_id(entry: object) -> str:
    """What is wrong with the id of a description."""
    value = entry.get("id") if isinstance(entry, dict) else None
    if value in (None, ""):
        return f"no id: {reprlib.repr(entry)}"
    if isinstance(value, bool) or whole_number(value) is None:
        return f"the id {reprlib.repr(value)}, which is no whole number"
    return f"the id {reprlib.repr(value)}; ids go from 0 to {MAX_NUMBER}"


def _text(value: object) -> str:
    return text_as_utf8(value) if isinstance(value, str) else ""


def _says_something(entry: object) -> bool:
    return any(entry.values()) if isinstance(entry, dict) else bool(entry)
