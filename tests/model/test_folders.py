"""Model folders: whatever fails while one replaces another, and whenever a session is killed, one of them is left."""

import itertools
import os
import shutil
import subprocess
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch

from model.diffusion import SODDiffusionPipeline
from model.folders import give_back, save_pipeline, sums_with

KIND, WEIGHTS = "fine-tuned", "unet/weights.safetensors"
CALLS = ("rename", "replace", "fsync", "unlink", "rmdir")
"""What a replacement asks of the disk, apart from writing files."""


class Killed(BaseException):
    """Ends a session in these tests."""


class Written(SODDiffusionPipeline):
    """A pipeline that saves one file."""

    unet = SimpleNamespace(dtype=torch.float32)

    def __init__(self, name, text):
        self.file = name, text

    def save_pretrained(self, folder, safe_serialization):
        assert safe_serialization
        name, text = self.file
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def save(number, out):
    """Save a model whose weights are one number; replace an older one."""
    save_pipeline(Written(WEIGHTS, str(number)), out, {"kind": KIND, "step": number}, replace=True)


def held(out):
    """The number that a whole folder holds."""
    checked = subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=out, check=True)
    assert checked.returncode == 0
    return int((out / WEIGHTS).read_text())


def failing(patch, call, error, *, for_good):
    """Have the given call to the disk raise, and all later ones too if `for_good`; gives the calls that were made."""
    made = list[str]()

    def wrap(name):
        own = getattr(os, name)

        def called(*arguments, **options):
            made.append(name)
            if len(made) == call + 1 or (for_good and len(made) > call):
                raise error
            return own(*arguments, **options)

        return called

    for name in CALLS:
        patch.setattr(os, name, wrap(name))
    return made


def each_call(folder, error, *, for_good):
    """Replace 1 by 2, once for each call to the disk, which fails; gives the folders that are left."""
    for call in itertools.count():
        out = folder / str(call) / "best"
        save(1, out)
        with pytest.MonkeyPatch.context() as patch:
            made = failing(patch, call, error, for_good=for_good)
            with suppress(type(error)):
                save(2, out)
        if len(made) <= call:
            assert call > 8  # all of them have failed once
            return
        yield out


def test_an_error_of_the_disk_leaves_the_old_model_alone_or_the_new_one_and_says_what_stays_of_the_old(
    tmp_path, caplog
):
    for out in each_call(tmp_path, OSError("Input/output error"), for_good=False):
        beside = [path for path in out.parent.iterdir() if path != out]
        assert (held(out), beside) == (1, []) or held(out) == 2
        assert all(str(path) in caplog.text for path in beside)


def test_a_kill_leaves_the_old_model_or_the_new_one_once_the_next_session_has_begun(tmp_path):
    missing = 0
    for out in each_call(tmp_path, Killed(), for_good=True):
        missing += not out.exists()
        give_back(out)
        assert held(out) in (1, 2)
        save(3, out)
        assert held(out) == 3
    assert missing  # between the two renamings


def test_a_model_that_another_process_holds_open_is_replaced_and_what_stays_of_it_is_named(
    tmp_path, monkeypatch, caplog
):
    """On NFS, files that are open stay as .nfsXXXX, and their folder can't be removed."""
    out, own = tmp_path / "best", os.rmdir

    def rmdir(path, **options):
        if str(path).endswith("unet"):
            raise OSError(39, "Directory not empty", str(path))
        own(path, **options)

    save(1, out)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", rmdir)
        save(2, out)
    assert held(out) == 2
    (stayed,) = (path for path in tmp_path.iterdir() if path != out)
    assert f"delete {stayed} later" in caplog.text
    shutil.rmtree(out)
    give_back(out)  # what is removed is no model any more
    assert not out.exists()


def test_a_model_that_was_set_aside_last_is_given_back_and_none_where_one_stands(tmp_path, caplog):
    out = tmp_path / "best[1]"  # no pattern
    for number in (1, 2):
        save(number, out)
        out.rename(tmp_path / f".best[1].{number}{'0' * 31}.replaced")
    save(3, tmp_path / ".best1.00.replaced")
    give_back(out)
    assert held(out) == 2
    assert f"{out} is back" in caplog.text
    give_back(out)
    assert held(out) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".best1.00.replaced", f".best[1].1{'0' * 31}.replaced", "best[1]",
    ]  # fmt: skip


def test_the_sums_with_another_content_of_a_file_are_those_of_the_folder_that_has_it(tmp_path):
    out = tmp_path / "model"
    save(1, out)
    before = (out / "SHA256SUMS").read_text()
    sums = sums_with(out, WEIGHTS, b"7")
    (out / WEIGHTS).write_bytes(b"7")
    (out / "SHA256SUMS").write_bytes(sums)
    assert held(out) == 7
    changed = [one for one, other in zip(before.splitlines(), sums.decode().splitlines(), strict=True) if one != other]
    assert len(changed) == 1


def test_a_file_of_a_model_may_have_any_name(tmp_path):
    name = os.fsdecode(b"caf\xe9.json")
    for text in ("{}", "[]"):
        save_pipeline(Written(name, text), tmp_path / "model", {"kind": KIND}, replace=True)
    assert (tmp_path / "model" / name).read_text() == "[]"
