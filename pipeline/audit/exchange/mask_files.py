"""Masks as image files, white on black, as every editor of pictures and every data set of the field has them."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from pipeline.audit.exchange.given import Given, Images, Reading
from pipeline.errors import SampleError
from pipeline.evaluation.pairs import files_by_name
from pipeline.evaluation.truth import read_truth
from pipeline.passes.mask_text import rle_of


def read(folder: Path, images: Images) -> Reading:
    """Read a folder of masks, each named after its image.

    Raises: CollectionError: there is no such folder, or no image in it. ValueError: a file is no mask of an image of
            the sample; the message names it.
    """
    given = []
    for path in files_by_name(folder).values():
        key = images.key_of(path.name)
        try:
            mask = read_truth(path)
        except SampleError as error:
            raise ValueError(f"{path.name} can't be read as a mask: {error}") from error
        images.require_size(key, *mask.shape)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        given.append(Given(key=key, mask=rle_of(mask), answered=written(path), digest=digest))
    return Reading(given=tuple(given), has_verdicts=False)


def written(path: Path) -> str:
    """When a file was written, in UTC, as answers have it."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
