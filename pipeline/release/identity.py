"""What a release is made from, as `release.json` states it: equal identities give equal releases."""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from model.documents import MOST_BYTES as DOCUMENT_BYTES
from model.documents import parse_json
from pipeline.collection.collection import License, Origin
from pipeline.collection.instances import Instances, digest_of
from pipeline.config import ReleaseConfig, RunConfig
from pipeline.errors import ReleaseExistsError, StorageError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.made_with import differences, refusal
from pipeline.passes.folder import PassDocument, StatedPass
from pipeline.records import ShardRecord
from pipeline.release.source import ReleaseSource
from pipeline.selection.policy import PolicyConfig, parse_splits
from pipeline.selection.policy import stated as stated_policy

RELEASE_JSON = "release.json"
FORMAT = 6
"""Increases when releases get other files, or files get other contents."""
READABLE = (2, 3, 4, 5, FORMAT)
"""Formats that are still read.

Before 6, there was no LICENSE, tiles were half as large with the outline drawn in, and the manifest had no
`sample_offset` and `sample_bytes`. Before 5, there were no score passes, and neither second masks, trimaps nor empty
scenes. Before 4, tars had the collection's files unchanged, and the manifest no `frame`, `exif_orientation`,
`released_as`, `released_sha256`, `released_bytes`. Before 3, it had no `author`, `source`, `instances_ignored`,
`maps_sha256`, `release.json` no `shards`, annotations had ids and file names of the collection, and CSV files no prefix
of keys.
"""
OF_COLLECTION = ("licenses", "origins", "instances")
_TEXTS = (".py", ".jinja", ".html", ".js", ".css", ".svg")


def identity_of(
    source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str], previous_sha256: str
) -> dict[str, Any]:
    """Everything that determines the bytes of a release, as `release.json` stores it.

    Args: made_with: the fingerprint of the run.
          previous_sha256: SHA-256 of the `release.json` of the earlier release; "" without one.
    """
    release = config.release
    identity = {
        "name": release.name,
        "version": release.version,
        "fingerprint": dict(made_with),
        "candidates": candidates_digest([source.records[spec.name] for spec in source.specs]),
        "policy": stated_policy(config.policy),
        "tar_bytes": release.tar_bytes,
        "embed_images": release.embed_images,
        "publication": publication_of(release),
        "splits": parse_splits(release.splits),
        **collection_digests(source.licenses, source.origins, source.instances),
        "previous": previous_sha256,
    }
    if release.alternatives:
        identity["alternatives"] = release.alternatives
    if release.trimap:
        identity["trimap"] = True
    if source.passes:
        identity["passes"] = stored_passes(source.stated_passes)
    as_stored: dict[str, Any] = json.loads(encode_json(identity))  # tuples become lists
    return as_stored


PUBLICATION = (
    *("creator", "published_on", "homepage", "errata", "mask_license"),
    *("model_name", "model_url", "collection_name", "collection_url", "tool_url"),
)
"""Options that only say something about a release, for card and Croissant."""


def publication_of(release: ReleaseConfig) -> dict[str, str]:
    """What `release.json` states of those options; before format 6, the first three."""
    return {name: getattr(release, name) for name in PUBLICATION}


def stored_passes(passes: Iterable[StatedPass]) -> dict[str, Any]:
    """What `release.json` says of score passes: name → what each was made with, its columns, and its digest."""
    return {stated.name: {**stated.document.stored(), "digest": stated.digest} for stated in passes}


def passes_from(stored: Mapping[str, Any]) -> tuple[StatedPass, ...]:
    """Read what `stored_passes` gave; nothing in it is believed before it is checked.

    Raises: ValueError, TypeError, KeyError, AttributeError: it is not that.
    """
    return tuple(
        StatedPass(name=name, document=PassDocument.from_stored(found), digest=str(found["digest"]))
        for name, found in stored.items()
    )


def candidates_digest(records: Sequence[ShardRecord]) -> str:
    """SHA-256 of the candidates of these shards, in order."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{' '.join([record.shard, *(file.sha256 for file in record.files)])}\n".encode())
    return digest.hexdigest()


def collection_digests(
    licenses: Mapping[int, License], origins: Mapping[str, Origin], instances: Instances
) -> dict[str, str]:
    """SHA-256 of what a release takes from the annotations besides its images: one for each of OF_COLLECTION.

    Args: instances: of the predicted images that have any, in the order of the shards.
    """
    digests = (_digest_of(licenses), _digest_of(origins), digest_of(instances))
    return dict(zip(OF_COLLECTION, digests, strict=True))


def release_folder(config: RunConfig) -> str:
    """Where a run's release of the requested name and version lies."""
    return storage.join(config.out, "release", f"{config.release.name}-{config.release.version}")


def check_identity(folder: str, identity: Mapping[str, Any]) -> None:
    """Compare the identity of the release in that folder with the requested one.

    Raises: ReleaseExistsError: they differ. StorageError: `release.json` can't be read.
    """
    try:
        found = parse_json(storage.read(storage.join(folder, RELEASE_JSON), DOCUMENT_BYTES))["made_from"]
        # Options that a release does not state had no effect, as their defaults have none; but for mask_license.
        policy, publication = json.loads(encode_json(asdict(PolicyConfig()))), publication_of(ReleaseConfig())
        # What the annotations call the collection was not stated before format 6.
        publication |= {name: identity["publication"][name] for name in ("collection_name", "collection_url")}
        # A release before format 6 has no LICENSE. The default passes all the same: perhaps nobody asked for it.
        if identity["publication"]["mask_license"] != publication["mask_license"]:
            publication["mask_license"] = "none"
        found, identity = (
            {**one, "policy": policy | one["policy"], "publication": publication | one["publication"]}
            for one in (found, identity)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{folder}/{RELEASE_JSON} can't be read ({error}); remove the folder to make it anew"
        ) from error
    if differing := differences(found, identity):
        raise ReleaseExistsError(
            refusal(f"{folder} already holds a release made from something else", differing, "Give another --version")
        )


@functools.cache
def texts_digest(*more: str) -> str:
    """SHA-256 of the code and templates that write a release's texts; tells versions of this tool apart.

    Args: more: packages that write the texts of an annex, beside this one.
    """
    digest = hashlib.sha256()
    for package in ("pipeline.release", *more):
        _add(digest, files(package))
    return digest.hexdigest()


def _add(digest: Any, folder: Traversable) -> None:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != "__pycache__":
            _add(digest, entry)
        elif entry.name.endswith(_TEXTS):
            digest.update(f"{entry.name}\n".encode() + hashlib.sha256(entry.read_bytes()).digest())


def _digest_of(values: Mapping[Any, Any]) -> str:
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()
