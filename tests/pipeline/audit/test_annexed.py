"""An annex says what its certificate says, everywhere in the same words, and follows from release and answers alone."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.publish_release import BuildConfig
from pipeline.audit.annexed import (
    answer_digests,
    certificate_files,
    certificate_texts,
    certified_of,
    derived_certificate,
    policy_file,
)
from pipeline.audit.judged import answers_name, judge
from pipeline.errors import ConfigError
from pipeline.options import from_options, read_toml
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.recommended import with_bounds
from tests.pipeline.audit.certified import add_certificate, judged_of
from tests.pipeline.release.page.test_files import value_of

pytestmark = pytest.mark.usefixtures("fast_disk")


@pytest.fixture(scope="module")
def judged(audited_release):
    return judged_of(audited_release)


@pytest.fixture(scope="module")
def certificate(judged):
    return derived_certificate(judged, missing_as_failures=True)


@pytest.fixture(scope="module")
def files(judged, certificate):
    return certificate_files(judged, certificate)


def test_the_files_are_these_and_what_the_page_runs_comes_last(files):
    photos = {f"page/photos/{place:05d}.webp" for place in range(4)}
    assert files.keys() == photos | {
        "plan.json", "answers/rater-1.jsonl", "answers/rater-2.jsonl", "certificate.json", "certificate.md",
        "README.md", "croissant.json", "index.html", "page/audited.css", "page/audited.js", "page/icon.svg",
        "page/outlines.js", "page/style.css", "page/audit-000.js", "certificate.js",
    }  # fmt: skip
    assert list(files)[-1] == "certificate.js"


def test_equal_answers_give_equal_files(audited_release, files):
    again = judged_of(audited_release)
    assert certificate_files(again, derived_certificate(again, missing_as_failures=True)) == files


def test_texts_made_from_the_stored_certificate_are_the_same(judged, files):
    stored = json.loads(files["certificate.json"])
    texts = certificate_texts(judged, stored)
    assert texts == {name: files[name] for name in texts}


def test_a_certificate_needs_all_answers_or_the_word_that_missing_ones_are_failures(judged):
    with pytest.raises(ConfigError, match="missing-as-failures"):
        derived_certificate(judged_of(judged.audited.folder, ("right", "skip", "right", "right")))


# Card


def test_the_card_says_the_sentence_in_place_of_the_warning(audited_release, files, certificate):
    card, before = files["README.md"].decode(), (audited_release / "README.md").read_text()
    assert "No human has checked them" in before
    assert "No human has checked them" not in card
    assert (
        f"**{certificate['sentence'].replace(chr(39), '&#39;')}**" in card or f"**{certificate['sentence']}**" in card
    )
    assert card.index("## Certificate") < card.index("## Numbers")
    row = certificate["shares"][0]
    assert f"| at least 0.5 | {row['good']} of 4 | at least {100 * row['at_least_share']:.1f} % |" in card


def test_card_and_croissant_say_where_imported_answers_come_from(judged):
    name, hostile = answers_name("rater-1"), "<b>*masks*\n# of a tool"
    lines = [json.loads(line) | {"source": hostile} for line in judged.files[name].splitlines()]
    imported = judge(judged.audited, judged.plan, judged.files | {name: b"".join(map(as_line, lines))})
    texts = certificate_texts(imported, derived_certificate(imported, missing_as_failures=True))
    (said,) = (line for line in texts["README.md"].decode().splitlines() if "not given on the page" in line)
    assert said == (
        "3 answers were not given on the page of the audit, but by &#60;b&#62;&#42;masks&#42; &#35; of a tool."
    )
    platforms = json.loads(texts["croissant.json"])["rai:dataAnnotationPlatform"]
    assert platforms[1:] == [
        f"For 3 answers of the audit: {hostile}.", "For 3 answers of the audit: its own page."
    ]  # fmt: skip


def as_line(answer):
    return json.dumps(answer, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_but_for_the_certificate_the_card_is_that_of_the_release(audited_release, files):
    card, before = files["README.md"].decode(), (audited_release / "README.md").read_text()
    without = re.sub(r"## Certificate\n.*?(?=## )", "", card, flags=re.DOTALL)
    differing = [
        (one, other) for one, other in zip(without.splitlines(), before.splitlines(), strict=True) if one != other
    ]
    assert [other for _, other in differing] == [
        next(line for line in before.splitlines() if "No human has checked them" in line)
    ]


# Croissant


READ = """
import json, logging, sys
said = []
kept = logging.Handler()
kept.emit = lambda record: said.append(record.getMessage())
logging.basicConfig(level=logging.WARNING, handlers=[kept])
import mlcroissant
dataset = mlcroissant.Dataset(sys.argv[1])
about = dataset.metadata
print(json.dumps({
    "records": [sum(1 for _ in dataset.records(name)) for name in ("manifest", "images-test")],
    "per_item": about.annotations_per_item,
    "protocol": about.data_annotation_protocol,
    "analysis": about.data_annotation_analysis,
    "annotators": about.annotator_demographics,
    "said": said,
}))
"""


def test_croissant_loads_from_the_annex_with_the_records_of_the_release(audited_release, tmp_path):
    folder = shutil.copytree(audited_release, tmp_path / "release")
    add_certificate(folder)
    # In a process of its own: mlcroissant fixes its cache folder when it is imported.
    command = [sys.executable, "-c", READ, str(folder / "annex" / "1" / "croissant.json")]
    settings = {**os.environ, "CROISSANT_CACHE": str(tmp_path / "cache")}
    found = json.loads(subprocess.run(command, env=settings, capture_output=True, check=True).stdout)
    assert found["records"] == [10, 5]
    assert "4 images (two of 2), and none of the others." in str(found["per_item"])
    assert "2 raters looked at 4 accepted images" in str(found["protocol"])
    assert "at least 0.9" in found["analysis"][0]
    assert found["annotators"] == ["No human drew the masks. Nothing is recorded of the people who judged the sample."]
    assert not [message for message in found["said"] if "rai" in message.lower()]


def test_croissant_differs_from_that_of_the_release_in_what_people_did(audited_release, files):
    before, now = json.loads((audited_release / "croissant.json").read_text()), json.loads(files["croissant.json"])
    assert before.keys() == now.keys()
    assert {name for name in before if before[name] != now[name]} == {
        "description", "distribution", "rai:annotationsPerItem", "rai:annotatorDemographics",
        "rai:dataAnnotationAnalysis", "rai:dataAnnotationPlatform", "rai:dataAnnotationProtocol",
        "rai:dataLimitations",
    }  # fmt: skip


# Script


def test_the_script_has_what_the_page_shows(files, certificate):
    found = value_of(files["certificate.js"], "certificate")
    assert found == {
        **certificate["release"], "sentence": certificate["sentence"], "images": 4, "population": 5, "chunks": 1
    }  # fmt: skip


# Policy


POLICIES = st.builds(
    PolicyConfig,
    max_variance=st.floats(0.001, 0.25),
    min_area=st.floats(0, 0.5),
    thresholds=st.lists(st.sampled_from(["pairwise_iou>=0.5", "border<=0.75", "stability>=1e-05"]), max_size=3).map(
        tuple
    ),
    allowed_licenses=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    commercial=st.booleans(),
    target_images=st.integers(0, 100),
    keep_empty=st.sampled_from(["", "empty_score>=0.9"]),
)
ADVICE = {"bound": "ensemble_variance<=0.0123", "share": 0.95, "iou": 0.9}


@given(POLICIES)
def test_the_policy_file_is_read_back_as_the_policy_with_the_advised_bound(tmp_path_factory, policy):
    path = tmp_path_factory.getbasetemp() / f"policy-{os.getpid()}.toml"
    path.write_bytes(policy_file(policy, ADVICE))
    found = from_options(BuildConfig, read_toml(str(path), BuildConfig, "--policy"), missing="").selection
    wanted = tuple({*policy.thresholds, ADVICE["bound"]})
    assert found == with_bounds(dataclasses.replace(policy, thresholds=wanted), {})  # whatever weights recommend
    assert (b"nothing is promised of those" in path.read_bytes()) == (policy.target_images > 0)


@pytest.mark.parametrize("advice", [None, {**ADVICE, "bound": None}])
def test_without_advice_there_is_no_policy_file(advice):
    assert policy_file(PolicyConfig(), advice) == b""


def test_an_annex_has_the_policy_that_its_certificate_advises(audited_release):
    options = {"images": 5, "ious": (0.5,), "advise": "ensemble_variance", "advise_iou": 0.5, "advise_share": 0.2}
    judged = judged_of(audited_release, ("right",) * 5, **options)
    certificate = derived_certificate(judged)
    assert certificate["advice"]["bound"]
    assert certificate["advice"]["bound"].encode() in certificate_texts(judged, certificate)["policy.toml"]


# Digests of answers


LINES = st.lists(
    st.binary(max_size=4).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"") + b"\n"), max_size=5
)


@given(LINES, st.randoms())
def test_digests_tell_another_order_from_other_answers(lines, random):
    shuffled = random.sample(lines, len(lines))
    one, other = (answer_digests({"x": b"".join(order)})["x"] for order in (lines, shuffled))
    assert one["answers"] == other["answers"] == len(lines)
    assert one["sha256_of_sorted_lines"] == other["sha256_of_sorted_lines"]
    assert (one["sha256"] == other["sha256"]) == (lines == shuffled)


def test_a_torn_last_line_is_no_part_of_the_annex(audited_release, judged):
    name = answers_name("rater-1")
    torn = judge(judged.audited, judged.plan, {**judged.files, name: judged.files[name] + b'{"plan":'})
    assert torn == judged


def test_what_texts_say_of_a_certificate_are_its_numbers(certificate):
    found = certified_of(certificate)
    assert (found.population, found.images, found.raters, found.judged_twice) == (5, 4, 2, 2)
    assert [(share.iou, share.good) for share in found.shares] == [(0.5, 2), (0.9, 2)]
