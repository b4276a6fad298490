"""Checks on the images of a release: are they the stated ones, and do all readers see what their maps lie on?"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import SampleError
from pipeline.files.scan import png
from pipeline.release.released import RELEASED_AS, as_readers_see

_AS_STORED = {"original": (0, 1), "orientation_neutralised": range(2, 9)}
"""What was done → the orientations that the collection's file can have stated; 0: an earlier version did not look."""


def is_said_released(row: Mapping[str, Any]) -> bool:
    """Does a manifest row say anything of an image in a tar? Before format 4, none does."""
    return any(row.get(name) for name in ("released_as", "released_sha256", "released_bytes"))


def image_problems(content: bytes, row: Mapping[str, Any]) -> Iterator[str]:
    """How an image differs from what its manifest row says; after the name of its file.

    Args: row: of any format of releases.
    """
    what = row.get("released_as", "original")
    sha256, file_bytes = row.get("released_sha256", row["image_sha256"]), row.get("released_bytes", row["image_bytes"])
    if hashlib.sha256(content).hexdigest() != sha256:
        yield "is not the image that was released: its SHA-256 differs from the manifest's"
    if len(content) != file_bytes:
        yield f"has {len(content)} bytes; the manifest has {file_bytes}"
    if what not in RELEASED_AS:
        yield f"is released as {what!r}; the manifest can state {', '.join(RELEASED_AS)}"
        return
    if (what == "original") != ((sha256, file_bytes) == (row["image_sha256"], row["image_bytes"])):
        yield f"is released as {what}, which its sums and sizes in the manifest contradict"
    if "frame" in row:
        yield from _frame_problems(content, row)
    yield from _reading_problems(content, (row["width"], row["height"]))


def _frame_problems(content: bytes, row: Mapping[str, Any]) -> Iterator[str]:
    what, frame, stated = row["released_as"], row["frame"], row["exif_orientation"]
    if frame not in ("", "stored", "upright") or not 0 <= stated <= 8:
        yield f"has the frame {frame!r} and the orientation {stated} in the manifest, which no image has"
    is_turned = frame == "upright" and stated > 1
    if frame and ((what == "turned_png") != is_turned or stated not in _AS_STORED.get(what, range(1, 9))):
        yield f"is released as {what}, though its frame is {frame} and its orientation was {stated}"
    if what in ("png", "turned_png") and not png.is_png(content):
        yield f"is released as {what}, but is no PNG"


def _reading_problems(content: bytes, size_px: tuple[int, int]) -> Iterator[str]:
    """Whether readers that obey an orientation, and those that do not, get pictures of that width and height."""
    try:
        seen = as_readers_see(content, size_px[0] * size_px[1])
    except SampleError as error:
        yield f"can't be read as an image: {error.detail}"
        return
    if seen.size_px != size_px:
        yield f"is {seen.size_px[0]} x {seen.size_px[1]} px; its maps are {size_px[0]} x {size_px[1]} px"
    if seen.orientation != 1:
        yield f"has the orientation {seen.orientation}: some readers turn it, and its maps do not lie on what they show"
