"""Masks as image files, white on black, as every editor of pictures and every data set of the field has them."""

import hashlib
from collections.abc import Set
from dataclasses import replace
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
            one is no mask of it, or it is unclear which one it is of; the message names it.
    """
    given, left_out = list[Given](), list[str]()
    digest = hashlib.sha256()
    files = files_by_name(folder).values()
    keys = images.find(path.name for path in files)
    for path in files:
        key = keys.get(path.name, "")
        if key not in wanted:
            left_out.append(path.name)
            continue
        try:
            mask = read_truth(path)
        except SampleError as error:
            raise ValueError(f"{path.name} can't be read as a mask: {error}") from error
        images.require_size(key, *mask.shape)
        digest.update(hashlib.sha256(path.read_bytes()).digest())
        given.append(Given(key=key, mask=rle_of(mask)))  # nobody knows when it was drawn
    if not given:
        raise ValueError(f"none of its {len(left_out)} masks, such as {quoted(left_out[0])}, is of an image to judge")
    of_all = digest.hexdigest()
    return Reading(
        given=tuple(replace(one, digest=of_all) for one in given), has_verdicts=False, left_out=tuple(left_out)
    )
