"""Files in a release's folder that do not belong to it are found, and removed when the release is made."""

from pipeline.files import storage
from pipeline.release.strays import remove_others, remove_unfinished, stray_files
from tests.pipeline.make import make_collection, tree

UNFINISHED = ".a.tar.0123.tmp"


def make_folder(folder, *names):
    for name in names:
        storage.publish(f"{folder}/{name}", b"x")
    return str(folder)


def test_unknown_files_and_folders_are_found_hidden_ones_too(tmp_path):
    folder = make_folder(tmp_path, "a", "data/b", "data/c", ".d", "other/e", f"data/{UNFINISHED}")
    found = set(stray_files(folder, {"a", "data/b"}))
    assert found == {"data/c", ".d", "other", f"data/{UNFINISHED}"}


def test_unfinished_files_are_removed_in_every_folder_and_nothing_else_is(tmp_path):
    folder = make_folder(tmp_path, "a", UNFINISHED, f"data/test/{UNFINISHED}", "data/.hidden")
    remove_unfinished(folder)
    assert set(tree(folder)) == {"a", "data/.hidden"}
    remove_unfinished(str(tmp_path / "nowhere"))


def test_what_another_session_may_be_writing_is_kept_when_the_rest_is_removed(tmp_path):
    folder = make_folder(tmp_path, "a", "b", "data/c", "data/train/d", UNFINISHED)
    remove_others(folder, {"a", "data/c"})
    assert set(tree(folder)) == {"a", "data/c", UNFINISHED}


def test_remains_of_another_assembly_do_not_stay_in_the_release(tmp_path, release_of):
    inputs = make_collection(tmp_path / "in", 4)
    quiet = tree(release_of(inputs, tmp_path / "quiet").folder)
    folder = tmp_path / "out" / "release" / "sod-benchmark-1.0.0"
    make_folder(folder, "NOTICE", "data/train/train-00000-of-00001.tar", f"data/test/{UNFINISHED}", "CHANGELOG.md")
    assert tree(release_of(inputs, tmp_path / "out").folder) == quiet
