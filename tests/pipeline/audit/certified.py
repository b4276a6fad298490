"""Makes certificates of small releases, and makes their annexes anew after a file was edited."""

import shutil

from pipeline.audit.annexed import certificate_files, derived_certificate, texts_version
from pipeline.audit.answers import Answer
from pipeline.audit.config import AuditConfig
from pipeline.audit.judged import answers_name, judge
from pipeline.audit.plan import make_plan
from pipeline.audit.released import read_audited
from pipeline.passes.mask_text import Rle
from pipeline.release.annex import ANNEX_JSON, add_annex
from pipeline.release.certified import KIND
from pipeline.release.contents import SUMS
from pipeline.release.opened import masks_in

VERDICTS = ("right", "fix", "wrong_object", "right", "skip")
PLANNED = {"images": 4, "raters": 2, "overlap": 0.5, "ious": (0.5, 0.9)}


def whole_mask(rle):
    """A mask that covers a whole image of that size."""
    height, width = rle["size"]
    from pycocotools import mask as coco_mask

    counts = coco_mask.frPyObjects({"size": [height, width], "counts": [0, height * width]}, height, width)["counts"]
    return Rle(size=[height, width], counts=counts.decode("ascii"))


def answers_to(plan, masks, verdicts=VERDICTS):
    """Files of answers: the n-th image of the sample gets the n-th verdict; all raters agree."""
    files = {}
    for image, verdict in zip(plan.sample, verdicts, strict=False):
        for rater in image.raters:
            answer = Answer(
                plan=plan.digest,
                rater=rater,
                key=image.key,
                verdict=verdict,
                mask=whole_mask(masks[image.key]) if verdict == "fix" else None,
                seconds=12.5,
                answered="2026-11-26T12:00:00Z",
            )
            name = answers_name(rater)
            files[name] = files.get(name, b"") + answer.encode()
    return files


def judged_of(release, verdicts=VERDICTS, **options):
    """An audit of a release, judged."""
    audited = read_audited(str(release))
    plan = make_plan(audited, AuditConfig(**PLANNED | options))
    masks = masks_in(audited, (image.key for image in plan.sample))
    return judge(audited, plan, answers_to(plan, masks, verdicts))


def add_certificate(release, verdicts=VERDICTS, **options):
    """Certify a release; return its annex."""
    judged = judged_of(release, verdicts, **options)
    certificate = derived_certificate(judged, missing_as_failures=True)
    return add_annex(str(release), KIND, certificate_files(judged, certificate), texts_version())


def edit_annex(release, edit, texts=None):
    """Edit the files of annex 1, and mend its sums as a skilled forger would.

    Args: edit: changes the dictionary name → content.
    """
    folder = release / "annex" / "1"
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (SUMS, ANNEX_JSON)
    }
    edit(files)
    shutil.rmtree(folder)
    add_annex(str(release), KIND, files, texts_version() if texts is None else texts)
