"""Whatever is wrong with an annex is found, and its file named; what it says is nobody's business here."""

import hashlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.release.annex import add_annex
from pipeline.release.check.annexes import check_annexes
from pipeline.release.check.verify import verify_release
from tests.pipeline.release.test_annex import FILES, SHA256, make_release, said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    release = make_release(tmp_path_factory.mktemp("whole"))
    for kind in ("notes", "certificate"):
        add_annex(release, kind, FILES | {"kind": kind.encode()})
    return Path(release)


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


ANY_FILE = ["annex.json", "SHA256SUMS", "kind", *FILES]


@given(name=st.sampled_from(ANY_FILE), data=st.data())
def test_a_changed_byte_of_an_annex_is_found_and_its_file_named(whole, name, data):
    path = whole / "annex" / "2" / name
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(changed)
        found = check_annexes(str(whole), SHA256)
    finally:
        path.write_bytes(content)
    where = [problem.where for problem in found.problems]
    # A byte of annex.json may be one of another file's sum; its own sum is what people compare with the published one.
    if name == "annex.json":
        sound = [annex.sha256 for annex in found.annexes if annex.number == 2]
        assert all(one.startswith("annex/2") for one in where)
        assert where or sound == [hashlib.sha256(changed).hexdigest()]
    else:
        assert where == [f"annex/2/{name}"]


@pytest.mark.parametrize(
    ("edit", "where", "what"),
    [
        (lambda a: (a / "2" / "b.txt").unlink(), "annex/2/b.txt", "is missing"),
        (lambda a: (a / "2" / "b.txt").write_bytes(b"bee and more"), "annex/2/b.txt", "has 12 bytes"),
        (lambda a: (a / "2" / "stray").write_bytes(b""), "annex/2/stray", "annex.json does not name it"),
        (lambda a: (a / "2" / "a" / ".hidden").write_bytes(b""), "annex/2/a/.hidden", "does not name it"),
        (lambda a: (a / "2" / "b.txt.sig").write_bytes(b""), "annex/2/b.txt.sig", "does not name it"),
        (lambda a: (a / "note.txt").write_bytes(b""), "annex/note.txt", "is not an annex"),
        (lambda a: (a / "02").mkdir(), "annex/02", "is not an annex"),
        (lambda a: (a / "2").rename(a / "3"), "annex/3/annex.json", "says that it is annex 2"),
        (lambda a: shutil.rmtree(a / "1"), "annex/1", "is missing, though there are later ones"),
        (lambda a: (a / "2" / "annex.json").write_bytes(b"{}"), "annex/2/annex.json", "is malformed"),
        (lambda a: (a / "2" / "annex.json").write_bytes(b"[" * 10**5), "annex/2/annex.json", "is malformed"),
    ],
    ids=range(11),
)
def test_what_is_wrong_with_an_annex_is_said(copy, edit, where, what):
    edit(copy / "annex")
    found = dict(said(str(copy)))
    assert what in found[where]


def test_a_symbolic_link_in_an_annex_is_found(copy):
    path = copy / "annex" / "1" / "b.txt"
    path.rename(copy / "elsewhere")
    path.symlink_to(copy / "elsewhere")
    assert said(str(copy)) == [("annex/1/b.txt", f"is a symbolic link to {copy}/elsewhere; copy it with its files")]


def test_a_folder_that_is_a_link_to_an_annex_is_found(copy):
    (copy / "annex" / "1").rename(copy / "elsewhere")
    (copy / "annex" / "1").symlink_to("../elsewhere")
    assert said(str(copy)) == [("annex/1", "is a symbolic link to ../elsewhere; copy it with its files")]


def test_an_annex_of_another_release_is_found(whole):
    found = said(str(whole), "0" * 64)
    assert [where for where, _ in found] == ["annex/1/annex.json", "annex/2/annex.json"]
    assert f"belongs to another release: masks 1.0.0, whose SHA-256 is {SHA256}" in found[0][1]


def test_a_signature_of_an_annex_is_no_stray(copy):
    (copy / "annex" / "1" / "annex.json.sig").write_bytes(b"signed")
    assert said(str(copy)) == []


def test_what_a_killed_writer_left_beside_a_file_is_noted(copy):
    (copy / "annex" / "1" / ".b.txt.0123.tmp").write_bytes(b"")
    found = check_annexes(str(copy), SHA256)
    assert found.problems == []
    assert found.notes == ["annex/1/.b.txt.0123.tmp was left by a session that was killed; remove it"]


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("content", [b"alert(1)", b'sodPage.certificate({});fetch("x");\n', b"<!--"])
def test_a_script_that_the_page_would_run_may_be_nothing_but_data(tmp_path, content, is_finished):
    release = make_release(tmp_path)
    add_annex(release, "notes", {"certificate.js": content})
    if not is_finished:
        (tmp_path / "annex" / "1" / "annex.json").unlink()
    ((where, what),) = said(release)
    assert where == "annex/1/certificate.js"
    assert what.startswith("is more than a call with the page's data")


def test_the_check_of_a_release_counts_its_annexes_and_their_problems(released, tmp_path):
    folder = shutil.copytree(released.folder, tmp_path / "release")
    annex = add_annex(str(folder), "notes", FILES)
    found = verify_release(str(folder))
    assert (found.problems, found.unchecked) == ((), ())
    assert [(one.number, one.kind, one.sha256) for one in found.annexes] == [(1, "notes", annex.sha256)]
    (folder / "annex" / "1" / "b.txt").write_bytes(b"else")
    (folder / "annexes").mkdir()
    found = verify_release(str(folder))
    assert [problem.where for problem in found.problems] == ["annexes", "annex/1/b.txt"]
    assert found.annexes == ()
