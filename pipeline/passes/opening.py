"""Begins a score pass, or goes on with one that was begun with the same: nothing else is gone on with.

A `pass.json` that is damaged or lost is written anew if the pass's records prove the request: each carries its digest.
"""

import logging
from collections.abc import Sequence

from pipeline.errors import ConfigError, RunMismatchError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.made_with import differences, refusal
from pipeline.passes.folder import (
    PassDocument,
    document_url,
    is_begun,
    pass_folder,
    passes_of,
    read_document,
)
from pipeline.runs.commits import committed_shards, read_shard_record
from pipeline.selection.columns import Column, table_with
from pipeline.selection.combination import NAME as COMBINATION

log = logging.getLogger(__name__)


def open_pass(run: str, name: str, document: PassDocument, accept: Sequence[str] = ()) -> PassDocument:
    """Begin a pass, or go on with one that was begun with the same.

    Args:    accept: fields of the fingerprint that may differ.
    Returns: the document that counts.
    Raises:  RunMismatchError: the pass was made with something else; names each field with both values.
             ConfigError: another pass of the run, or a score of every run, has a column of the same name.
    """
    refuse_other(run, name, document, accept)
    if is_begun(run, name) and not _is_unproven(run, name, document):
        return read_document(run, name)
    if storage.create(document_url(run, name), encode_json(document.stored())):
        return document
    log.warning("%s was damaged; wrote what is requested now, which no record contradicts", document_url(run, name))
    storage.publish(document_url(run, name), encode_json(document.stored()))
    return document


def refuse_other(run: str, name: str, document: PassDocument, accept: Sequence[str] = ()) -> None:
    """Refuse what `open_pass` would refuse; writes nothing, so that a refused pass leaves no folder.

    Args, Raises: as `open_pass`.
    """
    if not is_begun(run, name) or _is_unproven(run, name, document):
        _refuse_taken_columns(run, name, document.columns)
        _require_proven(run, name, document)
        return
    begun = read_document(run, name)
    found = differences({"pass": begun.kind, **begun.fingerprint}, {"pass": document.kind, **document.fingerprint})
    if refused := [difference for difference in found if difference.name not in accept]:
        raise RunMismatchError(
            refusal(
                f"{pass_folder(run, name)} holds a pass that was made with something else",
                refused,
                "Request what it was made with, give it another --name, or remove that folder",
            )
        )


def _is_unproven(run: str, name: str, document: PassDocument) -> bool:
    """Is `pass.json` damaged, so that the records may prove what it held?

    It is if it can't be read, and if all records were made with what is requested now and it says something else.
    """
    try:
        begun = read_document(run, name)
    except StorageUnavailableError:
        raise
    except StorageError:
        return True
    return begun.digest != document.digest and set(_claims(run, name)) == {document.digest}


def _require_proven(run: str, name: str, document: PassDocument) -> None:
    """Scores that were made with something unknown are not gone on with.

    Raises: RunMismatchError: the pass has records of something else than is requested.
    """
    others = [claim for claim in _claims(run, name) if claim != document.digest]
    if others:
        raise RunMismatchError(
            f"{document_url(run, name)} is damaged or missing, and {len(others)} shards of the pass were made with "
            f"something else than is requested now: their records carry {others[0][:16]}…, the request has "
            f"{document.digest[:16]}…. Request what the pass was made with, give another --name, or remove "
            f"{pass_folder(run, name)}"
        )


def _claims(run: str, name: str) -> list[str]:
    """The digest of the pass's document in each of its records that can be read."""
    folder, found = pass_folder(run, name), []
    for shard, number in committed_shards(folder).items():
        try:
            found.append(read_shard_record(folder, shard, number).made_with)
        except StorageUnavailableError:
            raise
        except StorageError:  # it proves nothing; the check of the run names it
            continue
    return found


def _refuse_taken_columns(run: str, name: str, columns: Sequence[Column]) -> None:
    others = passes_of(run, besides=name)
    taken = {column.name: f"the pass {other}" for other, found in others.items() for column in found.columns}
    taken |= dict.fromkeys(table_with(()), "every run") | dict.fromkeys((*_OF_ROWS, *_OF_MANIFESTS), "every manifest")
    for column in columns:
        if column.name in taken:
            raise ConfigError(f"--pass {name}: {taken[column.name]} has a column {column.name} already; give --name")


_OF_ROWS = ("key", "status", "reason", "detail", "candidate_sha256")
_OF_MANIFESTS = (
    *("key", "image_id", "file_name", "width", "height", "license_id", "license_name", "license_url", "author"),
    *("source", "verdict", "reason", "detail", "image_sha256", "image_bytes", "frame", "exif_orientation"),
    *("released_as", "released_sha256", "released_bytes", "members", "fewer_at_once", "split", "tar"),
    *(
        "sample_offset",
        "sample_bytes",
        "mask_sha256",
        "maps_sha256",
        "categories",
        "supercategory",
        "instances_ignored",
        "scene",
        COMBINATION,
    ),
)
