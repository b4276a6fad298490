"""Files in a release's folder that are not part of it are found."""

from pipeline.files import storage
from pipeline.release.strays import stray_files

UNFINISHED = ".a.tar.0123.tmp"


def make_folder(folder, *names):
    for name in names:
        storage.publish(f"{folder}/{name}", b"x")
    return str(folder)


def test_unknown_files_and_folders_are_found_also_hidden_ones(tmp_path):
    folder = make_folder(tmp_path, "a", "data/b", "data/c", ".d", "other/e", f"data/{UNFINISHED}")
    found = set(stray_files(folder, {"a", "data/b"}))
    assert found == {"data/c", ".d", "other", f"data/{UNFINISHED}"}
