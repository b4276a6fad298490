"""The check of signatures: with signers the release must be signed by one of them; without, signatures must fit."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.errors import StorageUnavailableError
from pipeline.files import storage
from pipeline.release.annex import add_annex, annexes_of
from pipeline.release.check.signatures import check_signatures
from pipeline.release.signature import read_signers, sign
from tests.pipeline.release.signing import make_key


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder, name) for name in ("ours", "theirs")}


def sign_file(path, key):
    Path(f"{path}.sig").write_bytes(sign([path.read_bytes()], str(key.private))[0])


def make_release(folder, name="masks"):
    storage.publish(f"{folder}/release.json", json.dumps({"name": name, "version": "1.0.0", "files": []}).encode())
    add_annex(str(folder), "notes", {"a.txt": b"a"})
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, keys):
    """A release with an annex, both signed by us."""
    release = make_release(tmp_path_factory.mktemp("whole"))
    sign_file(release / "release.json", keys["ours"])
    sign_file(release / "annex" / "1" / "annex.json", keys["ours"])
    return release


@pytest.fixture
def release(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "release")


def check(release, signer=None):
    """Problems as (where, what), and notes."""
    content, signers = (release / "release.json").read_bytes(), read_signers(str(signer.public)) if signer else None
    problems, notes = check_signatures(str(release), content, annexes_of(str(release)), signers)
    return [(problem.where, problem.what) for problem in problems], notes


def test_what_is_signed_by_the_signer_is_fine(release, keys):
    problems, notes = check(release, keys["ours"])
    assert problems == []
    assert [note.partition(" is signed with the ED25519 key SHA256:")[0] for note in notes] == [
        "release.json", "annex/1/annex.json",
    ]  # fmt: skip
    assert notes[0].endswith(f", which is the --signer {keys['ours'].public}")


def test_signatures_in_a_store_are_checked_as_on_a_disk(release, keys, tmp_path):
    url = f"memory://{tmp_path.name}/release"
    for path in (path for path in release.rglob("*") if path.is_file()):
        storage.publish(f"{url}/{path.relative_to(release)}", path.read_bytes())
    content = (release / "release.json").read_bytes()
    assert check_signatures(url, content, annexes_of(url), read_signers(str(keys["ours"].public)))[0] == []
    assert len(check_signatures(url, content, annexes_of(url), read_signers(str(keys["theirs"].public)))[0]) == 2


def test_without_a_signer_it_says_that_nobody_asked_whose_key_it_is(release):
    problems, notes = check(release)
    assert problems == []
    assert len(notes) == 2
    assert all(note.endswith("; give --signer to check whose key that is") for note in notes)


def test_a_release_without_signatures_is_fine_unless_a_signer_is_asked_for(release, keys):
    (release / "release.json.sig").unlink()
    (release / "annex" / "1" / "annex.json.sig").unlink()
    assert check(release) == ([], [])
    problems, notes = check(release, keys["ours"])
    assert problems == [("release.json", "is not signed: there is no release.json.sig")]
    assert notes == ["annex/1/annex.json is not signed, so anybody may have added it"]


@pytest.mark.parametrize("signed", ["release.json", "annex/1/annex.json"])
def test_a_signature_by_somebody_else_is_a_problem_once_a_signer_is_asked_for(release, keys, signed):
    sign_file(release / signed, keys["theirs"])
    assert check(release)[0] == []
    ((where, what),) = check(release, keys["ours"])[0]
    assert where == f"{signed}.sig"
    assert "which does not count by --signer" in what


@pytest.mark.parametrize("asked", [True, False])
def test_a_release_json_that_was_changed_after_it_was_signed_is_found(release, keys, asked):
    (release / "release.json").write_bytes((release / "release.json").read_bytes() + b"\n")
    (problem,) = check(release, keys["ours"] if asked else None)[0]
    assert problem[0] == "release.json.sig"
    assert "is no signature of the file beside it: one of them was changed" in problem[1]


def test_signatures_of_another_release_are_found(release, keys, tmp_path):
    other = make_release(tmp_path / "other", "others")
    shutil.copy(release / "release.json.sig", other)
    shutil.copy(release / "annex" / "1" / "annex.json.sig", other / "annex" / "1")
    found = check(other, keys["ours"])[0]
    assert [where for where, _ in found] == ["release.json.sig", "annex/1/annex.json.sig"]
    assert all("it signs another release or annex" in what for _, what in found)


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN SSH SIGNATURE-----\n", bytes(65 << 10)], ids=["", "torn", "huge"]
)
def test_something_else_in_place_of_a_signature_is_found(release, content):
    (release / "release.json.sig").write_bytes(content)
    assert [where for where, _ in check(release)[0]] == ["release.json.sig"]


def test_a_folder_in_place_of_a_signature_is_found(release):
    (release / "release.json.sig").unlink()
    (release / "release.json.sig").mkdir()
    assert check(release)[0] == [("release.json.sig", "is not a plain file")]


def test_an_annex_that_changes_during_the_check_is_found(release):
    annexes = annexes_of(str(release))
    path = release / "annex" / "1" / "annex.json"
    path.write_bytes(path.read_bytes().replace(b"notes", b"other"))
    problems, _ = check_signatures(str(release), (release / "release.json").read_bytes(), annexes)
    assert [(problem.where, problem.what) for problem in problems] == [
        ("annex/1/annex.json", "changed while it was checked")
    ]


def test_a_store_that_does_not_answer_is_no_problem_of_the_release(release, monkeypatch):
    def fail(*_):
        raise StorageUnavailableError("later")

    annexes = annexes_of(str(release))
    monkeypatch.setattr(storage, "read", fail)
    with pytest.raises(StorageUnavailableError):
        check_signatures(str(release), b"", annexes)


def test_without_the_tool_a_signature_is_noted_as_not_checked(release, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    problems, notes = check(release)
    assert problems == []
    assert notes[0] == "release.json has a signature, which was not checked: ssh-keygen is not installed"
