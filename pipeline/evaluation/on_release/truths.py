"""The masks of a release, from its annotations: run lengths take a hundredth of what its tars take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.collection.outlines import read_outline
from pipeline.errors import ConfigError, PipelineError, StorageError
from pipeline.evaluation.sources import Runs
from pipeline.files import urls
from pipeline.release.changes import ANNOTATIONS_BYTES
from pipeline.release.coco_json import empty_counts
from pipeline.release.opened import OpenedRelease, open_release


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
    masks = {mask.label: mask for split in wanted for mask in _masks(opened, split)}
    if not masks:
        raise ConfigError(f"{release} has no accepted image in {' '.join(wanted)}")
    return Truths(opened=opened, splits=wanted, masks={key: masks[key] for key in sorted(masks)})


def _masks(opened: OpenedRelease, split: str) -> Iterator[Runs]:
    name = f"annotations/{split}.json"
    try:
        segmentations = _segmentations(opened, name)
        for row in opened.rows.values():
            if row["split"] == split:
                yield _mask(row, segmentations.pop(row["image_id"], None))
        if segmentations:
            raise ValueError(f"it has a mask of image {next(iter(segmentations))}, which the manifest has not accepted")
    except PipelineError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"{opened.folder}/{name} does not fit to the manifest ({type(error).__name__}: {str(error)[:200]}); "
            "jobs/verify_release.py lists every problem"
        ) from error


def _segmentations(opened: OpenedRelease, name: str) -> dict[int, Any]:
    from model.documents import parse_object

    document = parse_object(opened.content(name), most_bytes=ANNOTATIONS_BYTES)
    found: dict[int, Any] = {}
    for annotation in document["annotations"]:
        if annotation["image_id"] in found:
            raise ValueError(f"it has two masks of image {annotation['image_id']}")
        found[annotation["image_id"]] = annotation["segmentation"]
    return found


def _mask(row: Mapping[str, Any], segmentation: Any) -> Runs:
    key, height, width = row["key"], row["height"], row["width"]
    if segmentation is None:
        if row.get("scene") != "empty":
            raise ValueError(f"it has no mask of {key}")
        counts = empty_counts(height, width)
    else:
        outline = read_outline(segmentation, height, width)
        if outline.left_out or not outline.counts:
            raise ValueError(f"the mask of {key} is {' and '.join(outline.left_out)}")
        counts = outline.counts
    return Runs(label=key, height_px=height, width_px=width, counts=counts)
