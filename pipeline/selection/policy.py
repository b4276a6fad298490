"""What a release takes: bounds on scores, licences, how many, in which splits. Values and their checks only."""

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

SPLITS = ("train", "validation", "test")
"""The names that loaders of the Hugging Face Hub know."""
RankingScore = Literal[
    "ensemble_variance", "ensemble_variance_per_area", "pairwise_iou", "stability", "max_saliency", "instance_iou"
]
"""Scores that say how far a mask can be trusted; `area` and `border` say no such thing."""
RANKED_HIGH_FIRST = ("pairwise_iou", "stability", "max_saliency", "instance_iou")
Strata = Literal["none", "even", "proportional"]
"""How a target is shared out among the strata: groups of one supercategory and one size of object."""
Stratum = TypeVar("Stratum", bound=tuple[str, str])
_THRESHOLD = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\w]+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A bound on one score; what lies exactly on it passes."""

    score: str
    sense: Literal["<=", ">="]
    bound: float

    def __str__(self) -> str:
        """The same for the same threshold, however it was written."""
        return f"{self.score}{self.sense}{self.bound!r}"

    @property
    def reason(self) -> str:
        """Why an image that does not pass is rejected."""
        return f"{self.score}_{'above_max' if self.sense == '<=' else 'below_min'}"

    def passes(self, scores: Mapping[str, float | None]) -> bool:
        """Is the score on the right side? One that is unknown is not."""
        value = scores[self.score]
        if value is None:
            return False
        return value <= self.bound if self.sense == "<=" else value >= self.bound


@functools.lru_cache(maxsize=256)
def parse_threshold(text: str) -> Threshold:
    """`pairwise_iou >= 0.9` as a threshold.

    Raises: ValueError: it is none, or there is no such score.
    """
    from pipeline.selection.scores import CROSS_CHECKS, SCORES

    found = _THRESHOLD.fullmatch(text)
    try:
        score, sense, bound = found.groups() if found else ("", "", "")
        value = float(bound)
    except ValueError as error:
        raise ValueError(f"threshold {text!r} is none; give one like 'pairwise_iou >= 0.9'") from error
    known = (*SCORES, *CROSS_CHECKS)
    if value != value or score not in known:
        raise ValueError(f"threshold {text!r}: there is no such score or bound; scores are {', '.join(known)}")
    return Threshold(score=score, sense="<=" if sense == "<=" else ">=", bound=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Which images are accepted. Scores are stored, so another policy costs no prediction; with `--adaptive on` its
    bounds decide how many members an image gets, and belong to the run."""

    max_variance: float = 0.02
    """Largest accepted `ensemble_variance`, 0 to 0.25. Lower: fewer images, on which the members agree more."""
    max_variance_per_area: float = 0.1
    """Largest accepted `ensemble_variance_per_area`, 0 to 250: catches small objects on which the members disagree,
    whose variance is small because they are."""
    min_area: float = 0.005
    """Smallest accepted share of the image that the mask covers, 0 to 1; below it there is no salient object."""
    max_area: float = 0.95
    """Largest accepted share of the image that the mask covers, 0 to 1."""
    thresholds: tuple[str, ...] = ()
    """More bounds, on any score, as in `pairwise_iou>=0.9` or `border<=0.3`."""
    allowed_licenses: tuple[int, ...] = ()
    """Ids of licences, as the annotations number them; images of other ones are rejected. None: all are allowed."""
    commercial: bool = False
    """Accept images only whose licence is known to allow commercial use and changes: the URL of the annotations'
    licence is that of CC BY, CC BY-SA, CC0, a public domain mark, Flickr Commons or a work of the US government."""
    target_images: int = 0
    """Accept so many images at most, the best by `rank_by`; 0 is all that pass."""
    rank_by: RankingScore = "ensemble_variance_per_area"
    """Score by which the best are chosen; ties are broken by key, and what has no such score comes last."""
    strata: Strata = "none"
    """Share the target out among COCO's supercategories (of the annotated things that the mask covers) and sizes of
    object (up to 32 x 32 px, up to 96 x 96 px, larger): `even`, as many of each kind as there are, or `proportional`;
    `none` looks at the score alone."""

    def __post_init__(self) -> None:
        for name, bound in (
            ("max_variance", 0.25),
            ("max_variance_per_area", 250.0),
            ("min_area", 1.0),
            ("max_area", 1.0),
        ):
            value = getattr(self, name)
            if not 0 <= value <= bound:
                raise ValueError(f"{name} is {value}; it must be from 0 to {bound}")
        if self.min_area > self.max_area:
            raise ValueError(f"min_area is {self.min_area}; it must be at most max_area, which is {self.max_area}")
        # In one form and order, however they were written: the first bound that an image fails is its reason.
        thresholds = {str(parse_threshold(text)) for text in self.thresholds}
        object.__setattr__(self, "thresholds", tuple(sorted(thresholds)))
        object.__setattr__(self, "allowed_licenses", tuple(sorted(set(self.allowed_licenses))))
        if self.target_images < 0:
            raise ValueError(f"target_images is {self.target_images}; it must be 0 (all) or more")
        if self.strata != "none" and not self.target_images:
            raise ValueError(f"strata is {self.strata!r}, but target_images is 0: give the number that is shared out")


def parse_splits(texts: Sequence[str]) -> dict[str, float]:
    """`test`, or `train=0.8` and `test=0.2`: split → its share of the images.

    Raises: ValueError: a name is unknown or comes twice, or the shares do not add up to 1.
    """
    shares: dict[str, float] = {}
    for text in texts:
        name, _, share = text.partition("=")
        if name not in SPLITS or name in shares:
            raise ValueError(f"split {text!r}: each of {', '.join(SPLITS)} may be given once, as in train=0.8")
        try:
            shares[name] = float(share or 1)
        except ValueError as error:
            raise ValueError(f"split {text!r}: {share!r} is no share, as in train=0.8") from error
    if not all(0 < share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"splits {' '.join(texts)}: shares must be above 0 and add up to 1")
    # In one order, however they were written: the order decides which keys are whose.
    return {name: shares[name] for name in SPLITS if name in shares}


def split_of(key: str, shares: Mapping[str, float]) -> str:
    """The split of an image: its key decides, so that it is the same in every release with the same shares."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return name  # shares add up to 1 but for the last bits


def quotas(sizes: Mapping[Stratum, int], target: int, strata: Strata) -> dict[Stratum, int]:
    """How many of each stratum are taken, so that they add up to `target`, or to all there are.

    `even`: as many of each as of any other, as far as there are so many; what a small stratum can't give, larger ones
    do. `proportional`: the share that it has of all, rounded by the largest remainder (Hamilton's method).
    """
    total = sum(sizes.values())
    target = min(target, total)
    if strata == "even":
        taken: dict[Stratum, int] = {}
        left = target
        for place, name in enumerate(sorted(sizes, key=lambda name: (sizes[name], name))):
            taken[name] = min(sizes[name], left // (len(sizes) - place))
            left -= taken[name]
        return taken
    floors = {name: target * size // total for name, size in sizes.items()} if total else {}
    by_remainder = sorted(floors, key=lambda name: (-(target * sizes[name] % total), name))
    one_more = set(by_remainder[: target - sum(floors.values())])
    return {name: floors[name] + (name in one_more) for name in floors}
