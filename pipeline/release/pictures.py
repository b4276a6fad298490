"""The pictures that a release makes of an image's maps: mask, and on request a second mask and a trimap. Pure.

Releases, surveys and checks all make them here, from stored maps and the manifest's values alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from model.maps import encode_png
from pipeline.config import ReleaseConfig
from pipeline.files.maps import decode_png, mask_of
from pipeline.passes.mask_text import mask_from_text
from pipeline.release.source import ReleaseSource
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.verdicts import is_empty_scene

SURE_BACKGROUND, UNSURE, SURE_FOREGROUND = 0, 128, 255
"""Values of a trimap (Chuang et al. 2001, *A Bayesian Approach to Digital Matting*, CVPR II)."""
MOST_OF_BACKGROUND, LEAST_OF_FOREGROUND = 51, 204
"""Stored saliencies, 0.2 and 0.8. Where members are sure but disagree, the mean of ten says how many of them see the
object: up to two, at least eight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an image besides its maps, and decides its pictures."""

    is_empty: bool = False
    """It counts as a scene without an object."""
    second: str | None = None
    """Its second mask, as the column of the score pass has it; None if it has none."""


NOTHING_KNOWN = Known()


def second_mask_column(release: ReleaseConfig) -> str:
    """The column that second masks come from."""
    return f"{release.alternatives}_second_mask"


def known_of(source: ReleaseSource, release: ReleaseConfig, policy: PolicyConfig) -> dict[str, Known]:
    """Key → what decides its pictures, for predicted images of which anything is known."""
    found = {}
    for _, row in source.images():
        if not row.members or not (release.alternatives or policy.keep_empty):
            continue
        second = source.added(row.key).get(second_mask_column(release)) if release.alternatives else None
        known = Known(
            is_empty=is_empty_scene({**row.scores, **source.added_scores(row.key)}, policy),
            second=second if isinstance(second, str) else None,
        )
        if known != NOTHING_KNOWN:
            found[row.key] = known
    return found


def pictures_from(maps: Mapping[str, bytes], release: ReleaseConfig, known: Known) -> dict[str, bytes]:
    """Extension → PNG of each picture of a sample but its photo: the stored maps, and what is made of them.

    Args:   maps: `saliency.png` and `variance.png`.
    Raises: ValueError, TypeError, KeyError, RecursionError: a map or the second mask can't be read.
    """
    saliency = decode_png(maps["saliency.png"])
    mask = mask_in(saliency, known)
    pictures = {
        "mask.png": encode_png(mask.astype("uint8") * 255),
        "saliency.png": maps["saliency.png"],
        "variance.png": maps["variance.png"],
    }
    if release.alternatives:
        pictures["mask_2.png"] = encode_png(second_mask(mask, known).astype("uint8") * 255)
    if release.trimap:
        pictures["trimap.png"] = encode_png(trimap_of(saliency, known))
    return pictures


def mask_in(saliency: UInt8[np.ndarray, "h w"], known: Known) -> Bool[np.ndarray, "h w"]:
    """The mask: where the stored saliency is at least one half; nowhere in an empty scene."""
    return np.zeros_like(saliency, dtype=bool) if known.is_empty else mask_of(saliency)


def second_mask(mask: Bool[np.ndarray, "h w"], known: Known) -> Bool[np.ndarray, "h w"]:
    """The second mode's mask. The mask itself for an image with one mode or an empty scene: every sample has the file,
    and whoever takes the better of both masks compares with the only one then.

    Raises: ValueError, TypeError, KeyError, RecursionError: the text holds no mask of that size.
    """
    if known.is_empty or known.second is None:
        return mask
    return mask_from_text(known.second, *mask.shape)


def trimap_of(saliency: UInt8[np.ndarray, "h w"], known: Known) -> UInt8[np.ndarray, "h w"]:
    """Sure background, sure foreground, and what is between; sure background everywhere in an empty scene."""
    trimap = np.full(saliency.shape, UNSURE, dtype=np.uint8)
    trimap[saliency <= MOST_OF_BACKGROUND] = SURE_BACKGROUND
    trimap[saliency >= LEAST_OF_FOREGROUND] = SURE_FOREGROUND
    return np.zeros_like(trimap) if known.is_empty else trimap
