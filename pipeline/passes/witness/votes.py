"""Lets several witnesses vote: how many agree with the mask, and what most of them see."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import ConfigError, SampleError
from pipeline.passes.agreement import iou
from pipeline.passes.folder import is_begun, passes_of, read_document
from pipeline.passes.mask_text import mask_from_text, mask_to_text
from pipeline.passes.options import VotesOptions
from pipeline.passes.score_pass import Item, PassContext, Values
from pipeline.runs.fingerprint import digest_of
from pipeline.selection.columns import Column, Text
from pipeline.selection.scores import Score

AGREES, AGREES_CLOSELY = 0.5, 0.8
"""Intersection over union from which a witness agrees: the same object; the same outline."""


class Votes:
    """Fulfils `Scorer`.

    Raises: ConfigError: fewer than two passes are named, or one of them is no witness of this run.
    """

    needs_image = False
    device_kind = "cpu"

    def __init__(self, options: VotesOptions, context: PassContext) -> None:
        self._name, self._witnesses = context.name, options.votes_of
        if len(self._witnesses) < 2:
            raise ConfigError(
                f"--votes-of names {len(self._witnesses)} passes; name the witness passes that vote, at least two"
            )
        for witness in self._witnesses:
            if not is_begun(context.run, witness):
                there = ", ".join(passes_of(context.run)) or "none"
                raise ConfigError(f"--votes-of {witness}: {context.run} has no such pass (there: {there})")
            columns = {column.name for column in read_document(context.run, witness).columns}
            if not columns >= {f"{witness}_iou", f"{witness}_mask"}:
                raise ConfigError(f"--votes-of {witness}: this pass is no witness, since it keeps no masks")

    @property
    def columns(self) -> Sequence[Column]:
        """Shares of witnesses, and their common mask."""
        name = self._name
        return (
            Score(
                name=f"{name}_share_50",
                meaning="share of the witnesses whose mask has an intersection over union with the mask of at least "
                "0.5, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Score(
                name=f"{name}_share_80",
                meaning="share of the witnesses whose mask has an intersection over union with the mask of at least "
                "0.8, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Score(
                name=f"{name}_iou",
                meaning="intersection over union of the mask with the pixels that more than half of the witnesses "
                "see, 0 to 1",
                worse_when="low",
                rankable=True,
            ),
            Text(
                name=f"{name}_mask",
                is_mask=True,
                meaning="the pixels that more than half of the witnesses see: COCO's compressed run lengths at the "
                "image's size, as JSON",
            ),
        )

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """Count the votes on each image."""
        return [self._count(item) for item in items]

    def _count(self, item: Item) -> Values:
        """Witnesses that failed on the image have no vote; without any, nothing is known."""
        earlier, mask = item.candidate.earlier, item.candidate.mask
        present = [witness for witness in self._witnesses if earlier.get(f"{witness}_mask") is not None]
        if not present:
            return {column.name: None for column in self.columns}
        ious = np.array([earlier[f"{witness}_iou"] for witness in present], dtype=np.float64)
        masks = [mask_from_text(str(earlier[f"{witness}_mask"]), *mask.shape) for witness in present]
        majority = np.greater(2 * np.sum(masks, axis=0, dtype=np.int64), len(masks))
        return {
            f"{self._name}_share_50": float((ious >= AGREES).mean()),
            f"{self._name}_share_80": float((ious >= AGREES_CLOSELY).mean()),
            f"{self._name}_iou": iou(majority, mask),
            f"{self._name}_mask": mask_to_text(majority),
        }

    @staticmethod
    def made_with(options: VotesOptions, context: PassContext) -> Mapping[str, str]:
        """What each witness was made with."""
        return {
            f"witness {witness}": digest_of(read_document(context.run, witness).fingerprint)
            for witness in options.votes_of
        }

    @staticmethod
    def about(options: VotesOptions, context: PassContext) -> Mapping[str, str]:
        """Who votes."""
        return {"Witnesses": ", ".join(options.votes_of)}
