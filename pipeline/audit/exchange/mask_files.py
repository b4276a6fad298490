"""Masks as image files, white on black, as every editor of pictures and every data set of the field has them."""

import hashlib
from collections.abc import Set
from datetime import UTC, datetime
from pathlib import Path

from pipeline.audit.exchange.given import Given, Images, Reading, quoted
from pipeline.errors import SampleError
from pipeline.evaluation.pairs import files_by_name
from pipeline.evaluation.truth import read_truth
from pipeline.passes.mask_text import rle_of


def read(folder: Path, images: Images, wanted: Set[str]) -> Reading:
    """Read a folder of masks, each named after its image.

    It may have the masks of a whole data set, so those of other images are left out.

    Args:   wanted: keys of the images whose masks are read.
    Raises: CollectionError: there is no such folder, or no image in it. ValueError: no file is of a wanted image, or
            one is no mask of it; the message names it.
    """
    given, left_out = [], []
    for path in files_by_name(folder).values():
        key = _key_of(path, images)
        if key not in wanted:
            left_out.append(path.name)
            continue
        try:
            mask = read_truth(path)
        except SampleError as error:
            raise ValueError(f"{path.name} can't be read as a mask: {error}") from error
        images.require_size(key, *mask.shape)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        given.append(Given(key=key, mask=rle_of(mask), answered=written(path), digest=digest))
    if not given:
        raise ValueError(f"none of its {len(left_out)} masks, such as {quoted(left_out[0])}, is of an image to judge")
    return Reading(given=tuple(given), has_verdicts=False, left_out=tuple(left_out))


def _key_of(path: Path, images: Images) -> str:
    try:
        return images.key_of(path.name)
    except ValueError:
        return ""


def written(path: Path) -> str:
    """When a file was written, in UTC, as answers have it."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
