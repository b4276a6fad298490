"""A release is checked on the Hub as anywhere else, with its annexes and signatures."""

import shutil
from pathlib import PurePosixPath

import pytest
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.hf_api import RepoFile, RepoFolder
from huggingface_hub.hf_file_system import HfFileSystemFile, HfFileSystemStreamFile

from pipeline.release.annex import add_annex
from pipeline.release.check.verify import verify_release
from pipeline.release.publish.sign import sign_release
from tests.pipeline.make import tree
from tests.pipeline.release.signing import make_key

PLACE = "hf://datasets/org/name@v1.0.0-annex-1"


@pytest.fixture
def on_the_hub(monkeypatch):
    """A function that puts files into a Hub in memory: what the client asks of it is answered here, without network."""
    files = {}

    def entries(folder):
        names = {PurePosixPath(name) for name in files} | {
            parent for name in files for parent in PurePosixPath(name).parents
        }
        return [entry(str(name)) for name in sorted(names) if name.parent == PurePosixPath(folder or ".") and name.name]

    def entry(name):
        if name in files:
            return RepoFile(path=name, size=len(files[name]), oid="1")
        return RepoFolder(path=name, oid="2")

    monkeypatch.setattr(HfApi, "repo_info", lambda *_, **__: None)
    monkeypatch.setattr(HfApi, "list_repo_tree", lambda _, repo, path=None, **__: iter(entries(path)))
    monkeypatch.setattr(HfApi, "get_paths_info", lambda _, repo, paths, **__: [entry(path) for path in paths])
    monkeypatch.setattr(
        HfFileSystemFile, "_fetch_range", lambda self, start, end: files[self.resolved_path.path_in_repo][start:end]
    )
    monkeypatch.setattr(HfFileSystemStreamFile, "read", lambda self, *_: files[self.resolved_path.path_in_repo])
    HfFileSystem.clear_instance_cache()
    yield files.update
    HfFileSystem.clear_instance_cache()


def test_a_release_with_annexes_and_signatures_is_checked_on_the_hub(released, tmp_path, on_the_hub):
    folder, key = shutil.copytree(released.folder, tmp_path / "release"), make_key(tmp_path)
    add_annex(str(folder), "notes", {"a.txt": b"a"})
    sign_release(str(folder), str(key.private))
    on_the_hub(tree(folder) | {".gitattributes": b"*.tar filter=lfs"})
    check = verify_release(PLACE, signer=str(key.public))
    assert check.problems == ()
    assert [annex.number for annex in check.annexes] == [1]
    assert sum(" is signed with the " in note for note in check.notes) == 2
    (folder / ".gitattributes").write_bytes(b"")  # only the Hub makes such files
    assert [problem.where for problem in verify_release(str(folder)).problems] == [".gitattributes"]
    on_the_hub({"annex/1/a.txt": b"b", "release.json.sig": b"", "evil": b"", "data/.gitattributes": b""})
    HfFileSystem.clear_instance_cache()
    assert [problem.where for problem in verify_release(PLACE).problems] == [
        "evil", "data/.gitattributes", "annex/1/a.txt", "release.json.sig",
    ]  # fmt: skip
