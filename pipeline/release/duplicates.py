"""What a release says of near-duplicates, if it has the pass: `duplicates.csv` and `duplicates.png`.

Photos of the collection are shown under the rule of the page, and none of a test set: whether those may be copied is
not known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config import RunConfig
from pipeline.errors import SampleError, StorageError, StorageUnavailableError
from pipeline.passes.duplicates.contamination import PICTURE, TABLE, closest_pairs, picture, table
from pipeline.passes.folder import StatedPass
from pipeline.passes.score_pass import Photo
from pipeline.release.page.tiles import decode_small
from pipeline.release.source import Picked, ReleaseSource, original_bytes
from pipeline.release.survey import shown_photos

DUPLICATES = "duplicates"


def has_duplicates(passes: Sequence[StatedPass]) -> bool:
    """Has a release with these passes the two files?"""
    return any(stated.document.kind == DUPLICATES for stated in passes)


def duplicate_files(source: ReleaseSource, config: RunConfig, rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Name → content. Args: rows: of the manifest."""
    pairs = closest_pairs(rows)
    wanted = {key for pair in pairs for key in (pair.key, *(() if pair.is_of_set else (pair.other,)))}
    wanted &= shown_photos(source, config)
    photos = {
        sample.key: _photo(Picked(sample=sample, row=row), config.input.max_image_bytes)
        for sample, row in source.images()
        if sample.key in wanted
    }
    return {TABLE: table(rows), PICTURE: picture(pairs, photos.get, lambda _: None)}


def _photo(image: Picked, max_bytes: int) -> Photo:
    """None if the image has disappeared or changed, which is no reason to fail: the page has none either."""
    try:
        content = original_bytes(image, max_bytes)
        most_pixels = image.sample.width * image.sample.height
        return decode_small(image.sample.key, content, most_pixels, image.row.frame or "stored")
    except StorageUnavailableError:
        raise
    except (StorageError, SampleError):
        return None
