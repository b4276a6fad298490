"""The calls to the Hugging Face Hub that publishing needs, on one dataset repository, and what their errors mean.

The client finds its token by itself (`hf auth login`, or HF_TOKEN): the token is never read, printed or logged here.
Texts from outside are scrubbed before anybody sees them: the client's messages contain URLs, and upload URLs are
signed, so for a while they are as good as a token.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipeline.errors import StorageError, StorageUnavailableError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import Discussion, GitRefs
    from huggingface_hub.hf_api import RepoFile, RepoFolder

_KIND: Literal["dataset"] = "dataset"
_SECRETS = (
    (re.compile(r"(?:hf|api_org)_(?:[a-z]+_)?[A-Za-z0-9]{16}[\w.-]*"), "(token)"),
    (re.compile(r"\b(Bearer|Basic) +[^\s'\"]+", re.IGNORECASE), r"\1 (token)"),
    (re.compile(r"\b(\w+://)[^/\s'\"]*@"), r"\1"),
    (re.compile(r"\b(\w+://[^\s?'\"]*)\?[^\s'\"]*"), r"\1?(query)"),
)


class HubApi(Protocol):
    """The part of `huggingface_hub.HfApi` used here; see its documentation."""

    def whoami(self) -> dict[str, Any]: ...

    def list_repo_refs(self, repo_id: str, *, repo_type: str | None = None) -> "GitRefs": ...

    def list_repo_tree(
        self, repo_id: str, *, recursive: bool = False, revision: str | None = None, repo_type: str | None = None
    ) -> Iterable["RepoFile | RepoFolder"]: ...

    def get_repo_discussions(
        self,
        repo_id: str,
        *,
        author: str | None = None,
        discussion_type: Literal["all", "discussion", "pull_request"] | None = None,
        repo_type: str | None = None,
    ) -> Iterator["Discussion"]: ...

    def create_pull_request(
        self, repo_id: str, title: str, *, description: str | None = None, repo_type: str | None = None
    ) -> "Discussion": ...

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str | Path,
        commit_message: str | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        allow_patterns: list[str] | str | None = None,
        delete_patterns: list[str] | str | None = None,
    ) -> object: ...

    def change_discussion_status(
        self,
        repo_id: str,
        discussion_num: int,
        new_status: Literal["open", "closed"],
        *,
        repo_type: str | None = None,
    ) -> object: ...

    def merge_pull_request(self, repo_id: str, discussion_num: int, *, repo_type: str | None = None) -> object: ...

    def create_branch(
        self,
        repo_id: str,
        *,
        branch: str,
        revision: str | None = None,
        repo_type: str | None = None,
        exist_ok: bool = False,
    ) -> None: ...

    def create_tag(
        self,
        repo_id: str,
        *,
        tag: str,
        tag_message: str | None = None,
        revision: str | None = None,
        repo_type: str | None = None,
        exist_ok: bool = False,
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs:
    """Commits that have a name."""

    main: str
    tags: dict[str, str]
    """Tag → commit."""
    branches: dict[str, str]
    """Branch → commit, `main` too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRepository:
    """One dataset repository.

    Raises: UsageError: nobody is logged in, or the repository does not exist.
            StorageUnavailableError: the Hub does not answer, refuses, or reports a conflicting change.
    """

    api: HubApi
    name: str
    """ORG/NAME"""

    def user(self) -> str:
        """Who is logged in; everything else in the answer is private and dropped."""
        with self._explained("asking who is logged in"):
            return str(self.api.whoami()["name"])

    def refs(self) -> Refs:
        """`main` and the tags, as they are now."""
        with self._explained("asking for branches and tags"):
            refs = self.api.list_repo_refs(self.name, repo_type=_KIND)
        branches = {branch.name: branch.target_commit for branch in refs.branches}
        if "main" not in branches:
            raise StorageError(f"hf://datasets/{self.name} has no branch main: make a first commit on its page")
        tags = {tag.name: tag.target_commit for tag in refs.tags}
        return Refs(main=branches["main"], tags=tags, branches=branches)

    def files(self, revision: str) -> dict[str, "RepoFile"]:
        """Path → what the Hub knows about the file, for every file of a revision."""
        from huggingface_hub.hf_api import RepoFile

        with self._explained(f"listing {revision}"):
            entries = self.api.list_repo_tree(self.name, recursive=True, revision=revision, repo_type=_KIND)
            return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def pull_request(self, title: str, author: str) -> "Discussion | None":
        """The author's pull request of that title, if it is neither merged nor closed.

        Somebody else's is never used, whatever its title: its author could still push to it after it was checked.
        """
        with self._explained("looking for the pull request of an interrupted upload"):
            # The Hub does not say whether its filter "open" includes drafts, so the status is compared here.
            found = self.api.get_repo_discussions(
                self.name, author=author, discussion_type="pull_request", repo_type=_KIND
            )
            for request in found:
                if (request.title, request.author) == (title, author) and request.status in ("draft", "open"):
                    return request
        return None

    def open_pull_request(self, title: str, description: str) -> "Discussion":
        """Open a pull request as a draft."""
        with self._explained("opening a pull request"):
            return self.api.create_pull_request(self.name, title, description=description, repo_type=_KIND)

    def upload(self, folder: str, revision: str, message: str, names: Sequence[str], gone: Sequence[str]) -> None:
        """Commit files of a local folder to a pull request or branch and remove those in `gone`.

        It resumes where it stopped. Args: revision: `refs/pr/N`, or the name of a branch.
        """
        with self._explained("uploading"):
            self.api.upload_folder(
                repo_id=self.name,
                folder_path=folder,
                commit_message=message,
                repo_type=_KIND,
                revision=revision,
                allow_patterns=[_pattern_of(name) for name in names],
                delete_patterns=[_pattern_of(name) for name in gone],
            )

    def merge(self, request: "Discussion") -> None:
        """Merge a pull request into `main`; a draft is opened first, since drafts can't be merged."""
        with self._explained(f"merging pull request {request.num}"):
            if request.status == "draft":
                self.api.change_discussion_status(self.name, request.num, "open", repo_type=_KIND)
            self.api.merge_pull_request(self.name, request.num, repo_type=_KIND)

    def branch(self, branch: str, commit: str) -> None:
        """Make a branch that starts at a commit; one that exists stays where it is."""
        with self._explained(f"making the branch {branch}"):
            self.api.create_branch(self.name, branch=branch, revision=commit, repo_type=_KIND, exist_ok=True)

    def tag(self, tag: str, commit: str, message: str) -> None:
        """Tag a commit; fails if the tag exists."""
        with self._explained(f"making the tag {tag}"):
            self.api.create_tag(
                self.name, tag=tag, tag_message=message, revision=commit, repo_type=_KIND, exist_ok=False
            )

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 (re-raised, but not chained: a traceback would print its secrets)
            raise _translated(error, self.name, doing) from None


@contextmanager
def begun() -> Iterator[None]:
    """The repository may have changed in this block, so a token that expires is a failure, not a wrong request."""
    try:
        yield
    except UsageError as error:
        raise StorageUnavailableError(str(error)) from None


def default_api() -> HubApi:
    """The real Hub, used as whoever is logged in.

    Raises: UsageError: its client is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UsageError(f"the Hub's client can't be imported ({error}): pip install huggingface_hub") from error
    return HfApi()


def scrubbed(text: str) -> str:
    """A text from outside on one line, without tokens and without the queries of URLs."""
    for secret, instead in _SECRETS:
        text = secret.sub(instead, text)
    return " ".join(text.split())


@contextmanager
def scrubbed_logs() -> Iterator[None]:
    """Scrub everything logged in this block: the client logs URLs when it retries, its transport logs every one."""
    handlers = [*logging.getLogger().handlers, *logging.getLogger("huggingface_hub").handlers]
    with ExitStack() as stack:
        for handler in handlers:
            handler.addFilter(_scrub)
            stack.callback(handler.removeFilter, _scrub)
        yield


def _scrub(record: logging.LogRecord) -> bool:
    record.msg, record.args = scrubbed(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = scrubbed(logging.Formatter().formatException(record.exc_info))
    return True


def _pattern_of(name: str) -> str:
    """A pattern that matches this name only; an upload accepts nothing but patterns."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _translated(error: Exception, name: str, doing: str) -> Exception:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

    repository = f"hf://datasets/{name}"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
        return UsageError(
            f"{repository} does not exist, or the token may not see it. Create it with: hf repos create {name} --type "
            "dataset; then run the same command again"
        )
    if isinstance(error, LocalTokenNotFoundError) or status == 401:
        return UsageError(
            f"{repository}: nobody is logged in to the Hub, or the token is no longer valid. Log in with hf auth "
            "login, or set HF_TOKEN, with a token that may write; then run the same command again"
        )
    said = f"{doing}: {type(error).__name__}: {scrubbed(str(error))[:300]}"
    if status == 403:
        return StorageUnavailableError(
            f"{repository}: the token does not permit this ({said}). Give it write access to the repository and its "
            "pull requests (https://huggingface.co/settings/tokens); then run the same command again to resume"
        )
    if status in (409, 412):
        return StorageUnavailableError(
            f"{repository}: somebody else changed it at the same moment ({said}). Run the same command again: it "
            "resumes from the present state"
        )
    return StorageUnavailableError(
        f"{repository}: the Hub failed ({said}). What is visible there is still whole. Once the Hub responds, run the "
        "same command again to resume"
    )
