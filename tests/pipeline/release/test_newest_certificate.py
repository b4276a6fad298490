"""Which certificate of a release is read, and which are not believed."""

import hashlib
import json
import shutil

import pytest

from pipeline.errors import CollectionError, StorageError
from pipeline.release.annex import add_annex
from pipeline.release.newest_certificate import newest_certificate

pytestmark = pytest.mark.usefixtures("fast_disk")


@pytest.fixture
def release(released, tmp_path):
    return shutil.copytree(released.folder, tmp_path / "release")


def certify(release, sentence="Good.", upper=0.02, kind="certificate", **more):
    stated = {
        "sentence": sentence,
        "confidence": 0.95,
        "population": 5,
        "mean_pixel_error": {"lower": 0, "upper": upper},
    }
    return add_annex(str(release), kind, {"certificate.json": json.dumps(stated | more).encode()})


def read(release):
    return newest_certificate(str(release), hashlib.sha256((release / "release.json").read_bytes()).hexdigest())


def test_a_release_without_one_has_none(release):
    assert read(release) is None
    certify(release, kind="notes")
    assert read(release) is None


def test_the_newest_is_read_and_what_is_unfinished_or_something_else_is_not(release):
    certify(release, "Old.")
    annex = certify(release, "New.", 0.01)
    certify(release, "Other.", kind="notes")
    unfinished = certify(release, "Unfinished.")
    (release / unfinished.name / "annex.json").unlink()
    found = read(release)
    assert (found.annex, found.sentence, found.pixel_error, found.sha256) == (2, "New.", 0.01, annex.sha256)
    assert (found.confidence, found.population) == (0.95, 5)


def test_one_without_a_pixel_error_has_none(release):
    annex = add_annex(
        str(release),
        "certificate",
        {"certificate.json": json.dumps({"sentence": "Good.", "confidence": 0.9, "population": 5}).encode()},
    )
    assert annex.number == 1
    assert read(release).pixel_error is None


def test_a_torn_one_is_named(release):
    certify(release)
    path = release / "annex/1/certificate.json"
    path.write_bytes(path.read_bytes().replace(b"Good", b"Best"))
    with pytest.raises(StorageError, match=r"annex/1/certificate\.json"):
        read(release)


@pytest.mark.parametrize("more", [{"population": 0}, {"sentence": None}, {"mean_pixel_error": 3}, {"confidence": "x"}])
def test_a_malformed_one_is_named(release, more):
    certify(release, **more)
    with pytest.raises(CollectionError, match=r"annex/1/certificate\.json is malformed"):
        read(release)


def test_one_of_another_release_is_refused(release):
    certify(release)
    with pytest.raises(CollectionError, match=r"belongs to sod-benchmark 1\.0\.0, another release"):
        newest_certificate(str(release), "0" * 64)
