"""Files of drawn images: the right ones, each as the manifest states it, and little else is read."""

import io
import shutil
import tarfile

import fsspec
import pytest

from pipeline.audit import drawn_files as module
from pipeline.audit.drawn_files import IMAGE, MASK, SALIENCY, VARIANCE, drawn_files
from pipeline.audit.released import read_audited
from pipeline.errors import StorageError


@pytest.fixture
def copied(audited_release, tmp_path):
    return shutil.copytree(audited_release, tmp_path / "release")


def members(folder):
    """Key → extension → content, of all tars."""
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                found.setdefault(key, {})[extension] = tar.extractfile(member).read()
    return found


@pytest.mark.parametrize("extensions", [(IMAGE,), (IMAGE, MASK, VARIANCE), (SALIENCY,), (VARIANCE, MASK)])
def test_the_wanted_members_of_the_drawn_images_are_read(audited_release, extensions):
    keys = ["000000000010", "000000000004"]
    found = dict(drawn_files(read_audited(str(audited_release)), keys, extensions))
    every = members(audited_release)
    assert found == {key: {extension: every[key][extension] for extension in extensions} for key in keys}


def test_a_remote_release_is_read_alike(audited_release):
    remote = fsspec.filesystem("memory")
    remote.put(str(audited_release), "/drawn", recursive=True)
    try:
        found = dict(drawn_files(read_audited("memory://drawn"), ["000000000004"]))
    finally:
        remote.rm("/drawn", recursive=True)
    assert found == dict(drawn_files(read_audited(str(audited_release)), ["000000000004"]))


def test_nothing_behind_the_last_drawn_image_is_read(audited_release, monkeypatch):
    read = []
    walk = module.walk

    def watched(*arguments):
        for header in walk(*arguments):
            read.append(header.name)
            yield header

    monkeypatch.setattr(module, "walk", watched)
    dict(drawn_files(read_audited(str(audited_release)), ["000000000002"]))
    assert read == [f"000000000002.{extension}" for extension in ("jpg", "json", MASK, SALIENCY, VARIANCE)]


@pytest.mark.parametrize("extension", [IMAGE, MASK, VARIANCE])
def test_a_member_that_is_another_one_is_noticed(copied, extension):
    audited = read_audited(str(copied))
    wanted = members(copied)["000000000004"][extension]
    for path in copied.rglob("*.tar"):
        content = path.read_bytes()
        path.write_bytes(content.replace(wanted, wanted[:-1] + bytes([wanted[-1] ^ 1])))
    with pytest.raises(StorageError, match=r"000000000004.(jpg|mask.png|maps) has SHA-256"):
        dict(drawn_files(audited, ["000000000004"]))


def test_a_member_that_is_missing_is_named(copied):
    audited = read_audited(str(copied))
    for path in copied.rglob("*.tar"):
        content = path.read_bytes()
        with tarfile.open(path, "w") as tar, tarfile.open(fileobj=io.BytesIO(content)) as source:
            for member in source:
                if member.name != "000000000004.mask.png":
                    tar.addfile(member, source.extractfile(member))
    with pytest.raises(StorageError, match=r"lacks 000000000004.mask.png|can't be read"):
        dict(drawn_files(audited, ["000000000004"]))


@pytest.mark.parametrize("cut", [0, 700])
def test_a_torn_or_missing_tar_is_named(copied, cut):
    audited = read_audited(str(copied))
    for path in copied.rglob("*.tar"):
        path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StorageError, match=r"test-00000-of-.*can't be read"):
        dict(drawn_files(audited, ["000000000002"]))
    for path in copied.rglob("*.tar"):
        path.unlink()
    with pytest.raises(StorageError, match=r"test-00000-of-.*can't be read"):
        dict(drawn_files(audited, ["000000000002"]))
