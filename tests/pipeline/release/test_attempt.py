"""The folder in which a release is made: whole and at once the release, or nothing; and never somebody else's."""

import shutil
import threading
from pathlib import Path

import pytest

from pipeline.errors import ReleaseExistsError, StorageError
from pipeline.files import storage
from pipeline.files.local_disk import unfinished_name
from pipeline.release.attempt import attempt, finish, refuse_leftovers, sweep_attempts
from tests.pipeline.make import tree


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "release" / "bench-1.0.0")


def make(folder, content=b"x"):
    with attempt(folder) as place:
        storage.add(storage.join(place, "data/a.tar"), content)
        return finish(place, folder, b"{}", ["data/a.tar"])


def test_a_finished_attempt_is_the_release_and_nothing_else_is_left(folder, tmp_path):
    assert make(folder)
    assert tree(tmp_path) == {f"release/bench-1.0.0/{name}": content for name, content in made().items()}


def made(content=b"x"):
    return {"data/a.tar": content, "release.json": b"{}"}


def test_an_attempt_that_fails_leaves_nothing(folder, tmp_path):
    def fail():
        with attempt(folder) as place:
            storage.add(storage.join(place, "data/a.tar"), b"x")
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()
    assert tree(tmp_path) == {}


def test_of_many_attempts_one_becomes_the_release_whole(folder):
    barrier, won = threading.Barrier(6), []

    def come(number):
        barrier.wait()
        if make(folder, str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert tree(folder) == made(str(winner).encode())


def test_an_attempt_that_was_swept_can_not_become_the_release(folder):
    """As of a session that was paused: what it writes afterwards would be alone in a new folder of the old name."""
    with attempt(folder) as place:
        storage.add(storage.join(place, "data/a.tar"), b"x")
        sweep_attempts(folder)
        storage.add(storage.join(place, "data/b.tar"), b"y")
        with pytest.raises(StorageError, match=r"a\.tar has disappeared"):
            finish(place, folder, b"{}", ["data/a.tar", "data/b.tar"])
    assert not storage.exists(folder)


def test_a_file_that_a_swept_attempt_misses_is_said_to_have_disappeared(folder):
    def read_after_sweep():
        with attempt(folder) as place:
            sweep_attempts(folder)
            Path(place, "data.tar").read_bytes()

    with pytest.raises(StorageError, match=r"tar has disappeared; run the same command again"):
        read_after_sweep()
    with pytest.raises(FileNotFoundError), attempt(folder):
        Path(folder, "something.else").read_bytes()


def test_only_attempts_at_this_release_are_swept(folder, tmp_path):
    others = ["bench-1.0.0/a", ".bench-1.0.1.5f.tmp/a", "bench-1.0.0.tmp/a", ".bench-1.0.0/a"]
    for name in [*others, ".bench-1.0.0.5f.tmp/deep/a"]:
        storage.publish(str(tmp_path / "release" / name), b"x")
    sweep_attempts(folder)
    assert sorted(tree(tmp_path / "release")) == sorted(others)


def test_a_release_may_have_the_longest_name_there_is_and_its_attempts_are_swept(tmp_path):
    folder = str(tmp_path / "release" / ("b[1]" * 62 + "-1.0.0"))
    assert make(folder)
    shutil.rmtree(folder)
    with attempt(folder) as place:
        killed = unfinished_name(Path(folder).name)  # as of a session that was killed
        shutil.copytree(place, Path(place).with_name(killed))
    sweep_attempts(folder)
    assert list((tmp_path / "release").iterdir()) == []


@pytest.mark.parametrize("name", ["mine.txt", ".hidden", "data/a.tar"])
def test_a_folder_that_is_not_a_release_is_refused_and_stays(folder, name):
    refuse_leftovers(folder)
    storage.publish(storage.join(folder, name), b"mine")
    with pytest.raises(ReleaseExistsError, match=r"bench-1\.0\.0 exists, but is not a release"):
        refuse_leftovers(folder)
    with pytest.raises(OSError, match=r"bench-1\.0\.0"):
        make(folder)
    assert tree(folder) == {name: b"mine"}


def test_a_file_in_the_place_of_a_release_is_refused(folder):
    storage.publish(folder, b"mine")
    with pytest.raises(ReleaseExistsError, match="exists, but is not a release"):
        refuse_leftovers(folder)


def test_in_a_store_files_are_created_once_and_release_json_last():
    folder = "memory://attempt/bench-1.0.0"
    assert make(folder)
    assert not make(folder)
    with pytest.raises(StorageError, match="another content"):
        make(folder, b"other")
    storage.remove(f"{folder}/release.json")
    storage.publish(f"{folder}/data/b.tar", b"of another")
    with pytest.raises(StorageError, match=r"b\.tar is left from an unfinished release"):
        make(folder)
    storage.remove_tree("memory://attempt")
