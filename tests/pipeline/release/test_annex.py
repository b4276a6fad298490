"""Annexes are added whole, numbered without gaps, never changed, and leave every file of the release as it is."""

import hashlib
import json
import threading
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StorageError, UsageError
from pipeline.files import storage
from pipeline.release import annex as annex_module
from pipeline.release.annex import add_annex, annexes_of, parse_annex
from pipeline.release.check.annexes import check_annexes

FILES = {"b.txt": b"bee", "a/c.json": b"{}", "page/d.js": b"d();\n"}
STATED = json.dumps({"name": "masks", "version": "1.0.0", "files": []}).encode()
SHA256 = hashlib.sha256(STATED).hexdigest()
NAMES = st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3})?\.txt", fullmatch=True)


def make_release(folder):
    storage.publish(f"{folder}/release.json", STATED)
    return str(folder)


@pytest.fixture(params=["disk", "memory"])
def release(request, tmp_path):
    """A release on a disk, or in a store; neither has anything but its `release.json`."""
    if request.param == "disk":
        return make_release(tmp_path / "release")
    store = fsspec.filesystem("memory")
    store.store.clear()
    return make_release("memory://bucket/release")


def said(release, sha256=SHA256):
    return [(problem.where, problem.what) for problem in check_annexes(release, sha256).problems]


def write(release, name, content):
    storage.publish(f"{release}/{name}", content)


# Adding


@settings(max_examples=15, deadline=None)
@given(
    contents=st.lists(st.dictionaries(NAMES, st.binary(max_size=20), min_size=1, max_size=4), min_size=1, max_size=4)
)
def test_annexes_get_the_numbers_from_1_on_and_equal_ones_the_same_number(contents):
    contents = [one for one in contents if not any(f"{name}/" in other for name in one for other in one)]
    fsspec.filesystem("memory").store.clear()
    release = make_release("memory://any/release")
    added = [add_annex(release, "notes", one).number for one in contents]
    distinct = [one for place, one in enumerate(contents) if one not in contents[:place]]
    assert added == [distinct.index(one) + 1 for one in contents]
    found = check_annexes(release, SHA256)
    assert (found.problems, found.notes) == ([], [])
    assert [annex.number for annex in found.annexes] == list(range(1, len(distinct) + 1))
    for annex, one in zip(found.annexes, distinct, strict=True):
        assert {name: storage.read(f"{release}/{annex.name}/{name}") for name in one} == one


def test_an_annex_names_its_release_and_every_file(release):
    annex = add_annex(release, "certificate", FILES, texts="abc")
    assert annex.release == {"name": "masks", "version": "1.0.0", "sha256": SHA256}
    assert (annex.kind, annex.texts, annex.name) == ("certificate", "abc", "annex/1")
    assert set(annex.files) == {*FILES, "SHA256SUMS"}
    assert annexes_of(release) == [annex]
    assert annex.sha256 == hashlib.sha256(storage.read(f"{release}/annex/1/annex.json")).hexdigest()


def test_a_release_without_annexes_has_none(release):
    assert annexes_of(release) == []
    assert said(release) == []


def test_annex_json_is_written_last_and_the_sums_first(tmp_path, monkeypatch):
    release, written = make_release(tmp_path), []
    create = storage.create
    monkeypatch.setattr(storage, "create", lambda url, content: written.append(Path(url).name) or create(url, content))
    add_annex(release, "notes", FILES)
    assert written == ["SHA256SUMS", "b.txt", "c.json", "d.js", "annex.json"]


@pytest.mark.parametrize("writes", range(1, len(FILES) + 2))
def test_an_annex_whose_writer_died_is_unfinished_until_the_same_is_added_again(release, writes, monkeypatch):
    create, left = storage.create, [writes]

    def dying(url, content):
        if "annex" in url:  # stores are tried out first
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
        return create(url, content)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "create", dying)
        with pytest.raises(KeyboardInterrupt):
            add_annex(release, "notes", FILES)
    found = check_annexes(release, SHA256)
    assert (found.annexes, found.problems) == ([], [])
    assert "annex/1 is unfinished" in found.notes[0]
    assert annexes_of(release) == []
    assert add_annex(release, "notes", {"other": b"x"}).number == 2
    assert add_annex(release, "notes", FILES).number == 1
    assert said(release) == []


def test_an_unfinished_annex_with_a_changed_file_is_not_finished(tmp_path, monkeypatch):
    release = make_release(tmp_path)
    add_annex(release, "notes", FILES)
    (tmp_path / "annex" / "1" / "annex.json").unlink()
    write(release, "annex/1/b.txt", b"else")
    with pytest.raises(StorageError, match=r"b\.txt exists with another content"):
        add_annex(release, "notes", FILES)
    assert annexes_of(release) == []


@pytest.mark.parametrize("different", [True, False])
def test_threads_that_add_at_once_make_whole_annexes(release, different):
    start, numbers = threading.Barrier(6), []

    def adds(place):
        files = FILES | ({"b.txt": f"{place}".encode()} if different else {})
        start.wait()
        numbers.append(add_annex(release, "notes", files).number)

    threads = [threading.Thread(target=adds, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == (list(range(1, 7)) if different else [1] * 6)
    assert said(release) == []
    assert len(annexes_of(release)) == (6 if different else 1)


@pytest.mark.parametrize("name", ["SHA256SUMS", "annex.json", "annex.json.sig"])
def test_names_that_annexes_write_themselves_are_refused_before_anything_is_written(tmp_path, name):
    release = make_release(tmp_path)
    with pytest.raises(UsageError, match=name):
        add_annex(release, "notes", {name: b""})
    assert not (tmp_path / "annex").exists()


# Reading


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"more": 1}, {"number": True}, {"kind": 1}, {"release": {}}, {"files": [{"name": "../x"}]},
     {"files": [{"name": "annex.json", "file_bytes": 0, "sha256": "0" * 64}]}],
    ids=range(7),
)  # fmt: skip
def test_a_malformed_annex_json_is_refused(tmp_path, change):
    add_annex(make_release(tmp_path), "notes", FILES)
    stated = json.loads((tmp_path / "annex" / "1" / "annex.json").read_bytes())
    with pytest.raises((ValueError, KeyError)):
        parse_annex(json.dumps(stated | change).encode())


def test_numbers_have_one_form():
    assert [name for name in ("1", "10", "0", "01", "-1", "1.0", "²", "١", "") if annex_module.is_number(name)] == [
        "1",
        "10",
    ]
