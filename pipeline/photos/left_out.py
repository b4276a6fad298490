"""What is said about files that will not be predicted, before a model is loaded."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import CollectionError
from pipeline.files.formats import WITH_CODEC, codec_advice, format_of
from pipeline.files.pictures import OPENED, supported_in_words
from pipeline.photos.find import MOST_COUNTED, Found, Photo

_log = logging.getLogger(__name__)
_MOST_IGNORED = 1000
"""Ignored files whose beginnings are read, for the log."""
_START_BYTES = 512
_OF_CODECS = (".avif", ".heic", ".heif", ".jp2", ".jxl")
_RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw")
"""Of what cameras write before it is developed; by their first bytes, many of these are TIFFs."""


def log_left_out(named: str, found: Found) -> None:
    """Log which files of a folder are no photos here, and how many photos its subfolders hold."""
    if found.in_subfolders:
        count = f"{found.in_subfolders}{' or more' if found.in_subfolders == MOST_COUNTED else ''}"
        _log.warning("leaving out %s photos in subfolders of %s; --recursive reads them too", count, named)
    if found.ignored:
        _log.info(
            "ignoring %d files whose names are not those of photos: %s; supported are %s",
            len(found.ignored),
            _formats_in_words(Path(named), found.ignored),
            supported_in_words(),
        )


def require_codecs(photos: Sequence[Photo]) -> None:
    """Say which photos nothing installed here can decode, as far as their suffixes make one look at them.

    Raises: CollectionError: these are all photos.
    """
    kinds = [(_kind(photo.path), photo) for photo in photos if photo.path.suffix.lower() in _OF_CODECS]
    lacking = [(kind, photo) for kind, photo in kinds if kind in WITH_CODEC and WITH_CODEC[kind] not in OPENED]
    if not lacking:
        return
    counts = Counter(kind for kind, _ in lacking)
    are = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    advice = ". ".join(codec_advice(kind) for kind in counts)
    said = f"{len(lacking)} of {len(photos)} photos can't be read ({are}; {lacking[0][1].path}, for example). {advice}"
    if len(lacking) == len(photos):
        raise CollectionError(said)
    _log.warning("%s", said)


def _kind(path: Path) -> str:
    """The format of a file by its first bytes; "" if it is not known."""
    try:
        with path.open("rb") as file:
            return format_of(file.read(_START_BYTES))
    except OSError:
        return ""


def _formats_in_words(folder: Path, names: Sequence[str]) -> str:
    """How many files there are of each format, by their first bytes, with an example of each."""
    kinds: dict[str, list[str]] = {}
    for name in names[:_MOST_IGNORED]:
        is_raw = name.lower().endswith(_RAW)
        kind = "raw, to be developed first" if is_raw else _kind(folder / name)
        kinds.setdefault(kind or "of an unknown format", []).append(name)
    return ", ".join(f"{len(found)} {kind} ({found[0]}, for example)" for kind, found in kinds.items())
