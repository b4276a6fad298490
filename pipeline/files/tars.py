"""webdataset tars whose bytes depend only on their members."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from pipeline.errors import StorageError


class SampleTar:
    """Writes samples to one tar, in the order they come, without times, users or permissions of this machine.

    Only `close` completes the tar: after an exception, the caller discards what was written.
    The bytes equal those of webdataset's TarWriter, whose import pulls in PyTorch: three seconds and 0.6 GB in
    processes that do not need it otherwise.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 (see `close`)
        self._keys: set[str] = set()
        self._extensions: frozenset[str] = frozenset()

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Write one sample: extension → content. All samples of a tar have the same extensions.

        Raises: StorageError: the key has a dot (readers would cut it there) or a slash, or was added before; or the
                extensions are others than those of the first sample.
        """
        if "." in key or "/" in key or key in self._keys:
            raise StorageError(f"key {key!r} can't be added to the tar: it has a dot or slash, or was added before")
        self._extensions = self._extensions or frozenset(members)
        if members.keys() != self._extensions:
            raise StorageError(f"sample {key} has members {sorted(members)}, others have {sorted(self._extensions)}")
        self._keys.add(key)
        for extension in sorted(members):
            member = tarfile.TarInfo(f"{key}.{extension}")
            member.size = len(members[extension])
            self._tar.addfile(member, io.BytesIO(members[extension]))

    def close(self) -> None:
        """Complete the tar; the file stays open."""
        self._tar.close()


def samples_of(content: bytes) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the samples of a tar in its order: key and members (extension → content).

    Compressed tars and sparse members are refused: a few KB of them can unpack to any size.
    Raises: ValueError: a member is not a plain file, comes twice, or is apart from the others of its key.
            tarfile.TarError: it is not a tar.
    """
    seen: set[str] = set()
    key, members = "", dict[str, bytes]()
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for member in tar:
            stem, _, extension = member.name.partition(".")
            is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
            file = tar.extractfile(member) if is_plain and 0 <= member.size <= len(content) else None
            if stem != key:
                if members:
                    yield key, members
                key, members = stem, {}
            if file is None or extension in members or (stem in seen and not members):
                raise ValueError(
                    f"member {member.name!r} is not a plain file, comes twice, or is apart from its sample"
                )
            seen.add(stem)
            members[extension] = file.read()
        if members:
            yield key, members


def encode_json(value: Mapping[str, Any]) -> bytes:
    """JSON whose bytes depend only on the value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
