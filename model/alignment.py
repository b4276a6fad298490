"""Scale and shift the ensemble members of one image so that they agree, before they are reduced to a map.

The map of aligned members a_i = s_i m_i + t_i is their mean or lower median at each pixel. The reference's objective is

    f = d + 0.02 (|min map| + |1 - max map|),   d: root mean square of a_i - a_j over all pixels and pairs of members.

A factor common to all members changes d and the map's range alike. So wherever d is above 0.02 once the map spans
[0, 1] (0.04 to 0.29 on 24 photographs, with the nano model), f falls as everything shrinks, down to the 0.02 of a
constant map: on the golden members, BFGS with exact gradients reaches a range of 2e-13 after 200 iterations. The
reference's two iterations hide this. So f must not choose the factor, and this module judges the shape alone: by the
value of f when the map spans exactly [0, 1], where f = d, the *disagreement*.

Part of the agreement found this way is made by the method. A member that sees another object than the rest is flattened
until it hardly disagrees, and a map without any salient object is stretched to full contrast.

Source: test-time ensembling of Ke et al. 2024, arXiv:2312.02145, as in SOD-diffusion.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize, nnls
from torch import Tensor

from model.config import Reduction

FLAT = 1e-6
"""A range of values up to this is float32 rounding, not structure; stretched to [0, 1] it would be noise."""

REGULARISER = 0.02

TIED = 1e-3
"""Values this close to the map's extremes, which are 1 apart, count as equal to them; it is a quarter of an 8-bit grey
level. Saturated members share their extremes over thousands of pixels, and rounding must not choose among those: with
0, moving members by 1e-6 changed 457 of 2,064 alignments, by up to 0.42."""

RESOLVED = 1e-7
"""The least disagreement that float32 can show; below it, members are equal."""

MAX_STEPS = 50
"""Limit on the steps of a descent. Members of trained networks took up to 3, random ones up to 8."""

_ADDED_BY_ONE_THREAD = 32_768
"""torch divides sums of more values among its threads."""


def align(
    members: Float[Tensor, "e h w"], method: Literal["affine", "reference"], reduction: Reduction
) -> Float[Tensor, "e h w"]:
    """Scale and shift each of the E >= 1 members.

    `affine` looks for the least disagreement. Its result never disagrees more than the members stretched to [0, 1], and
    in no trial more than that of `reference`; the same holds for f once both maps have the same range. Moving members
    by 1e-6 changed its result by less than 2e-5, except in 2 of 2,064 trials, in which another minimum became the
    lowest and the result changed by 0.02. `reference` does what the released code does, see `_by_reference`.

    A single member is stretched to [0, 1]. A flat one among others stays or becomes another constant; if all are flat,
    there is nothing to align, and they stay.

    Args:    members: finite.
    Returns: aligned members, float32, finite. With `affine` no member is inverted, and their map spans [0, 1] up to
             rounding; if members cancel to a flat map at every start, they are only stretched. With `reference` the
             range is near [0, 1].
    """
    low, span = _extent(members.double())
    if not span.any():
        return members.float()
    stretched = torch.where(span > 0, (members - low) / span.where(span > 0, 1), low)
    if len(members) == 1:
        return stretched.float()
    aligned = _by_reference(members, reduction) if method == "reference" else _affine(stretched, reduction)
    return aligned.float().to(members.device)


def combine(members: Float[Tensor, "e h w"], reduction: Reduction) -> Float[Tensor, "h w"]:
    """Combine members into a map: their mean, or their (lower) median."""
    return members.mean(0) if reduction == "mean" else members.median(0).values


def _extent(members: Float[Tensor, "e h w"]) -> tuple[Float[Tensor, "e 1 1"], Float[Tensor, "e 1 1"]]:
    """Minimum and range of each member; the range of a flat member is returned as 0."""
    low, high = members.amin((1, 2), keepdim=True), members.amax((1, 2), keepdim=True)
    return low, (high - low).where(high - low > FLAT, 0)


# The reference's procedure


def _by_reference(members: Float[Tensor, "e h w"], reduction: Reduction) -> Float[Tensor, "e h w"]:
    """Run at most two iterations of BFGS on f, in float32 with finite differences, from members stretched to [0, 1].

    Rounding steers it. The start is float32, in which the step of the differences (1.5e-8) vanishes for every parameter
    above 0.5. So scales, at least 1 for members in [0, 1], never change, and shifts follow a slope of rounding errors;
    in 46 of 64 alignments none changed. Moving members by 1e-6 changed the result by up to 0.10. So does another number
    of threads in the reference (golden members: 0.034); here the objective is always added up as by two threads, which
    gives the golden maps. Flat members start unchanged; the reference divides by their range.

    Source: BFGS of SciPy.
    """
    members = members.float().cpu()
    low, span = _extent(members)
    scales = torch.where(span > 0, 1 / span, 1)
    shifts = torch.where(span > 0, -scales * low, 0)
    first, second = torch.triu_indices(len(members), len(members), 1)

    def aligned(parameters: Float[np.ndarray, " n"]) -> Float[Tensor, "e h w"]:
        scales, shifts = torch.from_numpy(parameters).float().view(2, -1, 1, 1)
        values: Tensor = members * scales + shifts
        return values

    def objective(parameters: Float[np.ndarray, " n"]) -> float:
        values = aligned(parameters)
        saliency = combine(values, reduction)
        distance = _mean(torch.square(values[first] - values[second])).sqrt()
        off_range = saliency.min().abs() + (1 - saliency.max()).abs()
        return (distance + REGULARISER * off_range).item()  # SciPy subtracts and divides in float64

    start = torch.cat([scales, shifts]).flatten().numpy()
    with _one_thread():
        found = minimize(objective, start, method="BFGS", tol=1e-3, options={"maxiter": 2})
    return aligned(found.x if np.isfinite(found.x).all() else start)


def _mean(values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Mean in the order in which two threads of torch add: each its half, one after the other if there are few."""
    parts = 2 if values.numel() > _ADDED_BY_ONE_THREAD else 1
    return torch.stack([part.sum() for part in values.flatten().tensor_split(parts)]).sum() / values.numel()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch from dividing sums once more inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# The least disagreement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """Members without their mean level. An alignment is a vector of E scales and E levels."""

    centred: Float[np.ndarray, "e p"]
    reduction: Reduction
    form: Float[np.ndarray, "n n"]
    """d² of an alignment x is x @ form @ x."""
    outlying: Float[np.ndarray, " e"]
    """Mean square distance of each member from the mean of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """Aligned members whose map spans [0, 1]."""

    aligned: Float[np.ndarray, "e p"]
    saliency: Float[np.ndarray, " p"]
    disagreement: float


def _affine(stretched: Float[Tensor, "e h w"], reduction: Reduction) -> Float[Tensor, "e h w"]:
    """Take the best of three descents: from members stretched to [0, 1], from these at equal mean levels, and from
    equal levels and standard deviations.

    The first start is the reference's, and no descent goes up. With that start alone, 36 medians of 8,000 random
    ensembles (most of two or three members) ended above the reference's procedure; with all three, none of 33,196.
    """
    values = stretched.flatten(1).cpu().numpy()
    levels = values.mean(1)
    problem = _problem(values - levels[:, None], reduction)
    ones, zeros, spreads = np.ones_like(levels), np.zeros_like(levels), problem.centred.std(1)
    equal_spreads = np.divide(1, spreads, out=zeros.copy(), where=spreads > FLAT)
    starts = [(ones, levels), (ones, zeros), (equal_spreads, zeros)]
    descents = [_descend(problem, np.concatenate(start)) for start in starts]
    candidates = [candidate for candidate in descents if candidate is not None]
    if not candidates:
        return stretched
    best = min(candidates, key=lambda candidate: candidate.disagreement)
    return torch.from_numpy(best.aligned).view(stretched.shape)


def _problem(centred: Float[np.ndarray, "e p"], reduction: Reduction) -> _Problem:
    """Prepare a problem; d depends on the members' pixels only through their covariances."""
    count = len(centred)
    covariance = centred @ centred.T / centred.shape[1]
    form = np.zeros((2 * count, 2 * count))
    form[:count, :count] = np.diag(covariance.diagonal()) - covariance / count
    form[count:, count:] = np.eye(count) - 1 / count
    return _Problem(
        centred=centred,
        reduction=reduction,
        form=2 / (count - 1) * form,
        outlying=np.square(centred - centred.mean(0)).mean(1),
    )


def _descend(problem: _Problem, alignment: Float[np.ndarray, " n"]) -> _Candidate | None:
    """Lower the disagreement until it no longer falls; `None` if the start's map is flat.

    The map of any alignment that keeps the requirements of a candidate spans [0, 1] or more. Finding the one with the
    smallest d among these is a convex problem with an exact solution, which therefore disagrees no more than the
    candidate itself, up to rounding and what `TIED` lets pass; so both are compared.
    """
    candidate, (squares, axes) = _candidate(problem, alignment), np.linalg.eigh(problem.form)
    for _ in range(MAX_STEPS):
        if candidate is None or candidate.disagreement <= RESOLVED:
            break
        rows, bounds = _requirements(problem, candidate)
        # Maps y to an alignment whose d is |y| times the current one. The floor is for what members have in common,
        # which hardly adds to d: with a floor of 1e-13, scales were off by 5e-4.
        whitening = axes / np.sqrt(np.maximum(squares / candidate.disagreement**2, 1e-8))
        solution = _closest(whitening, rows, bounds)
        better = None if solution is None else _candidate(problem, solution)
        if better is None or better.disagreement > candidate.disagreement * (1 - 1e-9):
            break
        candidate = better
    return candidate


def _candidate(problem: _Problem, alignment: Float[np.ndarray, " n"]) -> _Candidate | None:
    scales, levels = alignment.reshape(2, -1, 1)
    aligned = problem.centred * scales + levels
    rank = (len(aligned) - 1) // 2
    saliency = aligned.mean(0) if problem.reduction == "mean" else np.partition(aligned, rank, axis=0)[rank]
    low, span = saliency.min(), np.ptp(saliency)
    if not span > FLAT:
        return None
    distance = np.sqrt(max(alignment @ problem.form @ alignment, 0))
    return _Candidate(
        aligned=(aligned - low) / span, saliency=(saliency - low) / span, disagreement=float(distance / span)
    )


def _requirements(problem: _Problem, candidate: _Candidate) -> tuple[Float[np.ndarray, "r n"], Float[np.ndarray, " r"]]:
    """Rows and bounds (rows @ alignment >= bounds) that keep the range: the map >= 1 at one pixel and <= 0 at another.

    If the map is a median, that must hold for as many members as the median needs; of tied ones, the least outlying are
    chosen. No scale may be below 0.
    """
    count, mean = len(candidate.aligned), candidate.aligned.mean(0)
    # Among the pixels at the map's extremes, those where the members agree most.
    high = int(np.where(candidate.saliency >= 1 - TIED, mean, -np.inf).argmax())
    low = int(np.where(candidate.saliency <= TIED, mean, np.inf).argmin())
    if problem.reduction == "mean":
        upper = lower = np.full((1, count), 1 / count)
    else:
        at_high, at_low = candidate.aligned[:, high], candidate.aligned[:, low]
        rank = (count - 1) // 2
        is_upper = at_high >= candidate.saliency[high] - TIED
        is_lower = at_low <= candidate.saliency[low] + TIED
        upper = np.eye(count)[_least(problem.outlying, is_upper, count - rank)]
        lower = np.eye(count)[_least(problem.outlying, is_lower, rank + 1)]
    rows = np.concatenate(
        [
            np.hstack([upper * problem.centred[:, high], upper]),
            -np.hstack([lower * problem.centred[:, low], lower]),
            np.eye(count, 2 * count),
        ]
    )
    return rows, np.concatenate([np.ones(len(upper)), np.zeros(len(lower) + count)])


def _least(values: Float[np.ndarray, " e"], eligible: np.ndarray, count: int) -> Int[np.ndarray, " c"]:
    """Indices of the `count` smallest values among the eligible ones."""
    places = np.flatnonzero(eligible)
    return places[np.argsort(values[places], kind="stable")[:count]]


def _closest(
    whitening: Float[np.ndarray, "n n"], rows: Float[np.ndarray, "r n"], bounds: Float[np.ndarray, " r"]
) -> Float[np.ndarray, " n"] | None:
    """whitening @ y for the shortest y with rows @ whitening @ y >= bounds; `None` if the solver fails.

    Source: least distance programming by non-negative least squares, Lawson and Hanson 1974, chapter 23.
    """
    columns = np.vstack([(rows @ whitening).T, bounds])
    target = np.zeros(len(columns))
    target[-1] = 1
    try:
        multipliers, _ = nnls(columns, target, maxiter=100 * len(rows))
    except RuntimeError:  # too many iterations; never happened in 150,000 calls
        return None
    residual = columns @ multipliers - target
    return whitening @ (residual[:-1] / -residual[-1])  # type: ignore[no-any-return]
