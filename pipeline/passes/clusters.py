"""Sorts the masks of an image's ensemble members into modes: groups that mark the same thing. Pure.

Partition: k medoids, those of the least sum of distances (Kaufman and Rousseeuw 1990, *Finding Groups in Data*, chapter
2), found by trying all of them: no seed, no start, no local optimum. Distance: 1 - IoU. How far a partition is one: the
mean silhouette (Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from jaxtyping import Bool, Float, Int

MOST_MODES = 3
MOST_MEMBERS = 128
"""350,000 sets of three medoids, a second's work. 20 members have 1,140 sets."""
LEAST_SILHOUETTE = 0.5
"""Of a reasonable structure, by Kaufman and Rousseeuw."""
MOST_IOU = 0.7
"""Of the masks of two modes. Members that differ along an outline alone have clusters too, and a silhouette does not
know how small the distances are."""
LEAST_OF_A_MODE = 2
"""Members. A single one that differs is an outlier, which no other member confirms."""
_SETS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class Modes:
    """What the members of an image see: one thing, or up to `MOST_MODES` different ones."""

    members: tuple[tuple[int, ...], ...]
    """Numbers of the members of each mode, the largest mode first; of equal ones, the one whose mask is closer to that
    of all members, then the one with the first member."""
    masks: Bool[np.ndarray, "k h w"]
    """Of each mode: where at least half of its members are."""
    silhouette: float | None
    """-1 to 1: of the modes, or where there is one, the best that more would have had; None for fewer than three
    members."""


def find_modes(masks: Bool[np.ndarray, "e h w"]) -> Modes:
    """Sort members into modes.

    There are several if their mean silhouette is at least `LEAST_SILHOUETTE`, each has `LEAST_OF_A_MODE` members, and
    no two of their masks have an IoU above `MOST_IOU`; of such partitions, the one with the best silhouette, of equally
    good ones that with fewer modes.
    """
    distances = iou_distances(masks)
    everyone = np.zeros(len(masks), dtype=np.int64)
    tried = [partition(distances, count) for count in range(2, min(MOST_MODES, len(masks) - 1) + 1)]
    silhouettes = [silhouette(distances, labels) for labels in tried]
    sound = [number for number, labels in enumerate(tried) if _is_sound(masks, labels, silhouettes[number])]
    if sound:
        best = max(sound, key=lambda number: (silhouettes[number], -number))
        return _modes(masks, tried[best], silhouettes[best])
    return _modes(masks, everyone, max(silhouettes, default=None))


def iou_distances(masks: Bool[np.ndarray, "e h w"]) -> Float[np.ndarray, "e e"]:
    """1 - IoU of each pair, 0 to 1; two empty masks have the distance 0."""
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    shared = flat @ flat.T  # exact: counts are far below 2^53
    areas = np.diag(shared)
    unions = areas[:, None] + areas[None, :] - shared
    return 1 - np.divide(shared, unions, out=np.ones_like(shared), where=unions > 0)


def partition(distances: Float[np.ndarray, "e e"], count: int) -> Int[np.ndarray, " e"]:
    """Group of each member, 0 to count - 1, each with a medoid of its own; of equally good medoids the first ones."""
    best, medoids = np.inf, np.arange(count)
    sets = combinations(range(len(distances)), count)
    for some in _in_parts(sets):
        costs = distances[:, some].min(axis=2).sum(axis=0)
        if costs.min() < best:
            best, medoids = float(costs.min()), some[int(costs.argmin())]
    labels: Int[np.ndarray, " e"] = distances[:, medoids].argmin(axis=1)
    labels[medoids] = np.arange(count)  # equal masks may be medoids of two groups
    return labels


def silhouette(distances: Float[np.ndarray, "e e"], labels: Int[np.ndarray, " e"]) -> float:
    """Mean over the members of (b - a) / max(a, b): a, mean distance to the others of its group; b, to those of the
    nearest other group. 0 for a member that is alone in its group, and where both are 0.
    """
    groups = [np.flatnonzero(labels == group) for group in range(int(labels.max()) + 1)]
    widths = []
    for member, group in enumerate(labels):
        others = groups[group][groups[group] != member]
        near = float(distances[member, others].mean()) if len(others) else 0.0
        far = min(float(distances[member, found].mean()) for number, found in enumerate(groups) if number != group)
        widths.append((far - near) / max(near, far) if len(others) and max(near, far) > 0 else 0.0)
    return float(np.mean(widths))


def _in_parts(sets: Iterator[tuple[int, ...]]) -> Iterator[Int[np.ndarray, "_n _k"]]:
    while some := list(islice(sets, _SETS_AT_ONCE)):
        yield np.array(some)


def _is_sound(masks: Bool[np.ndarray, "e h w"], labels: Int[np.ndarray, " e"], found: float) -> bool:
    if found < LEAST_SILHOUETTE or np.bincount(labels).min() < LEAST_OF_A_MODE:
        return False
    distances = iou_distances(
        _majorities(masks, [np.flatnonzero(labels == group) for group in range(labels.max() + 1)])
    )
    return bool((1 - distances[np.triu_indices(len(distances), k=1)]).max() <= MOST_IOU)


def _modes(masks: Bool[np.ndarray, "e h w"], labels: Int[np.ndarray, " e"], found: float | None) -> Modes:
    groups = [np.flatnonzero(labels == group) for group in range(int(labels.max()) + 1)]
    majorities = _majorities(masks, groups)
    to_all = iou_distances(np.concatenate([_majorities(masks, [np.arange(len(masks))]), majorities]))[0, 1:]
    order = sorted(range(len(groups)), key=lambda number: (-len(groups[number]), to_all[number], groups[number][0]))
    return Modes(
        members=tuple(tuple(groups[number].tolist()) for number in order), masks=majorities[order], silhouette=found
    )


def _majorities(
    masks: Bool[np.ndarray, "e h w"], groups: Sequence[Int[np.ndarray, " _n"]]
) -> Bool[np.ndarray, "_k h w"]:
    """Where at least half of the members of each group are."""
    return np.stack([2 * masks[group].sum(axis=0) >= len(group) for group in groups])
