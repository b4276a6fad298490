"""The check of a release, made as a suspicious stranger would: every byte, and every file against the others.

Sums alone show damage; whoever edits a file can mend its sum too. So masks, run lengths, manifest, licences and card
are also compared with each other. Texts that nothing else repeats can't be checked: `release.json` has the sums of all
files, so compare its own SHA-256 with the published one.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.collection.coco import read_annotations
from pipeline.collection.instances import read_instances
from pipeline.errors import UsageError
from pipeline.files import urls
from pipeline.records import Problem
from pipeline.release.check.inspection import Inspection
from pipeline.release.check.loaders import check_with_loaders, missing_loaders
from pipeline.release.check.release_json import NOTHING, parse_release_json, read_release_json
from pipeline.release.identity import RELEASE_JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCheck:
    """What a check of a release found."""

    name: str
    version: str
    sha256: str
    """SHA-256 of `release.json`, which has the sums of all other files: the identity of the release."""
    images: int
    """Rows of the manifest."""
    accepted: int
    """Samples in the tars."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    """What was not tried."""


def verify_release(
    release: str,
    annotations: str = "",
    *,
    loaders: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> ReleaseCheck:
    """Check a release, reading every byte once.

    Args:    release: folder or URL.
             annotations: COCO annotation JSON to compare with, from which the images are said to come.
             loaders: if nothing else is wrong, also load the release with the libraries of its users.
             report: called with what is read next, and at the start with libraries that are not installed.
    Raises:  CollectionError: there is no release. AnnotationError: the annotations can't be read. UsageError: their URL
             is chained. All are raised before the release is read. StorageError, OSError: a file can't be read now.
    """
    content = read_release_json(release)
    if annotations and urls.is_chained(annotations):
        raise UsageError(urls.chain_refused(annotations))
    collection = read_annotations(annotations) if annotations else None
    for name in missing_loaders() if loaders else ():
        report(f"{name} is not installed, so the release will not be loaded with it: pip install {name}")
    inspection = Inspection(release)
    with inspection.readable(RELEASE_JSON):
        inspection.stated = parse_release_json(content, lambda what: inspection.tell(RELEASE_JSON, what))
    if inspection.stated is not NOTHING:
        inspection.check(report)
        if collection is not None:
            with inspection.readable("manifest.parquet"):
                here = [sample for sample in collection.samples if sample.key in inspection.samples]
                instances = read_instances(annotations, here) if collection.has_instances else {}
                inspection.check_against(collection, instances)
    if loaders and not inspection.problems:
        report("loading the release with the libraries of its users")
        loaded = check_with_loaders(release, inspection.stated, inspection.keys_of_tars(), len(inspection.rows))
        inspection.problems += loaded.problems
        inspection.notes += loaded.notes
    return ReleaseCheck(
        name=inspection.stated.release.name,
        version=inspection.stated.release.version,
        sha256=hashlib.sha256(content).hexdigest(),
        images=len(inspection.rows),
        accepted=len(inspection.samples),
        problems=tuple(inspection.problems),
        notes=tuple(inspection.notes),
    )
