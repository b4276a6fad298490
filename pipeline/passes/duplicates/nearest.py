"""Finds, for images in their order, those among the earlier ones whose vectors are nearest. Exact; pure.

All pairs are compared, by products of matrices in blocks, which `vectors.py` proves exact: no index that might miss a
pair is needed. A mirrored image costs nothing more: with a = product of the even parts and b = that of the odd ones,
the image as it is gives a + b, and mirrored a - b.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Int64

_COLUMNS = 8192
"""Vectors compared with at a time: for 256 others, a block of 8 MB."""
_ROUNDING = 1e-6
"""More than float32 changes a cosine by. Whatever might reach a limit is computed again in float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Vectors in their order, ready to be compared."""

    even: Float32[np.ndarray, "n e"]
    odd: Float32[np.ndarray, "n o"]
    squares: Float64[np.ndarray, " n"]
    """Of their lengths; whole numbers up to 2^24, so that the product of two is exact."""

    @staticmethod
    def of(stored: Int16[np.ndarray, "n d"], odd: int) -> "Vectors":
        """Args: odd: how many entries at the end are the odd part."""
        split = stored.shape[1] - odd
        return Vectors(
            even=np.ascontiguousarray(stored[:, :split], dtype=np.float32),
            odd=np.ascontiguousarray(stored[:, split:], dtype=np.float32),
            squares=np.einsum("nd,nd->n", stored, stored, dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.squares)

    def part(self, start: int, stop: int) -> "Vectors":
        """Those from `start` to before `stop`."""
        return Vectors(even=self.even[start:stop], odd=self.odd[start:stop], squares=self.squares[start:stop])


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """The vectors that are near one vector, the nearest first; of equally near ones the first comes first."""

    places: Int64[np.ndarray, " k"]
    cosines: Float64[np.ndarray, " k"]


def nearest(
    queries: Vectors, others: Vectors, limit: float, most: int, *, earlier_than: int | None = None
) -> list[Near]:
    """The nearest vectors of each query, of all whose cosine, of the image as it is or mirrored, reaches a limit.

    Args: limit: cosine, above 0.
          most: how many of each query's are told.
          earlier_than: the place of the first query among the others; each is compared with those before it. None:
          with all.
    """
    count = len(queries)
    found = [Near(places=np.zeros(0, np.int64), cosines=np.zeros(0)) for _ in range(count)]
    last = len(others) if earlier_than is None else min(len(others), earlier_than + count)
    limits = np.full(count, limit)
    for start in range(0, last, _COLUMNS):
        some = others.part(start, min(start + _COLUMNS, last))
        products = queries.even @ some.even.T
        products += np.abs(queries.odd @ some.odd.T)
        if earlier_than is not None and start + len(some) > earlier_than:
            places = start + np.arange(len(some))
            products[places[None, :] >= earlier_than + np.arange(count)[:, None]] = -1
        may_reach = products * (1 / np.sqrt(some.squares)).astype(np.float32)
        lowest = (np.sqrt(queries.squares) * limits * (1 - _ROUNDING)).astype(np.float32)
        reached: Bool[np.ndarray, "q c"] = may_reach >= lowest[:, None]
        for row in np.flatnonzero(reached.any(axis=1)):
            near = np.flatnonzero(reached[row])
            cosines = products[row, near] / np.sqrt(queries.squares[row] * some.squares[near])
            is_near = cosines >= limits[row]
            found[row] = _merged(found[row], Near(places=start + near[is_near], cosines=cosines[is_near]), most)
            if len(found[row].places) == most:  # an equally near one that comes later is not among them
                limits[row] = np.nextafter(found[row].cosines[-1], 2)
    return found


def _merged(one: Near, other: Near, most: int) -> Near:
    places, cosines = (np.concatenate(pair) for pair in ((one.places, other.places), (one.cosines, other.cosines)))
    order = np.lexsort((places, -cosines))[:most]
    return Near(places=places[order], cosines=cosines[order])
