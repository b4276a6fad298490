"""Files in the folder of a release that are none of it."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.files import storage, urls


def stray_files(release: str, known: set[str]) -> Iterator[str]:
    """Files and folders, hidden ones too, in the folders of the known files that are none of them."""
    folders = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    for folder in sorted(folders):
        prefix = "" if folder == "." else f"{folder}/"
        for name in storage.list_names(storage.join(release, prefix), hidden=True):
            if prefix + name not in folders and prefix + name not in known:
                yield prefix + name


def remove_unfinished(folder: str) -> None:
    """Remove what a writer who was killed had not finished; object stores have nothing of that kind."""
    if not urls.is_local(folder):
        return
    for name in storage.list_names(folder, hidden=True):
        url = storage.join(folder, name)
        if storage.is_unfinished(name):
            storage.remove(url)
        elif not storage.is_file(url):
            remove_unfinished(url)


def remove_others(release: str, known: set[str]) -> None:
    """Remove finished files that are not of the release: those of an earlier assembly that was cut off."""
    for name in list(stray_files(release, known)):
        if not storage.is_unfinished(name.rpartition("/")[2]):  # somebody may be writing it
            storage.remove_tree(storage.join(release, name))
