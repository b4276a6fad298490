"""Reading `release.json` as a stranger would: nothing in it is believed before it is checked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from model.documents import MOST_BYTES as DOCUMENT_BYTES
from model.documents import parse_json
from pipeline.config import ReleaseConfig
from pipeline.errors import CollectionError
from pipeline.files import storage
from pipeline.records import StoredFile
from pipeline.release.identity import FORMAT, RELEASE_JSON
from pipeline.selection.policy import SPLITS, PolicyConfig

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
_NAME = re.compile(rf"{_PART}(/{_PART}){{0,9}}")
"""The file names of a release: plain, relative, no part hidden."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedRelease:
    """What `release.json` states, as far as it is well formed."""

    release: ReleaseConfig
    """The settings that files follow from: name, version, publication, whether images are in the tars; `previous` only
    says whether the release was compared with an earlier one."""
    made_with: Mapping[str, str]
    """The fingerprint of the run."""
    policy: PolicyConfig
    splits: frozenset[str]
    """Every split, also those without images."""
    counts: Mapping[str, int]
    """Decision → images."""
    files: Mapping[str, StoredFile]
    texts: str
    """Digest of the code that wrote its texts."""


NOTHING = StatedRelease(
    release=ReleaseConfig(),
    made_with={},
    policy=PolicyConfig(),
    splits=frozenset(),
    counts={},
    files={},
    texts="",
)


def read_release_json(release: str) -> bytes:
    """The content of a release's `release.json`.

    Args:   release: folder or URL.
    Raises: CollectionError: there is no complete release.
    """
    url = storage.join(release, RELEASE_JSON)
    if not storage.is_file(url):
        if not storage.exists(release):
            raise CollectionError(f"{release} does not exist: give the folder or URL of a release")
        raise CollectionError(f"{release} is not a complete release: it has no {RELEASE_JSON}, which is written last")
    return storage.read(url, DOCUMENT_BYTES)


def parse_release_json(content: bytes, tell: Callable[[str], None]) -> StatedRelease:
    """Parse `release.json`.

    Args:   tell: called with what is wrong with the entry of a file; that entry is left out.
    Raises: ValueError, KeyError, TypeError, AttributeError, RecursionError: it is not a `release.json`.
    """
    stated = parse_json(content)
    if stated["format"] != FORMAT:
        raise ValueError(
            f"its format is {stated['format']!r}, and this version of the tool reads {FORMAT}: use the version that "
            "made the release"
        )
    made_from = stated["made_from"]
    if (stated["name"], stated["version"]) != (made_from["name"], made_from["version"]):
        tell("its name or version differs from the one the release was made with")
    published = made_from["publication"]
    release = ReleaseConfig(  # checks the values
        name=stated["name"],
        version=stated["version"],
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
        counts=stated["counts"],
        files=_files(stated["files"], tell),
        texts=str(stated["texts"]),
    )


def _files(entries: list[Any], tell: Callable[[str], None]) -> dict[str, StoredFile]:
    files: dict[str, StoredFile] = {}
    for entry in entries:
        name, file_bytes, sha256 = (entry[field] for field in ("name", "file_bytes", "sha256"))
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == RELEASE_JSON:
            tell(f"names a file {ascii(name)[:300]}; no file of a release has such a name")
        elif name in files:
            tell(f"names {name} twice")
        elif type(file_bytes) is not int or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            tell(f"gives no valid size or SHA-256 for {name}")
        else:
            files[name] = StoredFile(name=name, file_bytes=file_bytes, sha256=sha256)
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for name in files.keys() & folders:
        tell(f"names {name} both as a file and as a folder")
        del files[name]
    return files
