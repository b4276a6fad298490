"""Joins the images of a run with the earlier ones, and with other collections. Pure.

Vectors make the cut: up to `MOST` images whose vectors are near. Thumbnails decide: each of these is laid over the
image, and what counts is how well the edges of both agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, Int64

from pipeline.passes.duplicates.nearest import Near, Vectors, nearest
from pipeline.passes.duplicates.overlay import SIDE_PX, similarities
from pipeline.passes.duplicates.thumbnails import LEVELS, ODD

LIMIT = 0.7
"""Cosine of two vectors from which on their thumbnails are compared; figures are in `jobs/README.md`."""
MOST = 8
"""Images that an image is laid over, the nearest by their vectors: a collection may be full of alike ones."""
_BLOCK = 256
"""Images whose vectors are compared with all others at a time: 12,000 took 2.4 s of CPU, with 64 at a time 6.1."""
_BLOCKS_KEPT = 4
"""A process has at most two shards in work, each of which may be in two blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Images in their order, ready to be compared."""

    keys: Sequence[str]
    places: Mapping[str, int]
    """Key → place in that order."""
    vectors: Vectors
    thumbnails: Int16[np.ndarray, "n t"]

    @staticmethod
    def of(keys: Sequence[str], vectors: Int16[np.ndarray, "n d"], thumbnails: Int16[np.ndarray, "n t"]) -> "Compared":
        """Args: vectors, thumbnails: as they are stored."""
        places = {key: place for place, key in enumerate(keys)}
        return Compared(keys=keys, places=places, vectors=Vectors.of(vectors, ODD), thumbnails=thumbnails)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """The image that is most like another."""

    name: str | None
    """None: none is near."""
    similarity: float
    """0 to 1; 0 if none is near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found for one image."""

    first: str | None
    """The first earlier image whose similarity reaches the threshold."""
    own: Alike
    """Among the earlier images."""
    of_sets: Alike | None
    """Among other collections; None if there are none."""
    overlaid: int
    """How many images it was laid over."""


class Joined:
    """A run and the collections that it is compared with."""

    def __init__(self, run: Compared, sets: Compared | None, threshold: float) -> None:
        """Args: threshold: similarity from which on two images are near-duplicates."""
        self.run, self._sets, self._threshold = run, sets, threshold
        self._blocks: dict[int, tuple[list[Near], list[Near]]] = {}

    def of(self, key: str) -> Answer:
        """What is found for an image of the run; vectors are compared for a whole block when its first is asked for."""
        place = self.run.places[key]
        near, near_in_sets = (found[place % _BLOCK] for found in self._block(place // _BLOCK))
        thumbnail = self.run.thumbnails[place]
        own = overlaid(thumbnail, near.places, self.run.thumbnails)
        first = min((other for other, similarity in own.items() if similarity >= self._threshold), default=None)
        of_sets = overlaid(thumbnail, near_in_sets.places, self._sets.thumbnails) if self._sets else {}
        return Answer(
            first=None if first is None else self.run.keys[first],
            own=_most_alike(own, self.run.keys),
            of_sets=_most_alike(of_sets, self._sets.keys) if self._sets else None,
            overlaid=len(own) + len(of_sets),
        )

    def _block(self, number: int) -> tuple[list[Near], list[Near]]:
        if number not in self._blocks:
            while len(self._blocks) >= _BLOCKS_KEPT:
                del self._blocks[next(iter(self._blocks))]
            start = number * _BLOCK
            queries = self.run.vectors.part(start, start + _BLOCK)
            nothing = [Near(places=np.zeros(0, np.int64), cosines=np.zeros(0))] * len(queries)
            self._blocks[number] = (
                nearest(queries, self.run.vectors, LIMIT, MOST, earlier_than=start),
                nearest(queries, self._sets.vectors, LIMIT, MOST) if self._sets else nothing,
            )
        return self._blocks[number]


def overlaid(
    one: Int16[np.ndarray, " t"], places: Int64[np.ndarray, " k"], thumbnails: Int16[np.ndarray, "n t"]
) -> dict[int, float]:
    """Place → similarity of the thumbnail there with one, in the order of `places`."""
    if not len(places):
        return {}
    others = thumbnails[places].reshape(-1, SIDE_PX, SIDE_PX).astype(np.float32) / LEVELS
    found = similarities(one.reshape(SIDE_PX, SIDE_PX).astype(np.float32) / LEVELS, others)
    return dict(zip(map(int, places), found, strict=True))


def _most_alike(found: Mapping[int, float], names: Sequence[str]) -> Alike:
    """Of equally alike ones the earliest."""
    place, similarity = max(found.items(), key=lambda pair: (pair[1], -pair[0]), default=(-1, 0.0))
    return Alike(name=None if place < 0 else names[place], similarity=max(0.0, similarity))
