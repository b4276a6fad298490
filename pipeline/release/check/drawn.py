"""Checks on the pictures that a release makes of maps: each is made again, of the saliency map and the manifest's row.

Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pipeline.config import ReleaseConfig
from pipeline.release.manifest import SCENE
from pipeline.release.pictures import Known, mask_in, second_mask, second_mask_column, trimap_of


def known_from(row: Mapping[str, Any], release: ReleaseConfig) -> Known:
    """What a row of the manifest says that decides the image's pictures."""
    return Known(
        is_empty=row.get(SCENE.name) == "empty",
        second=row[second_mask_column(release)] if release.alternatives else None,
    )


def drawn_problems(
    maps: Mapping[str, UInt8[np.ndarray, "h w"]], row: Mapping[str, Any], release: ReleaseConfig
) -> Iterator[str]:
    """What is wrong with masks and trimap of a sample; texts begin with the extension.

    Args: maps: those of its pictures that could be read, all of the image's size.
    """
    known, saliency = known_from(row, release), maps.get("saliency.png")
    for name in ("mask.png", "mask_2.png"):
        if name in maps and not set(np.unique(maps[name])) <= {0, 255}:
            yield f"{name} has values other than 0 and 255: {np.unique(maps[name])[:5].tolist()} …"
    if saliency is None:
        return
    mask = mask_in(saliency, known)
    if "mask.png" in maps and not np.array_equal(maps["mask.png"] == 255, mask):
        where = "empty, as the manifest says its scene is" if known.is_empty else "the region"
        yield f"mask.png is not {where}{'' if known.is_empty else ' where its saliency.png is at least one half'}"
    if "mask_2.png" in maps:
        try:
            second = second_mask(mask, known)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            yield f"mask_2.png: the manifest's {second_mask_column(release)} is no mask: {str(error)[:200]}"
        else:
            if not np.array_equal(maps["mask_2.png"] == 255, second):
                source = "mask.png" if second is mask else f"the manifest's {second_mask_column(release)}"
                yield f"mask_2.png is not the mask of {source}"
    if "trimap.png" in maps and not np.array_equal(maps["trimap.png"], trimap_of(saliency, known)):
        yield "trimap.png is not what its rule makes of saliency.png"
