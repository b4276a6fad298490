"""Answers become a certificate, beside a release of which nothing changes."""

import json
import shutil

import pytest

from pipeline.audit.answers import Answer, add_answers
from pipeline.audit.certify import certify_release
from pipeline.audit.check import check_certificates
from pipeline.audit.config import AuditConfig
from pipeline.audit.folder import open_audit
from pipeline.audit.start import start_audit
from pipeline.errors import CollectionError, ConfigError


@pytest.fixture
def release(audited_release, tmp_path):
    """A copy of the release: certificates are added to it."""
    return shutil.copytree(audited_release, tmp_path / "release")


@pytest.fixture
def audit(release, tmp_path):
    """An audit of all five images by one rater."""
    config = AuditConfig(images=5, raters=1, overlap=0)
    start_audit(str(release), str(tmp_path / "audit"), config)
    return open_audit(tmp_path / "audit")


def answer(audit, verdicts):
    """Let the rater give these verdicts, in the order of her tasks."""
    keys = audit.plan.tasks_of("rater-1")
    answers = [
        Answer(plan=audit.plan.digest, rater="rater-1", key=key, verdict=verdict, seconds=9, source="page")
        for key, verdict in zip(keys, verdicts, strict=False)
    ]
    add_answers(audit.path, "rater-1", answers)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_certificate_is_added_beside_the_release_and_proves_what_a_hand_can_count(audit, release):
    before = contents(release)
    answer(audit, ["right"] * 4 + ["wrong_object"])
    certified = certify_release(audit.path)
    after = contents(release)
    assert {name: content for name, content in after.items() if not name.startswith("annex/")} == before
    stored = json.loads(after["annex/1/certificate.json"])
    # All five were looked at, so the bound is the count itself.
    assert [row["at_least_images"] for row in stored["shares"]] == [4, 4, 4]
    assert stored["mean_iou"]["of_sample"] == 0.8
    assert (stored["mean_iou"]["lower"], stored["mean_iou"]["upper"]) == (0.8, 0.8)
    assert stored["sentence"] == certified.sentence
    assert stored["work"]["hours"] == round(5 * 9 / 3600, 2)
    check = check_certificates(str(release), [1])
    assert (check.problems, [found.sentence for found in check.certificates]) == ([], [certified.sentence])


def test_the_same_answers_again_add_nothing_and_other_ones_a_second_certificate(audit, release):
    answer(audit, ["right"] * 5)
    first = certify_release(audit.path)
    before = contents(release)
    assert certify_release(audit.path) == first
    assert contents(release) == before
    answer(audit, ["wrong_object"])
    second = certify_release(audit.path)
    assert second.annex.endswith("annex/2")
    assert {name: content for name, content in contents(release).items() if name in before} == before


def test_missing_answers_are_refused_or_count_as_failures(audit, release):
    answer(audit, ["right"] * 3 + ["skip"])
    before = contents(release)
    with pytest.raises(ConfigError, match="2 of the 5 drawn images have no outcome: 1 lack an answer, 1 were skipped"):
        certify_release(audit.path)
    assert contents(release) == before
    certified = certify_release(audit.path, missing_as_failures=True)
    assert "at least 3 (60.0 %)" in certified.sentence


def test_a_dry_run_prints_the_certificate_and_writes_nothing(audit, release, told):
    answer(audit, ["right"] * 5)
    before = contents(release)
    certified = certify_release(audit.path, dry_run=True)
    assert (certified.annex, contents(release)) == ("", before)
    assert any(certified.sentence in line for line in told.lines)


def test_a_release_that_has_moved_is_given_and_another_one_refused(audit, release, tmp_path, released_twice):
    answer(audit, ["right"] * 5)
    shutil.move(release, tmp_path / "moved")
    with pytest.raises(CollectionError, match="does not exist"):
        certify_release(audit.path)
    assert certify_release(audit.path, str(tmp_path / "moved")).annex == f"{tmp_path}/moved/annex/1"
    with pytest.raises(CollectionError, match="is the plan of another release"):
        certify_release(audit.path, str(released_twice))


@pytest.fixture
def released_twice(audited_release, tmp_path):
    """A release that differs in one word of its release.json."""
    other = shutil.copytree(audited_release, tmp_path / "other")
    stated = (other / "release.json").read_bytes()
    (other / "release.json").write_bytes(stated.replace(b'"publication"', b'"publication" '))
    return other


def test_an_answer_of_another_audit_is_named(audit):
    answer(audit, ["right"] * 5)
    path = audit.path / "answers/rater-1.jsonl"
    path.write_bytes(path.read_bytes().replace(audit.plan.digest.encode(), b"0" * 64))
    with pytest.raises(CollectionError, match=r"rater-1\.jsonl, line 1: it belongs to another plan"):
        certify_release(audit.path)
