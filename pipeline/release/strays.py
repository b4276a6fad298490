"""Finds files in a release's folder that do not belong to the release."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.files import storage

OF_THE_HUB = ".gitattributes"
"""The Hub's own file in every repository: it says which files are stored as large ones."""


def stray_files(release: str, known: set[str]) -> Iterator[str]:
    """List unknown files and folders, hidden ones too, in the folders that contain the known files.

    On the Hub, the file that it keeps for itself is no stray.
    """
    if release.startswith("hf://"):
        known = known | {OF_THE_HUB}
    folders = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    for folder in sorted(folders):
        prefix = "" if folder == "." else f"{folder}/"
        for name in storage.list_names(storage.join(release, prefix), hidden=True):
            if prefix + name not in folders and prefix + name not in known:
                yield prefix + name
