"""A release opened for use: its rows, and its samples one after the other, each file compared with its stated sum.

Whether the files of a release fit together is the business of `check/`; whoever reads here learns of torn and exchanged
files only.
"""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from model.documents import parse_object
from pipeline.errors import CollectionError, StorageError
from pipeline.files import storage
from pipeline.files.parquet import read_parquet
from pipeline.files.tars import samples_of
from pipeline.passes.mask_text import Rle, checked_rle
from pipeline.release.changes import ANNOTATIONS_BYTES
from pipeline.release.check.limits import most_rows
from pipeline.release.check.release_json import StatedRelease, parse_release_json, read_release_json
from pipeline.release.coco_json import empty_counts
from pipeline.release.manifest import MANIFEST, SCENE

_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRelease:
    """A release whose manifest has the size and sum that `release.json` states."""

    folder: str
    """Folder or URL."""
    sha256: str
    """SHA-256 of `release.json`."""
    stated: StatedRelease
    rows: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """Key → row of the manifest, of accepted images only, in manifest order."""
    file_names: Mapping[str, str] = field(repr=False)
    """Key → name of the image's file in the collection, of all images, accepted or not."""

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.stated.release.name} {self.stated.release.version}"

    def content(self, name: str) -> bytes:
        """Read a file of the release.

        Raises: CollectionError: the release has no such file. StorageError: it has another size or sum.
        """
        if name not in self.stated.files:
            raise CollectionError(f"{self.folder} has no {name}; sod release verify lists every problem")
        return storage.read_checked(storage.join(self.folder, name), self.stated.files[name])

    def tars(self) -> list[str]:
        """Names of all tars, split after split."""
        return [name for name in self.stated.files if name.endswith(".tar")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedSample:
    """An accepted image with everything that the release has of it."""

    key: str
    row: Mapping[str, Any]
    """Its row of the manifest."""
    members: Mapping[str, bytes] = field(repr=False)
    """Extension → content: `jpg` (not in a release of masks alone), `mask.png`, `saliency.png`, …"""


def open_release(release: str) -> OpenedRelease:
    """Read `release.json` and the manifest.

    Args:   release: folder or URL.
    Raises: CollectionError: there is no complete release, or it is malformed. StorageError: its manifest differs from
            what `release.json` states.
    """
    content = read_release_json(release)
    wrong: list[str] = []
    try:
        stated = parse_release_json(content, wrong.append)
        if wrong:
            raise ValueError(f"release.json {wrong[0]}")
        manifest = storage.read_checked(storage.join(release, MANIFEST), stated.files[MANIFEST])
        rows = read_parquet(manifest, most_rows=most_rows(manifest)).to_pylist()
        accepted = {row["key"]: row for row in rows if row["verdict"] == "accepted"}
        file_names = {row["key"]: str(row["file_name"]) for row in rows}
    except _MALFORMED as error:
        raise CollectionError(
            f"{release} is malformed ({type(error).__name__}: {str(error)[:200]}); sod release verify lists every "
            "problem"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    return OpenedRelease(folder=release, sha256=digest, stated=stated, rows=accepted, file_names=file_names)


def masks_in(opened: OpenedRelease, keys: Iterable[str]) -> dict[str, Rle]:
    """Read masks of accepted images from the annotations, which take a hundredth of what the tars take.

    Returns: key → mask, in the order of the keys; an empty scene has an empty one.
    Raises:  StorageError: annotations and manifest do not fit together, or a file is torn.
    """
    wanted = list(keys)
    found: dict[str, Rle] = {}
    for split in sorted({opened.rows[key]["split"] for key in wanted}):
        name = f"annotations/{split}.json"
        try:
            segmentations = _segmentations(opened.content(name))
            accepted = {row["image_id"] for row in opened.rows.values() if row["split"] == split}
            if foreign := segmentations.keys() - accepted:
                raise ValueError(f"it has a mask of image {min(foreign)}, which the manifest has not accepted")
            for key in wanted:
                if opened.rows[key]["split"] == split:
                    found[key] = _mask(opened.rows[key], segmentations)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StorageError(
                f"{opened.folder}/{name} does not fit the manifest ({type(error).__name__}: {str(error)[:200]}); "
                "sod release verify lists every problem"
            ) from error
    return {key: found[key] for key in wanted}


def samples_in(opened: OpenedRelease) -> Iterator[ReleasedSample]:
    """Read all accepted samples, tar after tar; one tar is in memory at a time.

    Raises: StorageError: a tar is torn, or has other samples than the manifest.
    """
    left = dict(opened.rows)
    for name in opened.tars():
        try:
            for key, members in samples_of(opened.content(name)):
                yield ReleasedSample(key=key, row=left.pop(key), members=members)
        except (ValueError, KeyError, tarfile.TarError) as error:
            raise StorageError(
                f"{opened.folder}/{name} has not the samples of the manifest ({type(error).__name__}: {error}); "
                "sod release verify lists every problem"
            ) from error
    if left:
        raise StorageError(f"{opened.folder}: no tar has {next(iter(left))}, and {len(left)} are missing in all")


def _segmentations(content: bytes) -> dict[int, Any]:
    """Id of an image → its mask as the annotations have it."""
    found: dict[int, Any] = {}
    for annotation in parse_object(content, most_bytes=ANNOTATIONS_BYTES)["annotations"]:
        if annotation["image_id"] in found:
            raise ValueError(f"it has two masks of image {annotation['image_id']}")
        found[annotation["image_id"]] = annotation["segmentation"]
    return found


def _mask(row: Mapping[str, Any], segmentations: Mapping[int, Any]) -> Rle:
    height, width = row["height"], row["width"]
    if row["image_id"] in segmentations:
        try:
            return checked_rle(segmentations[row["image_id"]], height, width)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"the mask of {row['key']}: {error}") from error
    if row.get(SCENE.name) != "empty":
        raise ValueError(f"it has no mask of {row['key']}")
    return Rle(size=[height, width], counts=empty_counts(height, width))
