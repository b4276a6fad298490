"""Makes the certificate of an audit, and adds it to the release as an annex."""

from dataclasses import dataclass
from pathlib import Path

from model.documents import read_document
from pipeline.audit.annexed import certificate_files, derived_certificate, texts_version
from pipeline.audit.answers import MOST_BYTES, answers_file
from pipeline.audit.certificate_text import render_certificate
from pipeline.audit.folder import Audit, open_audit
from pipeline.audit.judged import Judged, answers_name, judge
from pipeline.files import urls
from pipeline.progress.stages import say
from pipeline.release.annex import add_annex
from pipeline.release.certified import KIND


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedRelease:
    """A certificate that was added to a release; in a dry run, one that could be."""

    annex: str
    """Folder or URL of the annex; "" in a dry run."""
    sha256: str
    """SHA-256 of its `annex.json`; "" in a dry run."""
    sentence: str
    """What it promises."""
    images: int
    population: int


def certify_release(
    audit: Path,
    release: str = "",
    *,
    missing_as_failures: bool = False,
    dry_run: bool = False,
) -> CertifiedRelease:
    """Compute what the answers of an audit prove, and add it to the release. The same answers again add nothing.

    Args:   release: folder or URL of the release, if it has moved since the plan.
    Raises: CollectionError: there is no audit or no release, or an answer does not belong to it. ConfigError: some
            images have no outcome, and may not count as bad. StorageError: a file of the release is torn.
    """
    opened = open_audit(audit, urls.absolute(release) if release else "")
    judged = judge_audit(opened)
    certificate = derived_certificate(judged, missing_as_failures=missing_as_failures)
    place, sha256 = "", ""
    if dry_run:
        for line in render_certificate(certificate).decode().splitlines():
            say(line)
    else:
        files = certificate_files(judged, certificate)
        annex = add_annex(opened.audited.folder, KIND, files, texts_version())
        place, sha256 = f"{opened.audited.folder}/{annex.name}", annex.sha256
        say(certificate["sentence"])
        say(f"the certificate is in {place}; SHA-256 of its annex.json: {sha256}")
    return CertifiedRelease(
        annex=place,
        sha256=sha256,
        sentence=certificate["sentence"],
        images=certificate["images"],
        population=certificate["population"],
    )


def judge_audit(audit: Audit) -> Judged:
    """Read the answers in an audit's folder, and settle them.

    Raises: CollectionError: a line is not an answer of this audit.
    """
    files = {}
    for rater in audit.asked.tasks:
        path = answers_file(audit.path, rater)
        if path.is_file():
            files[answers_name(rater)] = read_document(path, MOST_BYTES)
    return judge(audit.audited, audit.plan, files)
