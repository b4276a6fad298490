"""Which image of a release the name of a file means: of a prediction, or of a mask that somebody has drawn. Pure.

A file is named by its image's key, or as the image's own file in the collection is: by its whole name or without its
suffix, with or without folders. Where the collection's files have names that look like keys, as in a part of COCO whose
images were numbered anew, `000000000139.png` may be either. Then one reading must fit all names that belong together;
guessing name by name would give a mask to another photograph.
"""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.files.formats import IMAGE_SUFFIXES
from pipeline.shown import printable

KEY_MARK = ".key"
"""Before the suffix, it says that a name is a key: 000000000139.key.png."""
_LIKE_A_KEY = re.compile(r"\d{12}", re.ASCII)
_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readings:
    """The images that a name means, as a key and as the name of a file."""

    as_key: frozenset[str]
    as_file: frozenset[str]


class ImageNames:
    """The names that the images of a release go by."""

    def __init__(self, file_names: Mapping[str, str]) -> None:
        """Args: file_names: key → name of the image's file in the collection, of every image of the manifest. Those of
        images that were not accepted tell how a folder is named, and what is of none of the accepted ones.
        """
        self._file_names = file_names
        self._whole = _index((name, key) for key, file in file_names.items() for name in {file, without_suffix(file)})
        self._last = _index((name, key) for key, file in file_names.items() for name in _without_folders(file))
        self._look_alike = any(
            (name in file_names or _LIKE_A_KEY.fullmatch(name)) and any(key != name for key in keys)
            for name, keys in self._last.items()
        )

    def clear_name(self, key: str) -> str:
        """A name without suffix by which no other image can be meant."""
        return f"{key}{KEY_MARK}" if self._look_alike else key

    def may_be_of(self, spellings: Sequence[str]) -> Set[str]:
        """Keys of all images that one name could mean.

        Args: spellings: the name without suffix, in the forms that it may be meant in, the likeliest first.
        """
        readings = self._readings(spellings)
        return readings.as_key | readings.as_file | {key for key in [self._marked(spellings)] if key}

    def find(self, spelled: Mapping[str, Sequence[str]], wanted: Set[str], *, are_keys: bool = False) -> dict[str, str]:
        """Find the images that names mean which belong together: of all files of a folder, or of all images of a JSON.

        Args:    spelled: name → its spellings; see `may_be_of`.
                 wanted: keys of the images that matter.
                 are_keys: is it known that they are keys?
        Returns: name → key of a wanted image; the other names are of none.
        Raises:  ValueError: a name could be of a wanted image, and is unclear; the message names it, and says what to
                 do.
        """
        marked = {name: key for name, spellings in spelled.items() if (key := self._marked(spellings))}
        readings = {name: self._readings(spelled[name]) for name in spelled if name not in marked}
        known = {name: found for name, found in readings.items() if found.as_key or found.as_file}
        if are_keys:
            meant = {name: found.as_key for name, found in known.items()}
        elif self._look_alike:
            meant = self._one_reading(known, wanted, {name: spellings[-1] for name, spellings in spelled.items()})
        else:
            meant = {name: found.as_key | found.as_file for name, found in known.items()}
        for name, keys in meant.items():
            if not _is_clear(keys, wanted):
                raise ValueError(self._of_several(name, keys))
        one = {name: next(iter(keys)) for name, keys in meant.items() if keys} | marked
        return {name: one[name] for name in spelled if one.get(name) in wanted}

    def _readings(self, spellings: Sequence[str]) -> _Readings:
        lasts = [_last(spelling) for spelling in spellings]
        found = [self._whole.get(spelling) for spelling in spellings] + [self._last.get(last) for last in lasts]
        return _Readings(
            as_key=frozenset([last for last in lasts if last in self._file_names][:1]),
            as_file=frozenset(next((keys for keys in found if keys), ())),
        )

    def _marked(self, spellings: Sequence[str]) -> str:
        """The key that a name says to be one; "" if it says none."""
        lasts = [_last(spelling) for spelling in spellings]
        keys = [last.removesuffix(KEY_MARK) for last in lasts if last.endswith(KEY_MARK)]
        return next((key for key in keys if key in self._file_names), "")

    def _one_reading(
        self, known: Mapping[str, _Readings], wanted: Set[str], plain: Mapping[str, str]
    ) -> dict[str, frozenset[str]]:
        """The reading that fits all names, or else the one by which no two names mean the same image.

        Raises: ValueError: both do and differ, or neither does.
        """
        readings = (
            {name: found.as_key for name, found in known.items()},
            {name: found.as_file for name, found in known.items()},
        )
        fitting = [one for one in readings if all(keys and _is_clear(keys, wanted) for keys in one.values())]
        if not fitting:
            raise ValueError(self._of_neither(known, wanted))
        differing = [name for name, found in known.items() if found.as_key & wanted != found.as_file & wanted]
        if len(fitting) == 1 or not differing:
            return fitting[0]
        # With folders: a/000000000002.png and b/000000000002.png have the same key, and are files of two images.
        apart = [one for one in fitting if _tells_apart(one, wanted, plain)]
        if len(apart) != 1:
            raise ValueError(self._of_both(differing[0], known[differing[0]]))
        return apart[0]

    def _of_both(self, name: str, found: _Readings) -> str:
        (key,), of_file = found.as_key, min(found.as_file)
        return (
            f"{_shown(name)} could be of {key}, whose key it is, or of {of_file}, whose file has this name, and all "
            f"other names can be read both ways too. {self._advice(name, key, of_file)}"
        )

    def _of_several(self, name: str, keys: Set[str]) -> str:
        first, second = sorted(keys)[:2]
        return (
            f"{_shown(name)} could be of {first} or of {second}, as images in several folders have this name; "
            f"name such files by the keys of the release: {self._advised(name, first)}"
        )

    def _of_neither(self, known: Mapping[str, _Readings], wanted: Set[str]) -> str:
        for name, found in known.items():
            if not found.as_key and not _is_clear(found.as_file, wanted):
                return self._of_several(name, found.as_file)
        no_key = next(name for name, found in known.items() if not found.as_key)
        no_file = next(
            name for name, found in known.items() if not (found.as_file and _is_clear(found.as_file, wanted))
        )
        (key,), of_file = known[no_file].as_key, min(known[no_key].as_file)
        return (
            f"{_shown(no_file)} is the key of an image and {_shown(no_key)} the name of another one's file, and files "
            f"here have names that look like keys, so neither is clear. {self._advice(no_file, key, of_file)}"
        )

    def _advice(self, name: str, key: str, of_file: str) -> str:
        """How to name files so that each is clear by itself."""
        advice = f"Name those that are keys like this: {self._advised(name, key)}"
        file = _last(self._file_names[of_file])
        if without_suffix(file) != file:
            advice += f". Name those of files with the file's own suffix: {file}{PurePosixPath(name).suffix}"
        return advice

    def _advised(self, name: str, key: str) -> str:
        return f"{self.clear_name(key)}{PurePosixPath(name).suffix}"


def without_suffix(name: str) -> str:
    """The name without the suffix of an image, if it has one."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _last(name: str) -> str:
    """The name without its folders."""
    return name.rpartition("/")[2]


def _without_folders(file: str) -> set[str]:
    """What a file is called in its folder: whole, and without a suffix, of an image or not."""
    last = _last(file)
    return {last, without_suffix(last), last.rpartition(".")[0] or last}


def _index(named: Iterable[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    """Name → keys of all images that have it."""
    found: dict[str, list[str]] = {}
    for name, key in named:
        found.setdefault(name, []).append(key)
    return found


def _is_clear(keys: Set[str], wanted: Set[str]) -> bool:
    """Does a name mean one image, or only such as do not matter?"""
    return len(keys) < 2 or not keys & wanted


def _tells_apart(reading: Mapping[str, Set[str]], wanted: Set[str], plain: Mapping[str, str]) -> bool:
    """Has no wanted image two names? Photo, mask and map of one image have the same plain name."""
    named = {(key, plain[name]) for name, keys in reading.items() for key in keys & wanted}
    return len(named) == len({key for key, _ in named})


def _shown(name: str) -> str:
    return printable(name)[:_SHOWN]
