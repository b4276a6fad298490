"""The release's README.md: front matter that the Hugging Face loader reads, and what a reader needs first."""

from collections.abc import Mapping, Sequence

import jinja2

from pipeline.config import RunConfig

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("pipeline.release", "."),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # Markdown; whatever gets in is a number, a digest, or a name of ours
)


def card(
    config: RunConfig,
    reasons: Mapping[str, Mapping[str, int]],
    made_with: Mapping[str, str],
    splits_with_tars: Sequence[str],
) -> bytes:
    """The card of a release.

    Args: reasons: decision → reason → images.
          made_with: the fingerprint of the run.
          splits_with_tars: splits that have images: loaders fail at patterns that match nothing.
    """
    counts = {name: sum(reasons.get(name, {}).values()) for name in ("accepted", "rejected", "failed")}
    not_accepted = [
        (decision, reason, count)
        for decision in ("rejected", "failed")
        for reason, count in reasons.get(decision, {}).items()
    ]
    text = _TEMPLATES.get_template("card.md.jinja").render(
        name=config.release.name,
        version=config.release.version,
        ensemble_size=made_with["ensemble_size"],
        counts=counts,
        not_accepted=not_accepted,
        policy=config.policy,
        embed_images=config.release.embed_images,
        splits_with_tars=splits_with_tars,
        made_with=sorted(made_with.items()),
        size_category=next((name for bound, name in _SIZES if counts["accepted"] < bound), "n>1M"),
    )
    return text.encode()
