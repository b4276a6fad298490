"""What the texts of a release say of a certificate. Whoever makes certificates gives it; nothing here computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
