"""Finds and removes files in a release's folder that do not belong to the release."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.files import storage, urls


def stray_files(release: str, known: set[str]) -> Iterator[str]:
    """List unknown files and folders, hidden ones too, in the folders that contain the known files."""
    folders = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    for folder in sorted(folders):
        prefix = "" if folder == "." else f"{folder}/"
        for name in storage.list_names(storage.join(release, prefix), hidden=True):
            if prefix + name not in folders and prefix + name not in known:
                yield prefix + name


def remove_unfinished(folder: str) -> None:
    """Remove unfinished files left by a killed writer; object stores have none."""
    if not urls.is_local(folder):
        return
    for name in storage.list_names(folder, hidden=True):
        url = storage.join(folder, name)
        if storage.is_unfinished(name):
            storage.remove(url)
        elif not storage.is_file(url):
            remove_unfinished(url)


def remove_others(release: str, known: set[str]) -> None:
    """Remove finished files that do not belong to the release, left by an interrupted assembly."""
    for name in list(stray_files(release, known)):
        if not storage.is_unfinished(name.rpartition("/")[2]):  # another session may be writing it
            storage.remove_tree(storage.join(release, name))
