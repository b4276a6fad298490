"""YOLO's layout for segmentation: `images/SPLIT/KEY.jpg`, `labels/SPLIT/KEY.txt`, `data.yaml`.

A label is one line, "0 x1 y1 x2 y2 …", corners in shares of the image's sides: the salient object is one instance of
class 0, however many parts and holes its mask has. Parts and holes are joined by a line there and back between their
nearest corners, as Ultralytics' own converter joins the parts of COCO's instances. A scene without an object has an
empty file.
"""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int, UInt8
from scipy.spatial import cKDTree

from pipeline.files.maps import decode_png
from pipeline.release.coco_json import CATEGORY
from pipeline.release.export.layout import write
from pipeline.release.opened import OpenedRelease, ReleasedSample

_SPLIT_NAMES = {"validation": "val"}
Outline = Int[np.ndarray, "n 2"]
"""Corners of a closed outline in pixels: x and y."""


class YoloFolders:
    """Photos and polygons."""

    def __init__(self, folder: Path, opened: OpenedRelease) -> None:
        self._folder, self._splits = folder, sorted(opened.stated.splits)

    def add(self, sample: ReleasedSample) -> None:
        """Write photo and label."""
        split = _SPLIT_NAMES.get(sample.row["split"], sample.row["split"])
        write(self._folder / "images" / split / f"{sample.key}.jpg", sample.members["jpg"])
        mask = decode_png(sample.members["mask.png"])
        write(self._folder / "labels" / split / f"{sample.key}.txt", label_of(mask).encode())

    def close(self) -> None:
        """Write `data.yaml`. Without a path in it, places are relative to the file itself."""
        names = [_SPLIT_NAMES.get(split, split) for split in self._splits]
        lines = []
        for name in names:
            (self._folder / "images" / name).mkdir(parents=True, exist_ok=True)
            lines.append(f"{name}: images/{name}")
        for needed in {"train", "val"} - set(names):
            lines.append(f"{needed}: images/{names[0]}  # YOLO insists on it, and the release has no such split")
        text = "\n".join([*sorted(lines), "names:", f"  0: {CATEGORY['name']}", ""])
        write(self._folder / "data.yaml", text.encode())


def label_of(mask: UInt8[np.ndarray, "h w"]) -> str:
    """The line of a mask, with its end; "" for an empty one. Corners are pixel centres, as OpenCV draws them."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return ""
    height, width = mask.shape
    corners = joined([outline[:, 0, :] for outline in outlines]) / (width, height)
    return "0 " + " ".join(f"{number:.6g}" for number in corners.ravel()) + "\n"


def joined(outlines: list[Outline]) -> Outline:
    """Join closed outlines to a single one: again and again the one that is nearest to what is joined already.

    Returns: corners; filling them by the even-odd rule gives all parts without their holes.
    """
    outlines = sorted(outlines, key=len, reverse=True)
    whole = added = outlines[0]
    left = np.concatenate([np.empty((0, 2), dtype=whole.dtype), *outlines[1:]])
    owner = np.repeat(np.arange(1, len(outlines)), [len(outline) for outline in outlines[1:]])
    distance, nearest = np.full(len(left), np.inf), np.zeros_like(left)
    """Of each corner that is not joined yet: how far it is from what is joined, and from which corner there."""
    while len(left):
        found, places = cKDTree(added).query(left)
        nearest = np.where((found < distance)[:, None], added[places], nearest)
        distance = np.minimum(found, distance)
        closest = int(distance.argmin())
        outline = outlines[owner[closest]]
        here = int((whole == nearest[closest]).all(axis=1).argmax())
        there = int((outline == left[closest]).all(axis=1).argmax())
        detour = [outline[there:], outline[: there + 1], whole[here : here + 1]]
        whole, added = np.concatenate([whole[: here + 1], *detour, whole[here + 1 :]]), outline
        stays = owner != owner[closest]
        left, owner, distance, nearest = left[stays], owner[stays], distance[stays], nearest[stays]
    return whole
