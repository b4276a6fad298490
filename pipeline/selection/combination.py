"""One score made of others, by coefficients that a policy has: how likely a mask is bad. Pure, and light to import.

    z = intercept + the sum of weight * score
    combination = 1 / (1 + exp(-z)), or, with points, what lies between the two points (z, value) next to z

Between points the value is interpolated linearly; beyond the first and the last it stays theirs. So anyone can compute
it from the scores in a manifest and the policy in `release.json`. `sod evaluate --fit-combination` finds
coefficients; nothing changes them afterwards. Without one of its scores the combination is unknown.
"""

import bisect
import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.selection.scores import CROSS_CHECKS, Score

NAME = "combination"
INTERCEPT, POINT, IOU_BELOW = "intercept", "point", "iou_below"
SCORE = Score(
    name=NAME,
    meaning="estimated probability that the mask is bad, by the policy's combination of other scores, 0 to 1",
    worse_when="high",
    rankable=True,
    of_pass=NAME,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Coefficients; all finite."""

    intercept: float
    weights: tuple[tuple[str, float], ...]
    """Score and its weight, in alphabetical order; at least one."""
    points: tuple[tuple[float, float], ...] = ()
    """z and value, both not falling; none, or two at least, z rising."""
    iou_below: float | None = None
    """A mask is bad if its intersection over union with the truth is below this; None: not stated."""

    def value(self, scores: Mapping[str, float | None]) -> float | None:
        """The score `combination` of an image, 0 to 1; None if one of the scores that it is made of is unknown."""
        z = self.intercept
        for name, weight in self.weights:
            score = scores.get(name)
            if score is None:
                return None
            z += weight * score
        return _between(z, self.points) if self.points else _logistic(z)

    def texts(self) -> tuple[str, ...]:
        """The one form in which a policy has it."""
        stated = () if self.iou_below is None else (f"{IOU_BELOW} {self.iou_below!r}",)
        weights = (f"{name} {weight!r}" for name, weight in self.weights)
        points = (f"{POINT} {z!r} {value!r}" for z, value in self.points)
        return (*stated, f"{INTERCEPT} {self.intercept!r}", *weights, *points)


@functools.lru_cache(maxsize=64)
def parse_combination(texts: tuple[str, ...]) -> Combination:
    """Read texts such as `intercept -1.2`, `flip_iou -3.4` and `point 0.5 0.2`, in any order but for the points.

    Raises: ValueError: one of them is something else, is there twice, or is missing; points fall.
    """
    numbers: dict[str, float] = {}
    points: list[tuple[float, float]] = []
    for text in texts:
        name, *given = text.split()[:4] or [""]
        values = [_number(text, number) for number in given]
        if len(values) != (2 if name == POINT else 1):
            raise ValueError(
                f"combination has {text!r}; give texts like 'intercept -1.2', 'flip_iou -3.4' and 'point 0.5 0.2'"
            )
        if name == POINT:
            points.append((values[0], values[1]))
        elif name in numbers:
            raise ValueError(f"combination has {name} twice")
        elif name == NAME or name in CROSS_CHECKS:
            raise ValueError(f"combination has {name}; it is made of scores of predictions and of score passes")
        else:
            numbers[name] = values[0]
    intercept, iou_below = numbers.pop(INTERCEPT, None), numbers.pop(IOU_BELOW, None)
    if intercept is None or not numbers:
        raise ValueError("combination needs `intercept NUMBER` and at least one `SCORE NUMBER`")
    rising = all(one[0] < next_[0] and one[1] <= next_[1] for one, next_ in itertools.pairwise(points))
    if len(points) == 1 or not rising or not all(0 <= value <= 1 for _, value in points):
        raise ValueError("combination has points that do not rise or leave 0 to 1; give two or more, in order")
    return Combination(
        intercept=intercept, weights=tuple(sorted(numbers.items())), points=tuple(points), iou_below=iou_below
    )


def _number(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"combination has {text!r}: {number!r} is no finite number")
    return value


def _logistic(z: float) -> float:
    """1 / (1 + exp(-z)), without overflow."""
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def _between(z: float, points: tuple[tuple[float, float], ...]) -> float:
    place = bisect.bisect_right(points, z, key=lambda point: point[0])
    if place in (0, len(points)):
        return points[min(place, len(points) - 1)][1]
    (left, low), (right, high) = points[place - 1], points[place]
    return low + (high - low) * (z - left) / (right - left)
