"""Adds the result of `sod evaluate --release` to a leaderboard."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.config import MAX_IMAGE_PIXELS
from model.documents import parse_object
from pipeline.errors import CollectionError, RunMismatchError, UsageError
from pipeline.evaluation.on_release.label_errors import certificate_of
from pipeline.evaluation.on_release.predictions import find_predictions
from pipeline.evaluation.on_release.truths import read_truths
from pipeline.evaluation.report import FORMAT as EVALUATION_FORMAT
from pipeline.files import local_disk, storage, urls
from pipeline.leaderboard.board import (
    ENTRIES,
    IMAGES,
    MAPS,
    BoardAbout,
    Entry,
    begin_board,
    check_entry,
    require_fit,
    write_entry,
)
from pipeline.leaderboard.pictures import pictured, pictures_of_maps, pictures_of_release
from pipeline.preconditions import require_outside, require_target
from pipeline.progress.stages import say, stage
from pipeline.progress.words import amount
from pipeline.release.certified import StatedCertificate
from pipeline.release.image_names import ImageNames
from pipeline.release.opened import open_release

PICTURES = "pictures"
_PER_IMAGE = ("name", "mae", "s_measure", "weighted_f", "max_f", "max_e", "iou", "unusable")
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """An entry that is in the board now."""

    board: str
    entry: str
    """Its folder, relative to the board."""
    is_new: bool
    """False: the board had it already."""


def add_result(
    result: Path,
    board: Path,
    *,
    name: str,
    release: str = "",
    link: str = "",
    trained_on: str = "",
    collection: str = "",
) -> Added:
    """Add an evaluation to a board; the first entry begins it. The same result again adds nothing.

    Args:   result: folder of an evaluation of a release, or its evaluation.json.
            release: folder or URL of the release, if it has moved since.
            collection: what the images of the release are from; the first entry decides.
    Raises: CollectionError: there is no evaluation, or the board is something else. UsageError: it is not of a release.
            RunMismatchError, ReleaseExistsError: see `require_fit`. StorageError: a file is torn.
    """
    require_target(board, "--board")
    folder = result.parent if result.name == "evaluation.json" else result
    content, document = _evaluation(folder)
    stated = document["release"]
    if not stated:
        raise UsageError(
            f"{folder} is an evaluation of a folder of masks: evaluate with --release, then add the result"
        )
    entry = Entry(
        name=name,
        link=link,
        trained_on=trained_on or document["made_with"].get("trained_on", ""),
        metrics=document["metrics"],
        intervals={metric: (low, high) for metric, (low, high) in document["intervals"].items()},
        missing=len(stated["missing"]) + len(stated["unusable"]),
        made_with=document["made_with"],
        result_sha256=hashlib.sha256(content).hexdigest(),
        certificate=_certificate(folder, stated),
    )
    check_entry(entry)
    release = release or str(document["settings"]["masks"])
    require_outside(str(board), release, "--board")
    opened = open_release(urls.absolute(release))
    if opened.sha256 != stated["release_json_sha256"]:
        raise RunMismatchError(
            f"{release} is another release now (SHA-256 {opened.sha256}) than {folder} was evaluated on: evaluate again"
        )
    about = BoardAbout(
        release=opened.title,
        release_sha256=opened.sha256,
        weights=opened.stated.made_with.get("weights", ""),
        splits=tuple(stated["splits"]),
        images=stated["images"],
        truths=document["truths_sha256"] if stated["missing_counts_as"] == "worst" else "",
        missing=stated["missing_counts_as"],
        scorer=document["scorer"]["digest"],
        collection=collection,
    )
    if require_fit(board, about, entry):
        say(f"{board} has this result already")
        return Added(board=str(board), entry=f"{ENTRIES}/{entry.slug}", is_new=False)
    table = _images(folder)
    keys = pictured(key for key, row in opened.rows.items() if row["split"] in about.splits)
    begin_board(board, about)
    there = {path.name for path in (board / PICTURES).glob("*.mask.webp")}
    if not {f"{key}.mask.webp" for key in keys} <= there:
        with stage(f"making small pictures of {amount(len(keys), 'images')}"):
            for place, picture in pictures_of_release(opened, keys).items():
                local_disk.write(board / PICTURES / place, picture)
    write_entry(board, entry, {IMAGES: table, **_maps(document, release, about, keys)})
    say(f"{name} is in {board}; render the board to see it")
    return Added(board=str(board), entry=f"{ENTRIES}/{entry.slug}", is_new=True)


def _evaluation(folder: Path) -> tuple[bytes, Mapping[str, Any]]:
    place = folder / "evaluation.json"
    if not place.is_file():
        raise CollectionError(f"{folder} has no evaluation.json: give the --out of sod evaluate")
    content = storage.read(str(place), _MOST_BYTES)
    try:
        document = parse_object(content, most_bytes=_MOST_BYTES)
        if document["format"] != EVALUATION_FORMAT:
            raise ValueError("an earlier version of the project made it; evaluate again")
    except (ValueError, KeyError) as error:
        raise CollectionError(f"{place} can't be read: {error}") from error
    return content, document


def _certificate(folder: Path, stated: Mapping[str, Any]) -> StatedCertificate | None:
    try:
        return certificate_of(stated.get("certificate"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CollectionError(f"the certificate in {folder}/evaluation.json is malformed ({error})") from error


def _images(folder: Path) -> bytes:
    """The evaluation's figures image by image, without curves."""
    try:
        table = pq.read_table(io.BytesIO(storage.read(str(folder / "images.parquet"), _MOST_BYTES)))
        buffer = io.BytesIO()
        pq.write_table(table.select(list(_PER_IMAGE)), buffer, compression="zstd")
    except (pa.ArrowException, KeyError, OSError) as error:
        raise CollectionError(f"{folder}/images.parquet can't be read ({error}): evaluate again") from error
    return buffer.getvalue()


def _maps(document: Mapping[str, Any], release: str, about: BoardAbout, keys: list[str]) -> dict[str, bytes]:
    """Small pictures of the predictions; none if they are gone."""
    place = str(document["settings"]["maps"])
    if not Path(place).exists():
        return {}
    truths = read_truths(release, about.splits)
    rows = truths.rows()
    names, ids = ImageNames(truths.opened.file_names), {row["image_id"]: key for key, row in rows.items()}
    found = find_predictions(place, names, truths.masks, ids)
    pictures = pictures_of_maps(found.of, keys, MAX_IMAGE_PIXELS)
    return {f"{MAPS}/{name}": content for name, content in pictures.items()}
