"""A collection: its images, and what is known of their licences and origins."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.records import Sample

MAX_NUMBER = 10**12 - 1
"""The largest id, width or height of an annotated image: keys have 12 digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """A licence that a collection names; `name` and `url` are "" if it does not give them."""

    id: int
    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whom to attribute an image to, as its entry says; "" where it says nothing."""

    author: str
    source: str
    """The address of a page, or words."""


NOBODY = Origin(author="", source="")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a place says of one of its images, beside its bytes; "" where it says nothing."""

    license: str = ""
    """Name or address of its licence; digits are its id if annotations describe that."""
    license_name: str = ""
    """The name of the licence whose address `license` is, in a column of its own."""
    author: str = ""
    source: str = ""
    """The address of a page, or words."""
    size: tuple[int, int, int] | None = field(default=None, compare=False)
    """Width, height and orientation, if listing the place has shown them; as `pictures.size_in_start`."""


NOTHING_SAID = About()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """All images of a collection in the order of their keys, and the licences it describes.

    A sample's `license_id` is 0 if nothing is said of its licence; `licenses` may lack it.
    """

    samples: tuple[Sample, ...]
    licenses: Mapping[int, License]
    origins: Mapping[str, Origin]
    """Key → origin, of images of which anything is said."""
    has_annotations: bool
    """Are there annotations of things, as `instances.read_instances` reads them?"""
    has_instances: bool
    """Do any of these have an outline?"""
    orientation: str = ""
    """The frame of the annotated sizes, if the annotations state it as `collect.py` does; else ""."""
    name: str = ""
    """What the annotations call it, in one line; "" if they do not say."""
    url: str = ""
    """The address that they give for it."""


def license_of(sample: Sample, licenses: Mapping[int, License]) -> License:
    """The licence of an image; without name and URL if `licenses` does not describe it."""
    return licenses.get(sample.license_id, License(id=sample.license_id, name="", url=""))
