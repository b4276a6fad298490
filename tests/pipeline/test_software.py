"""Version and commit of the code, in checkouts made here; whatever is missing is left out, and nothing fails."""

import shutil
import subprocess

import pytest

from pipeline.software import software

PROJECT = '[project]\nname = "sod-benchmark"\nversion = "3.2.1"\n'


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one commit; gives its folder and that commit."""
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/a.py").write_text("a = 1\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "-m", "x")
    return tmp_path, git(tmp_path, "rev-parse", "HEAD")


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_names_its_commit_and_whether_its_code_was_edited(checkout):
    root, commit = checkout
    assert software.__wrapped__(root) == {"version": "3.2.1", "commit": commit}
    (root / "notes.txt").write_text("not code")
    assert software.__wrapped__(root)["commit"] == commit
    (root / "model/a.py").write_text("a = 2\n")
    assert software.__wrapped__(root)["commit"] == f"{commit}, changed"


def test_an_uploaded_working_folder_has_a_version_alone(checkout):
    root, _ = checkout
    shutil.rmtree(root / ".git")
    assert software.__wrapped__(root) == {"version": "3.2.1"}


def test_a_package_inside_the_checkout_of_another_project_is_not_taken_for_it(checkout):
    root, _ = checkout
    inner = root / "lib"
    inner.mkdir()
    assert "commit" not in software.__wrapped__(inner)


@pytest.mark.parametrize("content", ["not toml [", '[project]\nname = "other"\nversion = "9"\n', "[tool]\n"])
def test_a_foreign_or_damaged_project_file_names_no_version(tmp_path, content):
    (tmp_path / "pyproject.toml").write_text(content)
    assert software.__wrapped__(tmp_path).get("version") not in ("9", "3.2.1")


def test_without_git_a_checkout_has_a_version_alone(checkout, monkeypatch):
    root, _ = checkout
    monkeypatch.setenv("PATH", str(root))
    assert software.__wrapped__(root) == {"version": "3.2.1"}
