"""Trials of places to write to: they say what is wrong with a store, and leave nothing in it."""

import pickle
import uuid

import pytest

from pipeline.errors import ConfigError, StorageRefusedError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.trials import before_work, require_bucket, require_exclusive_create

TRIALS = pytest.mark.parametrize("trial", [require_exclusive_create, require_bucket])


class NoCredentialsError(Exception):
    """What botocore raises if nobody is logged in; its class is known by its name alone."""


@pytest.fixture
def folder():
    return f"memory://{uuid.uuid4().hex}"


@TRIALS
def test_a_store_that_takes_files_passes_and_keeps_nothing(trial, folder):
    trial(folder)
    assert storage.list_names(folder, hidden=True) == []


def test_a_local_disk_needs_no_trial_of_exclusive_creation(tmp_path):
    require_exclusive_create(str(tmp_path / "missing"))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_creates_a_file_twice_is_refused(folder, monkeypatch):
    monkeypatch.setattr(storage, "create", lambda url, content: storage.publish(url, content) is not None)
    with pytest.raises(ConfigError, match="this storage lets a file be created twice"):
        require_exclusive_create(folder)
    require_bucket(folder)


@TRIALS
def test_a_place_that_is_read_only_is_refused(trial):
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9/run can't be written"):
        trial("http://127.0.0.1:9/run")


@TRIALS
@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (FileNotFoundError("NoSuchBucket"), "create the bucket first"),
        (PermissionError("Access Denied"), "you have no permission to write there"),
        (NotImplementedError(), "give a folder on a disk, or a bucket"),
        (NoCredentialsError("Unable to locate credentials"), "nobody is logged in there. Set AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_a_store_refuses_is_a_wrong_request_that_says_what_to_do(trial, folder, monkeypatch, cause, said):
    def refuse(url, content):
        if isinstance(cause, FileNotFoundError):
            raise cause
        raise StorageUnavailableError(f"{url}: storage failed") from cause

    for name in ("create", "publish"):
        monkeypatch.setattr(storage, name, refuse)
    with pytest.raises(ConfigError, match=said):
        trial(folder)


@TRIALS
def test_a_store_that_lets_nobody_in_is_a_wrong_request_whatever_it_says(trial, folder, monkeypatch):
    def refuse(url, content):
        error = OSError("no")
        error.status = 401
        raise StorageRefusedError(f"{url}: the server answers 401") from error

    for name in ("create", "publish"):
        monkeypatch.setattr(storage, name, refuse)
    with pytest.raises(ConfigError, match=rf"^{folder}: the server answers 401$"):
        trial(folder)


def test_a_refusal_says_how_to_go_on_once_only_and_so_does_its_copy():
    error = StorageRefusedError("s3://b/o: access denied. Check credentials and permissions")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(error).count("run the same command again to resume") == 1
    said = r"^--model s3://b/o: access denied\. Check credentials and permissions$"
    with pytest.raises(ConfigError, match=said), before_work("--model"):
        raise error


@TRIALS
def test_a_store_that_does_not_answer_is_no_wrong_request(trial, folder, monkeypatch):
    def fail(url, content):
        raise StorageUnavailableError(f"{url}: storage failed") from TimeoutError()

    for name in ("create", "publish"):
        monkeypatch.setattr(storage, name, fail)
    with pytest.raises(StorageUnavailableError, match="storage failed"):
        trial(folder)
