"""`plan.json`: what an audit draws from a release, who judges what, and what is to be proven.

It is written before any answer. All of it follows from the release, the beacon and the options: a check plans again
and compares.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from model.documents import parse_object, read_document
from pipeline.audit.config import AuditConfig
from pipeline.audit.draw import drawn, raters_of, shuffled
from pipeline.audit.released import AuditedRelease
from pipeline.errors import CollectionError, ConfigError
from pipeline.files.tars import encode_json

PLAN = "plan.json"
ADJUDICATOR = "adjudicator"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """An image of the sample."""

    key: str
    stratum: str
    raters: tuple[str, ...]
    """Who judges it: one rater, or two who never see each other's answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """The plan of an audit."""

    name: str
    version: str
    sha256: str
    """Of the release's `release.json`."""
    population: int
    """Accepted images of the release: all that the certificate speaks of."""
    strata: Mapping[str, int]
    """Stratum → accepted images in it."""
    config: AuditConfig
    sample: tuple[Drawn, ...]
    """In the order of the draw."""

    @property
    def raters(self) -> tuple[str, ...]:
        """Names of all raters, without the adjudicator's."""
        return rater_names(self.config.raters)

    def encode(self) -> bytes:
        """Encode `plan.json`; equal plans give equal bytes."""
        return encode_json({"format": FORMAT, **asdict(self)})

    @property
    def digest(self) -> str:
        """SHA-256 of `plan.json`; every answer names it."""
        return hashlib.sha256(self.encode()).hexdigest()

    def tasks_of(self, rater: str) -> list[str]:
        """The keys that a rater judges, in an order of her own."""
        mine = [image.key for image in self.sample if rater in image.raters]
        return shuffled(mine, f"{self.seed}:{rater}")

    @property
    def seed(self) -> str:
        """What the draw follows from."""
        return f"{self.sha256}:{self.config.beacon}"


def rater_names(raters: int) -> tuple[str, ...]:
    """The names of that many raters."""
    return tuple(f"rater-{number}" for number in range(1, raters + 1))


def make_plan(audited: AuditedRelease, config: AuditConfig) -> AuditPlan:
    """Plan the audit of a release.

    Raises: ConfigError: the release has no accepted image, or no such stratum or score.
    """
    if not audited.rows:
        raise ConfigError(f"{audited.folder} has no accepted image, so there is nothing to audit")
    try:
        strata = audited.strata(config.strata)
        for option in filter(None, (config.advise, config.predict_with)):
            audited.score(option)
    except ValueError as error:
        raise ConfigError(f"{error}") from error
    if config.predict_with and not audited.score(config.predict_with).is_share:
        raise ConfigError(f"--predict-with {config.predict_with}: give a score between 0 and 1, or ''")
    seed = f"{audited.sha256}:{config.beacon}"
    keys = drawn(strata, config.images, seed)
    raters = raters_of(keys, rater_names(config.raters), config.overlap, seed)
    return AuditPlan(
        name=audited.stated.release.name,
        version=audited.stated.release.version,
        sha256=audited.sha256,
        population=len(audited.rows),
        strata=dict(sorted(Counter(strata.values()).items())),
        config=config,
        sample=tuple(Drawn(key=key, stratum=strata[key], raters=raters[key]) for key in keys),
    )


def parse_plan(content: bytes) -> AuditPlan:
    """Read what `AuditPlan.encode` wrote; nothing in it is believed before it is checked.

    Raises: ValueError, KeyError, TypeError, AttributeError: it is not that.
    """
    stored = parse_object(content)
    if stored.pop("format", None) != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    config: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored["config"].items()
    }
    if config.keys() != {option.name for option in fields(AuditConfig)}:
        raise ValueError("it has other options than a plan")
    for option in fields(AuditConfig):
        kinds = (int, float) if isinstance(option.default, float) else (type(option.default),)
        if type(config[option.name]) not in kinds:
            raise ValueError(f"its option {option.name} is of another type")
    images = [Drawn(**{**image, "raters": tuple(image["raters"])}) for image in stored["sample"]]
    plan = AuditPlan(**{**stored, "config": AuditConfig(**config), "sample": tuple(images)})
    if plan.encode() != content:
        raise ValueError("it is not written as plans are")
    return plan


def read_plan(audit: Path) -> AuditPlan:
    """Read the plan of an audit's folder.

    Raises: CollectionError: there is none, or it is malformed.
    """
    try:
        return parse_plan(read_document(audit / PLAN))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CollectionError(f"{audit} is not the folder of an audit: it has no {PLAN}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CollectionError(f"{audit / PLAN} is malformed: {type(error).__name__}: {str(error)[:200]}") from error


def differences_from_release(plan: AuditPlan, audited: AuditedRelease) -> list[str]:
    """Compare a plan with the one that follows from a release.

    Returns: what differs, in words; empty if nothing does.
    """
    if plan.sha256 != audited.sha256:
        return [
            f"is the plan of another release: {plan.name} {plan.version}, whose release.json has SHA-256 {plan.sha256}"
        ]
    if plan.encode() == (wanted := make_plan(audited, plan.config)).encode():
        return []
    found = []
    for drawn_there, drawn_here in zip(plan.sample, wanted.sample, strict=False):
        if drawn_there != drawn_here:
            found.append(f"has {drawn_there.key} where the release's digest draws {drawn_here.key}")
            break
    return found or ["differs from the plan that follows from the release's digest"]
