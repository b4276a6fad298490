"""The certificate for people."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.certificate_text import render_certificate
from pipeline.audit.outcomes import Pair
from tests.pipeline.audit.synthetic import WORK, audit_of, certify, release_of

RNG = np.random.default_rng(3)
TRUTH = release_of(RNG.beta(20, 1, 500), np.where(np.arange(500) < 400, "large", "small"))
PAIRS = [
    Pair(key="1", verdicts=("right", "fix"), iou=0.95, differ=True),
    Pair(key="2", verdicts=("right", "right"), iou=1.0, differ=False),
]
IMPORTED = replace(WORK, rater="adjudicator", sources={"masks": 4}, untimed=4, seconds=0.0)


def certificate_of(truth=TRUTH, pairs=PAIRS, work=(WORK, IMPORTED), **options):
    options = {"images": 150, "predict_with": "pairwise_iou", **options}
    plan, outcomes = audit_of(truth, np.random.default_rng(4), **options)
    return certify(truth, plan, outcomes, pairs, work)


ONE_STRATUM = certificate_of(release_of(TRUTH.ious), advise="ensemble_variance", advise_share=0.6)
STRATA = certificate_of()


def text_of(certificate):
    return re.sub(r"\s+", " ", render_certificate(certificate).decode())


def tables_of(text):
    """Runs of lines that begin with a bar."""
    return [run.splitlines() for run in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def test_it_begins_with_the_sentence():
    lines = render_certificate(ONE_STRATUM).decode().splitlines()
    assert lines[:3] == ["# Certificate of masks 1.0.0", "", f"**{ONE_STRATUM['sentence']}**"]


@pytest.mark.parametrize("certificate", [ONE_STRATUM, STRATA], ids=["one stratum", "strata"])
def test_every_table_is_one(certificate):
    tables = tables_of(render_certificate(certificate).decode())
    assert len(tables) == 5 + bool(certificate["strata"])
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        assert set(table[1]) == {"|", "-"}
        assert len(table) > 2


def test_the_numbers_are_those_of_the_json():
    text = text_of(ONE_STRATUM)
    for row in ONE_STRATUM["shares"]:
        share = f"{100 * row['at_least_share']:.1f} %"
        assert f"| {row['iou']} | {row['good']} of 150 | {row['at_least_images']} | {share} |" in text
    mean = ONE_STRATUM["mean_iou"]
    assert f"between **{mean['lower']}** and **{mean['upper']}**" in text
    assert f"**`{ONE_STRATUM['advice']['bound']}`**" in text
    for row in STRATA["strata"]:
        assert f"| {row['stratum']} | {row['population']} | {row['drawn']} |" in text_of(STRATA)


def test_it_says_how_much_of_a_difference_wrong_labels_explain():
    upper = ONE_STRATUM["mean_pixel_error"]["upper"]
    assert f"to **{100 * upper:.2f} %** of an image's pixels" in text_of(ONE_STRATUM)
    assert f"can explain a difference in MAE of up to {2 * upper:.4f} between two models" in text_of(ONE_STRATUM)
    weak = {**ONE_STRATUM, "mean_pixel_error": {"lower": 0.0, "upper": 0.5}}
    assert "So wrong labels can explain any difference in MAE between two models." in text_of(weak)


def test_it_is_written_from_the_json_alone():
    assert render_certificate(json.loads(json.dumps(STRATA))) == render_certificate(STRATA)


def test_imported_answers_are_named_as_such():
    assert "Not given on the audit's page, but imported: - 4 answers from masks" in text_of(ONE_STRATUM)
    assert "imported" not in text_of(certificate_of(work=(WORK,)))


def test_without_a_beacon_it_says_what_a_maker_could_do():
    assert "until its digest draws kind images" in text_of(ONE_STRATUM)
    with_beacon = text_of(certificate_of(beacon="closing figures of 2026-11-27"))
    assert "until its digest draws kind images" not in with_beacon
    assert "a public value (closing figures of 2026-11-27)" in with_beacon


def test_it_can_be_written_of_an_audit_without_anything():
    plan, outcomes = audit_of(TRUTH, np.random.default_rng(0), lambda ious: ious >= 0, images=10)
    text = text_of(certify(TRUTH, plan, outcomes, missing_as_failures=True))
    for said in (
        "Nothing is proven",
        "Nobody has answered.",
        "No image was judged by two people",
        "images without all",
    ):
        assert said in text


def test_advice_that_there_is_none_says_why():
    found = certificate_of(release_of(TRUTH.ious * 0.9), advise="ensemble_variance")
    assert found["advice"]["bound"] is None
    assert "No bound on `ensemble_variance` can be advised" in text_of(found)
    assert "drawn masks within it" in text_of(found)


HOSTILE = st.text(alphabet="<>|`*_[]()!\n\r\x1b#&\"'az", min_size=1, max_size=30)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_texts_of_a_release_are_shown_as_text(stratum, source, beacon):
    certificate = json.loads(json.dumps(STRATA))
    certificate["strata"][0]["stratum"] = stratum
    certificate["work"]["by"][0]["sources"] = {source: 3}
    certificate["beacon"] = beacon
    text = render_certificate(certificate).decode()
    harmless = render_certificate(STRATA).decode()
    assert {len({line.count("|") for line in table}) for table in tables_of(text)} == {1}
    for mark in "<`*[\x1b":
        # What the template itself has stays; nothing of the release's adds to it.
        assert text.count(mark) <= harmless.count(mark)
