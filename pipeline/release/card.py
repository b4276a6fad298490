"""The release's README.md: front matter for the Hugging Face loader, then what a reader needs to know first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import ReleaseConfig
from pipeline.passes.folder import StatedPass
from pipeline.records import Verdict
from pipeline.release.certified import Certified
from pipeline.release.croissant_texts import pictures_of
from pipeline.release.manifest import COLUMNS, SCENE, added_columns, meanings_of, unmeasured
from pipeline.release.mask_license import license_of_masks
from pipeline.release.sources import bibtex_of, in_words, sources_of
from pipeline.release.templates import AGREEMENT, UNCHECKED, as_cell, as_text, render
from pipeline.selection.policy import PolicyConfig, bounds
from pipeline.selection.stopping_rule import members_in_words
from pipeline.selection.verdicts import count_reasons

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAgreement:
    """How far accepted masks agree with the annotated instances."""

    images: int
    """Accepted images that have instances."""
    median: float
    """Median of `instance_iou`."""
    tenth: float
    """The `instance_iou` that nine in ten reach."""
    supercategories: Sequence[tuple[str, int]]
    """Name and number of images, most images first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPass:
    """What a card says about a score pass; texts are escaped."""

    name: str
    kind: str
    columns: Sequence[tuple[str, str]]
    """Name and meaning."""
    about: Sequence[tuple[str, str]]
    """Heading and text."""
    made_with: Sequence[tuple[str, str]]
    """Field and value of its fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFiles:
    """What a card says about the files of its release."""

    listed: Sequence[tuple[str, str]]
    """Name and meaning of each file."""
    splits_with_tars: Sequence[str]
    """The splits to load: loaders fail at patterns that match nothing."""


def agreement_of(rows: Sequence[Mapping[str, Any]]) -> CardAgreement | None:
    """Summarise the agreement over manifest rows; None if no accepted image has instances."""
    checked = [row for row in rows if row["verdict"] == "accepted" and row["instance_iou"] is not None]
    if not checked:
        return None
    found = sorted(row["instance_iou"] for row in checked)
    counts = Counter(as_cell(row["supercategory"]) or "none" for row in checked)
    return CardAgreement(
        images=len(checked),
        median=found[len(found) // 2],
        tenth=found[len(found) // 10],
        supercategories=sorted(counts.items(), key=lambda item: (-item[1], item[0])),
    )


def render_card(
    release: ReleaseConfig,
    policy: PolicyConfig,
    rows: Sequence[Mapping[str, Any]],
    made_with: Mapping[str, str],
    files: CardFiles,
    passes: Sequence[StatedPass] = (),
    certificate: Certified | None = None,
) -> bytes:
    """Render the card of a release.

    Args: rows: manifest rows. made_with: the fingerprint of the run. passes: whose columns the rows have.
          certificate: what the card of an annex states; the release's own card knows of none.
    """
    meanings = meanings_of(added_columns(passes, policy))
    scenes = Counter(row.get(SCENE.name, "") for row in rows)
    reasons = count_reasons(Verdict(decision=row["verdict"], reason=row["reason"]) for row in rows)
    counts = {name: sum(reasons.get(name, {}).values()) for name in ("accepted", "rejected", "failed")}
    not_accepted = [
        (decision, as_cell(reason), count)
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
        agreement=agreement_of(rows),
        agreement_is_not_correctness=AGREEMENT,
        checked=as_text(certificate.sentence) if certificate else UNCHECKED.replace("annex/", "`annex/`"),
        certificate=certificate,
        certificate_imported=[
            (images, as_cell(source)) for source, images in certificate.sources.items() if source != "page"
        ]
        if certificate
        else [],
        members_of_sample=[
            *((name, meaning) for name, (_, meaning) in pictures_of(release).items()),
            ("json", "Facts and scores of the image, also in its row of the manifest."),
        ],
        files=files,
        made_with=[(field, in_words(field, value)) for field, value in sorted(made_with.items())],
        sources=sources_of(release, made_with),
        license=license_of_masks(release),
        release=release,
        creator=as_cell(release.creator),
        bibtex=bibtex_of(release, made_with).splitlines(),
        columns={**COLUMNS, **unmeasured(rows), **({SCENE.name: meanings[SCENE.name]} if policy.keep_empty else {})},
        empty_scenes=scenes["empty"],
        alternatives=release.alternatives,
        passes=[
            CardPass(
                name=stated.name,
                kind=as_text(stated.document.kind),
                columns=[(column.name, as_text(meanings[column.name])) for column in stated.document.columns],
                about=[(as_text(name), as_text(said)) for name, said in stated.document.about.items()],
                made_with=[
                    (as_text(field), as_text(value)) for field, value in sorted(stated.document.fingerprint.items())
                ],
            )
            for stated in passes
        ],
        size_category=next((name for bound, name in _SIZES if counts["accepted"] < bound), "n>1M"),
    )
