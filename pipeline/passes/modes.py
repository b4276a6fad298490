"""Is the disagreement of an image's members an ambiguity? Sorts their kept masks into modes; `clusters.py` says how."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pipeline.errors import ConfigError, SampleError
from pipeline.passes.agreement import iou
from pipeline.passes.clusters import LEAST_OF_A_MODE, LEAST_SILHOUETTE, MOST_IOU, MOST_MEMBERS, MOST_MODES, find_modes
from pipeline.passes.mask_text import mask_to_text
from pipeline.passes.score_pass import Candidate, Item, PassContext, Values
from pipeline.selection.columns import Column, Text
from pipeline.selection.scores import Score


class ModesPass:
    """Fulfils `Scorer`."""

    needs_image = False
    device_kind = "cpu"

    def __init__(self, context: PassContext) -> None:
        if "keep_members" not in context.made_with:
            raise ConfigError(
                f"{context.run} has no masks of ensemble members, which this pass compares: it was made without "
                "--keep-members. Make a run with it in another folder"
            )
        members = int(context.made_with.get("ensemble_size", 0))
        if members > MOST_MEMBERS:
            raise ConfigError(
                f"{context.run} has {members} members per image; this pass compares at most {MOST_MEMBERS}"
            )
        self._name = context.name

    @staticmethod
    def about(options: None, context: PassContext) -> Mapping[str, str]:
        """The rule, for the card."""
        return {
            "How modes are found": f"The members' masks are divided into 2 to {MOST_MODES} groups by exact k-medoids "
            "with the distance 1 - IoU. They are modes if their mean silhouette (Rousseeuw 1987) is at least "
            f"{LEAST_SILHOUETTE:g}, each has at least {LEAST_OF_A_MODE} members, and no two of their masks have an IoU "
            f"above {MOST_IOU:g}; otherwise the image has one mode. Several modes say that the model sees different "
            "things as salient, not that people do."
        }

    @property
    def columns(self) -> Sequence[Column]:
        """How many modes, how large they are, how far apart, and the second one's mask."""
        name = self._name
        return (
            Score(
                name=name,
                meaning="number of different masks that the members see as modes, 1 to 3",
                lowest=1,
                highest=MOST_MODES,
                worse_when="high",
            ),
            Score(
                name=f"{name}_share",
                meaning="share of the members in the largest mode, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Score(
                name=f"{name}_silhouette",
                meaning="mean silhouette of the modes, or of the best division into several if there is one, -1 to 1; "
                "unknown for fewer than three members",
                lowest=-1,
                worse_when="high",
            ),
            Score(
                name=f"{name}_second_share",
                meaning="share of the members in the second mode, 0 if there is one, 0 to 1",
                worse_when="high",
            ),
            Score(
                name=f"{name}_iou",
                meaning="intersection over union of the masks of the two largest modes, 1 if there is one, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Text(
                name=f"{name}_second_mask",
                is_mask=True,
                meaning="mask of the second mode at the image's own size, as COCO's run lengths; null if there is one",
            ),
        )

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """One image after the other."""
        return [self._score(item.candidate) for item in items]

    def _score(self, candidate: Candidate) -> Values | SampleError:
        try:
            masks = candidate.member_masks
        except SampleError as error:
            return error
        found, name = find_modes(masks), self._name
        has_second = len(found.members) > 1
        return {
            name: len(found.members),
            f"{name}_share": len(found.members[0]) / len(masks),
            f"{name}_silhouette": found.silhouette,
            f"{name}_second_share": len(found.members[1]) / len(masks) if has_second else 0.0,
            f"{name}_iou": iou(found.masks[0], found.masks[1]) if has_second else 1.0,
            f"{name}_second_mask": mask_to_text(at_own_size(masks[list(found.members[1])], candidate.saliency.shape))
            if has_second
            else None,
        }


def at_own_size(masks: Bool[np.ndarray, "e h w"], height_width: tuple[int, ...]) -> Bool[np.ndarray, "h2 w2"]:
    """The mask of several members at the image's own size: their mean, resized as saliency maps are (bilinearly, with
    antialiasing where it shrinks), where it is at least one half.
    """
    mean = masks.mean(axis=0, dtype=np.float32)
    if mean.shape != height_width:
        height, width = height_width
        mean = np.asarray(Image.fromarray(mean).resize((width, height), Image.Resampling.BILINEAR))
    mask: Bool[np.ndarray, "h2 w2"] = mean >= 0.5
    return mask
