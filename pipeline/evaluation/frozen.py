"""The frozen set: small maps and masks made by formula, and the figures that they have always had.

`frozen.json` holds the figures, to be met to 1e-6 by every later version of this project and its libraries. Formulas
use whole numbers only, so that maps and masks are the same on every machine.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jaxtyping import Bool, UInt8

from pipeline.evaluation.measures import measure
from pipeline.evaluation.outcomes import fitted
from pipeline.evaluation.summary import SCALARS, summarise

TOLERANCE = 1e-6
_FILE = "frozen.json"
_SIDES = ((48, 64), (61, 47), (96, 96), (33, 120))
"""Height and width in pixels."""
_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenPair:
    """A map and its mask."""

    name: str
    prediction: UInt8[np.ndarray, "h w"]
    truth: Bool[np.ndarray, "h2 w2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A figure that is not what it was."""

    pair: str
    """`all` for a figure of the whole set."""
    figure: str
    expected: float
    found: float


def frozen_pairs() -> Iterator[FrozenPair]:
    """Discs and rings with soft, shifted or noisy maps; some of another size than the mask; and the special cases."""
    for number in range(_ROUNDS * len(_SIDES)):
        height, width = _SIDES[number % len(_SIDES)]
        truth = _squared_distance(height, width, number) < (number % 5 + 2) ** 2 * 16
        if number % 3 == 2:
            truth &= _squared_distance(height, width, number) >= (number % 5 + 2) ** 2
        scale = 2 if number % 6 == 5 else 1  # these maps are resized
        yield FrozenPair(name=f"disc {number}", prediction=_map(height // scale, width // scale, number), truth=truth)
    soft, truth = _map(48, 64, 1), _squared_distance(48, 64, 1) < 300
    yield FrozenPair(name="mask without an object", prediction=soft, truth=np.zeros_like(truth))
    yield FrozenPair(name="mask that is all object", prediction=soft, truth=np.ones_like(truth))
    yield FrozenPair(name="constant map", prediction=np.full_like(soft, 102), truth=truth)
    yield FrozenPair(name="right map", prediction=truth.astype(np.uint8) * np.uint8(255), truth=truth)
    yield FrozenPair(name="wrong map", prediction=(~truth).astype(np.uint8) * np.uint8(255), truth=truth)
    yield FrozenPair(name="object in the last row", prediction=soft, truth=np.arange(48)[:, None] + 0 * truth == 47)


def frozen_figures() -> dict[str, dict[str, float]]:
    """Measure the frozen set: name of a pair, or `all` → figure → value."""
    found, measured = {}, []
    for pair in frozen_pairs():
        measures = measure(fitted(pair.prediction, pair.truth.shape), pair.truth)
        measured.append(measures)
        found[pair.name] = _scalars(summarise([measures]))
    return found | {"all": _scalars(summarise(measured))}


def deviations(expected: Mapping[str, Mapping[str, float]] | None = None) -> list[Deviation]:
    """Measure the frozen set, and list the figures that are off by more than 1e-6, the farthest first.

    Args: expected: name of a pair → figure → value; those of `frozen.json` if left out.
    """
    if expected is None:
        expected = json.loads(_content())
    found = frozen_figures()
    off = [
        Deviation(pair=pair, figure=figure, expected=value, found=found[pair][figure])
        for pair, values in expected.items()
        for figure, value in values.items()
        if not abs(found[pair][figure] - value) <= TOLERANCE
    ]
    return sorted(off, key=lambda deviation: -abs(deviation.found - deviation.expected))


def frozen_sha256() -> str:
    """SHA-256 of `frozen.json`."""
    return hashlib.sha256(_content()).hexdigest()


def _content() -> bytes:
    return (files("pipeline.evaluation") / _FILE).read_bytes()


def _scalars(summary: object) -> dict[str, float]:
    return {name: float(getattr(summary, name)) for name in SCALARS}


def _squared_distance(height: int, width: int, number: int) -> np.ndarray:
    """Squared distance from a centre that the number decides, int64 [H, W]."""
    rows, columns = np.ogrid[:height, :width]
    row, column = height * (3 + number * 7 % 5) // 10, width * (3 + number * 3 % 5) // 10
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2)


def _map(height: int, width: int, number: int) -> UInt8[np.ndarray, "h w"]:
    """A blurred disc beside the object, with grain from a linear congruence."""
    rows, columns = np.ogrid[:height, :width]
    distance = _squared_distance(height, width, number + number % 2)
    grain = (rows * 7919 + columns * 104729 + number * 1299709) % 1009 % (5 + 13 * (number % 3))
    soft = 255 - distance * (8 + number % 7) // 40 + grain
    return np.asarray(soft.clip(number % 4 * 10, 255 - number % 3 * 20), dtype=np.uint8)
