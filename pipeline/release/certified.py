"""What texts say of a certificate. Whoever makes certificates gives it; nothing here computes it. Light to import."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KIND = "certificate"
"""The kind of an annex with a certificate."""
CERTIFICATE = "certificate.json"
"""Its file that has every number."""
_PARTS = 10_000
_LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedShare:
    """What is certain of the masks with an IoU of at least `iou`."""

    iou: float
    good: int
    """Images of the sample whose mask has it."""
    at_least: float
    """The share of all accepted masks that has it is at least this, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What people found out about a release: texts say it in place of `templates.UNCHECKED`."""

    sentence: str
    """The promise, in one sentence: how many masks, how good, how sure."""
    population: int
    """Accepted images of the release."""
    images: int
    """Those that were drawn and judged."""
    raters: int
    """People who judged, without the adjudicator."""
    judged_twice: int
    """Images that two raters judged."""
    confidence: float
    """Of all shares together, in [0, 1]."""
    shares: Sequence[CertifiedShare]
    sources: Mapping[str, int]
    """Where answers come from: `page`, or what they were imported from → images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedCertificate:
    """What a reader of a release has to know of a certificate: its promise, and what wrong labels can do to MAE."""

    annex: int
    """Number of the annex."""
    sha256: str
    """SHA-256 of its `annex.json`."""
    sentence: str
    """The promise."""
    confidence: float
    """In [0, 1]."""
    population: int
    """Accepted images of the release."""
    pixel_error: float | None
    """Mean share of an image's pixels with a wrong label, over all accepted images: it is at most this, in [0, 1]. None
    if the certificate does not say."""

    def __post_init__(self) -> None:
        """Raises ValueError if it is not that: it may have been read from a file that somebody has edited."""
        texts = (self.sha256, self.sentence)
        if not all(isinstance(text, str) and 0 < len(text) <= _LONGEST_TEXT for text in texts):
            raise ValueError("its sentence is no text of at most a thousand letters")
        if type(self.annex) is not int or type(self.population) is not int or min(self.annex, self.population) < 1:
            raise ValueError("its number of images is none")
        shares = (self.confidence, 0.0 if self.pixel_error is None else self.pixel_error)
        if not all(type(share) in (int, float) and 0 <= share <= 1 for share in shares):
            raise ValueError("its confidence or mean pixel error is no number from 0 to 1")

    def explained(self, images: int) -> float | None:
        """The largest difference of two models' MAE that wrong labels can explain; None if it is not known.

        Args: images: accepted images of the release that both models were measured on, at least one.
        """
        if self.pixel_error is None:
            return None
        return explained_difference(self.pixel_error, self.population / images)


def explained_difference(pixel_error: float, per_image: float = 1.0) -> float:
    """The largest difference of two models' MAE that wrong labels can explain, in [0, 1], rounded up to 4 decimals.

    Each model's MAE on the release's masks is within the mean pixel error of that on the right ones (triangle
    inequality), so the difference of two is within twice that.

    Args: pixel_error: at most this share of pixels is wrong, on average over all accepted images.
          per_image: accepted images for each one measured: all errors may be in a part of the images.
    """
    return min(1.0, math.ceil(2 * pixel_error * per_image * _PARTS - 1e-9) / _PARTS)
