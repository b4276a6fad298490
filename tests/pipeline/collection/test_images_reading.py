"""Examples and faults of reading the bytes of one image; test_stores has the property over whole collections."""

import errno
import random
import struct
import threading
import zipfile
import zlib
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.collection.config import MAX_IMAGE_BYTES
from pipeline.collection.stores import read_bytes
from pipeline.errors import FAILURE_REASONS, SampleError
from pipeline.records import Location, Sample

STORED_BYTES, IMAGE_BYTES = 1, 2
"""Where a location in a zip has them."""


def make_sample(**overrides):
    fields = {"key": "000000000042", "image_id": 42, "file_name": "a.jpg", "width": 1, "height": 1}
    return Sample(**{**fields, "license_id": 0, "location": None, **overrides})


def make_file(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    return make_sample(location=Location(path=str(path)))


def make_member(tmp_path, content, *, method=zipfile.ZIP_STORED, extra=b"", **overrides):
    """The only member of a zip, with overrides for what its central directory says."""
    info = zipfile.ZipInfo("train2017/a.jpg")
    info.compress_type, info.extra = method, extra
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(info, content)
    fields = {"header_offset": info.header_offset, "stored_bytes": info.compress_size, "image_bytes": info.file_size}
    fields |= {"compression": info.compress_type, "crc32": info.CRC, **overrides}
    return make_sample(location=Location(path=str(tmp_path / "z.zip"), reader="zip", place=tuple(fields.values())))


def error_of(call, *args, **named):
    with pytest.raises(SampleError) as caught:
        call(*args, **named)
    return caught.value


def raising(error):
    def cat_file(*args, **named):
        raise error

    return cat_file


# Examples


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("content", [b"", b"image", b"image" * 50_000])
def test_a_file_and_a_member_give_the_same_bytes(tmp_path, content, method):
    assert read_bytes(make_file(tmp_path, content)) == content
    assert read_bytes(make_member(tmp_path, content, method=method)) == content


def test_a_member_behind_a_long_extra_field_is_read(tmp_path):
    extra = struct.pack("<HH", 0x9999, 2000) + bytes(2000)
    assert read_bytes(make_member(tmp_path, b"image" * 100, extra=extra)) == b"image" * 100


def test_a_member_is_read_in_one_range(tmp_path, monkeypatch):
    sample, ranges = make_member(tmp_path, b"image" * 100), []
    cat_file = LocalFileSystem.cat_file

    def counted(self, path, start=None, end=None):
        ranges.append((start, end))
        return cat_file(self, path, start, end)

    monkeypatch.setattr(LocalFileSystem, "cat_file", counted)
    read_bytes(sample)
    assert len(ranges) == 1


def test_images_are_read_by_several_threads_at_once(tmp_path):
    sample = make_member(tmp_path, b"image" * 10_000, method=zipfile.ZIP_DEFLATED)
    results = []
    threads = [threading.Thread(target=lambda: results.append(read_bytes(sample))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"image" * 10_000] * 16


def test_the_limit_is_inclusive(tmp_path):
    assert read_bytes(make_file(tmp_path, b"12345"), max_bytes=5) == b"12345"
    assert read_bytes(make_member(tmp_path, b"12345"), max_bytes=5) == b"12345"
    assert MAX_IMAGE_BYTES == 64 << 20


# Faults: one image


@pytest.mark.parametrize("reason", sorted(FAILURE_REASONS))
def test_a_problem_in_the_plan_is_raised_before_anything_is_read(tmp_path, reason):
    location = make_file(tmp_path, b"image").location
    error = error_of(read_bytes, make_sample(location=location, problem=reason, problem_detail="found so"))
    assert (error.reason, error.detail) == (reason, "found so")


def test_a_sample_without_location_is_missing():
    assert error_of(read_bytes, make_sample()).reason == "missing"


def test_a_file_that_disappeared_is_missing_and_named(tmp_path):
    error = error_of(read_bytes, make_sample(location=Location(path=str(tmp_path / "a.jpg"))))
    assert error.reason == "missing"
    assert error.detail.startswith("000000000042 ('a.jpg'): ")
    assert str(tmp_path) not in error.detail


def test_a_folder_in_the_place_of_a_file_is_unreadable(tmp_path):
    assert error_of(read_bytes, make_sample(location=Location(path=str(tmp_path)))).reason == "unreadable"


def test_a_file_without_read_permission_is_unreadable(tmp_path, monkeypatch):
    monkeypatch.setattr(LocalFileSystem, "cat_file", raising(PermissionError(errno.EACCES, "Permission denied")))
    assert error_of(read_bytes, make_file(tmp_path, b"image")).reason == "unreadable"


def test_a_file_over_the_limit_is_refused_with_its_size(tmp_path):
    error = error_of(read_bytes, make_file(tmp_path, b"123456789"), max_bytes=5)
    assert (error.reason, "9 bytes; the limit is 5" in error.detail) == ("too_many_bytes", True)


@pytest.mark.parametrize("lie", [{}, {"image_bytes": 1}, {"stored_bytes": 1}])
def test_a_member_over_the_limit_is_refused_whichever_size_says_so(tmp_path, lie):
    error = error_of(read_bytes, make_member(tmp_path, b"123456789", **lie), max_bytes=5)
    assert error.reason == "too_many_bytes"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_of_the_stored_bytes_is_noticed(tmp_path, method):
    content = random.Random(0).randbytes(300)
    sample = make_member(tmp_path, content, method=method)
    path = Path(sample.location.path)
    whole = path.read_bytes()
    for at in range(45, 45 + sample.location.place[STORED_BYTES]):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert error_of(read_bytes, sample).reason == "unreadable"


def test_a_wrong_checksum_is_reported_with_both_values(tmp_path):
    error = error_of(read_bytes, make_member(tmp_path, b"image", crc32=0xABC))
    assert (error.reason, f"{zlib.crc32(b'image'):08x} instead of 00000abc" in error.detail) == ("unreadable", True)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(("field", "number"), [("image_bytes", IMAGE_BYTES), ("stored_bytes", STORED_BYTES)])
@pytest.mark.parametrize("change", [-1, 1])
def test_lying_lengths_are_unreadable(tmp_path, method, field, number, change):
    honest = make_member(tmp_path, b"image" * 9, method=method).location.place[number]
    error = error_of(read_bytes, make_member(tmp_path, b"image" * 9, method=method, **{field: honest + change}))
    assert error.reason == "unreadable"


def test_a_bomb_is_not_inflated_beyond_its_claim(tmp_path, monkeypatch):
    inflated, make_stream = [], zlib.decompressobj

    class Counted:
        def __init__(self, bits):
            self.stream = make_stream(bits)

        def decompress(self, stored, limit):
            image_bytes = self.stream.decompress(stored, limit)
            inflated.append(len(image_bytes))
            self.eof, self.unused_data = self.stream.eof, self.stream.unused_data
            return image_bytes

    sample = make_member(tmp_path, bytes(10 << 20), method=zipfile.ZIP_DEFLATED, image_bytes=1000)
    monkeypatch.setattr(zlib, "decompressobj", Counted)
    assert error_of(read_bytes, sample).reason == "unreadable"
    assert inflated == [1001]


def test_a_member_that_is_no_longer_there_is_unreadable(tmp_path):
    for overrides in ({"header_offset": 3}, {"compression": zipfile.ZIP_DEFLATED}):
        error = error_of(read_bytes, make_member(tmp_path, b"image", **overrides))
        assert (error.reason, "has the archive changed?" in error.detail) == ("unreadable", True)


def test_a_member_whose_header_is_overwritten_is_unreadable(tmp_path):
    sample = make_member(tmp_path, b"image")
    path = Path(sample.location.path)
    path.write_bytes(b"XX" + path.read_bytes()[2:])
    error = error_of(read_bytes, sample)
    assert (error.reason, "has the archive changed?" in error.detail) == ("unreadable", True)


def test_an_archive_cut_after_planning_is_unreadable_where_it_ends(tmp_path):
    sample = make_member(tmp_path, b"image" * 100)
    path = Path(sample.location.path)
    for length, found in (
        (500, "455 of 500 bytes, then it ends"),
        (60, "15 of 500"),
        (10, "the archive ends before it"),
    ):
        path.write_bytes(path.read_bytes()[:length])
        error = error_of(read_bytes, sample)
        assert (error.reason, found in error.detail) == ("unreadable", True)


# Faults: the machine


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ESTALE, "Stale file handle"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError("timed out"),
        MemoryError(),
    ],
    ids=repr,
)
def test_a_machine_error_does_not_fail_an_image(tmp_path, monkeypatch, error):
    file, member = make_file(tmp_path, b"image"), make_member(tmp_path, b"image")
    monkeypatch.setattr(LocalFileSystem, "cat_file", raising(error))
    for sample in (file, member):
        with pytest.raises(type(error)) as caught:
            read_bytes(sample)
        assert caught.value is error


def test_an_archive_that_disappeared_does_not_fail_its_images(tmp_path):
    sample = make_member(tmp_path, b"image")
    Path(sample.location.path).unlink()
    with pytest.raises(FileNotFoundError):
        read_bytes(sample)


def test_a_folder_that_disappeared_does_not_fail_its_images(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bytes(make_sample(location=Location(path=str(tmp_path / "unmounted" / "a.jpg"))))


def test_refused_credentials_do_not_fail_an_image(monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "cat_file", raising(PermissionError("403")))
    with pytest.raises(PermissionError):
        read_bytes(make_sample(location=Location(path="memory://bucket/a.jpg")))


def test_a_remote_file_that_disappeared_is_missing():
    error = error_of(read_bytes, make_sample(location=Location(path="memory://gone/a.jpg")))
    assert error.reason == "missing"
