"""A model at a URL: found, pinned to a commit, fetched once."""

import re
from types import SimpleNamespace

import pytest

from model.config import ModelConfig
from model.weights import weights_sha256
from pipeline.errors import ConfigError, StorageError, StorageUnavailableError
from pipeline.files import model_cache, model_urls, storage
from pipeline.files.model_urls import at_hand, listed, origin_of, pinned, reader, require_url
from pipeline.preconditions import require_model
from pipeline.replicas.weights import weights_of
from tests.pipeline.make import tree

FILES = {"model_index.json": b"{}", "unet/model.safetensors": b"weights" * 9, "unet/config.json": b"[]"}
MORE = {"training.pkl": b"cos\nsystem\n", "README.md": b"# A model", "unet/diffusion_pytorch_model.bin": b"pickle"}
COMMIT, LATER = "ab" * 20, "cd" * 20


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def url(request):
    """A bucket's folder with a model, and with files that nobody needs."""
    place = f"memory://models/{request.node.name}"
    put(place, FILES | MORE)
    yield place
    storage.remove_tree(place)


def put(place, files):
    for name, content in files.items():
        storage.publish(f"{place}/{name}", content)


@pytest.fixture
def stamped(monkeypatch):
    """Memory tells of no change; a bucket does, by ETags."""
    ask = model_urls.ask_storage

    def with_etags(url, question):
        answer = ask(url, question)
        if isinstance(answer, dict):
            for name, info in answer.items():
                info["ETag"] = str(hash(storage.read(f"{url}/{name}")))
        return answer

    monkeypatch.setattr(model_urls, "ask_storage", with_etags)


def test_only_weights_and_configurations_are_fetched(url, cache):
    model = at_hand(ModelConfig(model=url, threads=3))
    assert tree(model.folder) == FILES
    assert model.folder == cache / "models" / weights_sha256(model.folder)
    assert model.threads == 3
    assert origin_of(model) == weights_of(model).url == url


def test_what_is_here_stays_as_it_is(tmp_path):
    for model in ("nano", "fake", str(tmp_path)):
        assert at_hand(ModelConfig(model=model)) == ModelConfig(model=model)
        assert origin_of(ModelConfig(model=model)) == ""
    assert at_hand(ModelConfig(model=f"file://{tmp_path}/m")).model == f"{tmp_path}/m"


@pytest.mark.usefixtures("stamped")
def test_a_model_is_fetched_once_and_again_after_it_was_changed_or_damaged(url, monkeypatch):
    asked = []
    monkeypatch.setattr(model_urls, "reader", lambda place: asked.append(place) or reader(place))
    first = at_hand(ModelConfig(model=url))
    assert at_hand(ModelConfig(model=url)) == first
    assert len(asked) == 1
    (first.folder / "model_index.json").write_bytes(b"[]")
    assert at_hand(ModelConfig(model=url)) == first
    assert (len(asked), tree(first.folder)) == (2, FILES)
    put(url, {"unet/config.json": b"{}"})
    second = at_hand(ModelConfig(model=url))
    assert tree(second.folder) == FILES | {"unet/config.json": b"{}"}
    assert tree(first.folder) == FILES


def test_a_storage_that_tells_of_no_change_is_read_each_time(url):
    assert listed(url).state == ""
    first = at_hand(ModelConfig(model=url))
    put(url, {"unet/config.json": b"()"})
    assert at_hand(ModelConfig(model=url)) != first


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("memory://models/nowhere", "there is no model_index.json; give the URL of a folder saved by save_pretrained"),
        ("https://example.org/model", "web servers don't tell what is in a folder"),
    ],
)
def test_a_url_without_a_model_is_refused_before_any_work(model, said):
    for refuse in (
        require_url,
        lambda name: require_model(ModelConfig(model=name)),
        lambda n: at_hand(ModelConfig(model=n)),
    ):
        with pytest.raises(ConfigError, match=said):
            refuse(model)


def test_a_model_that_is_only_pickles_is_no_model(request):
    place = f"memory://models/{request.node.name}"
    put(place, MORE | {"model_index.json": b"{}"})
    with pytest.raises(StorageError, match="there is no model"):
        at_hand(ModelConfig(model=place))
    storage.remove_tree(place)


def test_a_file_that_is_gone_since_it_was_listed_is_named(url, cache):
    files = listed(url).files
    storage.remove(f"{url}/unet/config.json")
    with pytest.raises(StorageError, match=r"unet/config\.json is missing"):
        model_cache.fetch(files, reader(url))
    assert not list(cache.glob("models/*"))


class Hub:
    """One repository; the client's own file system talks to it, and no network is used."""

    def __init__(self):
        self.commits = {COMMIT: dict(FILES | MORE), LATER: dict(FILES | {"unet/config.json": b"{}"})}
        self.branches = {"main": COMMIT, "v1": COMMIT}

    def files(self, revision):
        return self.commits[self.branches.get(revision, revision)]

    def repo_info(self, repo_id, *, revision=None, **_options):
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        answer = SimpleNamespace(status_code=404, headers={}, request=None, url="https://hub.example")
        if repo_id != "org/name":
            raise RepositoryNotFoundError("no such repository", response=answer)
        if revision not in (None, *self.branches, *self.commits):
            raise RevisionNotFoundError("no such revision", response=answer)
        return SimpleNamespace(sha=self.branches.get(revision or "main", revision))

    def list_repo_tree(self, repo_id, path_in_repo=None, *, revision=None, recursive=False, **_options):
        from huggingface_hub.hf_api import RepoFile, RepoFolder

        below = f"{path_in_repo}/" if path_in_repo else ""
        folders = set()
        for name, content in self.files(revision).items():
            if name.startswith(below):
                folder = name.removeprefix(below).rpartition("/")[0]
                if folder and below + folder not in folders:
                    folders.add(below + folder)
                    yield RepoFolder(path=below + folder, oid="0" * 40)
                if recursive or not folder:
                    yield RepoFile(path=name, size=len(content), oid=f"{hash(content):x}")

    def _iter_repo_tree_pages(self, *given, **options):
        """What newer clients list a whole repository by."""
        yield list(self.list_repo_tree(*given, **options)), True

    def get_paths_info(self, repo_id, paths, *, revision=None, **_options):
        from huggingface_hub.hf_api import RepoFile

        found = self.files(revision)
        return [RepoFile(path=path, size=len(found[path]), oid="1") for path in paths if path in found]


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import HfApi, HfFileSystem
    from huggingface_hub.hf_file_system import HfFileSystemFile

    hub = Hub()
    for name in ("repo_info", "list_repo_tree", "_iter_repo_tree_pages", "get_paths_info"):
        call = getattr(hub, name)
        monkeypatch.setattr(HfApi, name, lambda _, *given, call=call, **named: call(*given, **named), raising=False)

    def fetch(file, start, end):
        place = file.resolved_path
        return hub.files(place.revision)[place.path_in_repo][start:end]

    monkeypatch.setattr(HfFileSystemFile, "_fetch_range", fetch)
    HfFileSystem.clear_instance_cache()
    yield hub
    HfFileSystem.clear_instance_cache()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("url", "commit"),
    [
        ("hf://org/name", f"hf://org/name@{COMMIT}"),
        ("hf://org/name@v1", f"hf://org/name@{COMMIT}"),
        (f"hf://org/name@{LATER}", f"hf://org/name@{LATER}"),
        ("hf://org/name@v1/unet", f"hf://org/name@{COMMIT}/unet"),
        ("s3://bucket/model", "s3://bucket/model"),
    ],
)
def test_a_url_of_the_hub_is_pinned_to_the_commit_that_it_means_now(url, commit):
    assert pinned(url) == commit


def test_a_model_of_the_hub_is_fetched_at_its_commit_and_that_is_recorded(hub):
    model = at_hand(ModelConfig(model="hf://org/name@v1"))
    assert tree(model.folder) == FILES
    assert origin_of(model) == f"hf://org/name@{COMMIT}"
    hub.branches["v1"] = LATER
    moved = at_hand(ModelConfig(model="hf://org/name@v1"))
    assert origin_of(moved) == f"hf://org/name@{LATER}"
    assert (moved.folder / "unet/config.json").read_bytes() == b"{}"


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("model", ["hf://org/absent", "hf://org/name@v9"])
def test_a_repository_or_revision_that_there_is_not_is_refused(model):
    with pytest.raises(
        ConfigError, match=re.escape(f"--model {model}: there is no model_index.json, or it is not open")
    ):
        require_url(model)


@pytest.mark.parametrize("model", ["hf://name", "hf://", "hf://name/"])
def test_a_model_of_the_hub_has_an_owner(model):
    with pytest.raises(ConfigError, match=f"--model {model}: .*give hf://OWNER/NAME"):
        require_url(model)


def test_a_hub_that_does_not_respond_is_said(hub, monkeypatch):
    def refuse(*_args, **_options):
        raise ConnectionRefusedError("no network")

    from huggingface_hub import HfApi

    monkeypatch.setattr(HfApi, "repo_info", refuse)
    with pytest.raises(StorageUnavailableError, match="no network"):
        pinned("hf://org/name")
