"""A release as an audit sees it: its digest, the rows of its accepted images, and their masks."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.documents import parse_json
from pipeline.errors import CollectionError
from pipeline.files import storage
from pipeline.files.parquet import read_parquet
from pipeline.passes.mask_text import Rle, checked_rle
from pipeline.release.check.limits import most_bytes, most_rows
from pipeline.release.check.release_json import StatedRelease, parse_release_json, read_release_json
from pipeline.release.coco_json import empty_counts
from pipeline.release.manifest import MANIFEST, SCENE, considered_of
from pipeline.selection.scores import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRelease:
    """A release whose manifest has the size and sum that `release.json` states."""

    folder: str
    """Folder or URL."""
    sha256: str
    """SHA-256 of `release.json`."""
    stated: StatedRelease
    rows: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """Key → row of the manifest, of accepted images only, in manifest order."""

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.stated.release.name} {self.stated.release.version}"

    def strata(self, by: str) -> dict[str, str]:
        """Key → stratum of every accepted image.

        Args:   by: `none`, `size`, `supercategory`, `split`, or a score, whose quarters are the strata.
        Raises: ValueError: it is none of these.
        """
        if by == "none":
            return dict.fromkeys(self.rows, "all")
        if by == "size":
            return {key: considered_of(row, ("area",)).stratum[1] for key, row in self.rows.items()}
        if by in ("supercategory", "split"):
            return {key: row[by] or "unknown" for key, row in self.rows.items()}
        score = self.score(by)
        values = np.array([np.nan if row[by] is None else row[by] for row in self.rows.values()], dtype=np.float64)
        if np.isnan(values).all():
            return dict.fromkeys(self.rows, f"{score.name} unknown")
        ends = np.nanquantile(values, (0.25, 0.5, 0.75))
        names = [f"{score.name} quarter {place}" for place in (1, 2, 3, 4)]
        return {
            key: f"{score.name} unknown" if np.isnan(value) else names[int(np.searchsorted(ends, value))]
            for key, value in zip(self.rows, values, strict=True)
        }

    def score(self, name: str) -> Score:
        """What is known of a score of this release.

        Raises: ValueError: it has no such score.
        """
        if name not in self.stated.table:
            raise ValueError(f"{self.title} has no score {name}; it has {', '.join(self.stated.table)}")
        return self.stated.table[name]

    def is_empty_scene(self, key: str) -> bool:
        """Is this image kept as a scene without a salient object, with an empty mask?"""
        return self.rows[key].get(SCENE.name) == "empty"


def read_audited(release: str) -> AuditedRelease:
    """Read what an audit needs of a release. Whether its files fit together is the business of `verify_release`.

    Args:   release: folder or URL.
    Raises: CollectionError: there is no complete release, or it can't be read. StorageError: its manifest differs from
            what `release.json` states.
    """
    content = read_release_json(release)
    wrong: list[str] = []
    try:
        stated = parse_release_json(content, wrong.append)
        manifest = storage.read_checked(storage.join(release, MANIFEST), stated.files[MANIFEST])
        rows = read_parquet(manifest, most_rows=most_rows(manifest)).to_pylist()
        accepted = {row["key"]: row for row in rows if row["verdict"] == "accepted"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CollectionError(
            f"{release} can't be audited: it is malformed ({type(error).__name__}: {str(error)[:200]}); "
            "jobs/verify_release.py lists every problem"
        ) from error
    if wrong:
        raise CollectionError(f"{release} can't be audited: its release.json {wrong[0]}")
    return AuditedRelease(folder=release, sha256=hashlib.sha256(content).hexdigest(), stated=stated, rows=accepted)


def masks_of(audited: AuditedRelease, keys: Iterable[str]) -> dict[str, Rle]:
    """Read the masks of accepted images from the release's COCO files; an empty scene has an empty one.

    Raises: CollectionError: a mask is missing or malformed. StorageError: a file differs from what is stated.
    """
    wanted, found = set(keys), dict[str, Rle]()
    by_id = {audited.rows[key]["image_id"]: key for key in wanted}
    for split in sorted({audited.rows[key]["split"] for key in wanted}):
        name = f"annotations/{split}.json"
        try:
            content = storage.read_checked(storage.join(audited.folder, name), audited.stated.files[name])
            for entry in parse_json(content, most_bytes=most_bytes(name))["annotations"]:
                if key := by_id.get(entry["image_id"]):
                    row = audited.rows[key]
                    found[key] = checked_rle(entry["segmentation"], row["height"], row["width"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CollectionError(f"{audited.folder}/{name} is malformed ({type(error).__name__}: {error})") from error
    for key in wanted - found.keys():
        row = audited.rows[key]
        if not audited.is_empty_scene(key):
            raise CollectionError(f"{audited.folder}: {key} is accepted, but annotations/{row['split']}.json lacks it")
        found[key] = Rle(size=[row["height"], row["width"]], counts=empty_counts(row["height"], row["width"]))
    return found
