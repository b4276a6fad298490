"""The folder in which a release is made: each attempt has its own, and the one that ends first becomes the release.

RUN/release/.NAME-VERSION.RANDOM.tmp/   an attempt on a local disk; renamed to NAME-VERSION once everything is in it
RUN/release/NAME-VERSION/               the release; no file in it is ever written or removed again

A session that is paused and wakes up after another has finished can't rename its own folder any more. Object stores
can't rename: there the files get their final names at once, each by exclusive create, and `release.json` comes last.
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ReleaseExistsError, StorageError
from pipeline.files import local_disk, storage, urls
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.strays import stray_files


def refuse_leftovers(folder: str) -> None:
    """Refuse the folder of a release that is to be made, if something else is in it.

    Raises: ReleaseExistsError: it is a folder with files, but without `release.json`.
    """
    if urls.is_local(folder) and not storage.exists(storage.join(folder, RELEASE_JSON)):
        found = storage.list_names(folder, hidden=True)
        if found or storage.is_file(folder):
            raise ReleaseExistsError(
                f"{folder} exists, but is not a release: it has no {RELEASE_JSON}"
                f"{f' (it has {found[0]})' if found else ''}. Move it away, or give another --version"
            )


@contextmanager
def attempt(folder: str) -> Iterator[str]:
    """A place for the files of a release; without `finish` in the block, it is removed.

    Raises: StorageError: another session has removed it meanwhile.
    """
    if not urls.is_local(folder):
        yield folder
        return
    path = Path(urls.absolute(folder))
    place = path.with_name(local_disk.unfinished_name(path.name))
    local_disk.make_folders(path.parent)
    place.mkdir()
    try:
        yield str(place)
    except FileNotFoundError as error:
        if f"{error.filename}/".startswith(f"{place}/"):
            raise StorageError(f"{error.filename} has disappeared; run the same command again") from error
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def finish(place: str, folder: str, release_json: bytes, names: Collection[str]) -> bool:
    """Make the files of an attempt the release, whole.

    Args:    names: of all files but `release.json`.
    Returns: False if another session was faster: the release in the folder is its.
    Raises:  StorageError: files of the attempt are gone, since another session has removed it, or the store holds other
             files in the folder.
    """
    known = {RELEASE_JSON, *names}
    if place == folder:
        for stray in stray_files(folder, known):
            raise StorageError(
                f"{storage.join(folder, stray)} is left from an unfinished release that was made from something else: "
                f"remove {folder}, and run the same command again"
            )
        return storage.create(storage.join(folder, RELEASE_JSON), release_json)
    storage.add(storage.join(place, RELEASE_JSON), release_json)
    # Writing makes folders: after another session took this attempt away, the files written since would be alone here.
    for name in sorted(known):
        if not Path(place, name).is_file():
            raise StorageError(f"{place}/{name} has disappeared; run the same command again")
    try:
        local_disk.rename_folder(Path(place), Path(urls.absolute(folder)))
    except OSError:
        if storage.exists(storage.join(folder, RELEASE_JSON)):
            return False
        raise
    return True


def sweep_attempts(folder: str) -> None:
    """Remove the attempts of killed sessions at the release in that folder, while this session holds the run."""
    if not urls.is_local(folder):
        return
    path = Path(urls.absolute(folder))
    for left in local_disk.unfinished(path):
        # Renamed first: its session, if it is only paused, must not find half of it.
        mine = left.with_name(local_disk.unfinished_name(path.name))
        try:
            os.rename(left, mine)
        except FileNotFoundError:
            continue
        shutil.rmtree(mine, ignore_errors=True)
