"""jobs/verify_release.py shows the certificates of a release, and publish_release.py takes the bound they advise."""

import json
from pathlib import Path

import pytest

from jobs import publish_release, verify_release
from pipeline.run import run
from tests.pipeline.audit.certified import add_certificate, edit_annex
from tests.pipeline.make import make_collection, make_config

ADVISED = {"images": 5, "ious": (0.5,), "advise": "ensemble_variance", "advise_iou": 0.5, "advise_share": 0.2}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A run of ten images; 2, 4, 6, 8 and 10 are accepted, and a certificate says that all of these are right."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    out = run(make_config(inputs, tmp_path_factory.mktemp("run")))
    add_certificate(Path(out.release), ("right",) * 5, **ADVISED)
    return Path(out.release).parent.parent


@pytest.fixture
def release(out):
    return next((out / "release").glob("sod-benchmark-1.0.0"))


def test_the_check_prints_the_certificate_and_the_digest_of_its_annex(done_here, release):
    checked = done_here(verify_release.main, "verify_release.py", release, "--no-loaders")
    assert checked.returncode == 0, checked.stdout
    lines = checked.stdout.splitlines()
    assert next(line for line in lines if line.startswith("certificate 1: Of the 5 masks of sod-benchmark 1.0.0, "))
    (digest,) = (line for line in lines if line.startswith("SHA-256 of annex/1/annex.json: "))
    found = json.loads(done_here(verify_release.main, "verify_release.py", release, "--no-loaders", "--json").stdout)
    assert [(annex["number"], annex["kind"]) for annex in found["annexes"]] == [(1, "certificate")]
    assert digest.endswith(found["annexes"][0]["sha256"])
    assert [(one["number"], one["is_sound"]) for one in found["certificates"]] == [(1, True)]


def test_the_advised_bound_makes_a_release_of_the_images_within_it(done_here, out, release):
    policy = release / "annex" / "1" / "policy.toml"
    arguments = ("build", out, "--policy", policy, "--version", "2.0.0", "--engine", "inline")
    built = done_here(publish_release.main, "publish_release.py", *arguments)
    assert built.returncode == 0, built.stderr
    advice = json.loads((release / "annex" / "1" / "certificate.json").read_text())["advice"]
    assert json.loads(built.stdout)["accepted"] == advice["kept"]


def test_an_edited_answer_makes_the_check_fail_and_is_named(done_here, release):
    def edit(files):
        files["answers/rater-1.jsonl"] = files["answers/rater-1.jsonl"].replace(b"right", b"ambiguous", 1)

    edit_annex(release, edit)
    checked = done_here(verify_release.main, "verify_release.py", release, "--no-loaders")
    assert checked.returncode == 1
    assert "annex/1/answers/rater-1.jsonl: an answer was edited" in checked.stdout
    assert "certificate 1, which has problems: " in checked.stdout
