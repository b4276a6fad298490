"""Fetched models: whole, proven by digest, once per machine, and nothing that could run."""

import errno
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.weights import weights_sha256
from pipeline.errors import StorageError
from pipeline.files import model_cache
from pipeline.files.model_cache import digest_in, entry, fetch, fetched_from, models_folder, note_origin, origin
from tests.pipeline.make import tree

WEIGHTS = {"unet/model.safetensors": b"weights" * 9, "unet/config.json": b"{}", "model_index.json": b"[1]"}
PARTS = st.sampled_from(["unet", "vae", "a b", "ä", "x.y"])
NAMES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(
    st.tuples(NAMES, st.sampled_from([".safetensors", ".json"])).map("".join), st.binary(max_size=40), max_size=5
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache that only this test has."""
    monkeypatch.setenv("SOD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sizes(files):
    return {name: len(content) for name, content in files.items()}


def reading(files, asked=None):
    def read(name, start, length):
        if asked is not None:
            asked.append((name, start, length))
        return files[name][start : start + length]

    return read


def digest_of(files, folder):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return weights_sha256(folder)


def left_over(cache):
    """What is in the cache beside entries, notes and locks."""
    return [path.name for path in (cache / "models").iterdir() if path.name.endswith(".tmp")]


@given(FILES.map(lambda files: files | {"model.safetensors": b"w"}), st.integers(1, 50))
def test_a_model_arrives_as_it_was_sent_in_chunks_of_any_size(tmp_path_factory, files, chunk_bytes):
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOD_CACHE", str(folder))
        patch.setattr(model_cache, "CHUNK_BYTES", chunk_bytes)
        arrived, asked = [], []
        found = fetch(sizes(files), reading(files, asked), advance=arrived.append)
        assert tree(found) == files
        assert found.name == weights_sha256(found)
        assert sum(arrived) == sum(sizes(files).values())
        assert all(length <= chunk_bytes for _, _, length in asked)
        again = fetch(sizes(files), lambda *_: pytest.fail("it was fetched again"), found.name)
        assert again == found


def test_what_is_not_expected_makes_no_entry(cache, tmp_path):
    wanted = digest_of(WEIGHTS, tmp_path / "own")
    other = WEIGHTS | {"unet/config.json": b"[]"}
    with pytest.raises(StorageError, match=f"has the SHA-256 {digest_of(other, tmp_path / 'o')}, expected {wanted}"):
        fetch(sizes(other), reading(other), wanted)
    assert entry(wanted) is None
    assert [name for name in tree(cache) if not name.endswith(".lock")] == []
    assert left_over(cache) == []


def test_a_download_that_ends_early_makes_no_entry(cache, tmp_path):
    torn = WEIGHTS | {"unet/model.safetensors": b"weights"}
    with pytest.raises(StorageError, match=r"unet/model\.safetensors: 7 bytes were sent from byte 0 on, expected 63"):
        fetch(sizes(WEIGHTS), reading(torn), digest_of(WEIGHTS, tmp_path / "own"))
    assert left_over(cache) == []


def test_what_reading_raises_is_raised(cache):
    def fail(*_args):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fetch(sizes(WEIGHTS), fail)
    assert left_over(cache) == []


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "more", "no folder"])
def test_an_entry_that_was_tampered_with_is_fetched_again(cache, damage):
    found = fetch(sizes(WEIGHTS), reading(WEIGHTS))
    sha256, file = found.name, found / "unet/model.safetensors"
    if damage == "changed":
        file.write_bytes(b"Weights" * 9)
    elif damage == "cut":
        file.write_bytes(b"")
    elif damage == "gone":
        file.unlink()
    elif damage == "more":
        (found / "more.json").write_bytes(b"{}")
    else:
        shutil.rmtree(found)
        found.write_bytes(b"a file")
    assert entry(sha256) is None
    assert fetch(sizes(WEIGHTS), reading(WEIGHTS), sha256) == found
    assert tree(found) == WEIGHTS
    assert left_over(cache) == []


@pytest.mark.parametrize(
    "name",
    ["../x.json", "/x.json", "a/../../x.json", "./x.json", "a//x.json", "model.bin", "unet/pytorch_model.pkl", "x.py"],
)
def test_no_name_leads_out_of_the_folder_and_nothing_that_could_run_is_fetched(cache, name):
    with pytest.raises(StorageError, match="can't be a file of a model"):
        fetch(sizes(WEIGHTS) | {name: 3}, lambda *_: pytest.fail("it was read"))
    assert not cache.exists()


def test_a_folder_without_weights_is_no_model():
    with pytest.raises(StorageError, match="there is no model"):
        fetch({"config.json": 2}, lambda *_: pytest.fail("it was read"))


def test_a_disk_without_room_is_said_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(model_cache, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(StorageError, match=r"MiB are free, and the model takes 0.*SOD_CACHE"):
        fetch(sizes(WEIGHTS), lambda *_: pytest.fail("it was read"))


def test_a_cache_that_cant_be_written_is_named_with_what_to_do(cache):
    cache.write_bytes(b"a file")
    with pytest.raises(StorageError, match=r"the model can't be kept there .*SOD_CACHE"):
        fetch(sizes(WEIGHTS), reading(WEIGHTS))


def test_a_file_system_without_locks_fetches_all_the_same(monkeypatch, tmp_path):
    def flock(*_args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(model_cache.fcntl, "flock", flock)
    sha256 = digest_of(WEIGHTS, tmp_path / "own")
    assert tree(fetch(sizes(WEIGHTS), reading(WEIGHTS), sha256)) == WEIGHTS


def test_what_a_killed_process_left_is_removed_once_it_is_old(cache, tmp_path):
    """What is young may be fetched at this moment by another node, on a disk that both share and that has no locks."""
    sha256 = digest_of(WEIGHTS, tmp_path / "own")
    old, young = (f".{sha256}.old.tmp", ".new.old.tmp"), (f".{sha256}.young.tmp", ".new.young.tmp")
    for name in (*old, *young, f".{'a' * 64}.abc.tmp", "mine"):
        (cache / "models" / name).mkdir(parents=True)
    for name in old:
        os.utime(cache / "models" / name, (1, 1))
    fetch(sizes(WEIGHTS), reading(WEIGHTS), sha256)
    there = {path.name for path in (cache / "models").iterdir()}
    assert there == {sha256, f".{sha256}.lock", *young, f".{'a' * 64}.abc.tmp", "mine"}


def fetch_slowly(sha256, told):
    def read(name, start, length):
        told.send(name)
        time.sleep(0.02)
        return WEIGHTS[name][start : start + length]

    fetch(sizes(WEIGHTS), read, sha256)
    told.close()


def test_of_two_processes_only_one_fetches(tmp_path):
    sha256 = digest_of(WEIGHTS, tmp_path / "own")
    context = multiprocessing.get_context("forkserver")
    receiving, sending = zip(*[context.Pipe(duplex=False) for _ in range(2)], strict=True)
    both = [context.Process(target=fetch_slowly, args=(sha256, end)) for end in sending]
    for process, end in zip(both, sending, strict=True):
        process.start()
        end.close()
    asked = []
    for end in receiving:
        names = []
        while True:
            try:
                names.append(end.recv())
            except EOFError:
                break
        asked.append(sorted(names))
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert sorted(asked) == [[], sorted(WEIGHTS)]
    assert entry(sha256)


def test_an_entry_is_found_again_by_url_and_state(cache):
    found = fetch(sizes(WEIGHTS), reading(WEIGHTS))
    assert origin(found.name) == ("", "")
    note_origin(found.name, "s3://b/m", "state")
    assert origin(found.name) == ("s3://b/m", "state")
    assert fetched_from("s3://b/m", "state") == found
    assert fetched_from("s3://b/m", "other") is None
    assert fetched_from("s3://b/n", "state") is None
    note_origin(found.name, "s3://b/m", "")
    assert fetched_from("s3://b/m", "") is None
    (cache / "models" / f"{found.name}.json").write_bytes(b"[" * 9)
    assert origin(found.name) == ("", "")


def test_the_cache_is_in_the_home_unless_it_is_named(monkeypatch):
    monkeypatch.delenv("SOD_CACHE")
    assert models_folder() == Path.home() / ".cache/sod-benchmark/models"


def test_what_is_no_model_has_no_digest(tmp_path):
    assert digest_in(tmp_path / "absent") == digest_in(tmp_path) == ""
