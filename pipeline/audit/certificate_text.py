"""`certificate.md`: the certificate for people, made from the content of `certificate.json` alone. Pure."""

from collections.abc import Mapping
from typing import Any

from pipeline.audit.proofs.promises import OBJECTIONS, Json
from pipeline.release.certified import explained_difference
from pipeline.release.templates import as_cell, as_text, environment

_TEMPLATES = environment("pipeline.audit")
_MEANINGS = dict(
    zip(OBJECTIONS, ("another object is salient", "nothing is salient", "several would be as good"), strict=True)
)
_SHOWN_COVERAGES = (0.5, 0.8, 1.0)
PAGE = "page"


def render_certificate(certificate: Mapping[str, Any]) -> bytes:
    """Write a certificate for people.

    Args: certificate: what `make_certificate` returned, or the same read from `certificate.json`.
    """
    return (
        _TEMPLATES.get_template("certificate.md.jinja")
        .render(
            it=certificate,
            title=as_text(f"{certificate['release']['name']} {certificate['release']['version']}"),
            sentence=as_text(certificate["sentence"]),
            percent=_percent,
            fine_percent=lambda share: f"{100 * share:.2f} %",
            explained=explained_difference(certificate["mean_pixel_error"]["upper"]),
            as_cell=as_cell,
            as_text=as_text,
            objections=[(row, _MEANINGS[row["verdict"]]) for row in certificate["verdicts"]],
            scores=sorted(certificate["risks"]["scores"].items(), key=lambda item: (item[1]["aurc"], item[0])),
            places=[certificate["risks"]["coverages"].index(coverage) for coverage in _SHOWN_COVERAGES],
            coverages=_SHOWN_COVERAGES,
            imported=_imported(certificate["work"]),
            confidence=f"{100 * certificate['confidence']:g} %",
            ious=[row["iou"] for row in certificate["shares"]],
        )
        .encode()
    )


def _percent(share: float) -> str:
    """A share in percent, with one decimal; those that are promised have no more."""
    return f"{100 * share:.1f} %"


def _imported(work: Mapping[str, Any]) -> Json:
    """Source → answers, of those that were not given on the page."""
    found: Json = {}
    for one in work["by"]:
        for source, images in one["sources"].items():
            if source != PAGE:
                found[as_text(source)] = found.get(as_text(source), 0) + images
    return found
