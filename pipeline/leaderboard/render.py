"""Writes a leaderboard as Markdown, LaTeX, CSV and a page."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.errors import CollectionError, ConfigError, RunMismatchError
from pipeline.evaluation.interval_tables import COLUMNS
from pipeline.evaluation.on_release.label_errors import certificate_section, newest
from pipeline.files import local_disk, storage, urls
from pipeline.leaderboard.add import PICTURES
from pipeline.leaderboard.board import ENTRIES, IMAGES, MAPS, Board, Entry, marks_of, read_board
from pipeline.leaderboard.tables import LOWER_IS_BETTER, checked, latex, markdown, ranked, table_csv
from pipeline.preconditions import require_outside, require_target
from pipeline.release.check.release_json import read_release_json
from pipeline.release.newest_certificate import newest_certificate
from pipeline.release.page.data import call
from pipeline.shown import printable

_PAGE = ("index.html", "leaderboard.js", "leaderboard.css")
_PER_IMAGE = ("mae", "s_measure", "iou")
"""Measures by which the page finds the images on which two models differ."""
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Where the files are."""

    page: str
    tables: tuple[str, ...]
    entries: int


def render_board(folder: Path, metric: str, release: str = "") -> Rendered:
    """Write all forms of a board into its folder; what was rendered before is replaced.

    Args:   metric: what entries are sorted by.
            release: folder or URL of the release, whose newest certificate is shown. Without it, the newest that one of
            the entries was evaluated with.
    Raises: CollectionError: there is no board, or it has no entries. ConfigError: there is no such metric.
            RunMismatchError: the board is of another release. StorageError: the certificate is torn.
    """
    if metric not in COLUMNS:
        raise ConfigError(f"--by {metric} is no metric; there are {', '.join(COLUMNS)}")
    board = read_board(folder)
    if not board.entries:
        raise CollectionError(f"{folder} has no entries yet: add one")
    if release:
        require_outside(str(folder), release, "BOARD")
    require_target(folder, "BOARD")
    certificate = _certificate(board, release)
    tables = {
        "leaderboard.md": markdown(board, metric, certificate),
        "leaderboard.tex": latex(board, metric),
        "leaderboard.csv": table_csv(board, metric),
    }
    for name, text in tables.items():
        local_disk.write(folder / name, text.encode())
    own = files("pipeline.leaderboard") / "page"
    for name in _PAGE:
        place = name if name.endswith(".html") else f"page/{name}"
        local_disk.write(folder / place, (own / name).read_bytes())
    local_disk.write(folder / "page/data.js", call("leaderboard", page_data(board, metric, certificate)))
    return Rendered(
        page=str(folder / "index.html"),
        tables=tuple(str(folder / name) for name in tables),
        entries=len(board.entries),
    )


def page_data(board: Board, metric: str, certificate: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page shows."""
    about = board.about
    sentence, explained = checked(board, certificate)
    keys = sorted(path.name.removesuffix(".mask.webp") for path in (board.folder / PICTURES).glob("*.mask.webp"))
    photos = {path.name.removesuffix(".photo.webp") for path in (board.folder / PICTURES).glob("*.photo.webp")}
    return {
        "release": about.release,
        "release_sha256": about.release_sha256,
        "scorer": about.scorer,
        "splits": list(about.splits),
        "images": about.images,
        "missing": about.missing,
        "checked": printable(sentence),
        "explained": explained,
        "metric": metric,
        "columns": [
            {"name": name, "label": label, "lower": name in LOWER_IS_BETTER} for name, label in COLUMNS.items()
        ],
        "keys": keys,
        "photos": [key in photos for key in keys],
        "entries": [_entry(board, entry, keys) for entry in ranked(board.entries, metric)],
    }


def _certificate(board: Board, release: str) -> dict[str, Any] | None:
    """The newest certificate that is known, with what it explains on the images of this board."""
    found, about = newest(*(entry.certificate for entry in board.entries)), board.about
    if release:
        place = urls.absolute(release)
        sha256 = hashlib.sha256(read_release_json(place)).hexdigest()
        if sha256 != about.release_sha256:
            raise RunMismatchError(
                f"--release {release} is another release (SHA-256 {sha256}) than that of the board, {about.release} "
                f"({about.release_sha256})"
            )
        found = newest(found, newest_certificate(place, sha256))
    missing = max(entry.missing for entry in board.entries) if about.missing == "skip" else 0
    return certificate_section(found, max(1, about.images - missing))


def _entry(board: Board, entry: Entry, keys: list[str]) -> dict[str, Any]:
    place = board.folder / ENTRIES / entry.slug
    maps = {path.stem for path in (place / MAPS).glob("*.webp")}
    of_image = _figures(place / IMAGES)
    return {
        "name": entry.name,
        "link": entry.link,
        "trained_on": entry.trained_on,
        "marks": marks_of(entry, board.about),
        "missing": entry.missing,
        "metrics": dict(entry.metrics),
        "intervals": {name: list(found) for name, found in entry.intervals.items()},
        "maps": f"{ENTRIES}/{entry.slug}/{MAPS}",
        "has_map": [key in maps for key in keys],
        "figures": {name: [of_image.get(key, {}).get(name) for key in keys] for name in _PER_IMAGE},
    }


def _figures(path: Path) -> Mapping[str, Mapping[str, float]]:
    """Key → measure → value."""
    if not path.is_file():
        return {}
    rows = pq.read_table(io.BytesIO(storage.read(str(path)))).to_pylist()
    return {
        row["name"]: {name: round(row[name], _DIGITS) for name in _PER_IMAGE if row[name] is not None} for row in rows
    }
