"""What a score pass is, and what it is given of an image. Pure.

A pass looks at images and their candidates again, and adds columns: scores, which a policy can bound, and texts.
The simplest is a class with `columns` and `score`. One that predicts in batches is a `Scorer`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from model.config import ModelConfig
from pipeline.errors import SampleError
from pipeline.files.maps import decode_masks, decode_png, mask_of
from pipeline.records import CandidateRow, Sample
from pipeline.runs.binding import maps_sha256
from pipeline.runs.candidates import KEPT
from pipeline.selection.columns import Column

Values = Mapping[str, float | str | bytes | None]
"""Column → value; None where there is nothing to measure. Of a vector, the bytes: see `Vector`."""
Photo = UInt8[np.ndarray, "h w 3"] | None
"""The pixels of an image, for the report of a pass; None if it can't or may not be shown."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a run has committed of a predicted image."""

    row: CandidateRow
    files: Mapping[str, bytes] = field(repr=False)
    """Extension → content, as in the candidate's tar."""
    earlier: Values = field(default_factory=dict)
    """Values of the passes that this one needs."""

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of what it consists of: the image's file, its maps, its scores, and its members if they are kept."""
        facts = [self.row.image_sha256, maps_sha256(self.files), *map(repr, sorted(self.row.scores.items()))]
        if KEPT in self.files:
            facts.append(hashlib.sha256(self.files[KEPT]).hexdigest())
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()

    @cached_property
    def saliency(self) -> UInt8[np.ndarray, "h w"]:
        """The saliency map at the image's own size; 255 stands for 1."""
        return decode_png(self.files["saliency.png"])

    @cached_property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Where the saliency is at least 0.5."""
        return mask_of(self.saliency)

    @property
    def member_masks(self) -> Bool[np.ndarray, "e ph pw"]:
        """The masks of its ensemble members at processing size.

        Raises: SampleError: the run has not kept them, or the file is not that of as many members.
        """
        if KEPT not in self.files:
            raise SampleError("no_members", f"the run has no {KEPT} of this image; verify the run")
        try:
            return decode_masks(self.files[KEPT], self.row.members)
        except ValueError as error:
            raise SampleError("no_members", f"its {KEPT}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image that is to be scored."""

    sample: Sample
    image: UInt8[np.ndarray, "h w 3"] | None = field(repr=False)
    """RGB at the size of the candidate's maps; None for a pass that needs no image."""
    candidate: Candidate


class ScorePass(Protocol):
    """The least that a pass has to be."""

    @property
    def columns(self) -> Sequence[Column]:
        """What it adds, in the order of the manifest's columns."""

    def score(self, sample: Sample, image: UInt8[np.ndarray, "h w 3"], candidate: Candidate) -> Values:
        """Measure one image; a value for every column.

        Raises: SampleError: this image can't be scored.
        """


@runtime_checkable
class Scorer(Protocol):
    """A pass that gets several images at once, and says what it runs on."""

    @property
    def columns(self) -> Sequence[Column]:
        """As in `ScorePass`."""

    @property
    def needs_image(self) -> bool:
        """False: maps are enough, and no image is read."""

    @property
    def device_kind(self) -> str:
        """`cpu` or `cuda`, plus whatever else changes the last bits; see `SaliencyModel`."""

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """Measure the images of a batch: one answer for each, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassContext:
    """What a pass may know when it is made."""

    name: str
    """Of the pass in its run; columns of passes that can be there twice begin with it."""
    run: str
    """Folder of the run."""
    made_with: Mapping[str, str]
    """The run's fingerprint."""
    model: ModelConfig
    """Device, precision and threads, and the weights of passes that predict."""


class OneByOne:
    """Makes a `Scorer` of a `ScorePass`."""

    needs_image = True
    device_kind = "cpu"

    def __init__(self, score_pass: ScorePass) -> None:
        self._pass = score_pass

    @property
    def columns(self) -> Sequence[Column]:
        """Those of the pass."""
        return self._pass.columns

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """One image after the other."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Values | SampleError:
        assert item.image is not None
        try:
            return self._pass.score(item.sample, item.image, item.candidate)
        except SampleError as error:
            return error
