"""What a sample can prove, and what it costs: a table to look at before anybody begins. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.audit.config import AuditConfig
from pipeline.audit.draw import allocation
from pipeline.audit.plan import AuditPlan
from pipeline.audit.proofs.bounds import Stratum, at_least_good

SIZES = (50, 100, 200, 400, 800, 1600)
SHARES = (1.0, 0.99, 0.98, 0.97, 0.95, 0.9)
SECONDS = (15, 30)
"""What one judgement takes a person: SA-1B reports 14 to 34 s per mask (Kirillov et al. 2023, arXiv:2304.02643)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What a sample of one size proves."""

    images: int
    at_least: Mapping[float, float]
    """Share of the sample that is good → the share of all masks that is then good at least; each in [0, 1]."""
    judgements: int
    """Answers that are needed: images, and again those that two raters judge. Third looks come on top."""

    @property
    def hours(self) -> tuple[float, ...]:
        """Hours of work of all raters together, for each of SECONDS."""
        return tuple(self.judgements * seconds / 3600 for seconds in SECONDS)


def prospects(
    strata: Mapping[str, int], config: AuditConfig, sizes: Iterable[int] = SIZES, shares: Iterable[float] = SHARES
) -> list[Prospect]:
    """Compute what samples of several sizes prove.

    Args:    strata: stratum → accepted images in it.
             config: its confidence holds for the bounds at all its IoUs together.
             sizes: images to draw. shares: of the sample that are good; as many images as that at least.
    Returns: one per size; sizes above the population count as the population.
    """
    population, chosen = sum(strata.values()), tuple(shares)
    return [
        Prospect(
            images=images,
            at_least={share: _at_least(strata, images, share, config) for share in chosen},
            judgements=images + (round(config.overlap * images) if config.raters > 1 else 0),
        )
        for images in sorted({min(size, population) for size in sizes})
    ]


def _at_least(strata: Mapping[str, int], images: int, share: float, config: AuditConfig) -> float:
    drawn = allocation(strata, images)
    left = math.floor(sum(drawn.values()) * (1 - share) + 1e-9)
    seen = {}
    for name in sorted(
        strata, key=lambda name: drawn[name] == strata[name]
    ):  # in which strata they are does not matter
        bad = min(left, drawn[name])
        seen[name] = Stratum(population=strata[name], drawn=drawn[name], bad=bad)
        left -= bad
    return at_least_good(seen, (1 - config.confidence) / len(config.ious)) / sum(strata.values())


def what_n_proves(plan: AuditPlan) -> list[str]:
    """Say what samples of several sizes prove of a release, the planned one among them: lines of at most 80 columns."""
    planned, ious = len(plan.sample), len(plan.config.ious)
    lines = [
        "If at least this share of the sample is good, at least the share below it is",
        f"of all {plan.population:,} masks: confidence {plan.config.confidence:.4g}, "
        + (f"for {ious} IoUs together." if ious > 1 else "for one IoU."),
        f"{'images':>8}" + "".join(f"{100 * share:>7.0f} %" for share in SHARES) + "   hours of work",
    ]
    for found in prospects(plan.strata, plan.config, (*SIZES, planned)):
        mark = "*" if found.images == planned else " "
        bounds = "".join(f"{math.floor(1000 * share + 1e-9) / 10:>7.1f} %" for share in found.at_least.values())
        lines.append(f"{mark}{found.images:>7,}{bounds}   {found.hours[0]:,.1f} to {found.hours[1]:,.1f}")
    return [*lines, f"* planned. Hours: all raters together, at {SECONDS[0]} to {SECONDS[1]} s per judgement."]
