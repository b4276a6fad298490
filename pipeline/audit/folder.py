"""The folder of an audit, on the machine of whoever runs it.

AUDIT/plan.json             the plan; its SHA-256 is in every answer
AUDIT/release.txt           where the release lies
AUDIT/answers/RATER.jsonl   what raters have answered, line after line
AUDIT/index.html, page/     the page on which they judge; images/, variance/, masks/ and tasks/ are what it shows
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model.documents import read_document
from pipeline.audit.answers import Asked, asked_by
from pipeline.audit.plan import AuditPlan, differences_from_release, read_plan
from pipeline.audit.released import AuditedRelease, read_audited
from pipeline.errors import CollectionError
from pipeline.passes.mask_text import Rle
from pipeline.release.opened import masks_in

RELEASE_PLACE = "release.txt"
_LONGEST_PLACE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """An audit and its release, which fit together."""

    path: Path
    plan: AuditPlan
    audited: AuditedRelease
    asked: Asked

    def masks(self) -> Mapping[str, Rle]:
        """Read the release's masks of the sample."""
        return masks_in(self.audited, (image.key for image in self.plan.sample))


def open_audit(path: Path, release: str = "") -> Audit:
    """Open an audit.

    Args:   release: folder or URL of its release, if it has moved since the plan.
    Raises: CollectionError: there is no audit or no release, or the plan does not follow from the release.
    """
    plan = read_plan(path)
    place = path / RELEASE_PLACE
    if not release and place.is_file():
        release = read_document(place, _LONGEST_PLACE).decode(errors="replace").strip()
    if not release:
        raise CollectionError(f"{path} does not say where its release lies: give --release")
    audited = read_audited(release)
    if differing := differences_from_release(plan, audited):
        raise CollectionError(f"{path / 'plan.json'} {differing[0]}")
    return Audit(path=path, plan=plan, audited=audited, asked=asked_by(plan, audited.rows))
