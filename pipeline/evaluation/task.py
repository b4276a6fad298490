"""What is to be evaluated: pairs of one dataset, of one pair of folders, or of a release; light to import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.evaluation.pairs import Pair
from pipeline.release.certified import StatedCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRejected:
    """The images that the policy of a release has rejected, as far as there are predictions of them."""

    run: str
    """The run that the release was made from, which has their masks."""
    pairs: Sequence[Pair]
    """Of the images with a prediction."""
    reasons: Mapping[str, str]
    """Key → why it was rejected, of all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRelease:
    """The release that the masks of a task are from."""

    name: str
    version: str
    sha256: str
    """Of its `release.json`."""
    splits: tuple[str, ...]
    strata: Mapping[str, Mapping[str, str]]
    """Kind → key → stratum."""
    surplus: tuple[str, ...]
    """Predictions that are of none of its images."""
    rejected: OnRejected | None = None
    """None: they are not to be measured."""
    certificate: StatedCertificate | None = None
    """Its newest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One dataset, or one pair of folders, with its files paired."""

    name: str
    folder: str
    """Folder of its results, below OUT; empty for OUT itself."""
    maps: Path
    """Folder of saliency maps, or of the photos to predict; a tar or JSON of predictions."""
    masks: Path | str
    """Folder of masks, or folder or URL of the release."""
    pairs: Sequence[Pair]
    on_release: OnRelease | None = None
