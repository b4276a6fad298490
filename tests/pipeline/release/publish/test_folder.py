"""Publishing to a folder or store: what is visible is whole, uploads resume, a published version never changes."""

import hashlib
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import (
    CollectionError,
    ReleaseExistsError,
    StorageError,
    StorageUnavailableError,
    UnsoundReleaseError,
    UsageError,
)
from pipeline.files import storage
from pipeline.release.check.verify import verify_release
from pipeline.release.publish import push as pushing
from pipeline.release.publish import report as reporting
from pipeline.release.publish.folder import LATEST
from pipeline.release.publish.push import push_release
from pipeline.run import run
from tests.pipeline.make import WHEN, SessionEnded, end_at_write, make_collection, make_config, tree

NAME = "sod-benchmark-1.0.0"
TARGETS = ["disk", "store"]


@pytest.fixture(params=TARGETS)
def target(request, tmp_path):
    """A local folder, then a store without folders or renames."""
    return str(tmp_path / "all") if request.param == "disk" else f"memory://{tmp_path.name}/all"


def push(released, target, **options):
    return push_release(str(released.folder), target, **options)


def collecting(released):
    """Name of the folder in which a push to a disk collects the release's files."""
    digest = hashlib.sha256((Path(released.folder) / "release.json").read_bytes()).hexdigest()
    return f".{NAME}.{digest[:16]}.tmp"


def published(target):
    return verify_release(storage.join(target, NAME))


def test_a_pushed_release_is_identical_and_passes_the_check(released, target):
    report = push(released, target)
    assert len(report.sent) == len(tree(released.folder)) - 1
    assert report.sent_bytes == sum(len(content) for name, content in tree(released.folder).items()
                                    if name != "release.json")  # fmt: skip
    assert (published(target).problems, published(target).sha256) == ((), report.sha256)
    assert storage.read(storage.join(target, LATEST)) == f"{NAME}\n".encode()
    for name, content in tree(released.folder).items():
        assert storage.read(storage.join(target, NAME, name)) == content


def test_a_release_of_the_longest_name_there_is_can_be_made_and_pushed(tmp_path):
    config = make_config(make_collection(tmp_path / "in", 2), tmp_path / "run", name="b" * 249)
    report = run(config)
    pushed = push_release(report.release, str(tmp_path / "all")).target
    assert Path(pushed).name == "b" * 249 + "-1.0.0"
    assert verify_release(pushed).problems == ()
    assert {path.name for path in (tmp_path / "all").iterdir()} == {Path(pushed).name, LATEST, ".latest"}


def test_a_second_push_and_a_dry_run_send_nothing(released, target):
    wanted = push(released, target, dry_run=True)
    assert not storage.exists(storage.join(target, NAME, "NOTICE"))
    assert push(released, target).sent == wanted.sent
    again = push(released, target)
    assert (again.sent, again.sent_bytes) == ((), 0)
    assert again.there == wanted.sent
    assert again.operations == (f"write LATEST with the name {NAME}",)


def test_a_dry_run_lists_every_operation_of_the_push_with_its_bytes(released, target):
    remains = ".NOTICE.ab12.tmp"
    place = storage.join(target, NAME if "://" in target else collecting(released))
    storage.publish(storage.join(place, remains), b"half")
    planned = push(released, target, dry_run=True)
    files = {name: len(content) for name, content in tree(released.folder).items()}
    assert planned.operations == (
        f"remove {remains}",
        *(f"write {NAME}/{name}, {files[name]} bytes" for name in sorted(files.keys() - {"release.json"})),
        f"write {NAME}/release.json, {files['release.json']} bytes",
        f"write LATEST with the name {NAME}",
    )
    assert storage.list_names(place, hidden=True) == [remains]
    assert push(released, target) == planned


def test_no_large_file_is_held_in_memory_whole(released, target, monkeypatch):
    sound = verify_release(str(released.folder))
    monkeypatch.setattr(reporting, "verify_release", lambda *_, **__: sound)
    whole = []
    read = storage.read
    monkeypatch.setattr(storage, "read", lambda url, *most: (whole.append(url), read(url, *most))[1])
    push(released, target)
    assert {url.rpartition("/")[2] for url in whole} == {"release.json", "000001"}  # the claim of LATEST is a line


def test_files_already_there_are_read_once_and_sent_files_are_read_back(released, target, monkeypatch):
    push(released, target)
    storage.remove(storage.join(target, NAME, "NOTICE"))
    if "://" in target:
        storage.remove(storage.join(target, NAME, "release.json"))
    read, check = Counter(), storage.check
    monkeypatch.setattr(storage, "check", lambda url, record: (read.update([record.name]), check(url, record)))
    assert push(released, target).sent == ("NOTICE",)
    assert read == dict.fromkeys(tree(released.folder).keys() - {"release.json"}, 1)


def test_a_target_on_the_hub_goes_to_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(pushing, "push_to_hub", lambda *given, **named: asked.append((given, named["dry_run"])))
    push_release("/release", "hf://datasets/org/name", dry_run=True)
    assert asked == [(("/release", "hf://datasets/org/name"), True)]


@pytest.mark.parametrize("after", WHEN)
def test_a_push_interrupted_at_any_write_is_invisible_and_resumes(released, tmp_path, after):
    writes = len(tree(released.folder)) + 3  # the folder's name, the claim of LATEST, and LATEST
    for number in range(1, writes + 1):
        target = str(tmp_path / str(number))
        with pytest.MonkeyPatch.context() as patch:
            end_at_write(patch, number, after=after)
            with pytest.raises(SessionEnded):
                push(released, target)
        visible = storage.exists(storage.join(target, NAME, "release.json"))
        assert visible == (number + after > writes - 2)
        if visible:
            assert published(target).problems == ()
        report = push(released, target)
        assert len(report.there) == min(number - 1 + after, writes - 4)
        assert published(target).problems == ()
        assert storage.exists(storage.join(target, LATEST))


def test_files_that_arrive_torn_are_noticed_before_anything_is_visible(released, target, monkeypatch):
    put = {name: getattr(storage, name) for name in ("add_file", "_put")}

    def torn(name):
        def call(*where):
            (source,) = (part for part in where if isinstance(part, Path))
            source.write_bytes(source.read_bytes()[:-1])
            return put[name](*where)

        return call

    for name in put:
        monkeypatch.setattr(storage, name, torn(name))
    with pytest.raises(StorageError, match="; expected "):
        push(released, target)
    assert not storage.exists(storage.join(target, NAME, "release.json"))
    monkeypatch.undo()
    if "://" in target:  # a store has no torn objects: a file that differs there is another release's
        with pytest.raises(StorageError, match="exists with another content"):
            push(released, target)
        storage.remove_tree(storage.join(target, NAME))
    push(released, target)
    assert published(target).problems == ()


def test_unfinished_files_of_a_killed_upload_are_removed_and_foreign_files_are_not(released, tmp_path):
    folder = tmp_path / NAME
    unfinished = tmp_path / collecting(released) / ".NOTICE.ab12.tmp"
    unfinished.parent.mkdir()
    unfinished.write_bytes(b"half")
    push(released, str(tmp_path), dry_run=True)
    assert unfinished.exists()
    push(released, str(tmp_path))
    assert published(str(tmp_path)).problems == ()
    assert not unfinished.parent.exists()
    (folder / "release.json").unlink()
    (folder / "data" / "mine.txt").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"data/mine\.txt is not a file of this release"):
        push(released, str(tmp_path))
    assert (folder / "data" / "mine.txt").exists()


def test_a_published_version_never_changes(released, release_of, tmp_path):
    target = str(tmp_path / "all")
    push(released, target)
    before = tree(target)
    other = release_of(released.inputs, tmp_path / "other", max_variance=0.25)
    with pytest.raises(ReleaseExistsError, match="is already published, as a different release"):
        push(other, target)
    assert tree(target) == before


# Refused before the check of the release, which takes minutes


@pytest.fixture(params=[False, True], ids=["push", "dry run"])
def refuse(request, _unchecked):
    """Expects that a push is refused before the check, and that the release stays as it is."""

    def push_in_vain(release, target, match, kind=UsageError):
        before = tree(release)
        with pytest.raises(kind, match=match):
            push_release(str(release), str(target), dry_run=request.param)
        assert tree(release) == before

    return push_in_vain


def test_a_release_that_does_not_exist_is_refused(refuse, tmp_path):
    for missing in (tmp_path / "nowhere", "memory://nowhere"):
        refuse(missing, tmp_path / "all", "nowhere does not exist", CollectionError)
    refuse(tmp_path, tmp_path / "all", r"has no release\.json", CollectionError)
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"name": "..", "version": "1", "files": []}', b"[" * 9999])
def test_a_malformed_release_json_is_refused(refuse, tmp_path, content):
    (tmp_path / "release.json").write_bytes(content)
    refuse(tmp_path, tmp_path / "all", r"release\.json can't be read", UnsoundReleaseError)


@pytest.mark.parametrize("below", ["", "data", "new/folder"])
def test_a_target_inside_the_release_is_refused_also_through_a_link(refuse, released, tmp_path, below):
    (tmp_path / "link").symlink_to(released.folder)
    for folder in (released.folder, tmp_path / "link"):
        refuse(released.folder, folder / below, "is inside the release")


def test_a_target_inside_the_release_is_refused_in_a_store_too(refuse):
    storage.publish("memory://inside/r/release.json", b'{"name": "a", "version": "1", "files": []}')
    refuse("memory://inside/r", "memory://inside/r/all", "is inside the release")


def test_a_target_that_is_a_file_or_below_one_is_refused(refuse, released, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "nothing").symlink_to(tmp_path / "gone")
    for name in ("file", "file/below", "nothing"):
        refuse(released.folder, tmp_path / name, "is not a folder")
    (tmp_path / NAME).write_bytes(b"")
    refuse(released.folder, tmp_path, f"{NAME} is not a folder")
    store = f"memory://{tmp_path.name}/file"
    storage.publish(store, b"")
    refuse(released.folder, store, "is not a folder")


@pytest.mark.parametrize("name", ["", NAME])
def test_a_folder_without_permission_to_write_is_refused(refuse, released, tmp_path, name, monkeypatch):
    (tmp_path / name).mkdir(exist_ok=True)
    forbidden, access = tmp_path / name, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != forbidden and access(path, mode))
    refuse(released.folder, tmp_path, f"no permission to write to {forbidden}")


def test_a_version_that_exists_as_a_different_release_is_refused(refuse, released, target):
    storage.publish(storage.join(target, NAME, "release.json"), b"{}")
    refuse(released.folder, target, "as a different release", ReleaseExistsError)


def test_a_folder_with_foreign_files_is_refused(refuse, released, target):
    storage.publish(storage.join(target, NAME, "mine.txt"), b"mine")
    refuse(released.folder, target, r"mine\.txt is not a file of this release")


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError("Access Denied"), UsageError, "no permission to write there"),
        (FileNotFoundError("The specified bucket does not exist"), UsageError, "create the bucket first"),
        (TimeoutError("later"), StorageUnavailableError, "later"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_store_that_accepts_no_files_is_refused_before_the_check(released, monkeypatch, error, kind, said):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(kind, match=said):
        push_release(str(released.folder), "memory://forbidden/all")


def test_a_store_that_permits_no_removal_still_accepts_a_release(released, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(MemoryFileSystem, "rm_file", refuse)
    target = f"memory://{tmp_path.name}/all"
    push(released, target)
    assert published(target).problems == ()


def test_the_trial_write_leaves_nothing(released, tmp_path):
    target = f"memory://{tmp_path.name}/all"
    push(released, target)
    assert storage.list_names(target, hidden=True) == [".latest", LATEST, NAME]


def test_a_different_release_that_appears_during_the_upload_is_a_failure_not_a_wrong_request(
    released, target, monkeypatch
):
    create = storage.create

    def overtaken(url, content):
        if url.endswith("release.json"):
            storage.publish(storage.join(target, NAME, "release.json"), b"{}")
        return create(url, content)

    monkeypatch.setattr(storage, "create", overtaken)
    with pytest.raises(StorageError, match="somebody published a different release"):
        push(released, target)
    assert storage.read(storage.join(target, NAME, "release.json")) == b"{}"
    assert not storage.exists(storage.join(target, LATEST))


def test_a_release_that_changes_during_its_check_is_not_published(released, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    checked = replace(verify_release(str(folder)), sha256="0" * 64)
    monkeypatch.setattr(reporting, "verify_release", lambda *_, **__: checked)
    with pytest.raises(UnsoundReleaseError, match="changed while it was checked"):
        push_release(str(folder), str(tmp_path / "all"))
    assert not (tmp_path / "all").exists()


def test_an_unsound_release_is_not_published(released, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    (folder / "NOTICE").write_bytes(b"edited")
    with pytest.raises(UnsoundReleaseError, match="problems found: 1, the first in NOTICE: "):
        push_release(str(folder), str(tmp_path / "all"))
    assert not (tmp_path / "all").exists()
    with pytest.raises(CollectionError, match="not a complete release"):
        push_release(str(tmp_path), str(tmp_path / "all"))


def test_latest_names_the_newest_release(released, release_of, tmp_path):
    push(released, str(tmp_path))
    push(release_of(released.inputs, tmp_path / "out", version="1.1.0"), str(tmp_path))
    assert (tmp_path / LATEST).read_text() == "sod-benchmark-1.1.0\n"
