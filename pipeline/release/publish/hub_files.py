"""Compares files of a release with what the Hub knows about files of those names."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pipeline.files import storage
from pipeline.records import StoredFile

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile


def files_left(folder: str, files: Iterable[StoredFile], found: Mapping[str, "RepoFile"]) -> list[StoredFile]:
    """The files that a revision lacks, or has with another content. Args: folder: of the release, on this disk."""
    return [file for file in files if file.name not in found or not is_same(folder, file, found[file.name])]


def is_same(folder: str, file: StoredFile, found: "RepoFile") -> bool:
    """Is what the Hub has this very file?"""
    if found.lfs is not None:
        return (found.lfs.size, found.lfs.sha256) == (file.file_bytes, file.sha256)
    return found.size == file.file_bytes and found.blob_id == _blob_id(folder, file)


def _blob_id(folder: str, file: StoredFile) -> str:
    """What git calls a file of that content; the Hub has no SHA-256 of files that it does not store as large ones.

    The file is compared with its stated sum first: if it changed after the check and was sent so, it does not pass.
    """
    content = storage.read_checked(storage.join(folder, file.name), file)
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
