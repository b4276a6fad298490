"""Every function of the storage, while the storage fails before or after each effect: the outcome is that of quiet."""

import errno
import itertools
import os
import uuid
from collections import deque
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import checked, patience, storage
from pipeline.files.patience import Patience

CALLED = ("pipe_file", "cat_file", "info", "ls", "rm_file", "exists", "isfile", "isdir", "put_file", "open", "rm")
FAULT = st.sampled_from(["before", "after"])
numbers = itertools.count()
coming = deque()
"""The faults of the next calls of a file system, None for a call without one."""
within = []
"""Calls that are under way: one within another is no request of its own."""


def faulty(call):
    """The call with its fault: it fails before its effect, or after it."""

    def called(*args, **named):
        fault = coming.popleft() if coming and not within else None
        if fault == "before":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody is there")
        within.append(call)
        try:
            answer = call(*args, **named)
        finally:
            within.pop()
        if fault == "after":
            raise ConnectionResetError(errno.ECONNRESET, "the answer was lost")
        return answer

    return called


@pytest.fixture(scope="module", autouse=True)
def _moody():
    """A store in memory whose calls fail as `coming` says, and a session that waits for it without sleeping."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLED:
            patch.setattr(MemoryFileSystem, name, faulty(getattr(MemoryFileSystem, name)))
        patch.setattr(MemoryFile, "read", faulty(MemoryFile.read), raising=False)
        patch.setattr(checked, "_PIECE_BYTES", 100)
        patch.setattr(patience._OF_PROCESS, "here", Patience(sleep=lambda _: None, chance=lambda: 0.0))
        patch.setattr("pipeline.files.patience.pause_s", lambda tries, chance: 0.0)
        with patience.lasting(600.0):
            yield
    coming.clear()


def outcome(call):
    """What a call returns, or the class of its error."""
    try:
        return call()
    except StorageError as error:
        return type(error)


def do(folder, here, operation, name, content):
    """One operation on a file of a folder; what is named is the same in every folder."""
    url, local = storage.join(folder, name), here / f"{next(numbers)}"
    expected = storage.stored_file(name, content)
    if operation in ("add_file", "copy"):
        local.write_bytes(content)
    return {
        "publish": lambda: storage.publish(url, content),
        "create": lambda: storage.create(url, content),
        "add": lambda: storage.add(url, content),
        "add_file": lambda: storage.add_file(url, local),
        "copy": lambda: storage.copy_checked(url, str(local), expected, replace=True),
        "read": lambda: storage.read(url),
        "check": lambda: storage.check(url, expected),
        "bytes": lambda: storage.file_bytes_of(url),
        "exists": lambda: storage.exists(url),
        "is file": lambda: storage.is_file(url),
        "list": lambda: storage.list_names(folder),
        "remove": lambda: storage.remove(url) if storage.exists(url) else False,
        "remove all": lambda: storage.remove_tree(folder),
    }[operation]


OPERATIONS = ("publish", "create", "add", "add_file", "copy", "read", "check", "bytes", "exists", "is file", "list")
OPERATIONS += ("remove", "remove all")
STEPS = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.sampled_from("ab"), st.lists(st.none() | FAULT, max_size=5)), max_size=12
)


@given(STEPS)
def test_whatever_fails_on_the_way_the_outcome_is_that_of_quiet(tmp_path_factory, steps):
    quiet, moody = (f"memory://{uuid.uuid4().hex}/run" for _ in range(2))
    here = tmp_path_factory.getbasetemp()
    for number, (operation, name, faults) in enumerate(steps):
        content = bytes([number]) * 250  # of its own, as the contents of whatever somebody claims are
        coming.clear()
        expected = outcome(do(quiet, here, operation, name, content))
        coming.extend(faults)
        assert outcome(do(moody, here, operation, name, content)) == expected
    coming.clear()
    assert contents(moody) == contents(quiet)


def contents(folder):
    return {name: storage.read(storage.join(folder, name)) for name in storage.list_names(folder)}


def test_a_file_that_is_read_in_pieces_goes_on_where_it_was_cut():
    url = f"memory://{uuid.uuid4().hex}/file"
    content = bytes(range(250)) * 4
    record = storage.publish(url, content)
    pieces = []
    coming.extend([None, None, "before", None, None, "after"])  # opened, a piece, cut; opened, a piece, cut
    checked.check_pieces(url, record, pieces.append)
    assert b"".join(pieces) == content
    assert not coming


@pytest.mark.parametrize("function", ["link", "fsync"])
def test_a_claim_on_a_network_disk_whose_answer_was_lost_is_ours(tmp_path, monkeypatch, function):
    real, fails = getattr(os, function), deque([errno.ESTALE, errno.EIO])

    def moody(*args):
        real(*args)
        if fails:
            number = fails.popleft()
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, moody)
    assert storage.create(str(tmp_path / "claim"), b"mine") is True
    assert storage.create(str(tmp_path / "claim"), b"other") is False
    assert [path.name for path in tmp_path.iterdir()] == ["claim"]


def test_a_file_is_moved_to_a_network_disk_whose_answer_was_lost(tmp_path, monkeypatch):
    source, url = tmp_path / "source", tmp_path / "out" / "tar"
    source.write_bytes(b"content" * 100)
    real, fails = os.link, deque([errno.EIO, errno.EIO])

    def moody(*args):
        if len(fails) == 1:
            real(*args)
        if fails:
            raise OSError(fails.popleft(), "Input/output error")
        real(*args)

    monkeypatch.setattr(os, "link", moody)
    storage.add_file(str(url), source)
    assert url.read_bytes() == b"content" * 100
    assert (source.exists(), os.listdir(url.parent)) == (False, ["tar"])


def test_a_storage_that_stays_away_is_named_with_what_to_do(monkeypatch):
    clock = itertools.count(0, 30)
    monkeypatch.setattr(patience._OF_PROCESS, "here", Patience(lambda: next(clock), lambda _: None))
    coming.extend(["before"] * 100)
    with patience.lasting(600.0), pytest.raises(StorageUnavailableError) as raised:
        storage.publish("memory://bucket/run.json", b"")
    coming.clear()
    assert str(raised.value).startswith("memory://bucket/run.json: the storage has not responded for ")
    assert str(raised.value).endswith("Once it responds, run the same command again to resume")
    assert Path("run.json").exists() is False
