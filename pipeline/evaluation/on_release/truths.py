"""The masks of a release, from its annotations: run lengths take a hundredth of what its tars take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError
from pipeline.evaluation.sources import Runs
from pipeline.files import urls
from pipeline.release.opened import OpenedRelease, masks_in, open_release


@dataclass(frozen=True, slots=True, kw_only=True)
class Truths:
    """What maps are measured against, and what is known of each image."""

    opened: OpenedRelease
    splits: tuple[str, ...]
    masks: Mapping[str, Runs]
    """Key → mask, of all accepted images of the splits, sorted by key."""

    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """Key → row of the manifest, of these images."""
        return {key: self.opened.rows[key] for key in self.masks}


def read_truths(release: str, splits: Sequence[str]) -> Truths:
    """Read the manifest and the annotations of a release, whose sums are compared with those of `release.json`.

    Args:   release: folder or URL.
            splits: some of its splits; all if empty.
    Raises: ConfigError: there is no such split, or it has no accepted image. CollectionError: there is no complete
            release. StorageError: a file of the release is torn, or masks and manifest differ.
    """
    opened = open_release(urls.absolute(release))
    for split in splits:
        if split not in opened.stated.splits:
            known = " ".join(sorted(opened.stated.splits))
            raise ConfigError(f"--splits {split}: {release} has no such split; it has {known}")
    wanted = tuple(sorted(set(splits) or opened.stated.splits))
    keys = sorted(key for key, row in opened.rows.items() if row["split"] in wanted)
    if not keys:
        raise ConfigError(f"{release} has no accepted image in {' '.join(wanted)}")
    masks = {
        key: Runs(label=key, height_px=rle["size"][0], width_px=rle["size"][1], counts=rle["counts"])
        for key, rle in masks_in(opened, keys).items()
    }
    return Truths(opened=opened, splits=wanted, masks=masks)
