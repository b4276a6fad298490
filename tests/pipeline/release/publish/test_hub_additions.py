"""Annexes and signatures on the Hub: one merge, tags of their own; the version's tag and older tags never move."""

import itertools
import json
import shutil
from pathlib import Path

import pytest

from pipeline.errors import ReleaseExistsError, StorageError, StorageUnavailableError
from pipeline.release.annex import add_annex
from pipeline.release.publish import report as reporting
from pipeline.release.publish.hub import push_to_hub
from tests.pipeline.release.publish.fake_hub import (
    ATTRIBUTES,
    FILES,
    TARGET,
    Hub,
    Killed,
    check_of,
    http_error,
    kill,
    make_release,
    raiser,
    tree,
)

ANNEX = {"a.txt": b"a", "masks/b.json": b"{}"}


@pytest.fixture(autouse=True)
def _sound(monkeypatch):
    """Take every release for sound; other tests check that."""
    monkeypatch.setattr(reporting, "verify_release", lambda folder, **_: check_of(folder))


@pytest.fixture
def release(tmp_path):
    return make_release(tmp_path / "one")


@pytest.fixture
def newer(tmp_path):
    return make_release(tmp_path / "newer", {**FILES, "README.md": b"# two"}, version="1.1.0")


def with_annex(release, name, files=ANNEX, signature=b""):
    """A copy of a release with one more annex, and with signatures if they are given."""
    folder = shutil.copytree(release, Path(release).parent / name)
    annex = add_annex(str(folder), "notes", files)
    if signature:
        (folder / "release.json.sig").write_bytes(signature)
        (folder / annex.name / "annex.json.sig").write_bytes(signature)
    return str(folder)


@pytest.fixture
def audited(release):
    """The same release with a signature and a signed annex."""
    return with_annex(release, "audited", signature=b"signed")


def whole(release):
    """What a repository holds of a release with its annexes."""
    folder = Path(release)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return ATTRIBUTES | {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def push(release, hub, **options):
    return push_to_hub(release, TARGET, api=hub, **options)


LABELS = ("v1.0.0-signed", "v1.0.0-annex-1", "v1.0.0-annex-1-signed")


def all_tags(release, audited):
    return {"v1.0.0": tree(release)} | dict.fromkeys(LABELS, whole(audited))


# Examples


def test_annexes_and_signatures_follow_the_release_and_its_tag_has_it_alone(release, audited):
    hub = Hub()
    report = push(audited, hub)
    assert hub.visible() == (whole(audited), all_tags(release, audited))
    assert set(report.sent) == whole(audited).keys() - ATTRIBUTES.keys()
    assert report.target == f"{TARGET}@v1.0.0"
    assert [request.status for request in hub.requests] == ["merged", "merged"]


def test_a_later_push_adds_what_is_new_by_one_merge_and_moves_no_tag(release, audited):
    hub = Hub()
    push(release, hub)
    before = dict(hub.tags)
    hub.calls.clear()
    report = push(audited, hub)
    assert hub.changing() == [
        "create_pull_request", "upload_folder", "change_discussion_status", "merge_pull_request", *["create_tag"] * 3,
    ]  # fmt: skip
    assert hub.visible() == (whole(audited), all_tags(release, audited))
    assert {tag: hub.tags[tag] for tag in before} == before
    assert set(report.sent) == whole(audited).keys() - tree(release).keys()
    assert report.operations[-3:] == tuple(f"tag {label}" for label in LABELS)


def test_a_second_push_of_the_same_changes_nothing(audited):
    hub = Hub()
    push(audited, hub)
    hub.calls.clear()
    report = push(audited, hub)
    assert (report.sent, report.operations, hub.changing()) == ((), (), [])
    assert set(report.there) == whole(audited).keys() - ATTRIBUTES.keys()


def test_a_copy_without_annexes_takes_none_away(release, audited):
    hub = Hub()
    push(audited, hub)
    before = hub.visible()
    hub.calls.clear()
    push(release, hub)
    assert (hub.visible(), hub.changing()) == (before, [])


def test_a_further_annex_gets_its_own_tag_and_the_others_stay(release, audited):
    hub = Hub()
    push(audited, hub)
    before = dict(hub.tags)
    further = with_annex(audited, "further", {"c.txt": b"c"})
    push(further, hub)
    assert hub.visible() == (whole(further), all_tags(release, audited) | {"v1.0.0-annex-2": whole(further)})
    assert {tag: hub.tags[tag] for tag in before} == before


def test_an_annex_of_an_older_version_leaves_main_alone(release, audited, newer):
    hub = Hub()
    push(release, hub)
    push(newer, hub)
    report = push(audited, hub)
    assert hub.visible() == (tree(newer), all_tags(release, audited) | {"v1.1.0": tree(newer)})
    assert report.operations[0] == "make the branch v1.0.0-annexes, as main is not this release alone"
    further = with_annex(audited, "further", {"c.txt": b"c"})
    assert push(further, hub).operations[0] == "upload annex/2/SHA256SUMS, 72 bytes"
    assert hub.visible()[1]["v1.0.0-annex-2"] == whole(further)
    assert hub.visible()[0] == tree(newer)


def test_the_next_version_does_not_take_the_annexes_of_the_last(release, audited, newer):
    hub = Hub()
    push(audited, hub)
    push(newer, hub)
    assert hub.visible() == (tree(newer), all_tags(release, audited) | {"v1.1.0": tree(newer)})


@pytest.mark.parametrize("pushed", [[], ["release"], ["release", "newer"]], ids=["nothing", "version", "newer"])
def test_a_dry_run_lists_what_a_push_does_and_changes_nothing(release, audited, newer, pushed):
    hub = Hub()
    for name in pushed:
        push({"release": release, "newer": newer}[name], hub)
    hub.calls.clear()
    planned = push(audited, hub, dry_run=True)
    assert hub.changing() == []
    assert push(audited, hub) == planned


# Faults


@pytest.mark.parametrize("main_is_newer", [False, True], ids=["merge", "branch"])
def test_an_addition_interrupted_at_any_step_shows_nothing_half_done_and_resumes(
    release, audited, newer, main_is_newer
):
    def started():
        hub = Hub()
        push(release, hub)
        if main_is_newer:
            push(newer, hub)
        hub.steps, hub.seen = 0, []
        return hub, hub.visible()

    wanted, before = started()
    push(audited, wanted)
    main = before[0] if main_is_newer else whole(audited)
    tagged = [before[1] | dict.fromkeys(LABELS[:count], whole(audited)) for count in range(len(LABELS) + 1)]
    moments = [before, *((main, tags) for tags in tagged if (main, tags) != before)]
    for stop_at in itertools.count(1):
        hub, _ = started()
        hub.stop_at = stop_at
        try:
            push(audited, hub)
        except Killed:
            hub.stop_at = None
            push(audited, hub)
        assert hub.visible() == wanted.visible()
        assert len(hub.requests) == len(wanted.requests)
        seen = [moments.index(moment) for moment in hub.seen]
        assert seen == sorted(seen)
        if stop_at > wanted.steps:
            break


@pytest.mark.parametrize("main_is_newer", [False, True], ids=["merge", "branch"])
@pytest.mark.parametrize("damage", [lambda content: content + b"X", lambda _: None], ids=["changed", "lost"])
@pytest.mark.parametrize("name", ["annex/1/a.txt", "annex/1/annex.json", "release.json.sig"])
def test_what_arrives_damaged_is_found_before_anything_shows_it(release, audited, newer, main_is_newer, damage, name):
    hub = Hub()
    push(release, hub)
    if main_is_newer:
        push(newer, hub)
    before = hub.visible()
    hub.on_arrival = lambda arriving, content: damage(content) if arriving == name else content
    with pytest.raises(StorageError, match=f"so nothing is (merged|tagged); .*: 1, for example {name}"):
        push(audited, hub)
    assert hub.visible() == before
    hub.on_arrival = lambda arriving, content: content
    assert push(audited, hub).sent == (name,)
    assert hub.visible()[1].items() >= all_tags(release, audited).items()


@pytest.mark.parametrize("place", ["main", "tag"])
@pytest.mark.parametrize(
    ("files", "signature", "name"),
    [({"a.txt": b"other"}, b"signed", "annex/1"), (ANNEX, b"theirs", r"release\.json\.sig")],
    ids=["annex", "signature"],
)
def test_another_one_of_that_name_is_refused_by_name_before_the_check(
    release, audited, newer, monkeypatch, files, signature, name, place
):
    hub = Hub()
    push(with_annex(release, "theirs", files, signature), hub)
    if place == "main":
        hub.tags = {"v1.0.0": hub.tags["v1.0.0"]}
    else:
        push(newer, hub)
    before = hub.visible()
    hub.calls.clear()
    monkeypatch.setattr(reporting, "verify_release", lambda *_, **__: pytest.fail("the check has begun"))
    with pytest.raises(ReleaseExistsError, match=rf"sod@(main|v1\S+) already has another {name}"):
        push(audited, hub)
    assert (hub.changing(), hub.visible()) == ([], before)


@pytest.mark.parametrize("call", ["create_pull_request", "upload_folder", "merge_pull_request", "create_tag"])
def test_of_two_pushers_with_different_annexes_one_is_published_whole(release, call):
    ours, theirs = with_annex(release, "ours"), with_annex(release, "theirs", {"a.txt": b"theirs"})
    hub = Hub()
    push(release, hub)
    hub.meanwhile[call] = lambda: push_if_free(theirs, hub)
    if call == "create_tag":
        push(ours, hub)
        winner = ours
    else:
        with pytest.raises(StorageError, match=r"somebody else changed (it|main) at the same moment"):
            push(ours, hub)
        with pytest.raises(ReleaseExistsError, match="already has another annex/1"):
            push(ours, hub)
        winner = theirs
    assert hub.visible() == (whole(winner), {"v1.0.0": tree(release), "v1.0.0-annex-1": whole(winner)})


def test_another_annex_that_is_published_during_the_check_stays(release, monkeypatch):
    ours, theirs = with_annex(release, "ours"), with_annex(release, "theirs", {"a.txt": b"theirs"})
    hub = Hub()
    push(release, hub)

    def check(folder, **_):
        if folder == ours:
            push(theirs, hub)
        return check_of(folder)

    monkeypatch.setattr(reporting, "verify_release", check)
    with pytest.raises(StorageUnavailableError, match=r"annex-1 already has another annex/1"):  # not a wrong request
        push(ours, hub)
    assert hub.visible() == (whole(theirs), {"v1.0.0": tree(release), "v1.0.0-annex-1": whole(theirs)})


@pytest.mark.parametrize("call", ["create_branch", "upload_folder", "create_tag"])
def test_of_two_pushers_to_an_older_version_one_is_tagged_whole(release, newer, call):
    ours, theirs = with_annex(release, "ours"), with_annex(release, "theirs", ANNEX | {"c.txt": b"theirs"})
    hub = Hub()
    push(release, hub)
    push(newer, hub)
    hub.meanwhile[call] = lambda: push(theirs, hub)
    with pytest.raises(StorageError, match=r"somebody else changed it at the same moment|so nothing is tagged"):
        push(ours, hub)
    with pytest.raises(ReleaseExistsError, match="already has another annex/1"):
        push(ours, hub)
    assert hub.visible()[1]["v1.0.0-annex-1"] == whole(theirs)
    further = with_annex(theirs, "further", {"d.txt": b"d"})
    push(further, hub)
    assert hub.visible()[1]["v1.0.0-annex-2"] == whole(further)


def push_if_free(release, hub):
    """Push, or be told that the other one is there already."""
    try:
        push(release, hub)
    except ReleaseExistsError:
        assert hub.visible()[0] != whole(release)


def test_two_pushers_of_the_same_annex_publish_it_once(release, audited):
    for call in ("create_pull_request", "upload_folder", "merge_pull_request", "create_tag"):
        hub = Hub()
        push(release, hub)
        hub.meanwhile[call] = lambda hub=hub: push(audited, hub)
        try:
            push(audited, hub)
        except StorageError:
            push(audited, hub)
        assert hub.visible() == (whole(audited), all_tags(release, audited))


def test_a_change_of_main_at_the_moment_of_the_merge_is_never_tagged(release, audited):
    hub = Hub()
    push(release, hub)
    hub.meanwhile["merge_pull_request"] = lambda: setattr(
        hub, "main", hub.commit({**hub.commits[hub.main], "their.txt": b"theirs"})
    )
    with pytest.raises(StorageError, match=r"so nothing is tagged; .*for example their\.txt"):
        push(audited, hub)
    assert list(hub.tags) == ["v1.0.0"]
    push(audited, hub)
    assert hub.visible() == ({**whole(audited), "their.txt": b"theirs"}, all_tags(release, audited))


@pytest.mark.parametrize("name", ["README.md", "their.txt"])
def test_what_somebody_edits_on_main_stays_and_annexes_get_a_branch(release, audited, name):
    hub = Hub()
    push(release, hub)
    hub.main = hub.commit({**hub.commits[hub.main], name: b"edited on the website"})
    before = hub.commits[hub.main]
    push(audited, hub)
    assert hub.visible() == (before, all_tags(release, audited))


@pytest.mark.parametrize("name", ["evil.py", "annex/1/evil.py"])
def test_a_file_that_somebody_adds_to_the_pull_request_is_found_and_removed(release, audited, name):
    hub = Hub()
    push(release, hub)
    hub.meanwhile["merge_pull_request"] = kill
    with pytest.raises(Killed):
        push(audited, hub)
    hub.requests[1].head = hub.commit({**hub.at("refs/pr/2"), name: b""})
    push(audited, hub)
    assert hub.visible() == (whole(audited), all_tags(release, audited))


def test_an_annex_that_changes_on_this_disk_after_the_check_is_not_published(release, audited):
    hub = Hub()
    push(release, hub)
    before = hub.visible()
    hub.meanwhile["upload_folder"] = lambda: Path(audited, "annex", "1", "a.txt").write_bytes(b"b")
    with pytest.raises(StorageError, match=r"annex/1/a\.txt"):
        push(audited, hub)
    assert hub.visible() == before


@pytest.mark.parametrize("fault", [403, 500])
def test_a_branch_that_can_not_be_made_is_a_failure_that_says_what_to_do(release, audited, newer, fault):
    hub = Hub()
    push(release, hub)
    push(newer, hub)
    hub.meanwhile["create_branch"] = raiser(lambda: http_error(fault))
    with pytest.raises(StorageUnavailableError, match=r"making the branch v1\.0\.0-annexes"):
        push(audited, hub)
    push(audited, hub)
    assert json.loads(hub.visible()[1]["v1.0.0-annex-1"]["annex/1/annex.json"])["number"] == 1
