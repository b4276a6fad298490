"""The folder of a leaderboard, and what may enter it: results on the same images, by the same scorer.

BOARD/board.json                 which release, scorer and images; the first entry decides
BOARD/entries/NAME/entry.json    a model's figures, written last; entries are added, never changed
BOARD/entries/NAME/images.parquet  its figures image by image
BOARD/entries/NAME/maps/…        its maps, small, of the images that the page shows
BOARD/pictures/…                 those images and their masks, small
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from model.documents import parse_object, read_document
from pipeline.errors import CollectionError, ConfigError, ReleaseExistsError, RunMismatchError
from pipeline.evaluation.on_release.label_errors import certificate_of
from pipeline.files import local_disk
from pipeline.files.tars import encode_json
from pipeline.leaderboard.collection_names import is_named
from pipeline.made_with import differences, refusal
from pipeline.passes.witness.test_sets import mentions_in
from pipeline.release.certified import StatedCertificate

BOARD, ENTRIES, ENTRY, IMAGES, MAPS = "board.json", "entries", "entry.json", "images.parquet", "maps"
FORMAT = 1
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")
_LINK = re.compile(r"https?://[^\s<>\"']{1,500}")
_LONGEST_NAME, _LONGEST_TEXT = 80, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardAbout:
    """What all entries of a board have in common."""

    release: str
    """Name and version."""
    release_sha256: str
    """Of its `release.json`."""
    weights: str
    """Digest of the weights that predicted the release's masks; "" if unknown."""
    splits: tuple[str, ...]
    images: int
    truths: str
    """Digest of the masks."""
    missing: str
    """What counts for an image without a prediction: `worst` or `skip`."""
    scorer: str
    """Digest of metrics, conventions and library versions."""
    collection: str = ""
    """What the images are from, such as "COCO": models trained on it are marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model's figures."""

    name: str
    link: str
    """Address of its paper or code; "" if there is none."""
    trained_on: str
    """What it was trained on, in its authors' words; "" if nobody knows."""
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]
    missing: int
    """Images without a usable prediction."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """What is known of the model and its settings."""
    result_sha256: str
    """Of the `evaluation.json` that it is from."""
    certificate: StatedCertificate | None = None
    """The newest one that the release had when it was evaluated."""

    @property
    def slug(self) -> str:
        """The name as the name of a folder."""
        return slug_of(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A leaderboard."""

    folder: Path
    about: BoardAbout
    entries: tuple[Entry, ...]
    """By name."""


def slug_of(name: str) -> str:
    """The name of an entry's folder: small letters, digits and dashes, and a digest if they do not say all."""
    plain = _NOT_IN_SLUG.sub("-", name.casefold()).strip("-")
    return plain if plain == name else f"{plain[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def check_entry(entry: Entry) -> None:
    """Raises: ConfigError: a text is too long, has control characters, or is no address."""
    _require_line("--name", entry.name, _LONGEST_NAME)
    _require_line("--trained-on", entry.trained_on, _LONGEST_TEXT)
    if not entry.name.strip():
        raise ConfigError("--name is empty: give the model's name")
    if entry.link and not (_LINK.fullmatch(entry.link) and entry.link.isprintable()):
        raise ConfigError(f"--link {entry.link[:100]!r} is no address that begins with http:// or https://")


def read_board(folder: Path) -> Board:
    """Read a leaderboard.

    Raises: CollectionError: there is none, or a file of it is malformed.
    """
    place = folder / BOARD
    if not place.is_file():
        raise CollectionError(f"{folder} is no leaderboard: it has no {BOARD}. `add` begins one")
    about = _read(place, BoardAbout)
    entries = [_read(path, Entry) for path in sorted(folder.glob(f"{ENTRIES}/*/{ENTRY}"))]
    return Board(folder=folder, about=about, entries=tuple(sorted(entries, key=lambda entry: entry.name)))


def require_fit(folder: Path, about: BoardAbout, entry: Entry) -> bool:
    """Check that an entry may be added to a board.

    Args:    about: of its result; without a collection, the board's counts.
    Returns: is it there already, with the same figures?
    Raises:  RunMismatchError: the result is of another release, scorer, number of images or collection.
             ReleaseExistsError: the board has an entry of this name with other figures. CollectionError: the folder is
             something else. ConfigError: as `check_entry`, of the collection too.
    """
    check_entry(entry)
    _require_line("--collection", about.collection, _LONGEST_TEXT)
    if not (folder / BOARD).is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CollectionError(f"{folder} is not empty and no leaderboard: give another --board")
        return False
    board = read_board(folder)
    if found := differences(_stored(board.about), _stored(replace(about, collection=board.about.collection))):
        raise RunMismatchError(
            refusal(f"the result can't be compared with those in {folder}", found, "Evaluate it as the others were")
        )
    if about.collection not in ("", board.about.collection):
        begun = f"with {board.about.collection}" if board.about.collection else "without one"
        raise RunMismatchError(
            f"--collection {about.collection}: {folder} was begun {begun}. Leave it out: what was said with the first "
            "result holds for all"
        )
    there = next((known for known in board.entries if known.slug == entry.slug), None)
    if there is None:
        return False
    if found := differences(_figures(there), _figures(entry)):
        raise ReleaseExistsError(
            refusal(f"{folder} has other figures of {entry.name}", found, "Entries never change: give another --name")
        )
    return True


def begin_board(folder: Path, about: BoardAbout) -> None:
    """Write the board's own file, if this is the first entry."""
    if not (folder / BOARD).is_file():
        local_disk.make_folders(folder)
        local_disk.create_whole(folder / BOARD, encode_json({"format": FORMAT, **_stored(about)}))


def write_entry(folder: Path, entry: Entry, files: Mapping[str, bytes]) -> None:
    """Write an entry; its figures come last.

    Args: files: name relative to the entry → content.
    """
    place = folder / ENTRIES / entry.slug
    for name, content in files.items():
        local_disk.write(place / name, content)
    local_disk.write(place / ENTRY, encode_json({"format": FORMAT, **_stored(entry)}))


def marks_of(entry: Entry, about: BoardAbout) -> list[str]:
    """What a reader has to know before she compares an entry with others."""
    found = []
    if about.weights and entry.made_with.get("weights") == about.weights:
        found.append("its weights predicted the masks of this release")
    if is_named(about.collection, entry.trained_on):
        found.append(f"trained on images of this collection ({about.collection})")
    if mentioned := mentions_in(entry.trained_on):
        found.append(f"trained on test sets of the field: {', '.join(map(str, mentioned))}")
    if not entry.trained_on.strip():
        found.append("nobody says what it was trained on")
    return found


def _require_line(option: str, text: str, longest: int) -> None:
    if not text.isprintable() or len(text) > longest:
        raise ConfigError(f"{option} {text[:40]!r}: give one line of at most {longest} characters")


def _stored(value: BoardAbout | Entry) -> dict[str, Any]:
    stored: dict[str, Any] = parse_object(encode_json(asdict(value)))  # tuples become lists
    return stored


def _figures(entry: Entry) -> dict[str, Any]:
    """What never changes: the release may get a certificate between two evaluations with the same figures."""
    return {name: value for name, value in _stored(entry).items() if name not in ("result_sha256", "certificate")}


def _read(path: Path, kind: type[Any]) -> Any:
    try:
        stored = parse_object(read_document(path))
        if stored.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        if "certificate" in stored:
            stored["certificate"] = certificate_of(stored["certificate"])
        found = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()})
        if isinstance(found, Entry):
            check_entry(found)
            {name: (float(low), float(high)) for name, (low, high) in found.intervals.items()}
        return found
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CollectionError(f"{path} is malformed: {type(error).__name__}: {str(error)[:200]}") from error
