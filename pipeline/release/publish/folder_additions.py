"""Adds annexes and signatures to a release that lies in a folder or bucket."""

from collections.abc import Sequence

from pipeline.errors import ReleaseExistsError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.records import StoredFile
from pipeline.release.publish.additions import Addition, is_script, refuse_different
from pipeline.release.publish.files import has_arrived, send


def refuse_different_additions(folder: str, additions: Sequence[Addition]) -> None:
    """Refuse a push if the published release has another annex of one of the numbers, or another signature.

    Raises: ReleaseExistsError: it has; the message names it.
    """
    for addition in additions:
        ends = (addition.files[0], addition.last)
        there = {file.name: has_arrived(folder, file) for file in ends if _exists(folder, file)}
        refuse_different(folder, addition, there)


def files_left(folder: str, addition: Addition) -> list[StoredFile]:
    """The files of an addition that are not there yet, or damaged, in the order in which they are sent."""
    return [file for file in addition.files if not has_arrived(folder, file)]


def send_addition(folder: str, source: str, addition: Addition, left: Sequence[StoredFile]) -> None:
    """Send what is left of an addition: its first file claims it, its last one makes it whole.

    Args:   source: the release that is pushed.
    Raises: StorageError: what arrived is not what was sent, or somebody else has published another one meanwhile.
    """
    between = [file for file in left if file not in (addition.files[0], addition.last)]
    try:
        if addition.files[0] in left:
            send(folder, source, [addition.files[0]], replace=False)
        # The claim is ours, so whatever else is in this folder is ours too, or damaged.
        send(folder, source, [file for file in between if not is_script(file)], replace=True)
        send(folder, source, [file for file in between if is_script(file)], replace=True)
        if addition.last in left and len(addition.files) > 1:
            send(folder, source, [addition.last], replace=False)
    except StorageUnavailableError:
        raise
    except StorageError as error:
        try:
            refuse_different_additions(folder, [addition])
        except ReleaseExistsError as overtaken:
            raise StorageError(str(overtaken)) from error
        raise


def _exists(folder: str, file: StoredFile) -> bool:
    return storage.exists(storage.join(folder, file.name))
