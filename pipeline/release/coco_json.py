"""The release's annotations in COCO format: one run-length-encoded mask per accepted image that has an object.

Tools for COCO's format open `file_name` in the folder that they are given, so it names the file that extracting the
tars makes. Ids of annotations start at 1, because pycocotools stores the id of the matching annotation with each
prediction, and takes 0 for "none matches".
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as coco_mask

from pipeline.collection.collection import License
from pipeline.config import ReleaseConfig
from pipeline.records import Sample

CATEGORY = {"id": 1, "name": "salient object", "supercategory": "salient object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedMask:
    """A mask in COCO's encoding."""

    counts: str
    """Compressed run lengths."""
    area_px: int
    bbox: tuple[float, float, float, float]
    """Left, top, width, height in pixels; zeros for an empty mask."""


def encode_mask(mask: Bool[np.ndarray, "h w"]) -> EncodedMask:
    """Compute run lengths, area and bounding box of a mask."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))  # pycocotools refuses C order
    left, top, width, height = (float(value) for value in coco_mask.toBbox(rle))
    return EncodedMask(
        counts=rle["counts"].decode("ascii"), area_px=int(coco_mask.area(rle)), bbox=(left, top, width, height)
    )


def empty_counts(height_px: int, width_px: int) -> str:
    """Run lengths of a mask without a pixel, as `encode_mask` gives them.

    Raises: ValueError, TypeError: this is not the size of an image.
    """
    if not 0 < height_px * width_px < 1 << 31:
        raise ValueError(f"{width_px} x {height_px} px is not the size of an image")
    rle = coco_mask.frPyObjects({"size": [height_px, width_px], "counts": [height_px * width_px]}, height_px, width_px)
    return str(rle["counts"].decode("ascii"))


def image_file(key: str, collection_file_name: str, *, embed_images: bool) -> str:
    """Name of an accepted image's file: that of its member in a tar; in releases of masks alone the collection's."""
    return f"{key}.jpg" if embed_images else collection_file_name


class CocoAnnotations:
    """Collects images and masks in the order they are added; ids of images are those of the manifest."""

    def __init__(self, release: ReleaseConfig, licenses: Mapping[int, License]) -> None:
        self._embed_images = release.embed_images
        self._info = {"description": release.name, "version": release.version}
        self._licenses = [asdict(licenses[number]) for number in sorted(licenses)]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, sample: Sample, mask: EncodedMask | None) -> None:
        """Add an accepted image and its mask, as the next annotation; None: an empty scene, which has none."""
        self._images.append(
            {
                "id": sample.image_id,
                "file_name": image_file(sample.key, sample.file_name, embed_images=self._embed_images),
                "collection_file_name": sample.file_name,
                "width": sample.width,
                "height": sample.height,
                "license": sample.license_id,
            }
        )
        if mask is None:
            return
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": sample.image_id,
                "category_id": CATEGORY["id"],
                "segmentation": {"size": [sample.height, sample.width], "counts": mask.counts},
                "area": mask.area_px,
                "bbox": list(mask.bbox),
                "iscrowd": 0,
            }
        )

    def encode(self) -> bytes:
        """Encode the JSON; equal content gives equal bytes."""
        document = {
            "info": self._info,
            "licenses": self._licenses,
            "categories": [CATEGORY],
            "images": self._images,
            "annotations": self._annotations,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
