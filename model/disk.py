"""The local disk as far as power cuts and the lengths of names are concerned."""

import os
from pathlib import Path

LONGEST_NAME_BYTES = 255
"""Bytes of a name of a file or folder on nearly every disk."""


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk: a power cut can lose a new name although the content is there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def with_room(name: str, added_bytes: int) -> str:
    """The name, or as much of its beginning as leaves room for what is to be added to it."""
    encoded, most_bytes = os.fsencode(name), LONGEST_NAME_BYTES - added_bytes
    return name if len(encoded) <= most_bytes else encoded[:most_bytes].decode(errors="ignore")
