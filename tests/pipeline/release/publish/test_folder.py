"""Publishing: what is visible is whole, an upload goes on where it ended, a version is never changed."""

import shutil
from collections import Counter

import pytest

from pipeline.errors import CollectionError, ReleaseExistsError, StorageError, UnsoundReleaseError
from pipeline.files import storage
from pipeline.release.check.verify import verify_release
from pipeline.release.publish import folder as publish
from pipeline.release.publish import hub
from pipeline.release.publish.folder import LATEST, push_release
from tests.pipeline.make import SessionEnded, end_at_write, tree

NAME = "sod-benchmark-1.0.0"
TARGETS = ["disk", "store"]


@pytest.fixture(params=TARGETS)
def target(request, tmp_path):
    """A folder, and a store without folders or renames."""
    return str(tmp_path / "all") if request.param == "disk" else f"memory://{tmp_path.name}/all"


def push(released, target, **options):
    return push_release(str(released.folder), target, **options)


def published(target):
    return verify_release(storage.join(target, NAME))


def test_a_pushed_release_is_the_same_and_stands_the_check(released, target):
    report = push(released, target)
    assert len(report.sent) == len(tree(released.folder)) - 1
    assert report.sent_bytes == sum(len(content) for name, content in tree(released.folder).items()
                                    if name != "release.json")  # fmt: skip
    assert (published(target).problems, published(target).sha256) == ((), report.sha256)
    assert storage.read(storage.join(target, LATEST)) == f"{NAME}\n".encode()
    for name, content in tree(released.folder).items():
        assert storage.read(storage.join(target, NAME, name)) == content


def test_a_second_push_sends_nothing_and_a_dry_run_never_does(released, target):
    wanted = push(released, target, dry_run=True)
    assert not storage.exists(storage.join(target, NAME, "NOTICE"))
    assert push(released, target).sent == wanted.sent
    again = push(released, target)
    assert (again.sent, again.sent_bytes) == ((), 0)
    assert again.there == wanted.sent
    assert again.operations == (f"write LATEST, which says {NAME} then",)


def test_a_dry_run_lists_every_operation_of_the_push_with_its_bytes(released, target):
    remains = ".NOTICE.ab12.tmp"
    storage.publish(storage.join(target, NAME, remains), b"half")
    planned = push(released, target, dry_run=True)
    files = {name: len(content) for name, content in tree(released.folder).items()}
    assert planned.operations == (
        f"remove {NAME}/{remains}",
        *(f"write {NAME}/{name}, {files[name]} bytes" for name in sorted(files.keys() - {"release.json"})),
        f"write {NAME}/release.json, {files['release.json']} bytes",
        f"write LATEST, which says {NAME} then",
    )
    assert storage.list_names(storage.join(target, NAME), hidden=True) == [remains]
    assert push(released, target) == planned


def test_no_file_of_a_release_is_held_in_memory_as_a_whole(released, target, monkeypatch):
    sound = publish.sound_release(str(released.folder), loaders=False, report=lambda line: None)
    monkeypatch.setattr(publish, "sound_release", lambda *_: sound)
    whole = []
    read = storage.read
    monkeypatch.setattr(storage, "read", lambda url: (whole.append(url), read(url))[1])
    push(released, target)
    assert {url.rpartition("/")[2] for url in whole} == {"release.json"}


def test_what_was_there_is_read_once_and_what_was_sent_is_read_back(released, target, monkeypatch):
    push(released, target)
    storage.remove(storage.join(target, NAME, "release.json"))
    storage.remove(storage.join(target, NAME, "NOTICE"))
    read, check = Counter(), storage.check
    monkeypatch.setattr(storage, "check", lambda url, record: (read.update([record.name]), check(url, record)))
    assert push(released, target).sent == ("NOTICE",)
    assert read == dict.fromkeys(tree(released.folder).keys() - {"release.json"}, 1)


def test_a_target_on_the_hub_is_pushed_to_there(monkeypatch):
    asked = []
    monkeypatch.setattr(hub, "push_to_hub", lambda *given, **named: asked.append((given, named["dry_run"])))
    push_release("/release", "hf://datasets/org/name", dry_run=True)
    assert asked == [(("/release", "hf://datasets/org/name"), True)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_push_that_ends_at_any_write_is_invisible_and_goes_on(released, tmp_path, after):
    writes = len(tree(released.folder)) + 1
    for number in range(1, writes + 1):
        target = str(tmp_path / str(number))
        with pytest.MonkeyPatch.context() as patch:
            end_at_write(patch, number, after=after)
            with pytest.raises(SessionEnded):
                push(released, target)
        visible = storage.exists(storage.join(target, NAME, "release.json"))
        assert visible == (number + after > writes - 1)
        if visible:
            assert published(target).problems == ()
        report = push(released, target)
        assert len(report.there) == min(number - 1 + after, writes - 2)
        assert published(target).problems == ()
        assert storage.exists(storage.join(target, LATEST))


def test_files_that_arrive_torn_are_noticed_before_anything_is_visible(released, target, monkeypatch):
    publish_file = storage.publish_file

    def publish_torn(url, source):
        source.write_bytes(source.read_bytes()[:-1])
        publish_file(url, source)

    monkeypatch.setattr(storage, "publish_file", publish_torn)
    with pytest.raises(StorageError, match="; expected "):
        push(released, target)
    assert not storage.exists(storage.join(target, NAME, "release.json"))
    monkeypatch.undo()
    push(released, target)
    assert published(target).problems == ()


def test_remains_of_a_killed_upload_are_removed_and_foreign_files_are_not(released, tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / ".NOTICE.ab12.tmp").write_bytes(b"half")
    push(released, str(tmp_path), dry_run=True)
    assert (folder / ".NOTICE.ab12.tmp").exists()
    push(released, str(tmp_path))
    assert published(str(tmp_path)).problems == ()
    (folder / "release.json").unlink()
    (folder / "data" / "mine.txt").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"data/mine\.txt is no file of this release"):
        push(released, str(tmp_path))
    assert (folder / "data" / "mine.txt").exists()


def test_a_version_that_is_published_is_never_changed(released, release_of, tmp_path):
    target = str(tmp_path / "all")
    push(released, target)
    before = tree(target)
    other = release_of(released.inputs, tmp_path / "other", max_variance=0.25)
    with pytest.raises(ReleaseExistsError, match="is published already, and is another release"):
        push(other, target)
    assert tree(target) == before


def test_an_unsound_release_is_not_published(released, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    (folder / "NOTICE").write_bytes(b"edited")
    with pytest.raises(UnsoundReleaseError, match="1 problems, NOTICE: "):
        push_release(str(folder), str(tmp_path / "all"))
    assert not (tmp_path / "all").exists()
    with pytest.raises(CollectionError, match="no complete release"):
        push_release(str(tmp_path), str(tmp_path / "all"))


def test_the_pointer_names_the_newest(released, release_of, tmp_path):
    push(released, str(tmp_path))
    push(release_of(released.inputs, tmp_path / "out", version="1.1.0"), str(tmp_path))
    assert (tmp_path / LATEST).read_text() == "sod-benchmark-1.1.0\n"
