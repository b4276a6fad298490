"""The files of the drawn images, out of the release's tars: only headers and wanted members are read of a local tar.

Of a remote one a megabyte is read with each header: to ask for a member takes as long as to read that much, and most
samples are smaller.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.audit.released import AuditedRelease
from pipeline.errors import CollectionError, StorageError
from pipeline.files import storage
from pipeline.files.located import ask, is_local, locate
from pipeline.files.ranges import Window, read_range
from pipeline.files.tar_headers import Read, TornTarError, walk
from pipeline.runs.binding import maps_sha256

IMAGE, MASK, SALIENCY, VARIANCE = "jpg", "mask.png", "saliency.png", "variance.png"
"""What a member's name has behind the key."""
_MAPS = {SALIENCY, VARIANCE}
_AHEAD_BYTES = 1 << 20  # 1 MiB


def drawn_files(
    audited: AuditedRelease, keys: Iterable[str], extensions: Collection[str] = (IMAGE, MASK, VARIANCE)
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Read members of accepted images, each compared with the sum that the manifest states of it.

    Args:    extensions: which members; `IMAGE` is there whatever the format of its bytes.
    Yields:  key, and extension → content; tar after tar, in the order of the tar, so in another one than `keys`.
    Raises:  CollectionError: the release has masks alone. StorageError: a member is missing, or is another one.
    """
    if IMAGE in extensions and not audited.stated.release.embed_images:
        raise CollectionError(
            f"{audited.folder} has masks and no images, so there is nothing to judge them by: make a release with "
            "--embed-images, and audit that"
        )
    by_tar: defaultdict[str, set[str]] = defaultdict(set)
    for key in keys:
        by_tar[audited.rows[key]["tar"]].add(key)
    # A map alone has no sum of its own, only both have one.
    wanted = {*extensions, *(_MAPS if _MAPS & set(extensions) else ())}
    for tar in sorted(by_tar):
        for key, members in _members(audited, tar, by_tar[tar], wanted):
            _check(f"{audited.folder}/{tar}: {key}", members, audited.rows[key])
            yield key, {extension: members[extension] for extension in extensions}


def _members(
    audited: AuditedRelease, tar: str, keys: set[str], extensions: Collection[str]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Walk through a tar until all of these are found."""
    url = storage.join(audited.folder, tar)
    missing = {f"{key}.{extension}": (key, extension) for key in keys for extension in extensions}
    found: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    try:
        with _reading(url, file_bytes := audited.stated.files[tar].file_bytes) as read:
            for header in walk(read, file_bytes):
                if header.name not in missing or header.problem:
                    continue
                key, extension = missing.pop(header.name)
                found[key][extension] = read(header.start, header.start + header.content_bytes)
                if len(found[key]) == len(extensions):
                    yield key, found.pop(key)
                if not missing:
                    return
    except (TornTarError, KeyError, FileNotFoundError) as error:
        raise StorageError(f"{url} can't be read ({error}); sod release verify lists every problem") from error
    raise StorageError(f"{url} lacks {min(missing)}; sod release verify lists every problem")


@contextmanager
def _reading(url: str, file_bytes: int) -> Iterator[Read]:
    fs, path = locate(url)
    if is_local(fs):
        with open(path, "rb", buffering=0) as tar:
            yield lambda start, end: os.pread(tar.fileno(), end - start, start)
        return

    def fetch(start: int, end: int) -> bytes:
        return ask(url, lambda fs, path: read_range(fs, path, start, end))

    yield Window(fetch, file_bytes, _AHEAD_BYTES).read


def _check(label: str, members: Mapping[str, bytes], row: Mapping[str, Any]) -> None:
    # Releases of format 3 and earlier do not state all of them; there every image is the collection's file.
    stated = {IMAGE: row.get("released_sha256") or row["image_sha256"], MASK: row["mask_sha256"]}
    found = {extension: hashlib.sha256(members[extension]).hexdigest() for extension in stated.keys() & members.keys()}
    if members.keys() >= _MAPS and row.get("maps_sha256"):
        stated["maps"], found["maps"] = row["maps_sha256"], maps_sha256(members)
    for name in sorted(found):
        if found[name] != stated[name]:
            raise StorageError(
                f"{label}.{name} has SHA-256 {found[name]}; the manifest states {stated[name]}. "
                "sod release verify lists every problem"
            )
