"""Publishing on the Hugging Face Hub, against a small Hub in memory that can end the session at any step."""

import hashlib
import inspect
import itertools
import logging
import sys
import traceback
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import (
    ReleaseExistsError,
    StorageError,
    StorageUnavailableError,
    UnsoundReleaseError,
    UsageError,
)
from pipeline.records import Problem
from pipeline.release.publish import report as reporting
from pipeline.release.publish.hub import push_to_hub
from pipeline.release.publish.hub_api import HubApi, scrubbed
from tests.pipeline.release.publish.fake_hub import (
    ATTRIBUTES,
    FILES,
    READING,
    SIGNED,
    TARGET,
    TOKEN,
    USER,
    Hub,
    Killed,
    check_of,
    http_error,
    kill,
    make_release,
    raiser,
    tree,
)


@pytest.fixture(autouse=True)
def _sound(monkeypatch):
    """Take every release for sound; other tests check that."""
    monkeypatch.setattr(reporting, "verify_release", lambda folder, **_: check_of(folder))


@pytest.fixture
def release(tmp_path):
    return make_release(tmp_path / "one")


@pytest.fixture
def newer(tmp_path):
    """Version 1.1.0: one tar is gone, one is new, other files have other content."""
    files = {"README.md": b"# two", "data/test/0.tar": FILES["data/test/0.tar"], "data/train/0.tar": b"new" * 9}
    return make_release(tmp_path / "newer", files | {"manifest.parquet": b"PAR2"}, version="1.1.0")


def push(release, hub, **options):
    return push_to_hub(release, TARGET, api=hub, **options)


# Properties

CONTENTS = st.binary(max_size=3)
NAMES = st.sampled_from(["README.md", "a.tar", "b.tar", "c.txt", "d/a.tar", "d/[ab].txt", "d/*.txt", "d/a.txt"])
TREES = st.dictionaries(NAMES, CONTENTS, max_size=6)


@given(TREES, TREES, TREES)
def test_main_and_tag_end_as_the_release_whatever_the_repository_held(tmp_path_factory, before, started, wanted):
    release = make_release(tmp_path_factory.mktemp("release"), wanted)
    hub = Hub(ATTRIBUTES | before | {"release.json": b"{}"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "upload_folder", lambda **_: kill())
        with pytest.raises(Killed):
            push(release, hub)
    hub.requests[0].head = hub.commit(ATTRIBUTES | started)
    report = push(release, hub)
    assert len(hub.requests) == 1
    assert hub.visible() == (tree(release), {"v1.0.0": tree(release)})
    assert sorted(report.sent + report.there) == sorted(tree(release).keys() - ATTRIBUTES.keys())


SECRET = st.text("abcXYZ019", min_size=20, max_size=40)
AROUND = st.text("abc ?&\n", max_size=20)


@settings(max_examples=2 * settings().max_examples)
@given(AROUND, SECRET, st.sampled_from(["", "oauth_", "jwt_"]), AROUND)
def test_a_scrubbed_text_has_no_token(before, secret, kind, after):
    for prefix in (f"hf_{kind}", f"{SIGNED}&token=", "Authorization: Bearer ", "https://me:"):
        assert secret not in scrubbed(f"{before} {prefix}{secret}@host {after}")


def test_scrubbing_leaves_what_a_reader_needs():
    text = "hf_hub_download: 404 for https://huggingface.co/api/datasets/org/sod, see hf_raise_for_status"
    assert scrubbed(text) == text
    assert scrubbed(f"GET {SIGNED}\n failed") == "GET https://cas.example/blob?(query) failed"


def test_the_real_client_takes_every_call_of_the_protocol():
    for name, wanted in inspect.getmembers(HubApi, inspect.isfunction):
        if name.startswith("_"):
            continue
        real = inspect.signature(getattr(HfApi, name)).parameters
        for parameter in inspect.signature(wanted).parameters.values():
            assert parameter.name in real, (name, parameter.name)
            assert real[parameter.name].kind == parameter.kind, (name, parameter.name)


# Examples


def test_a_release_is_uploaded_compared_merged_and_tagged(release, told):
    hub = Hub(ATTRIBUTES | {"README.md": b"made by the website"})
    report = push(release, hub)
    assert hub.visible() == (tree(release), {"v1.0.0": tree(release)})
    assert hub.changing() == [
        "create_pull_request", "upload_folder", "change_discussion_status", "merge_pull_request", "create_tag",
    ]  # fmt: skip
    assert report.target == f"{TARGET}@v1.0.0"
    assert report.sha256 == hashlib.sha256(Path(release, "release.json").read_bytes()).hexdigest()
    assert set(report.sent) == {*FILES, "release.json"}
    assert report.sent_bytes == sum(len(content) for content in tree(release).values()) - len(
        ATTRIBUTES[".gitattributes"]
    )
    assert any("sending 5 files" in line for line in told.lines)


def test_files_that_release_json_does_not_name_are_not_sent(release):
    Path(release, "data", "mine.txt").write_bytes(b"mine")
    hub = Hub()
    push(release, hub)
    assert hub.visible()[0] == tree(release)


def test_the_next_version_replaces_the_last_and_the_old_tag_stays(release, newer):
    hub = Hub()
    push(release, hub)
    report = push(newer, hub)
    assert hub.visible() == (tree(newer), {"v1.0.0": tree(release), "v1.1.0": tree(newer)})
    assert report.there == ("data/test/0.tar",)
    assert "remove data/test/1.tar" in report.operations


@pytest.mark.parametrize("old", [False, True], ids=["first", "second"])
def test_a_push_interrupted_at_any_step_shows_nothing_half_done_and_resumes(release, newer, old):
    def started():
        hub = Hub()
        if old:
            push(release, hub)
        hub.steps, hub.seen, before = 0, [], hub.visible()
        return hub, before

    wanted, before = started()
    push(newer, wanted)
    whole = [before, (tree(newer), before[1]), (tree(newer), before[1] | {"v1.1.0": tree(newer)})]
    for stop_at in itertools.count(1):
        hub, _ = started()
        hub.stop_at = stop_at
        try:
            push(newer, hub)
        except Killed:
            hub.stop_at = None
            report = push(newer, hub)
            assert report.target == f"{TARGET}@v1.1.0"
        assert hub.visible() == wanted.visible()
        assert len(hub.requests) == len(wanted.requests)
        assert [whole.index(moment) for moment in hub.seen] == sorted(whole.index(moment) for moment in hub.seen)
        if stop_at > wanted.steps:
            break


def test_files_that_arrived_are_not_sent_again(release):
    hub = Hub()
    hub.on_arrival = lambda name, content: kill() if name == "data/test/1.tar" else content
    with pytest.raises(Killed):
        push(release, hub)
    hub.on_arrival = lambda name, content: content
    report = push(release, hub)
    assert report.there == ("README.md", "data/test/0.tar")
    assert report.sent == ("data/test/1.tar", "manifest.parquet", "release.json")
    assert report.operations[0].startswith("resume pull request 1: ")


def test_a_dry_run_lists_what_a_push_does_and_changes_nothing(release, newer):
    hub = Hub()
    push(release, hub)
    hub.calls.clear()
    planned = push(newer, hub, dry_run=True)
    assert hub.changing() == []
    assert push(newer, hub) == planned
    assert planned.operations[0].startswith("open a pull request: Release sod 1.1.0 (")
    assert set(planned.operations[1:-2]) == {
        "upload README.md, 5 bytes",
        "upload data/train/0.tar, 27 bytes",
        "upload manifest.parquet, 4 bytes",
        f"upload release.json, {Path(newer, 'release.json').stat().st_size} bytes",
        "remove data/test/1.tar",
    }
    assert planned.operations[-2:] == ("merge the pull request", "tag v1.1.0")


def test_a_published_version_is_left_alone(release, newer, told):
    hub = Hub()
    push(release, hub)
    push(newer, hub)
    before = hub.visible()
    hub.calls.clear()
    report = push(release, hub)
    assert (report.sent, report.operations, hub.changing(), hub.visible()) == ((), (), [], before)
    assert told.lines[-1] == "sod 1.0.0 is already published: nothing to do"


def test_another_release_of_a_published_version_is_refused(release, tmp_path):
    hub = Hub()
    push(release, hub)
    before = hub.visible()
    hub.calls.clear()
    other = make_release(tmp_path / "other", {**FILES, "README.md": b"# other"})
    with pytest.raises(ReleaseExistsError, match=r"sod@v1\.0\.0 is already published, as a different release"):
        push(other, hub)
    assert (hub.changing(), hub.visible()) == ([], before)


def test_a_tag_that_has_the_release_json_but_not_the_files_is_a_failure(release):
    hub = Hub()
    hub.tags["v1.0.0"] = hub.commit({**tree(release), "data/test/0.tar": b"torn"})
    with pytest.raises(StorageError, match=r"not its files, for example data/test/0\.tar"):
        push(release, hub)
    assert hub.changing() == []


def test_an_unsound_release_is_refused_before_anything_changes(release, monkeypatch):
    problem = Problem(where="NOTICE", what="is missing")
    monkeypatch.setattr(reporting, "verify_release", lambda folder, **_: check_of(folder, (problem,)))
    hub = Hub()
    with pytest.raises(UnsoundReleaseError, match="problems found: 1, the first in NOTICE: is missing"):
        push(release, hub)
    assert hub.changing() == []


@pytest.mark.parametrize(
    "target",
    ["hf://models/org/sod", "hf://org/sod", "hf://datasets/sod", "hf://datasets/org/sod@main", "hf://datasets/org/../x",
     "hf://datasets/org/sod/data", f"hf://me:{TOKEN}@datasets/org/sod", "hf://buckets/org/sod"],
)  # fmt: skip
def test_a_target_that_is_not_a_dataset_repository_is_refused_before_any_call(release, target):
    hub = Hub()
    with pytest.raises(UsageError, match="push to hf://datasets/ORG/NAME") as refused:
        push_to_hub(release, target, api=hub)
    assert hub.calls == []
    assert TOKEN not in str(refused.value)


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (
            lambda hub, release: hub.meanwhile.update(whoami=raiser(lambda: LocalTokenNotFoundError(""))),
            "hf auth login",
        ),
        (
            lambda hub, release: hub.meanwhile.update(
                list_repo_refs=raiser(lambda: http_error(404, {"X-Error-Code": "RepoNotFound"}))
            ),
            "does not exist",
        ),
        (lambda hub, release: hub.tags.update({"v1.0.0": hub.commit({"theirs": b""})}), "as a different release"),
        (
            lambda hub, release: hub.tags.update({"v1.0.0": hub.commit({**tree(release), "release.json": b"{}"})}),
            "as a different release",
        ),
        (lambda hub, release: setattr(hub, "main", hub.commit({"thesis.tex": b""})), "not a release"),
        (lambda hub, release: Path(release, "release.json").unlink(), "has no release.json"),
    ],
    ids=["no login", "no repository", "foreign tag", "different release", "foreign files", "no release"],
)
def test_what_is_known_at_the_start_is_refused_before_the_check(release, prepare, said):
    hub = Hub()
    prepare(hub, release)
    before = hub.visible()
    with pytest.raises(UsageError, match=said):
        push(release, hub)
    assert (hub.changing(), hub.visible()) == ([], before)


@pytest.mark.usefixtures("_unchecked")
def test_a_missing_client_is_named_before_the_check(release, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="pip install huggingface_hub"):
        push_to_hub(release, TARGET)


def test_a_release_that_is_not_on_this_disk_is_refused_with_what_to_do():
    hub = Hub()
    with pytest.raises(UsageError, match="push the release to a local folder first"):
        push("s3://bucket/release/sod-1.0.0", hub)
    assert hub.calls == []


def test_a_repository_that_holds_other_things_is_left_alone(release):
    hub = Hub(ATTRIBUTES | {"README.md": b"", "thesis.tex": b"years of work"})
    with pytest.raises(UsageError, match=r"holds files that are not a release: 1, for example thesis\.tex"):
        push(release, hub)
    assert hub.changing() == []


def test_pull_requests_of_others_are_not_used_whatever_their_title(release):
    hub = Hub()
    title = push(release, hub, dry_run=True).operations[0].removeprefix("open a pull request: ")
    hub.add_request(title, "mallory")
    closed = hub.add_request(title, USER, status="closed")
    push(release, hub)
    assert [request.status for request in hub.requests] == ["draft", "closed", "merged"]
    assert hub.commits[closed.head] == ATTRIBUTES


# Faults


@pytest.mark.parametrize("name", ["data/test/0.tar", "README.md", "release.json"])
@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"X" + content[1:], lambda _: None])
def test_files_that_arrive_damaged_are_found_before_the_merge(release, name, damage):
    hub = Hub()
    before = hub.visible()
    hub.on_arrival = lambda arriving, content: damage(content) if arriving == name else content
    with pytest.raises(StorageError, match=f"files missing, changed or added: 1, for example {name}"):
        push(release, hub)
    assert hub.visible() == before
    hub.on_arrival = lambda arriving, content: content
    assert push(release, hub).sent == (name,)
    assert hub.visible()[1] == {"v1.0.0": tree(release)}


@pytest.mark.parametrize("name", ["data/test/0.tar", "README.md"])
def test_a_file_that_changes_on_this_disk_after_the_check_is_not_published(release, name):
    hub = Hub()
    path = Path(release, name)
    hub.meanwhile["upload_folder"] = lambda: path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(StorageError, match=name):
        push(release, hub)
    assert hub.visible() == (ATTRIBUTES, {})


def test_a_file_that_somebody_adds_to_the_pull_request_is_found(release):
    hub = Hub()
    hub.on_arrival = lambda name, content: content
    hub.meanwhile["upload_folder"] = lambda: setattr(
        hub.requests[0], "head", hub.commit({**ATTRIBUTES, "evil.py": b""})
    )
    with pytest.raises(StorageError, match=r"so nothing is merged; .*for example evil\.py"):
        push(release, hub)
    push(release, hub)
    assert hub.visible()[0] == tree(release)


def test_an_upload_that_main_has_overtaken_starts_again(release, newer):
    hub = Hub()
    hub.meanwhile["merge_pull_request"] = kill
    with pytest.raises(Killed):
        push(newer, hub)
    push(release, hub)
    push(newer, hub)
    assert hub.visible() == (tree(newer), {"v1.0.0": tree(release), "v1.1.0": tree(newer)})


def test_a_change_of_main_at_the_moment_of_the_merge_is_never_tagged(release):
    hub = Hub()
    hub.meanwhile["merge_pull_request"] = lambda: setattr(
        hub, "main", hub.commit({**hub.commits[hub.main], "their.txt": b"theirs"})
    )
    with pytest.raises(StorageError, match=r"so nothing is tagged; .*for example their\.txt"):
        push(release, hub)
    assert hub.tags == {}
    push(release, hub)
    assert hub.visible() == (tree(release), {"v1.0.0": tree(release)})


def test_the_compared_commit_is_tagged_whatever_main_has_become(release):
    hub = Hub()

    def move_main():
        hub.main = hub.commit({"theirs": b""})

    # After the merge main is asked for, and what it has is listed: it moves between the two.
    hub.meanwhile["merge_pull_request"] = lambda: hub.meanwhile.update(list_repo_tree=move_main)
    push(release, hub)
    assert hub.visible() == ({"theirs": b""}, {"v1.0.0": tree(release)})


def test_another_build_of_the_version_gets_its_own_pull_request(release, tmp_path):
    hub = Hub()
    hub.meanwhile["merge_pull_request"] = kill
    with pytest.raises(Killed):
        push(release, hub)
    other = make_release(tmp_path / "other", {**FILES, "README.md": b"# other"})
    push(other, hub)
    assert hub.at("refs/pr/1") == tree(release)
    assert hub.visible() == (tree(other), {"v1.0.0": tree(other)})
    with pytest.raises(ReleaseExistsError):
        push(release, hub)


def test_a_tag_that_somebody_else_makes_during_the_push_is_not_moved(release):
    hub = Hub()
    hub.meanwhile["create_tag"] = lambda: hub.tags.update({"v1.0.0": hub.commit({"theirs": b""})})
    with pytest.raises(StorageUnavailableError, match="somebody else changed it at the same moment"):
        push(release, hub)
    with pytest.raises(ReleaseExistsError):
        push(release, hub)
    assert hub.visible()[1] == {"v1.0.0": {"theirs": b""}}


ERRORS = {
    "no login": (lambda: LocalTokenNotFoundError(f"no token like {TOKEN}"), UsageError, "hf auth login"),
    "old token": (
        lambda: http_error(401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
        UsageError, "hf auth login",
    ),
    "no repository": (
        lambda: http_error(404, {"X-Error-Code": "RepoNotFound"}), UsageError,
        "hf repos create org/sod --type dataset",
    ),
    "no permission": (lambda: http_error(403), StorageUnavailableError, "Give it write access"),
    "gated": (lambda: http_error(403, {"X-Error-Code": "GatedRepo"}), StorageUnavailableError, "Give it write access"),
    "conflict": (lambda: http_error(409), StorageUnavailableError, "somebody else changed it"),
    "too often": (lambda: http_error(429), StorageUnavailableError, "Once the Hub responds"),
    "broken": (lambda: http_error(500), StorageUnavailableError, "Once the Hub responds"),
    "no network": (lambda: httpx2.ConnectError(f"refused: {SIGNED}"), StorageUnavailableError, "Once the Hub responds"),
    "timeout": (lambda: httpx2.ReadTimeout(f"at {SIGNED}"), StorageUnavailableError, "Once the Hub responds"),
    "offline": (lambda: OfflineModeIsEnabled(f"to {SIGNED}"), StorageUnavailableError, "OfflineModeIsEnabled"),
    "refused card": (lambda: ValueError(f"Invalid metadata in README.md {TOKEN}"), StorageUnavailableError, "metadata"),
}  # fmt: skip
OF_ADDITIONS = {"create_branch"}
CALLS = {name for name, _ in inspect.getmembers(HubApi, inspect.isfunction) if not name.startswith("_")} - OF_ADDITIONS


@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize("fault", ERRORS)
def test_every_error_of_every_call_says_what_to_do_and_shows_no_secret(release, name, fault, caplog, capfd, told):
    error, kind, said = ERRORS[fault]
    if name not in READING:  # exit code 2 says that nothing was begun
        kind = StorageUnavailableError
    hub = Hub()
    hub.meanwhile[name] = raiser(error)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(kind, match="hf://datasets/org/sod") as failed:
        push(release, hub)
    assert said in str(failed.value)
    told = ["".join(traceback.format_exception(failed.value)), caplog.text, *told.lines, *capfd.readouterr()]
    assert not any(secret in text for secret in (TOKEN, "5ec3e7", "AKIAXYZ") for text in told)
    report = push(release, hub)
    assert hub.visible()[1] == {"v1.0.0": tree(release)}
    assert TOKEN not in repr(report)


@pytest.mark.parametrize("logger", ["httpx2", "huggingface_hub.utils._http", "hf_xet"])
def test_what_the_client_logs_during_a_push_is_scrubbed(release, logger, caplog):
    hub = Hub()

    def log_secrets():
        logging.getLogger(logger).warning("Bearer %s thrown while requesting GET %s", TOKEN, SIGNED)
        try:
            raise ValueError(SIGNED)
        except ValueError:
            logging.getLogger(logger).exception("once more")

    hub.meanwhile["upload_folder"] = log_secrets
    push(release, hub)
    assert "thrown while requesting GET https://cas.example/blob?(query)" in caplog.text
    assert "ValueError: https://cas.example/blob?(query)" in caplog.text
    assert not any(secret in caplog.text for secret in (TOKEN, "5ec3e7", "AKIAXYZ"))
    logging.getLogger(logger).warning("afterwards %s", SIGNED)
    assert SIGNED in caplog.text  # and only meanwhile
