"""The page that shows every audited image of a certificate: its files as bytes. Writes nothing.

Like the page of a release it is static, loads nothing from outside its folder, and has data in scripts alone, which it
inserts as text. Its HTML and scripts are the same for all certificates of one version of this tool.
"""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pipeline.audit.drawn_files import IMAGE, drawn_files
from pipeline.audit.judged import Judged, settled_mask
from pipeline.release.page.data import call
from pipeline.release.page.tiles import decode_small, encode_webp, fitted_px, resized

PREVIEW_PX = 512
"""The longer side of a preview at most; photos are not enlarged."""
CHUNK_IMAGES = 200
"""Images per data script: masks of a large image take up to 10 KB."""
PAGE = "index.html"
_OWN = ("audited.css", "audited.js")
_OF_RELEASES = ("icon.svg", "outlines.js", "style.css")
"""Files that the page has in common with the page of a release; an annex has its own copies, since no file changes."""


def page_files(judged: Judged) -> dict[str, bytes]:
    """Encode all files of the page except previews; equal answers give equal bytes.

    Returns: name relative to the annex → content.
    """
    own, common = files("pipeline.audit") / "audited", files("pipeline.release") / "page"
    described = list(_described(judged))
    chunks = {
        f"page/audit-{number:03d}.js": call("audited", {"images": described[first : first + CHUNK_IMAGES]})
        for number, first in enumerate(range(0, len(described), CHUNK_IMAGES))
    }
    return {
        PAGE: (own / PAGE).read_bytes(),
        **{f"page/{name}": (own / name).read_bytes() for name in _OWN},
        **{f"page/{name}": (common / name).read_bytes() for name in _OF_RELEASES},
        **chunks,
    }


def chunks_of(judged: Judged) -> int:
    """Number of the page's data scripts."""
    return -(-len(judged.outcomes) // CHUNK_IMAGES)


def preview_names(judged: Judged) -> dict[str, str]:
    """Key → name of its preview, relative to the annex; none in a release without photos."""
    if not judged.audited.stated.release.embed_images:
        return {}
    return {image.key: f"page/photos/{place:05d}.webp" for place, image in enumerate(judged.plan.sample)}


def preview_px(row: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of an image's preview. Args: row: of the manifest."""
    width, height = row["width"], row["height"]
    return fitted_px(width, height, min(PREVIEW_PX, max(width, height)))


def previews(judged: Judged) -> Iterable[tuple[str, bytes]]:
    """Yield name and content of each preview.

    Raises: StorageError: a tar of the release can't be read. SampleError: an image of it can't be decoded.
    """
    names = preview_names(judged)
    for key, members in drawn_files(judged.audited, names, (IMAGE,)) if names else ():
        yield names[key], encode_webp(_preview(key, members[IMAGE], judged.audited.rows[key]))


def _preview(key: str, content: bytes, row: Mapping[str, Any]) -> UInt8[np.ndarray, "h w 3"]:
    size_px = preview_px(row)
    return resized(decode_small(key, content, row["width"] * row["height"], side_px=max(size_px)), size_px)


def _described(judged: Judged) -> Iterable[dict[str, Any]]:
    """What the page shows of each image, in the order of the draw."""
    names = preview_names(judged)
    for outcome in judged.outcomes:
        row, mask = judged.audited.rows[outcome.key], settled_mask(judged, outcome)
        of_release = judged.masks[outcome.key]
        yield {
            "key": outcome.key,
            "size": list(preview_px(row)),
            "photo": names.get(outcome.key, ""),
            "stratum": outcome.stratum,
            "verdict": outcome.verdict,
            "adjudicated": outcome.is_adjudicated,
            "iou": round(outcome.iou, 4),
            "known": outcome.iou == outcome.best_iou,
            "mask": of_release,
            "settled": None if mask == of_release else mask,
        }
