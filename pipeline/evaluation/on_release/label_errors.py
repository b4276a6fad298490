"""What wrong labels of a release can do to MAE, in JSON and in words; its certificate bounds it. Pure.

A difference in MAE between two models on the release's masks is off by at most twice the mean pixel error from that on
the right ones. So a difference of up to that, which the certificate bounds, may be the labels' and not the models'. The
bound holds for all pairs of models together, on these conditions: the MAE is the mean over images of the mean over
pixels, maps are in [0, 1] and do not depend on the masks (stretched or not), and missing predictions count the same
whatever the mask is. On a part of the accepted images it is larger: all wrong pixels may be in that part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import combinations
from typing import Any

from pipeline.release.certified import StatedCertificate

EXPLAINED = "explained_mae_difference"
UNCHECKED = (
    "No human has checked these masks, as far as this copy of the release says: it has no certificate. So nobody knows "
    "how much of a difference between models their errors explain."
)


def certificate_section(certificate: StatedCertificate | None, images: int) -> dict[str, Any] | None:
    """What JSON has of a certificate.

    Args: images: that were measured, at least one.
    """
    if certificate is None:
        return None
    return asdict(certificate) | {EXPLAINED: certificate.explained(images)}


def certificate_of(section: Mapping[str, Any] | None) -> StatedCertificate | None:
    """Read what `certificate_section` wrote.

    Raises: ValueError, KeyError, TypeError, AttributeError: it is not that.
    """
    if section is None:
        return None
    return StatedCertificate(**{option.name: section[option.name] for option in fields(StatedCertificate)})


def newest(*certificates: StatedCertificate | None) -> StatedCertificate | None:
    """The one of a release's certificates with the highest number."""
    return max((found for found in certificates if found), key=lambda found: found.annex, default=None)


def explained_in_words(section: Mapping[str, Any]) -> str:
    """How much of a difference in MAE wrong labels can explain."""
    explained, error = section[EXPLAINED], section["pixel_error"]
    if explained is None:
        return "The certificate does not say how many pixels are wrong, so not how much of a difference that explains."
    because = f"at most {100 * error:.2f} % of an image's pixels are wrong on average"
    sure = f"confidence {100 * section['confidence']:g} %"
    if explained >= 1:
        return (
            f"The certificate is too weak to tell two models apart by MAE: label errors can explain any difference "
            f"({because}; {sure})."
        )
    return (
        f"Label errors can explain a difference in MAE of up to {explained:.4f} between two models ({sure}): {because}."
    )


def of_one_in_words(section: Mapping[str, Any] | None, mae: float | None) -> str:
    """What follows for a model with this MAE; "" if nothing does."""
    explained = _explained(section)
    if explained is None or mae is None:
        return ""
    if explained >= mae:
        return (
            f"This model's whole MAE is {mae:.4f}, no more than that: on these masks nobody can show by MAE that "
            "another model is better."
        )
    return ""


def of_two_in_words(section: Mapping[str, Any] | None, difference: float) -> str:
    """What follows for two models that differ in MAE by this much; "" if nothing does."""
    explained = _explained(section)
    if explained is None:
        return ""
    if abs(difference) <= explained:
        return f"The difference of {abs(difference):.4f} is no larger than that: label errors alone could explain it."
    return f"The difference of {abs(difference):.4f} is larger: label errors alone can't explain it."


def of_many_in_words(section: Mapping[str, Any] | None, maes: Sequence[float]) -> str:
    """What follows for models with these MAE; "" if nothing does."""
    explained = _explained(section)
    pairs = [abs(one - other) for one, other in combinations(maes, 2)]
    if explained is None or not pairs:
        return ""
    within = sum(difference <= explained for difference in pairs)
    if within == len(pairs):
        return "No two of these models differ by more: label errors alone could explain every difference in MAE here."
    return f"{within} of the {len(pairs)} pairs of these models differ by no more than that."


def _explained(section: Mapping[str, Any] | None) -> float | None:
    """The difference that wrong labels can explain; None if it is unknown, or if they can explain any."""
    found: float | None = section[EXPLAINED] if section else None
    return None if found is None or found >= 1 else found
