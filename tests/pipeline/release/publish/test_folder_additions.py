"""Annexes and signatures in a folder or store: added whole, also to what is published, and never changed."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ReleaseExistsError, StorageError, UnsoundReleaseError
from pipeline.files import storage
from pipeline.release.annex import add_annex, annexes_of
from pipeline.release.check.verify import verify_release
from pipeline.release.publish import report as reporting
from pipeline.release.publish.folder import LATEST
from pipeline.release.publish.push import push_release
from pipeline.release.publish.sign import sign_release
from tests.pipeline.make import WHEN, SessionEnded, end_at_write, tree
from tests.pipeline.release.signing import make_key

NAME = "sod-benchmark-1.0.0"
FILES = {"a.js": b"a", "page/b.js": b"b", "masks/c.json": b"{}"}
SENT = (
    "annex/1/SHA256SUMS",
    "annex/1/masks/c.json",
    "annex/1/page/b.js",
    "annex/1/a.js",
    "annex/1/annex.json",
    "annex/1/annex.json.sig",
)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signed(released, tmp_path_factory, key):
    """A release with a signature and a signed annex; tests only read it."""
    folder = shutil.copytree(released.folder, tmp_path_factory.mktemp("signed") / "release")
    add_annex(str(folder), "notes", FILES)
    sign_release(str(folder), str(key.private))
    return folder


@pytest.fixture(params=["disk", "store"])
def target(request, tmp_path):
    return str(tmp_path / "all") if request.param == "disk" else f"memory://{tmp_path.name}/all"


@pytest.fixture
def _sound(monkeypatch):
    """Take every release for sound, which saves most of the time; other tests check that."""
    checks = {}

    def check(folder, **_):
        content = Path(folder, "release.json").read_bytes()
        if content not in checks:
            checks[content] = replace(verify_release(folder), annexes=())
        return checks[content]

    monkeypatch.setattr(reporting, "verify_release", check)


def push(release, target, **options):
    return push_release(str(release), target, **options)


def with_annex(released, folder, files, kind="notes"):
    """A copy of the release, with an annex of its own."""
    shutil.copytree(released.folder, folder)
    add_annex(str(folder), kind, files)
    return folder


def content_of(target):
    """What a target holds of the release, in a store or on a disk."""
    if "://" not in target:
        return tree(Path(target, NAME))
    fs = storage.locate(target)[0]
    root = f"{target.removeprefix('memory:/')}/{NAME}/"
    return {path.removeprefix(root): fs.cat_file(path) for path in fs.find(root)}


def test_a_push_sends_annexes_and_signatures_and_the_copy_stands_the_check(signed, target, key):
    report = push(signed, target)
    assert report.sent[-1 - len(SENT) :] == ("release.json.sig", *SENT)
    assert content_of(target) == tree(signed)
    check = verify_release(storage.join(target, NAME), signer=str(key.public))
    assert check.problems == ()
    assert [annex.number for annex in check.annexes] == [1]
    assert sum(" is signed with the " in note for note in check.notes) == 2
    again = push(signed, target)
    assert (again.sent, again.sent_bytes, again.operations) == ((), 0, ())
    assert set(again.there) == tree(signed).keys() - {"release.json"}


@pytest.mark.usefixtures("_sound")
def test_a_later_push_adds_only_what_is_new_and_leaves_latest_alone(released, release_of, signed, target, tmp_path):
    push(released.folder, target)
    push(release_of(released.inputs, tmp_path / "newer", version="1.1.0").folder, target)
    before = content_of(target)
    planned = push(signed, target, dry_run=True)
    assert content_of(target) == before
    assert planned.operations == tuple(
        f"write {NAME}/{name}, {len(tree(signed)[name])} bytes" for name in ("release.json.sig", *SENT)
    )
    assert push(signed, target) == planned
    assert planned.sent == ("release.json.sig", *SENT)
    assert content_of(target) == tree(signed)
    assert storage.read(storage.join(target, LATEST)) == b"sod-benchmark-1.1.0\n"


@pytest.mark.usefixtures("_sound")
def test_a_copy_without_annexes_takes_none_away(released, signed, target):
    push(signed, target)
    assert push(released.folder, target).sent == ()
    assert content_of(target) == tree(signed)


@pytest.mark.usefixtures("_sound")
def test_the_sums_claim_an_annex_scripts_come_late_and_its_json_completes_it(released, signed, target, monkeypatch):
    written = []
    for name in ("add_file", "_put", "create"):
        put = getattr(storage, name)
        monkeypatch.setattr(
            storage, name, lambda *given, put=put, name=name: (written.append(str(given)), put(*given))[1]
        )
    push(signed, target)
    places = [next(place for place, said in enumerate(written) if f"{NAME}/{name}'" in said) for name in SENT]
    assert places == sorted(places)
    if "://" in target:
        assert next(place for place, said in enumerate(written) if f"{NAME}/release.json'" in said) < places[0]


@pytest.mark.usefixtures("_sound")
@pytest.mark.parametrize("after", WHEN)
def test_an_addition_interrupted_at_any_write_is_whole_or_absent_and_resumes(released, signed, tmp_path, after):
    push(released.folder, str(tmp_path / "before"))
    for number in range(1, len(SENT) + 2):
        target = str(tmp_path / str(number))
        shutil.copytree(tmp_path / "before", target)
        with pytest.MonkeyPatch.context() as patch:
            end_at_write(patch, number, after=after)
            with pytest.raises(SessionEnded):
                push(signed, target)
        there = storage.join(target, NAME)
        assert len(annexes_of(there)) == (number + after > 6)
        assert {name: tree(there)[name] for name in tree(released.folder)} == tree(released.folder)
        report = push(signed, target)
        assert len(report.sent) == len(SENT) + 1 - (number - 1 + after)
        assert content_of(target) == tree(signed)
    assert verify_release(there).problems == ()


@pytest.mark.usefixtures("_sound")
def test_files_of_an_annex_that_arrive_torn_are_noticed_before_it_is_complete(released, signed, tmp_path, monkeypatch):
    target = str(tmp_path)
    push(released.folder, target)
    put = storage._put

    def torn(*given):
        source = given[-1]
        source.write_bytes(source.read_bytes()[:-1])
        put(*given)

    monkeypatch.setattr(storage, "_put", torn)
    with pytest.raises(StorageError, match=r"annex/1/masks/c\.json has 1 bytes"):
        push(signed, target)
    assert annexes_of(f"{target}/{NAME}") == []
    monkeypatch.undo()
    push(signed, target)
    assert content_of(target) == tree(signed)


@pytest.mark.usefixtures("_sound")
def test_a_damaged_file_of_a_published_annex_is_sent_again(signed, target):
    push(signed, target)
    storage.publish(storage.join(target, NAME, "annex/1/a.js"), b"torn")
    assert push(signed, target).sent == ("annex/1/a.js",)
    assert content_of(target) == tree(signed)


@pytest.mark.usefixtures("_sound")
def test_what_a_killed_upload_left_beside_an_annex_is_removed(released, signed, tmp_path):
    push(released.folder, str(tmp_path))
    left = tmp_path / NAME / "annex" / "1" / ".a.js.0123.tmp"
    storage.publish(str(left), b"half")
    assert "remove annex/1/.a.js.0123.tmp" in push(signed, str(tmp_path), dry_run=True).operations
    push(signed, str(tmp_path))
    assert content_of(str(tmp_path)) == tree(signed)


# Refused


def put_there(release, target):
    """Publish a release as it is, unchecked."""
    for name, content in tree(release).items():
        storage.publish(storage.join(target, NAME, name), content)


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize(
    ("files", "kind", "complete"),
    [({"a.js": b"other"}, "notes", True), ({"a.js": b"other"}, "notes", False), (FILES, "certificate", True)],
    ids=["other files", "a claim for other files", "the same files, said to be something else"],
)
def test_another_annex_of_that_number_is_refused_by_name(released, signed, target, tmp_path, files, kind, complete):
    other = with_annex(released, tmp_path / "other", files, kind)
    if not complete:
        (other / "annex" / "1" / "annex.json").unlink()
    put_there(other, target)
    with pytest.raises(ReleaseExistsError, match=rf"{NAME} already has another annex/1.*the next number"):
        push(signed, target)
    assert content_of(target) == tree(other)


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize("name", ["release.json.sig", "annex/1/annex.json.sig"])
def test_another_signature_is_refused_by_name(signed, target, name):
    put_there(signed, target)
    storage.publish(storage.join(target, NAME, name), b"theirs")
    with pytest.raises(ReleaseExistsError, match=f"already has another {name}; a signature is never replaced"):
        push(signed, target)
    assert storage.read(storage.join(target, NAME, name)) == b"theirs"


@pytest.mark.usefixtures("_sound")
@pytest.mark.parametrize("number", range(6))
def test_of_two_pushers_with_different_annexes_one_wins_and_nothing_is_mixed(
    released, target, tmp_path, number, monkeypatch
):
    push(released.folder, target)
    releases = {name: with_annex(released, tmp_path / name, FILES | {name: b"x"}) for name in ("first", "second")}
    copy, copies, lost = storage.copy_checked, [], {}

    def push_or_lose(name):
        try:
            push(releases[name], target)
        except (StorageError, ReleaseExistsError) as error:
            lost[name] = error

    def meanwhile(*given, **options):
        copies.append(given)
        if len(copies) == number + 1:  # the second one pushes everything before this file of the first one
            push_or_lose("second")
        return copy(*given, **options)

    monkeypatch.setattr(storage, "copy_checked", meanwhile)
    push_or_lose("first")
    ((loser, error),) = lost.items()
    assert loser == ("first" if number == 0 else "second")  # the sums are sent first
    assert "already has another annex/1" in str(error)
    assert isinstance(error, StorageError) == (loser == "first")  # which had begun to send
    winner = releases["second" if loser == "first" else "first"]
    assert content_of(target) == tree(winner)


@pytest.mark.usefixtures("_sound")
def test_an_unfinished_annex_is_left_out_with_what_is_behind_it(signed, target, tmp_path, told):
    release = shutil.copytree(signed, tmp_path / "release")
    add_annex(str(release), "notes", {"two": b"2"})
    add_annex(str(release), "notes", {"three": b"3"})
    (release / "annex" / "2" / "annex.json").unlink()
    push(release, target)
    assert content_of(target) == tree(signed)
    assert "annex/2 is unfinished or missing: neither it nor what comes behind it is sent" in told.lines


@pytest.mark.parametrize(
    ("name", "content"), [("release.json.sig", b"mine"), ("annex/1/a.js", b"edited"), ("annex/1/stray", b"")]
)
def test_a_release_with_an_unsound_annex_or_signature_is_not_published(signed, tmp_path, name, content):
    release = shutil.copytree(signed, tmp_path / "release")
    (release / name).write_bytes(content)
    with pytest.raises(UnsoundReleaseError, match=f"problems found: 1, the first in {name}: "):
        push(release, str(tmp_path / "all"))
    assert not (tmp_path / "all").exists()
