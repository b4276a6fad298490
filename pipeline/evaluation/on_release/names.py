"""Which image of a release a prediction is of, by its name. Pure.

A prediction is named by its image's key, by the file name that the image has in its collection, or by the stem of that
name; with or without folders, and with or without `.mask` or `.saliency` before its suffix.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Generic, TypeVar

from pipeline.errors import CollectionError
from pipeline.files.formats import IMAGE_SUFFIXES

TAGS = (".mask", ".saliency")
_PHOTOS = (".jpg", ".jpeg")
Found = TypeVar("Found")


class Names:
    """The names that the images of a release go by."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Args: rows: key → row of the manifest."""
        self._whole: defaultdict[str, set[str]] = defaultdict(set)
        self._last: defaultdict[str, set[str]] = defaultdict(set)
        for key, row in rows.items():
            for name in {key, row["file_name"], without_suffix(row["file_name"])}:
                self._whole[name].add(key)
                self._last[PurePosixPath(name).name].add(key)

    def keys_of(self, name: str) -> set[str]:
        """Keys of the images that a prediction's name means; its folders count if they are those of a file name.

        Args: name: path of the prediction's file or member, with its suffix.
        """
        stem = without_suffix(name)
        for plain in dict.fromkeys((stem, without_tag(stem))):
            if found := self._whole.get(plain):
                return found
        for plain in dict.fromkeys((stem, without_tag(stem))):
            if found := self._last.get(PurePosixPath(plain).name):
                return found
        return set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched(Generic[Found]):
    """Predictions by the image that they are of."""

    of: Mapping[str, Found]
    """Key → prediction."""
    surplus: tuple[str, ...] = field(default=())
    """Names that no image has, sorted."""


def match(found: Iterable[tuple[str, Found]], names: Names, place: str) -> Matched[Found]:
    """Give each image its prediction.

    If an image has several pictures, as in the tars of a release, the one tagged `.saliency` is its prediction,
    provided that the others are photos or are tagged otherwise.

    Args:   found: names with suffix, and what they name.
            place: names the predictions in messages.
    Raises: CollectionError: a name could mean two images, or two predictions are of one image.
    """
    of: defaultdict[str, list[tuple[str, Found]]] = defaultdict(list)
    surplus = []
    for name, prediction in found:
        keys = sorted(names.keys_of(name))
        if len(keys) > 1:
            raise CollectionError(
                f"{place}: {name} could be of {keys[0]} or of {keys[1]}, as images in several folders have this name; "
                "name the predictions by the keys of the release"
            )
        if keys:
            of[keys[0]].append((name, prediction))
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


def without_suffix(name: str) -> str:
    """The name without the suffix of an image, if it has one."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def without_tag(stem: str) -> str:
    """The name without what tells masks and maps of an image apart."""
    return next((stem.removesuffix(tag) for tag in TAGS if stem.endswith(tag)), stem)
