"""The policy of a release: bounds on scores, licences, how many images, in which splits. Values and their checks only.

To add a bound, add a field to PolicyConfig and its row to _OPTIONS_WITH_BOUNDS.
"""

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from pipeline.selection.combination import NAME as COMBINATION
from pipeline.selection.combination import SCORE as COMBINED
from pipeline.selection.combination import parse_combination
from pipeline.selection.scores import CROSS_CHECKS, SCORE_TABLE, Score, Sense

SPLITS = ("train", "validation", "test")
"""Names that loaders of the Hugging Face Hub know."""
Strata = Literal["none", "even", "proportional"]
"""How a target is shared among the strata: groups with one supercategory and one size of object."""
Stratum = TypeVar("Stratum", bound=tuple[str, str])

_THRESHOLD = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\w]+)\s*")
_OPTIONS_WITH_BOUNDS: tuple[tuple[str, str, Sense, str], ...] = (
    ("min_area", "area", ">=", "no_salient_object"),
    ("max_area", "area", "<=", "object_fills_image"),
    ("max_variance", "ensemble_variance", "<=", "variance_above_max"),
    ("max_variance_per_area", "ensemble_variance_per_area", "<=", "variance_per_area_above_max"),
)
"""Option, its score, its sense, and the reason for a rejection; in the order in which verdicts check them."""
UNLESS_RECOMMENDED = {"max_variance": 0.02, "max_variance_per_area": 0.1}
"""Bounds on what depends on the weights and their steps, where the weights recommend none."""
RECOMMENDED = frozenset(UNLESS_RECOMMENDED)
"""Options whose bounds weights may recommend."""
_ADDED_LATER = ("combination", "keep_empty")
"""Options that policies did not have before releases of format 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A limit on one score. A score exactly on the limit passes."""

    score: str
    sense: Sense
    limit: float
    reason: str
    """Why an image that does not pass is rejected."""
    option: str
    """The field of PolicyConfig that sets it."""

    def __str__(self) -> str:
        """One form for equal bounds, however they were written."""
        return f"{self.score}{self.sense}{self.limit!r}"

    def passes(self, scores: Mapping[str, float | None]) -> bool:
        """Check whether the score is on the right side; an unknown one is not."""
        value = scores.get(self.score)
        if value is None:
            return False
        return value <= self.limit if self.sense == "<=" else value >= self.limit


@functools.lru_cache(maxsize=256)
def parse_threshold(text: str) -> Bound:
    """Read a threshold like `pairwise_iou >= 0.9`.

    Whether there is such a score is another question: score passes add some (see `check_scores`).

    Raises: ValueError: it is not a threshold.
    """
    found = _THRESHOLD.fullmatch(text)
    try:
        score, sense, number = found.groups() if found else ("", "", "")
        limit = float(number)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a threshold; give one like 'pairwise_iou >= 0.9'") from error
    if limit != limit:
        raise ValueError(f"threshold {text!r}: nan is not a limit; give a number")
    if sense == "<=":
        return Bound(score=score, sense="<=", limit=limit, reason=f"{score}_above_max", option="thresholds")
    return Bound(score=score, sense=">=", limit=limit, reason=f"{score}_below_min", option="thresholds")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Which images a release accepts.

    Scores are stored, so another policy needs no new predictions. With `--adaptive on` the bounds also decide how many
    members an image gets, and belong to the run.
    """

    max_variance: float | None = None
    """Largest accepted `ensemble_variance`, 0 to 0.25. Lower: fewer images, with more agreement of the members. If left
    out, what the weights recommend for their own settings (`recommended_bounds` in their model_index.json); 0.02 if
    they recommend nothing, or other steps, spacing or size are used."""
    max_variance_per_area: float | None = None
    """Largest accepted `ensemble_variance_per_area`, 0 to 250. It catches small objects on which the members disagree:
    their variance is small only because they are small. If left out, what the weights recommend, or 0.1: see
    max_variance."""
    min_area: float = 0.005
    """Smallest accepted share of the image that the mask covers, 0 to 1; below it, the image has no salient object."""
    max_area: float = 0.95
    """Largest accepted share of the image that the mask covers, 0 to 1."""
    keep_empty: str = ""
    """Accept images that show no salient object as scenes of their own class, with an empty mask: those with a score
    such as `empty_score>=0.9` (of the score pass `empty`), whatever the other bounds say. If left out, none."""
    thresholds: tuple[str, ...] = ()
    """More bounds, on any score, such as `pairwise_iou>=0.9` or `border<=0.3`; scores of the run's score passes too."""
    combination: tuple[str, ...] = ()
    """Makes one more score of others, `combination`: the probability that a mask is bad, by frozen coefficients such as
    `intercept -1.2` and `flip_iou -3.4`. sod evaluate fits them and writes a policy; `thresholds` may bound it."""
    allowed_licenses: tuple[int, ...] = ()
    """Ids of accepted licences, as the manifest has them: those of the annotations, or COCO's for licences from other
    sources; images with other licences are rejected. Default: all are accepted."""
    commercial: bool = False
    """Accept only images whose licence is known to allow commercial use and changes: its URL is that of CC BY, CC
    BY-SA, CC0, a public domain mark, Flickr Commons or a work of the US government."""
    target_images: int = 0
    """Largest number of accepted images, the best by `rank_by`; 0 accepts all that pass."""
    rank_by: str = "ensemble_variance_per_area"
    """Score by which the best are chosen: ensemble_variance, ensemble_variance_per_area, pairwise_iou, stability,
    max_saliency, instance_iou, or one of a score pass. Keys break ties; images without the score come last."""
    strata: Strata = "none"
    """Share the target among COCO's supercategories (of the annotated things that the mask covers) and sizes of object
    (up to 32 x 32 px, up to 96 x 96 px, larger). `even`: equally many of each kind, as far as it has them;
    `proportional`: by the size of each kind; `none`: by the score alone."""

    def __post_init__(self) -> None:
        for option, score, _, _ in _OPTIONS_WITH_BOUNDS:
            lowest, highest, value = SCORE_TABLE[score].lowest, SCORE_TABLE[score].highest, limit_of(self, option)
            if not lowest <= value <= highest:
                raise ValueError(f"{option} is {value}; it must be from {lowest:g} to {highest:g}")
        # In a fixed form and order, however they were written: the first bound that an image fails is its reason.
        thresholds = {str(parse_threshold(text)) for text in self.thresholds}
        object.__setattr__(self, "thresholds", tuple(sorted(thresholds)))
        if self.combination:
            object.__setattr__(self, "combination", parse_combination(tuple(self.combination)).texts())
        object.__setattr__(self, "allowed_licenses", tuple(sorted(set(self.allowed_licenses))))
        if self.keep_empty:
            object.__setattr__(self, "keep_empty", str(_of_empty_scenes(self.keep_empty)))
        known = [bound for bound in bounds(self) if getattr(self, bound.option) is not None]
        refuse_impossible(known)  # what is left out may be recommended otherwise
        if self.target_images < 0:
            raise ValueError(f"target_images is {self.target_images}; it must be 0 (all) or more")
        if self.strata != "none" and not self.target_images:
            raise ValueError(f"strata is {self.strata!r}, but target_images is 0: give the number to share out")


def limit_of(policy: PolicyConfig, option: str) -> float:
    """The bound that an option sets."""
    value = getattr(policy, option)
    return float(UNLESS_RECOMMENDED[option] if value is None else value)


def stated(policy: PolicyConfig) -> dict[str, Any]:
    """Option → value, as releases state a policy: without options that are off and that earlier versions lacked."""
    values = asdict(policy) | {option: limit_of(policy, option) for option in RECOMMENDED}
    return {name: value for name, value in values.items() if value or name not in _ADDED_LATER}


def bounds(policy: PolicyConfig) -> list[Bound]:
    """List all bounds of a policy, in the order in which verdicts check them."""
    of_options = [
        Bound(score=score, sense=sense, limit=limit_of(policy, option), reason=reason, option=option)
        for option, score, sense, reason in _OPTIONS_WITH_BOUNDS
    ]
    return [*of_options, *map(parse_threshold, policy.thresholds)]


def _of_empty_scenes(text: str) -> Bound:
    bound = parse_threshold(text)
    if bound.sense != ">=" or bound.score in CROSS_CHECKS:
        raise ValueError(
            f"keep_empty is {text!r}; give the least value of a score that is high for empty scenes, such as "
            "'empty_score >= 0.9'"
        )
    return bound


def named_scores(policy: PolicyConfig) -> tuple[str, ...]:
    """The scores that a policy depends on."""
    ranking = (policy.rank_by,) if policy.target_images else ()
    empty = (parse_threshold(policy.keep_empty).score,) if policy.keep_empty else ()
    bounded = tuple(bound.score for bound in bounds(policy))
    return tuple(dict.fromkeys((*bounded, *empty, *ranking, *combined_scores(policy))))


def combined_scores(policy: PolicyConfig) -> tuple[str, ...]:
    """The scores that the policy's combination is made of; () if it has none."""
    return tuple(name for name, _ in parse_combination(policy.combination).weights) if policy.combination else ()


def check_scores(policy: PolicyConfig, table: Mapping[str, Score]) -> None:
    """Check that there are the scores that a policy names, and that some image could pass it.

    Args:   table: the scores of every run, and those of the passes of this one.
    Raises: ValueError: a score is unknown, or can't be ranked by, or no image could pass.
    """
    for name in combined_scores(policy):
        if name not in table:
            raise ValueError(f"combination has {name}: unknown score {name!r}; scores are {', '.join(table)}")
    if policy.combination:
        table = {**table, COMBINATION: COMBINED}
    for text in policy.thresholds:
        if (score := parse_threshold(text).score) not in table:
            raise ValueError(f"threshold {text!r}: unknown score {score!r}; scores are {', '.join(table)}")
    if policy.keep_empty:
        empty = parse_threshold(policy.keep_empty)
        if empty.score not in table:
            raise ValueError(
                f"keep_empty is {policy.keep_empty!r}: unknown score {empty.score!r}; scores are {', '.join(table)}. "
                "The score pass `empty` adds empty_score: sod score RUN --pass empty"
            )
        if empty.limit > table[empty.score].highest:
            highest = table[empty.score].highest
            raise ValueError(f"keep_empty is {policy.keep_empty!r}, but {empty.score} is never above {highest:g}")
    rankable = [name for name, score in table.items() if score.rankable]
    if policy.rank_by not in rankable:
        raise ValueError(f"rank_by is {policy.rank_by!r}; it must be one of {', '.join(rankable)}")
    refuse_impossible(bounds(policy), table)


def refuse_impossible(all_bounds: Sequence[Bound], table: Mapping[str, Score] = SCORE_TABLE) -> None:
    """Check that some image could pass all bounds.

    Raises: ValueError: none could; names the two bounds that contradict, or a bound and the range of its score.
    """
    for name, score in table.items():
        least = [(score.lowest, f"{name} is never below {score.lowest:g}")]
        most = [(score.highest, f"{name} is never above {score.highest:g}")]
        for bound in all_bounds:
            if bound.score == name:
                said = f"threshold {bound}" if bound.option == "thresholds" else f"{bound.option} is {bound.limit}"
                (least if bound.sense == ">=" else most).append((bound.limit, said))
        (lower, lower_said), (upper, upper_said) = max(least), min(most)
        if lower > upper:
            raise ValueError(f"the policy can accept no image: {lower_said}, but {upper_said}. Relax its bounds")


def parse_splits(texts: Sequence[str]) -> dict[str, float]:
    """Read splits like `test`, or `train=0.8` and `test=0.2`: split → its share of the images.

    Raises: ValueError: a name is unknown or given twice, or the shares do not add up to 1.
    """
    shares: dict[str, float] = {}
    for text in texts:
        name, _, share = text.partition("=")
        if name not in SPLITS or name in shares:
            raise ValueError(f"split {text!r}: give each of {', '.join(SPLITS)} at most once, as in train=0.8")
        try:
            shares[name] = float(share or 1)
        except ValueError as error:
            raise ValueError(f"split {text!r}: {share!r} is not a share; give one as in train=0.8") from error
    if not all(0 < share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"splits {' '.join(texts)}: shares must be above 0 and add up to 1")
    # In a fixed order, however they were written: the order decides which split a key falls into.
    return {name: shares[name] for name in SPLITS if name in shares}


def split_of(key: str, shares: Mapping[str, float]) -> str:
    """Choose the split of an image by its key, so that it is the same in every release with the same shares."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return name  # the sum of the shares may miss 1 in its last bits


def quotas(sizes: Mapping[Stratum, int], target: int, strata: Strata) -> dict[Stratum, int]:
    """Decide how many images of each stratum to take; the numbers add up to `target`, or to all images if fewer.

    `even`: equally many of each; larger strata make up for those that have too few. `proportional`: by the size of
    each, rounded by the largest remainder (Hamilton's method).
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
