"""The check of a release, made as a suspicious stranger would: every byte, and every file against the others.

Sums alone show damage; whoever edits a file can mend its sum too. So masks, run lengths, manifest, licences and card
are also compared with each other, and scores with the maps. What can't be checked is counted and named. Whoever makes
every file anew is found only by somebody who has something else: `release.json` has the sums of all files, so compare
its own SHA-256 with the published one.
"""

import hashlib
from dataclasses import dataclass

from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_described_annotations
from pipeline.collection.instances import NO_INSTANCES, read_instances
from pipeline.errors import UsageError
from pipeline.files import urls
from pipeline.progress.stages import BYTES, say, stage
from pipeline.progress.words import amount
from pipeline.records import Problem
from pipeline.release.check.against_run import compare_with_run, require_records
from pipeline.release.check.annexes import check_annexes
from pipeline.release.check.inspection import Inspection
from pipeline.release.check.loaders import check_with_loaders, missing_loaders
from pipeline.release.check.release_json import NOTHING, parse_release_json, read_release_json
from pipeline.release.check.signatures import check_signatures
from pipeline.release.identity import RELEASE_JSON, collection_digests
from pipeline.release.signature import read_signers

NEVER_CHECKED = (
    "no release has ensemble members, or maps of rejected images: pairwise_iou, and all scores of rejected images, "
    "can't be measured again; nor does the check see what thumbnails show"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnnex:
    """An annex that is complete and belongs to the release; what it says is another check's business."""

    number: int
    kind: str
    sha256: str
    """SHA-256 of its `annex.json`, which has the sums of its other files: the identity of the annex."""


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
    unchecked: tuple[Problem, ...] = ()
    """What is checked in other releases but could not be in this one, or not here, and why."""
    notes: tuple[str, ...] = ()
    """What no check of a release can tell, and what was done in part."""
    annexes: tuple[FoundAnnex, ...] = ()
    """In the order of their numbers."""


def verify_release(
    release: str,
    annotations: str = "",
    *,
    metadata: str = "",
    run: str = "",
    signer: str = "",
    loaders: bool = False,
) -> ReleaseCheck:
    """Check a release, reading every byte once.

    Args:    release: folder or URL.
             annotations: COCO annotation JSON to compare with, from which the images are said to come.
             metadata: the table of licences and origins that the run had besides annotations.
             run: the run that the release was made from; its records and rows tell whether maps, images and scores
             belong together even if somebody made every file of the release anew.
             signer: path or URL of the public key, or of the allowed signers, whose signatures count; then the release
             must be signed.
             loaders: if nothing else is wrong, also load the release with the libraries of its users.
    Raises:  CollectionError: there is no release, or no such run. AnnotationError: the annotations can't be read.
             UsageError: their URL is chained, or the signer is no public key. All are raised before the release is
             read. StorageError, OSError: a file can't be read now.
    """
    content = read_release_json(release)
    signers = read_signers(signer) if signer else None
    if metadata and not annotations:
        raise UsageError("metadata is compared with the release only together with annotations: give both")
    for place in filter(urls.is_chained, filter(None, (annotations, metadata))):
        raise UsageError(urls.chain_refused(place))
    inputs = InputConfig(images="", annotations=annotations, metadata=metadata)
    collection = read_described_annotations(inputs) if annotations else None
    if run:
        require_records(run)
    for name in missing_loaders() if loaders else ():
        say(f"{name} is not installed, so the release will not be loaded with it: pip install {name}")
    inspection = Inspection(release)
    with inspection.readable(RELEASE_JSON):
        inspection.stated = parse_release_json(content, lambda what: inspection.tell(RELEASE_JSON, what))
    if inspection.stated is not NOTHING:
        _inspect(inspection)
        if collection is not None:
            with inspection.readable("manifest.parquet"):
                there = {sample.key: sample for sample in collection.samples}
                predicted = [there[key] for key, row in inspection.rows.items() if row["members"] and key in there]
                instances = read_instances(annotations, predicted) if collection.has_annotations else NO_INSTANCES
                inspection.check_against(collection, instances)
                digests = collection_digests(collection.licenses, collection.origins, instances)
                if inspection.stated.format == 2:
                    del digests["instances"]  # outlines were read in another way
                for name in (name for name in digests if digests[name] != inspection.stated.collection[name]):
                    inspection.tell(RELEASE_JSON, f"was made with other {name} than {annotations} has")
        if run:
            compare_with_run(run, inspection.stated, inspection.rows, inspection.tell, inspection.skip)
    sha256 = hashlib.sha256(content).hexdigest()
    added = check_annexes(release, sha256)
    inspection.problems += added.problems
    inspection.notes += added.notes
    wrong, notes = check_signatures(release, content, added.annexes, signers)
    inspection.problems += wrong
    inspection.notes += notes
    if loaders and not inspection.problems:
        loaded = check_with_loaders(release, inspection.stated, inspection.keys_of_tars(), len(inspection.rows))
        inspection.problems += loaded.problems
        for note in loaded.notes:
            inspection.skip("loaders", note)
    if not annotations:
        inspection.notes.append("ids, authors and sources of images are compared with the annotations only if given")
    if inspection.stated.made_with.get("weights") == "fake":
        inspection.notes.append("made with the stand-in, whose variances can be measured again only roughly")
    return ReleaseCheck(
        name=inspection.stated.release.name,
        version=inspection.stated.release.version,
        sha256=sha256,
        images=len(inspection.rows),
        accepted=len(inspection.samples),
        problems=tuple(inspection.problems),
        unchecked=tuple(inspection.unchecked),
        notes=(*inspection.notes, NEVER_CHECKED),
        annexes=tuple(FoundAnnex(number=one.number, kind=one.kind, sha256=one.sha256) for one in added.annexes),
    )


def _inspect(inspection: Inspection) -> None:
    """Read and compare every file, and show how far that is."""
    release_bytes = sum(file.file_bytes for file in inspection.stated.files.values())
    with stage("reading the release", release_bytes, BYTES) as reading:

        def show(name: str, read_bytes: int) -> None:
            notes = f"{len(inspection.read)} of {len(inspection.stated.files)} files, {name}"
            reading.reach(min(release_bytes, reading.done + read_bytes), notes)

        inspection.on_read = show
        inspection.check()
        reading.reach(release_bytes, amount(len(inspection.stated.files), "files"))
