"""Files whose sizes nobody promised: looked at first, and read no further than the bound."""

import os

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.coco import read_annotation_bytes
from pipeline.errors import AnnotationError, StorageError
from pipeline.files import storage, urls
from pipeline.files.bounded import TooLargeError, read_at_most
from pipeline.records import StoredFile


@given(st.binary(max_size=20), st.integers(0, 20), st.booleans())
def test_a_file_is_read_whole_or_refused_by_its_size(tmp_path_factory, content, most_bytes, is_remote):
    place = "memory://bounded/file" if is_remote else str(tmp_path_factory.mktemp("bounded") / "file")
    storage.publish(place, content)
    fs, path = urls.resolve(place)
    if len(content) <= most_bytes:
        assert read_at_most(fs, path, most_bytes) == content == storage.read(place, most_bytes)
        return
    for read in (lambda: read_at_most(fs, path, most_bytes), lambda: storage.read(place, most_bytes)):
        with pytest.raises((TooLargeError, StorageError), match=f"{len(content)} bytes; at most {most_bytes} are read"):
            read()


@pytest.fixture
def huge(tmp_path):
    """A file of 40 GiB that takes no disk."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(40 << 30)
    return str(tmp_path / "huge")


def test_a_huge_file_is_refused_before_it_is_read(huge, monkeypatch):
    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem, "cat_file", None)  # nothing may get as far
    expected = StoredFile(name="huge", file_bytes=5, sha256="0" * 64)
    for read in (lambda: storage.read(huge), lambda: storage.read_checked(huge, expected)):
        with pytest.raises(StorageError, match=r"42,949,672,960 bytes; at most [\d,]+ are read"):
            read()
    with pytest.raises(AnnotationError, match="42,949,672,960 bytes"):
        read_annotation_bytes(huge)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/zero", str(tmp_path / "pipe")):
        with pytest.raises(StorageError, match="it is a device or a pipe, not a file"):
            storage.read(place)
        with pytest.raises(AnnotationError, match="it is a device or a pipe, not a file"):
            read_annotation_bytes(place)
