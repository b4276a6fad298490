"""Signing: what is sound gets a signature beside it, once, and nothing that exists changes."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import ReleaseExistsError, StorageError, UnsoundReleaseError, UsageError
from pipeline.files import storage
from pipeline.release.annex import add_annex
from pipeline.release.check.verify import verify_release
from pipeline.release.publish.sign import sign_release
from tests.pipeline.audit.certified import add_certificate, edit_annex
from tests.pipeline.make import tree
from tests.pipeline.release.signing import make_key, verified_by_plain_tool


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder, name) for name in ("ours", "theirs")}


@pytest.fixture
def release(released, tmp_path):
    return shutil.copytree(released.folder, tmp_path / "release")


def sign(release, key, **options):
    return sign_release(str(release), str(key.private), **options)


def test_a_signed_release_stands_the_check_and_that_of_the_plain_tool(release, keys, told):
    before = tree(release)
    report = sign(release, keys["ours"])
    assert report.signed == ("release.json",)
    assert tree(release).keys() - before.keys() == {"release.json.sig"}
    assert {name: tree(release)[name] for name in before} == before
    assert verify_release(str(release), signer=str(keys["ours"].public)).problems == ()
    assert verified_by_plain_tool(release / "release.json", keys["ours"])
    assert [problem.where for problem in verify_release(str(release), signer=str(keys["theirs"].public)).problems] == [
        "release.json.sig"
    ]
    assert keys["ours"].private.read_text() not in repr((report, told.lines))


def test_a_second_time_signs_only_what_was_added(release, keys):
    sign(release, keys["ours"])
    before = tree(release)
    assert sign(release, keys["ours"]).signed == ()
    assert tree(release) == before
    add_annex(str(release), "notes", {"a.txt": b"a"})
    report = sign(release, keys["theirs"])  # somebody else may vouch for an annex
    assert (report.signed, report.there) == (("annex/1/annex.json",), ("release.json",))
    assert verified_by_plain_tool(release / "annex" / "1" / "annex.json", keys["theirs"])
    assert (release / "release.json.sig").read_bytes() == before["release.json.sig"]
    assert verify_release(str(release)).problems == ()


def test_a_release_in_a_store_is_signed_there(release, keys, tmp_path):
    url = f"memory://{tmp_path.name}/release"
    for name, content in tree(release).items():
        storage.publish(f"{url}/{name}", content)
    sign_release(url, str(keys["ours"].private))
    assert verify_release(url, signer=str(keys["ours"].public)).problems == ()


def test_a_signature_by_another_key_is_not_replaced(release, keys):
    sign(release, keys["ours"])
    before = tree(release)
    with pytest.raises(ReleaseExistsError, match="is signed already, with the ED25519 key"):
        sign(release, keys["theirs"])
    assert tree(release) == before


def test_a_signature_that_does_not_fit_is_left_for_its_owner_to_remove(release, keys):
    (release / "release.json.sig").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"release\.json\.sig is no signature of the file beside it"):
        sign(release, keys["ours"])
    assert (release / "release.json.sig").read_bytes() == b"mine"


def test_an_unsound_release_is_not_signed(release, keys):
    (release / "NOTICE").write_bytes(b"edited")
    with pytest.raises(UnsoundReleaseError, match="is not signed; problems found: 1, the first in NOTICE"):
        sign(release, keys["ours"])
    assert not (release / "release.json.sig").exists()


def test_an_unfinished_annex_is_not_signed(release, keys):
    add_annex(str(release), "notes", {"a.txt": b"a"})
    (release / "annex" / "1" / "annex.json").unlink()
    assert sign(release, keys["ours"]).signed == ("release.json",)
    assert not (release / "annex" / "1" / "annex.json.sig").exists()


def test_somebody_who_signs_at_the_same_moment_wins_if_he_is_first(release, keys, monkeypatch):
    create = storage.create

    def overtaken(url, content):
        Path(url).write_bytes(b"theirs")
        return create(url, content)

    monkeypatch.setattr(storage, "create", overtaken)
    with pytest.raises(StorageError, match="somebody else signed it at the same moment"):
        sign(release, keys["ours"])
    assert (release / "release.json.sig").read_bytes() == b"theirs"


def test_a_key_inside_the_release_is_refused_also_through_a_link(release, keys, tmp_path):
    (release / "data" / "key").write_bytes(keys["ours"].private.read_bytes())
    (tmp_path / "link").symlink_to(release / "data" / "key")
    for path in (release / "data" / "key", tmp_path / "link"):
        with pytest.raises(UsageError, match="is inside the release"):
            sign_release(str(release), str(path))


def test_a_release_whose_certificate_does_not_follow_from_its_answers_is_not_signed(release, keys):
    def edit(files):
        files["answers/rater-1.jsonl"] = files["answers/rater-1.jsonl"].replace(b"right", b"ambiguous", 1)

    add_certificate(release)
    edit_annex(release, edit)
    assert verify_release(str(release)).problems == ()  # whoever edited it has mended the sums
    with pytest.raises(UnsoundReleaseError, match=r"is not signed; .*answers/rater-1\.jsonl: an answer was edited"):
        sign(release, keys["ours"])
    assert not (release / "release.json.sig").exists()
