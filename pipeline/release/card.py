"""The release's README.md: front matter that the Hugging Face loader reads, and what a reader needs first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import ReleaseConfig
from pipeline.records import Verdict
from pipeline.release.manifest import COLUMNS
from pipeline.release.templates import render
from pipeline.selection.policy import PolicyConfig, bounds
from pipeline.selection.stopping_rule import members_in_words
from pipeline.selection.verdicts import count_reasons

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAgreement:
    """How far accepted masks agree with the instances of the annotations."""

    images: int
    """Accepted images that have any."""
    median: float
    """Of `instance_iou`."""
    tenth: float
    """What nine in ten reach."""
    supercategories: Sequence[tuple[str, int]]
    """Name → images, most first."""


def agreement_of(rows: Sequence[Mapping[str, Any]]) -> CardAgreement | None:
    """Of the manifest's rows; None without any instances."""
    checked = [row for row in rows if row["verdict"] == "accepted" and row["instance_iou"] is not None]
    if not checked:
        return None
    found = sorted(row["instance_iou"] for row in checked)
    counts = Counter(_as_cell(row["supercategory"]) or "none" for row in checked)
    return CardAgreement(
        images=len(checked),
        median=found[len(found) // 2],
        tenth=found[len(found) // 10],
        supercategories=sorted(counts.items(), key=lambda item: (-item[1], item[0])),
    )


def card(
    release: ReleaseConfig,
    policy: PolicyConfig,
    rows: Sequence[Mapping[str, Any]],
    made_with: Mapping[str, str],
    splits_with_tars: Sequence[str],
) -> bytes:
    """The card of a release.

    Args: rows: of the manifest.
          made_with: the fingerprint of the run.
          splits_with_tars: splits that have images: loaders fail at patterns that match nothing.
    """
    reasons = count_reasons(Verdict(decision=row["verdict"], reason=row["reason"]) for row in rows)
    counts = {name: sum(reasons.get(name, {}).values()) for name in ("accepted", "rejected", "failed")}
    not_accepted = [
        (decision, _as_cell(reason), count)
        for decision in ("rejected", "failed")
        for reason, count in reasons.get(decision, {}).items()
    ]
    return render(
        "card.md.jinja",
        name=release.name,
        version=release.version,
        members=members_in_words(made_with),
        counts=counts,
        not_accepted=not_accepted,
        policy=policy,
        bounds=bounds(policy),
        embed_images=release.embed_images,
        compared=bool(release.previous),
        agreement=agreement_of(rows),
        splits_with_tars=splits_with_tars,
        made_with=sorted(made_with.items()),
        columns=COLUMNS,
        citation=_citation(release),
        size_category=next((name for bound, name in _SIZES if counts["accepted"] < bound), "n>1M"),
    )


def _citation(release: ReleaseConfig) -> str:
    """Empty if nobody says who publishes it."""
    if not release.creator:
        return ""
    said = f"{_as_cell(release.creator)}. {release.name}, version {release.version}."
    more = ", ".join(
        part for part in (release.published_on, f"<{release.homepage}>" if release.homepage else "") if part
    )
    return f"{said} {more}".strip()


def _as_cell(text: str) -> str:
    """A name from the annotations as text of a table: nothing of it is Markdown, HTML, or another line."""
    words = " ".join(text.split())[:200]
    return "".join(letter if letter.isalnum() or letter in " -_" else f"&#{ord(letter)};" for letter in words)
