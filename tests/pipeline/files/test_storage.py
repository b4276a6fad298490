"""Properties, examples and faults of writing files whole, on the local disk and on stores without renames."""

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from s3fs.core import S3File

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import checked, local_disk, storage
from tests.pipeline.make import peak_bytes
from tests.pipeline.s3_server import s3_server

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = b"old" * 5000, b"newer" * 50_000


@pytest.fixture(scope="module", params=["disk", "memory", "s3"])
def place(request, tmp_path_factory):
    """A folder for all tests of one file system; each test uses its own folder in it."""
    if request.param == "disk":
        yield str(tmp_path_factory.mktemp("storage"))
    elif request.param == "memory":
        yield f"memory://{uuid.uuid4().hex}"
    else:
        with pytest.MonkeyPatch.context() as patch, s3_server(patch) as s3:
            yield f"s3://{s3.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def folder(place):
    return storage.join(place, uuid.uuid4().hex)


def run_python(code, *arguments, check=True):
    """Run code in another process, where it can do no harm to this one."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check)


# Properties


@example("b" * 255)
@example("日" * 85)
@example("a" + "é" * 127)
@example(b"\xe9".decode("utf-8", "surrogateescape") * 255)
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=255))
def test_every_name_that_a_disk_takes_can_be_written(tmp_path_factory, name):
    name = os.fsencode(name)[:255].decode("utf-8", "surrogateescape")
    folder = tmp_path_factory.mktemp("names")
    assume(name not in (".", ".."))
    for write in (local_disk.write, local_disk.create_whole):
        write(folder / name, NEW)
        assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(name, NEW)]
        (folder / name).unlink()
    assert storage.is_unfinished(local_disk.unfinished_name(name))


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_a_file_holds_exactly_what_was_published_last(place, contents):
    url = storage.join(place, "published", "file")
    for content in contents:
        record = storage.publish(url, content)
        assert storage.read_checked(url, record) == content
    assert storage.list_names(storage.join(place, "published")) == ["file"]


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_only_the_first_create_of_a_name_writes(place, contents):
    url = storage.join(place, "created", uuid.uuid4().hex)
    assert [storage.create(url, content) for content in contents] == [True] + [False] * (len(contents) - 1)
    assert storage.read(url) == contents[0]


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_changed_or_cut_byte_is_noticed_wherever_it_is(place, content, data):
    url = storage.join(place, "checked", "file")
    record = storage.publish(url, content)
    at = data.draw(st.integers(0, len(content) - 1))
    flipped = bytes([content[at] ^ data.draw(st.integers(1, 255))])
    storage.publish(url, content[:at] + data.draw(st.sampled_from([b"", flipped, flipped * 2])) + content[at + 1 :])
    with pytest.raises(StorageError, match=record.sha256):
        storage.read_checked(url, record)


# Examples


def test_publishing_returns_name_length_and_sha256(folder):
    record = storage.publish(storage.join(folder, "deep", "name.bin"), b"content")
    assert (record.name, record.file_bytes) == ("name.bin", 7)
    assert record.sha256 == hashlib.sha256(b"content").hexdigest()


def test_a_local_file_has_the_checksum_of_its_content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(NEW)
    assert storage.stored_file_at(path) == storage.stored_file("file", NEW)


def test_what_is_added_is_never_replaced(folder, tmp_path):
    url, large = storage.join(folder, "file"), storage.join(folder, "large")
    source = tmp_path / "source"
    source.write_bytes(NEW)
    assert storage.add(url, OLD) == storage.add(url, OLD) == storage.stored_file("file", OLD)
    assert storage.add_file(large, source) == storage.stored_file("large", NEW)
    assert not source.exists()
    source.write_bytes(NEW)
    storage.add_file(large, source)
    for add in (lambda: storage.add(url, NEW), lambda: storage.add_file(url, source)):
        source.write_bytes(NEW)
        with pytest.raises(StorageError, match="file exists with another content, and is not overwritten"):
            add()
    assert source.read_bytes() == NEW
    assert (storage.read(url), storage.read(large)) == (OLD, NEW)
    assert storage.list_names(folder, hidden=True) == ["file", "large"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_without_hard_links_files_are_created_exclusively_too(tmp_path, monkeypatch, number):
    def link(*_):
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", link)
    url = str(tmp_path / "file")
    assert [storage.create(url, OLD), storage.create(url, NEW)] == [True, False]
    assert storage.read(url) == OLD
    assert storage.list_names(str(tmp_path), hidden=True) == ["file"]


def test_names_are_listed_in_order_and_a_missing_folder_is_empty(folder):
    assert storage.list_names(folder) == []
    for name in ("b", "c", "a"):
        storage.publish(storage.join(folder, name), b"")
    assert storage.list_names(folder) == ["a", "b", "c"]


def test_files_and_folders_exist_from_creation_to_removal(folder):
    url = storage.join(folder, "file")
    assert not storage.exists(url)
    storage.publish(url, b"")
    assert storage.exists(url)
    assert storage.exists(folder)
    storage.remove_tree(folder)
    assert not storage.exists(url)
    assert storage.list_names(folder) == []


def test_removing_a_missing_folder_is_not_an_error(folder):
    storage.remove_tree(folder)
    assert not storage.exists(folder)


def test_a_missing_file_is_named(folder):
    url = storage.join(folder, "file")
    with pytest.raises(StorageError, match=f"{url} is missing"):
        storage.read(url)


@pytest.mark.parametrize("name", ["a b", "a::b", "a#b", "a?b=c", "[a]*", "100%", "Größe", "a:b", "~", "C:", "s3:"])
def test_a_local_folder_may_have_any_name(tmp_path, name):
    url = storage.join(str(tmp_path / name), "file")
    storage.publish(url, OLD)
    assert storage.create(url, NEW) is False
    assert (tmp_path / name / "file").read_bytes() == storage.read(url) == OLD
    assert storage.list_names(str(tmp_path / name)) == ["file"]
    storage.remove_tree(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_slash_at_the_end_makes_no_difference_to_joining():
    assert storage.join("s3://bucket/run/", "commits", "1.json") == "s3://bucket/run/commits/1.json"


# Copies in pieces


@pytest.fixture
def small_pieces(monkeypatch):
    """A size of pieces that divides no file."""
    monkeypatch.setattr(checked, "_PIECE_BYTES", 7001)
    return 7001


@pytest.mark.parametrize("content", [b"", b"x", NEW], ids=len)
def test_a_copy_has_the_same_content_in_both_directions(folder, tmp_path, small_pieces, content):
    here, there = str(tmp_path / "deep" / "here"), storage.join(folder, "there")
    record = storage.publish(here, content)
    for url, source in ((there, here), (f"{here}-again", there)):
        storage.copy_checked(url, source, record)
        storage.check(url, record)
        assert storage.read(url) == storage.read(source) == content
    assert storage.list_names(str(tmp_path / "deep"), hidden=True) == ["here", "here-again"]
    assert storage.list_names(folder, hidden=True) == ["there"]


@pytest.mark.parametrize("source", [NEW[:-1], b"N" + NEW[1:], NEW + b"r"], ids=["cut", "changed", "longer"])
def test_a_copy_of_an_unexpected_file_is_not_published_and_leaves_nothing(
    folder, tmp_path, small_pieces, monkeypatch, source
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    url, other = storage.join(folder, "file"), str(tmp_path / "other")
    storage.publish(url, OLD)
    storage.publish(other, source)
    record = storage.stored_file("file", NEW)
    with pytest.raises(
        StorageError, match=f"{other} has {len(source)} bytes and SHA-256 .* expected 250000 bytes and "
    ):
        storage.copy_checked(url, other, record)
    assert storage.read(url) == OLD
    assert storage.list_names(folder, hidden=True) == ["file"]
    assert storage.list_names(str(tmp_path / "temp"), hidden=True) == []
    with pytest.raises(StorageError, match=record.sha256):
        storage.check(other, record)


def test_a_missing_file_is_named_when_it_is_to_be_copied_or_checked(folder, tmp_path):
    url, record = storage.join(folder, "file"), storage.stored_file("file", NEW)
    with pytest.raises(StorageError, match=f"{url} is missing"):
        storage.check(url, record)
    with pytest.raises(StorageError, match=f"{url} is missing"):
        storage.copy_checked(str(tmp_path / "copy"), url, record)
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_file_that_is_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(checked, "_PIECE_BYTES", 1 << 20)
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(64 << 20)
    record = storage.stored_file_at(source)

    def copy():
        storage.copy_checked(str(tmp_path / "copy"), str(source), record)
        storage.check(str(tmp_path / "copy"), record)

    assert peak_bytes(copy) < 4 << 20


def test_a_store_is_read_in_pieces(tmp_path, small_pieces, monkeypatch):
    asked, fetch = [], S3File._fetch_range
    monkeypatch.setattr(S3File, "_fetch_range", lambda *given: (asked.append(given[2] - given[1]), fetch(*given))[1])
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as s3:
        url = f"s3://{s3.bucket}/file"
        record = storage.publish(url, NEW)
        storage.copy_checked(str(tmp_path / "copy"), url, record)
    assert sum(asked) >= len(NEW)
    assert max(asked) <= 2 * small_pieces  # one more piece is read ahead


def test_a_full_disk_is_reported_when_a_copy_does_not_fit(folder, tmp_path, monkeypatch):
    source, url = str(tmp_path / "source"), storage.join(folder, "copy")
    record = storage.publish(source, NEW)
    monkeypatch.setattr(storage, "check_pieces", lambda url, expected, keep: (keep(b"half"), fail(code=errno.ENOSPC)))
    with pytest.raises(StorageUnavailableError, match="the disk is full, 250000 bytes could not be written"):
        storage.copy_checked(url, source, record)
    assert storage.list_names(folder, hidden=True) == []


@pytest.mark.parametrize(("owner", "function"), [(os, "fsync"), (os, "replace")])
def test_a_copy_that_fails_leaves_the_old_content_and_no_other_file(tmp_path, monkeypatch, owner, function):
    source, url = str(tmp_path / "source"), str(tmp_path / "folder" / "file")
    record = storage.publish(source, NEW)
    storage.publish(url, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, fail)
        with pytest.raises(OSError, match=r"\[Errno"):
            storage.copy_checked(url, source, record, replace=True)
    assert storage.list_names(str(tmp_path / "folder"), hidden=True) == ["file"]
    assert (storage.read(url), storage.read(source)) == (OLD, NEW)


def test_a_copy_replaces_only_if_it_is_to(folder, tmp_path):
    source, url = str(tmp_path / "source"), storage.join(folder, "copy")
    record = storage.publish(source, NEW)
    storage.publish(url, OLD)
    with pytest.raises(StorageError, match="exists with another content"):
        storage.copy_checked(url, source, record)
    assert storage.read(url) == OLD
    storage.copy_checked(url, source, record, replace=True)
    assert storage.read(url) == NEW


# Faults


def write_half(path, content):
    path.write_bytes(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(*_args, code=errno.EIO, **_named):
    raise OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    ("owner", "function", "fault"),
    [(local_disk, "write_synced", write_half), (os, "fsync", fail), (os, "replace", fail)],
    ids=["disk full", "fsync", "rename"],
)
def test_publishing_that_fails_leaves_the_old_content_and_no_other_file(tmp_path, monkeypatch, owner, function, fault):
    url = str(tmp_path / "file")
    storage.publish(url, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, fault)
        with pytest.raises((OSError, StorageError), match=r"\[Errno|file: the disk is full, 250000 bytes could"):
            storage.publish(url, NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert storage.read(url) == OLD


@pytest.mark.parametrize(
    ("owner", "function", "fault"),
    [(local_disk, "write_synced", write_half), (os, "fsync", fail), (os, "link", fail)],
    ids=["disk full", "fsync", "link"],
)
def test_creating_that_fails_leaves_nothing_and_can_be_done_again(tmp_path, monkeypatch, owner, function, fault):
    url = str(tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, fault)
        with pytest.raises((OSError, StorageError), match=r"\[Errno|file: the disk is full, 250000 bytes could"):
            storage.create(url, NEW)
    assert list(tmp_path.iterdir()) == []
    assert storage.create(url, NEW) is True


def test_replacing_a_file_that_fails_leaves_the_old_content_and_no_other_file(tmp_path, monkeypatch):
    url = str(tmp_path / "folder" / "file")
    storage.publish(url, OLD)
    (tmp_path / "source").write_bytes(NEW)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match=r"\[Errno"):
            storage.publish(url, NEW)
    assert storage.list_names(str(tmp_path / "folder")) == ["file"]
    assert storage.read(url) == OLD


FILE_LIMIT = """
import resource, signal, sys
from pipeline.files import checked, local_disk, storage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    getattr(storage, sys.argv[1])(sys.argv[2], bytes(5000))
except OSError as error:
    print(error.errno)
"""


@pytest.mark.parametrize("write", ["publish", "create"])
def test_a_write_that_the_system_stops_halfway_leaves_no_file(tmp_path, write):
    assert int(run_python(FILE_LIMIT, write, tmp_path / "file").stdout) == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


KILLED_BEFORE = """
import os, sys
from pipeline.files import checked, local_disk, storage
setattr(os, sys.argv[2], lambda *args: os._exit(9))
getattr(storage, sys.argv[1])(sys.argv[3], b"newer" * 50_000)
"""


@pytest.mark.parametrize(("write", "step"), [("publish", "replace"), ("create", "link")])
def test_a_kill_before_the_final_rename_leaves_the_old_state(tmp_path, write, step):
    for name in ("file",) if write == "publish" else ():
        storage.publish(str(tmp_path / name), OLD)
    before = storage.list_names(str(tmp_path))
    killed = run_python(KILLED_BEFORE, write, step, tmp_path / "file", check=False)
    assert killed.returncode == 9, killed.stderr
    assert storage.list_names(str(tmp_path)) == before
    assert [storage.read(str(tmp_path / name)) for name in before] == [OLD] * len(before)
    assert len(list(tmp_path.iterdir())) == len(before) + 1  # the kill came when the content was written
    getattr(storage, write)(str(tmp_path / "file"), NEW)
    assert storage.read(str(tmp_path / "file")) == NEW


# Several at once

NAMES = 40


def test_exactly_one_of_many_threads_creates_a_file(folder):
    won = []

    def create_all(thread):
        for name in range(NAMES):
            if storage.create(storage.join(folder, str(name)), bytes([thread]) * 100_000):
                won.append((name, thread))

    in_threads(create_all, range(6))
    assert sorted(name for name, _ in won) == list(range(NAMES))
    for name, thread in won:
        assert storage.read(storage.join(folder, str(name))) == bytes([thread]) * 100_000


CREATE_ALL = """
import pathlib, sys, time
from pipeline.files import checked, local_disk, storage
folder, process, names = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
pathlib.Path(folder, f"ready-{process}").touch()
while not pathlib.Path(folder, "go").exists():
    time.sleep(0.001)
print(*(name for name in range(names) if storage.create(f"{folder}/files/{name}", bytes([process]) * 100_000)))
"""


def test_exactly_one_of_many_processes_creates_a_file(tmp_path):
    command = [sys.executable, "-c", CREATE_ALL, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, str(process), str(NAMES)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for process in range(3)
    ]
    while len(list(tmp_path.glob("ready-*"))) < len(processes):
        assert not any(process.poll() for process in processes)
    (tmp_path / "go").touch()
    won = {process: process.communicate()[0].split() for process in processes}
    assert sorted(int(name) for names in won.values() for name in names) == list(range(NAMES))
    for number, process in enumerate(processes):
        for name in won[process]:
            assert (tmp_path / "files" / name).read_bytes() == bytes([number]) * 100_000


def test_a_reader_never_sees_half_of_a_file(folder):
    url = storage.join(folder, "file")
    seen, done = set(), threading.Event()
    storage.publish(url, b"a" * 300_000)

    def read_or_publish(thread):
        if thread:
            for turn in range(30):
                storage.publish(url, b"ab"[turn % 2 : turn % 2 + 1] * 300_000)
            done.set()
        while not done.is_set():
            content = storage.read(url)
            seen.add((content[:1], content == content[:1] * 300_000))

    in_threads(read_or_publish, range(2))
    assert seen <= {(b"a", True), (b"b", True)}


def in_threads(call, arguments):
    threads = [threading.Thread(target=call, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
