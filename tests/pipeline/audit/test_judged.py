"""What raters said is read from its files, and gives one mask that people settled on for each image, or none."""

import dataclasses
import json

import pytest

from pipeline.audit.answers import Answer
from pipeline.audit.judged import answers_name, judge, settled_mask
from pipeline.audit.outcomes import iou_of
from pipeline.errors import CollectionError
from tests.pipeline.audit.certified import answers_to, judged_of, whole_mask


@pytest.fixture(scope="module")
def judged(audited_release):
    return judged_of(audited_release)


def settled_of(judged):
    return {outcome.verdict: settled_mask(judged, outcome) for outcome in judged.outcomes}


def test_the_settled_mask_is_that_of_the_release_if_it_is_right_and_the_drawn_one_if_it_was_put_right(judged):
    right, fixed, wrong, _ = judged.outcomes
    assert settled_mask(judged, right) == judged.masks[right.key]
    assert settled_mask(judged, fixed) == whole_mask(judged.masks[fixed.key])
    assert settled_mask(judged, wrong) is None


def test_its_iou_with_the_mask_of_the_release_is_that_of_the_outcome(judged):
    for outcome in judged.outcomes:
        mask = settled_mask(judged, outcome)
        assert mask is None or iou_of(mask, judged.masks[outcome.key]) == outcome.iou


def test_of_two_raters_who_agree_the_stricter_one_decides(audited_release):
    judged = judged_of(audited_release, images=1, overlap=1.0)
    (image,) = judged.plan.sample
    mask = judged.masks[image.key]
    answers = {
        rater: Answer(plan=judged.plan.digest, rater=rater, key=image.key, verdict="fix", mask=mask)
        for rater in image.raters
    }
    (outcome,) = judge(judged.audited, judged.plan, files_of(answers.values())).outcomes
    assert outcome.iou == 1
    nearly = almost(mask)
    answers["rater-2"] = dataclasses.replace(answers["rater-2"], mask=nearly)
    found = judge(judged.audited, judged.plan, files_of(answers.values()))
    assert settled_mask(found, found.outcomes[0]) == nearly


def test_a_third_look_decides_over_two_raters_who_differ(audited_release):
    judged = judged_of(audited_release, images=1, overlap=1.0)
    (image,) = judged.plan.sample
    whole = whole_mask(judged.masks[image.key])
    answers = [
        Answer(plan=judged.plan.digest, rater="rater-1", key=image.key, verdict="right"),
        Answer(plan=judged.plan.digest, rater="rater-2", key=image.key, verdict="wrong_object"),
        Answer(plan=judged.plan.digest, rater="adjudicator", key=image.key, verdict="fix", mask=whole),
    ]
    found = judge(judged.audited, judged.plan, files_of(answers))
    assert settled_mask(found, found.outcomes[0]) == whole
    without = judge(judged.audited, judged.plan, files_of(answers[:2]))
    assert settled_mask(without, without.outcomes[0]) is None


def test_answers_without_the_raters_name_are_refused(judged):
    files = answers_to(judged.plan, judged.masks)
    with pytest.raises(CollectionError, match=r"answers/rater-9\.jsonl is no file of a rater"):
        judge(judged.audited, judged.plan, files | {"answers/rater-9.jsonl": b""})
    with pytest.raises(CollectionError, match=r"answers/sub/rater-1\.jsonl is no file"):
        judge(judged.audited, judged.plan, files | {"answers/sub/rater-1.jsonl": b""})


def test_answers_in_the_file_of_somebody_else_are_refused(judged):
    one, other = answers_name("rater-1"), answers_name("rater-2")
    files = answers_to(judged.plan, judged.masks)
    with pytest.raises(CollectionError, match="has an answer of rater-2"):
        judge(judged.audited, judged.plan, {one: files[one] + files[other]})


def files_of(answers):
    files = {}
    for answer in answers:
        name = answers_name(answer.rater)
        files[name] = files.get(name, b"") + answer.encode()
    return files


def almost(rle):
    """The mask without its first pixel."""
    from pipeline.passes.mask_text import mask_from_text, rle_of

    mask = mask_from_text(json.dumps(rle), *rle["size"]).copy()
    mask.T.flat[mask.T.argmax()] = False
    return rle_of(mask)
