"""A small Hugging Face Hub in memory that can end the session at any step, and releases to push to it."""

import functools
import hashlib
import inspect
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import httpx2
from huggingface_hub import Discussion, GitRefInfo, GitRefs, HfApi
from huggingface_hub.hf_api import RepoFile, RepoFolder
from huggingface_hub.utils import filter_repo_objects, hf_raise_for_status

from pipeline.files import storage
from pipeline.release.check.verify import ReleaseCheck

TARGET, NAME, USER = "hf://datasets/org/sod", "org/sod", "me"
TOKEN = "hf_" + "AbCdEfGh" * 4 + "xY"
SIGNED = "https://cas.example/blob?X-Amz-Credential=AKIAXYZ&X-Amz-Signature=5ec3e7"
ATTRIBUTES = {".gitattributes": b"*.tar filter=lfs"}
FILES = MappingProxyType(
    {"README.md": b"# one", "data/test/0.tar": b"tar" * 9, "data/test/1.tar": b"rat" * 9, "manifest.parquet": b"PAR1"}
)
READING = {"whoami", "list_repo_refs", "list_repo_tree", "get_repo_discussions"}


class Killed(BaseException):
    """The session was ended here on purpose; not an Exception, so that nothing takes it for an error of the Hub."""


class FakeHub:
    """One repository with commits, a branch main, pull requests and tags; calls have the signatures of `HfApi`."""

    def __init__(self, files=ATTRIBUTES):
        self.commits = {}
        self.main = self.commit(files)
        self.tags = {}
        self.branches = {}
        self.requests = []
        self.calls = []
        self.steps = 0
        self.stop_at = None
        self.seen = []
        """What was visible at each step: the files of main and of each tag."""
        self.meanwhile = {}
        """Name of a call → what happens once, just before it."""
        self.on_arrival = lambda name, content: content
        """What an uploaded file becomes; None: it is lost."""

    def commit(self, files):
        oid = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[oid] = dict(files)
        return oid

    def visible(self):
        return self.commits[self.main], {tag: self.commits[oid] for tag, oid in self.tags.items()}

    def step(self):
        self.seen.append(self.visible())
        self.steps += 1
        if self.steps == self.stop_at:
            raise Killed

    def at(self, revision):
        if revision.startswith("refs/pr/"):
            return self.commits[self.requests[int(revision.removeprefix("refs/pr/")) - 1].head]
        return self.commits[self.branches.get(revision, self.tags.get(revision, revision))]

    def move(self, revision, files):
        """Commit these files to a pull request or branch."""
        if revision.startswith("refs/pr/"):
            self.requests[int(revision.removeprefix("refs/pr/")) - 1].head = self.commit(files)
        else:
            assert revision in self.branches
            self.branches[revision] = self.commit(files)

    def changing(self):
        return [name for name in self.calls if name not in READING]

    def add_request(self, title, author, status="draft"):
        request = Discussion(
            title=title, status=status, num=len(self.requests) + 1, repo_id=NAME, repo_type="dataset", author=author,
            is_pull_request=True, created_at=datetime(2026, 1, 1, tzinfo=UTC), endpoint="https://hub.example",
        )  # fmt: skip
        request.head = request.base = self.main
        self.requests.append(request)
        return request


def call(method):
    """Record a call, require that the real client would take it, and count a step before and after it."""
    name = method.__name__

    @functools.wraps(method)
    def recorded(self, *args, **named):
        inspect.signature(getattr(HfApi, name)).bind(self, *args, **named)
        assert name == "whoami" or named["repo_type"] == "dataset"
        self.calls.append(name)
        self.step()
        self.meanwhile.pop(name, lambda: None)()
        result = method(self, *args, **named)
        self.step()
        return result

    return recorded


class Hub(FakeHub):
    @call
    def whoami(self):
        return {"name": USER, "email": "me@example.org", "auth": {"accessToken": {"displayName": TOKEN}}}

    @call
    def list_repo_refs(self, repo_id, *, repo_type):
        heads = {"main": self.main} | self.branches
        branches = [GitRefInfo(name=name, ref=f"refs/heads/{name}", target_commit=oid) for name, oid in heads.items()]
        tags = [GitRefInfo(name=tag, ref=f"refs/tags/{tag}", target_commit=oid) for tag, oid in self.tags.items()]
        return GitRefs(branches=branches, converts=[], tags=tags)

    @call
    def list_repo_tree(self, repo_id, *, recursive, revision, repo_type):
        files = self.at(revision)
        folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
        yield from (RepoFolder(path=folder, oid="0" * 40) for folder in folders)
        yield from (described(name, content) for name, content in files.items())

    @call
    def get_repo_discussions(self, repo_id, *, author, discussion_type, repo_type):
        assert (author, discussion_type) == (USER, "pull_request")
        yield from self.requests  # those of others too: the filter saves time, nothing depends on it

    @call
    def create_pull_request(self, repo_id, title, *, description, repo_type):
        assert 3 <= len(title) <= 200
        return self.add_request(title, USER)

    @call
    def upload_folder(self, *, repo_id, folder_path, commit_message, repo_type, revision, allow_patterns,
                      delete_patterns):  # fmt: skip
        files = self.at(revision)
        gone = {*filter_repo_objects(files, allow_patterns=delete_patterns)} - {".gitattributes"}
        files = {name: content for name, content in files.items() if name not in gone}
        paths = [path for path in sorted(Path(folder_path).rglob("*")) if path.is_file()]
        local = {path.relative_to(folder_path).as_posix(): path for path in paths}
        self.move(revision, files)
        for name in filter_repo_objects(local, allow_patterns=allow_patterns):  # commits of one file each
            self.step()
            content = self.on_arrival(name, local[name].read_bytes())
            self.move(revision, self.at(revision) | ({name: content} if content is not None else {}))

    @call
    def change_discussion_status(self, repo_id, discussion_num, new_status, *, repo_type):
        self.requests[discussion_num - 1].status = new_status

    @call
    def merge_pull_request(self, repo_id, discussion_num, *, repo_type):
        request = self.requests[discussion_num - 1]
        assert request.status == "open"  # drafts are refused
        base, ours, theirs = (self.commits[oid] for oid in (request.base, request.head, self.main))
        added_meanwhile = {name: content for name, content in theirs.items() if name not in base}
        if any(ours.get(name, content) != content for name, content in added_meanwhile.items()):
            raise http_error(409)  # as git: both have added a file of that name
        self.main = self.commit(ours | added_meanwhile)
        request.status = "merged"

    @call
    def create_branch(self, repo_id, *, branch, revision, repo_type, exist_ok):
        assert exist_ok
        self.branches.setdefault(branch, self.tags.get(revision, revision))

    @call
    def create_tag(self, repo_id, *, tag, tag_message, revision, repo_type, exist_ok):
        if tag in self.tags:
            assert not exist_ok
            raise http_error(409)
        self.tags[tag] = revision


def described(name, content):
    """A file as the Hub describes it: large ones by SHA-256, others by their git blob id."""
    entry = {"path": name, "size": len(content), "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
    if name.endswith((".tar", ".parquet")):
        entry["lfs"] = {"size": len(content), "oid": hashlib.sha256(content).hexdigest(), "pointerSize": 130}
    return RepoFile(**entry)


def http_error(status, headers=None, path="/api/datasets/org/sod/refs"):
    """What the client really raises for such an answer."""
    request = httpx2.Request("GET", f"https://huggingface.co{path}?token={TOKEN}", headers={"X-Token": TOKEN})
    message = f"no {TOKEN}: {SIGNED}"
    response = httpx2.Response(status, request=request, headers=headers or {}, json={"error": message})
    try:
        hf_raise_for_status(response)
    except httpx2.HTTPError as error:
        return error
    raise AssertionError


def make_release(folder, files=FILES, version="1.0.0"):
    """A folder with these files and a `release.json` that names them."""
    records = [storage.publish(f"{folder}/{name}", content) for name, content in files.items()]
    entries = [asdict(record) | {"name": name} for name, record in zip(files, records, strict=True)]
    storage.publish(
        f"{folder}/release.json", json.dumps({"name": "sod", "version": version, "files": entries}).encode()
    )
    return str(folder)


def tree(release):
    """What a repository of that release holds."""
    names = [file["name"] for file in json.loads(Path(release, "release.json").read_text())["files"]]
    return ATTRIBUTES | {name: Path(release, name).read_bytes() for name in [*names, "release.json"]}


def check_of(release, problems=()):
    content = Path(release, "release.json").read_bytes()
    said = json.loads(content)
    return ReleaseCheck(
        name=said["name"], version=said["version"], sha256=hashlib.sha256(content).hexdigest(), images=1, accepted=1,
        problems=problems,
    )  # fmt: skip


def kill():
    raise Killed


def raiser(make):
    def fail():
        raise make()

    return fail
