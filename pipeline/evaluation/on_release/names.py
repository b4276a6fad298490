"""Gives each image of a release its prediction, by name. Pure.

A prediction is named as `pipeline/release/image_names.py` says, with or without `.mask` or `.saliency` before its
suffix.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.errors import CollectionError
from pipeline.release.image_names import ImageNames, without_suffix

TAGS = (".mask", ".saliency")
_PHOTOS = (".jpg", ".jpeg")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched(Generic[Found]):
    """Predictions by the image that they are of."""

    of: Mapping[str, Found]
    """Key → prediction."""
    surplus: tuple[str, ...] = field(default=())
    """Names that none of these images has, sorted."""


def match(
    found: Iterable[tuple[str, Found]], names: ImageNames, wanted: Set[str], place: str, *, are_keys: bool = False
) -> Matched[Found]:
    """Give each image its prediction.

    If an image has several pictures, as in the tars of a release, the one tagged `.saliency` is its prediction,
    provided that the others are photos or are tagged otherwise.

    Args:   found: names with suffix, and what they name.
            wanted: keys of the images that predictions are looked for. place: names the predictions in messages.
            are_keys: is it known that all names are keys?
    Raises: CollectionError: a name could mean two images, or two predictions are of one image.
    """
    of: defaultdict[str, list[tuple[str, Found]]] = defaultdict(list)
    surplus = []
    found = list(found)
    try:
        keys = names.find({name: spellings(name) for name, _ in found}, wanted, are_keys=are_keys)
    except ValueError as error:
        raise CollectionError(f"{place}: {error}") from error
    for name, prediction in found:
        if name in keys:
            of[keys[name]].append((name, prediction))
        else:
            surplus.append(name)
    return Matched(
        of={key: _only(key, several, place) for key, several in sorted(of.items())}, surplus=tuple(sorted(surplus))
    )


def _only(key: str, several: Sequence[tuple[str, Found]], place: str) -> Found:
    if len(several) > 1:
        tagged = [entry for entry in several if without_suffix(entry[0]).endswith(".saliency")]
        if len(tagged) == 1 and all(_is_no_map(name) for name, _ in several if name != tagged[0][0]):
            return tagged[0][1]
        first, second = sorted(name for name, _ in several)[:2]
        raise CollectionError(
            f"{place}: {first} and {second} are both predictions of {key}; remove one, or give the folder of one model"
        )
    return several[0][1]


def _is_no_map(name: str) -> bool:
    """Is it the photo or the mask of a release's sample?"""
    return name.lower().endswith(_PHOTOS) or without_suffix(name).endswith(".mask")


def spellings(name: str) -> tuple[str, ...]:
    """A name without suffix, and without what tells masks and maps of an image apart."""
    stem = without_suffix(name)
    return tuple(dict.fromkeys((stem, without_tag(stem))))


def without_tag(stem: str) -> str:
    """The name without what tells masks and maps of an image apart."""
    return next((stem.removesuffix(tag) for tag in TAGS if stem.endswith(tag)), stem)
