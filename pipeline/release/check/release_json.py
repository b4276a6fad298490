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
from pipeline.files.connections import require_reachable
from pipeline.passes.folder import StatedPass, columns_of
from pipeline.records import StoredFile
from pipeline.release.identity import FORMAT, OF_COLLECTION, PUBLICATION, READABLE, RELEASE_JSON, passes_from
from pipeline.release.manifest import added_columns
from pipeline.release.passes import require_second_masks
from pipeline.selection.columns import Column, table_with
from pipeline.selection.policy import PolicyConfig, check_scores, parse_splits
from pipeline.selection.scores import Score

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
_NAME = re.compile(rf"{_PART}(/{_PART}){{0,9}}")
"""The file names of a release: plain, relative, no part hidden."""
_ENTRIES = {"counts", "files", "format", "made_from", "name", "shards", "texts", "version", "without_thumbnail"}
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedShard:
    """A candidate shard of the run; the manifest has its images one after the other."""

    shard: str
    images: int
    binding: str
    """See `runs/binding.py`."""


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
    format: int
    """One of READABLE."""
    shards: tuple["StatedShard", ...] | None
    """None in a release of format 2."""
    shares: Mapping[str, float]
    """Split → its share of the images."""
    candidates: str
    """Digest of the candidates that it was made from."""
    collection: Mapping[str, str]
    """Digests of the licences, origins and instances of the collection."""
    passes: tuple[StatedPass, ...] = ()
    """The score passes whose columns the manifest has."""
    previous_sha256: str
    """SHA-256 of the `release.json` of the release that it was compared with; "" if there is none."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the manifest that not every one has."""
        return added_columns(self.passes, self.policy)

    @property
    def table(self) -> dict[str, Score]:
        """Every score of the manifest."""
        return table_with(self.columns)


NOTHING = StatedRelease(
    release=ReleaseConfig(),
    made_with={},
    policy=PolicyConfig(),
    splits=frozenset(),
    counts={},
    files={},
    texts="",
    format=FORMAT,
    shards=(),
    shares={},
    candidates="",
    collection={},
    previous_sha256="",
)


def read_release_json(release: str) -> bytes:
    """The content of a release's `release.json`.

    Args:   release: folder or URL.
    Raises: CollectionError: there is no complete release. StorageUnavailableError: its server can't be reached.
    """
    url = storage.join(release, RELEASE_JSON)
    if not storage.is_file(url):
        require_reachable(url)
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
    if type(stated["format"]) is not int or stated["format"] not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise ValueError(
            f"its format is {stated['format']!r}, and this version of the tool reads {known}: use the version that "
            "made the release"
        )
    if unknown := sorted(stated.keys() - _ENTRIES):
        tell(f"has {ascii(unknown)[:300]}, which no release has")
    made_from = stated["made_from"]
    if (stated["name"], stated["version"]) != (made_from["name"], made_from["version"]):
        tell("its name or version differs from the one the release was made with")
    release = ReleaseConfig(  # checks the values
        name=stated["name"],
        version=stated["version"],
        embed_images=made_from["embed_images"] is not False,
        **_publication(made_from["publication"]),
        previous="an earlier release" if made_from["previous"] else "",
        alternatives=str(made_from.get("alternatives", "")),
        trimap=made_from.get("trimap") is True,
    )
    policy: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in made_from["policy"].items()
    }
    shares = parse_splits([f"{name}={share!r}" for name, share in made_from["splits"].items()])
    passes = passes_from(made_from.get("passes", {}))
    if release.alternatives:
        stated_columns = {found.name: found.document.columns for found in passes}
        require_second_masks(release.alternatives, stated_columns[release.alternatives])
    check_scores(PolicyConfig(**policy), table_with(columns_of(passes)))
    return StatedRelease(
        passes=passes,
        release=release,
        made_with={str(name): str(value) for name, value in made_from["fingerprint"].items()},
        policy=PolicyConfig(**policy),
        splits=frozenset(shares),
        counts=stated["counts"],
        files=stated_files(stated["files"], tell),
        texts=str(stated["texts"]),
        format=stated["format"],
        shards=None if stated["format"] == 2 else _shards(stated["shards"]),
        shares=shares,
        candidates=str(made_from["candidates"]),
        collection={name: str(made_from[name]) for name in OF_COLLECTION},
        previous_sha256=str(made_from["previous"]),
    )


def _publication(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Options that only say something about the release; before format 6, there were three of them."""
    return {"mask_license": "none"} | {name: str(stated[name]) for name in PUBLICATION if name in stated}


def _shards(entries: list[Any]) -> tuple[StatedShard, ...]:
    shards = tuple(StatedShard(**entry) for entry in entries)
    for shard in shards:
        is_number = type(shard.images) is int and shard.images > 0
        if not (is_number and re.fullmatch(r"\d{6,}", shard.shard) and _SHA256.fullmatch(shard.binding)):
            raise ValueError(f"{shard} is no shard")
    if len({shard.shard for shard in shards}) != len(shards):
        raise ValueError("it has a shard twice")
    return shards


def stated_files(entries: list[Any], tell: Callable[[str], None], itself: str = RELEASE_JSON) -> dict[str, StoredFile]:
    """Parse the list of files in `release.json`, or in another document of its kind.

    Args:    tell: called with what is wrong with an entry; it is left out. itself: name of the document.
    Returns: name → size and SHA-256.
    Raises:  KeyError, TypeError: it is no such list.
    """
    files: dict[str, StoredFile] = {}
    for entry in entries:
        name, file_bytes, sha256 = (entry[field] for field in ("name", "file_bytes", "sha256"))
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == itself:
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
