"""`release.json` as a stranger reads it: nothing in it is believed before it was looked at."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.config import ReleaseConfig
from pipeline.records import StoredFile
from pipeline.release.identity import FORMAT, RELEASE_JSON
from pipeline.selection.policy import SPLITS, PolicyConfig

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
_NAME = re.compile(rf"{_PART}(/{_PART}){{0,9}}")
"""Names of files: plain ones, relative, without hidden parts. Those of a release are."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedRelease:
    """What a record says, as far as it could be believed."""

    release: ReleaseConfig
    """What of it files are derived from: name, version, what was published by whom, whether images are in tars, and, as
    `previous`, whether it was compared with an earlier release."""
    made_with: Mapping[str, str]
    """The fingerprint of the run."""
    policy: PolicyConfig
    splits: frozenset[str]
    """With or without images."""
    counts: Mapping[str, int]
    """Decision → images."""
    files: Mapping[str, StoredFile]
    texts: str
    """Digest of what wrote its texts."""


NOTHING = StatedRelease(
    release=ReleaseConfig(),
    made_with={},
    policy=PolicyConfig(),
    splits=frozenset(),
    counts={},
    files={},
    texts="",
)


def read_record(content: bytes, tell: Callable[[str], None]) -> StatedRelease:
    """Read `release.json`.

    Args:   tell: called with what is wrong with an entry of a file, which is left out then.
    Raises: ValueError, KeyError, TypeError, AttributeError, RecursionError: it is none.
    """
    record = json.loads(content)
    if record["format"] != FORMAT:
        raise ValueError(
            f"it is of format {record['format']!r}, this version of the tool knows {FORMAT}: use the one that made it"
        )
    made_from = record["made_from"]
    if (record["name"], record["version"]) != (made_from["name"], made_from["version"]):
        tell("its name or version is not that which the release was made with")
    published = made_from["publication"]
    release = ReleaseConfig(  # checks them
        name=record["name"],
        version=record["version"],
        embed_images=made_from["embed_images"] is not False,
        creator=str(published["creator"]),
        published_on=str(published["published_on"]),
        homepage=str(published["homepage"]),
        previous="an earlier release" if made_from["previous"] else "",
    )
    policy: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in made_from["policy"].items()
    }
    return StatedRelease(
        release=release,
        made_with={str(name): str(value) for name, value in made_from["fingerprint"].items()},
        policy=PolicyConfig(**policy),
        splits=frozenset(made_from["splits"]) & set(SPLITS),
        counts=record["counts"],
        files=_files(record["files"], tell),
        texts=str(record["texts"]),
    )


def _files(entries: list[Any], tell: Callable[[str], None]) -> dict[str, StoredFile]:
    files: dict[str, StoredFile] = {}
    for entry in entries:
        name, file_bytes, sha256 = (entry[field] for field in ("name", "file_bytes", "sha256"))
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == RELEASE_JSON:
            tell(f"names a file {ascii(name)[:300]}, which is no name of a file of a release")
        elif name in files:
            tell(f"names {name} twice")
        elif type(file_bytes) is not int or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            tell(f"has no size or no SHA-256 of {name}")
        else:
            files[name] = StoredFile(name=name, file_bytes=file_bytes, sha256=sha256)
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for name in files.keys() & folders:
        tell(f"names {name} as a file and as a folder")
        del files[name]
    return files
