"""Reading the wanted members of a tar, and little else."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.page import members
from pipeline.audit.page.members import read_members
from pipeline.errors import StorageError
from pipeline.files import storage
from pipeline.files.tars import SampleTar


def make_tar(samples):
    file = io.BytesIO()
    tar = SampleTar(file)
    for key, contents in samples.items():
        tar.add(key, contents)
    tar.close()
    return file.getvalue()


@given(
    st.dictionaries(
        st.text("abc123", min_size=1, max_size=4),
        st.fixed_dictionaries({name: st.binary(max_size=1500) for name in ("jpg", "json", "variance.png")}),
        min_size=1,
        max_size=5,
    ),
    st.sets(st.text("abc123", min_size=1, max_size=4)),
    st.sets(st.sampled_from(["jpg", "json", "variance.png", "none"])),
)
def test_exactly_the_wanted_members_come_in_the_order_of_the_tar(samples, keys, extensions):
    keys |= set(list(samples)[::2])
    url = "memory://members/some.tar"
    storage.publish(url, make_tar(samples))
    expected = [
        (key, {name: content for name, content in held.items() if name in extensions})
        for key, held in samples.items()
        if key in keys and extensions & held.keys()
    ]
    assert list(read_members(url, keys, extensions)) == expected


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_few_bytes_of_a_large_tar_are_read(monkeypatch, tmp_path, place):
    samples = {f"{number:03d}": {"jpg": bytes(200_000), "json": b"{}"} for number in range(20)}
    url = "memory://members/large.tar" if place == "memory" else str(tmp_path / "large.tar")
    storage.publish(url, make_tar(samples))
    asked = []
    read = members.read_range
    monkeypatch.setattr(members, "read_range", lambda *at: asked.append(at[3] - at[2]) or read(*at))
    assert [key for key, _ in read_members(url, {"007"}, {"jpg"})] == ["007"]
    assert sum(asked) < 2_000_000


def test_a_member_that_is_no_plain_file_is_not_followed(tmp_path):
    with tarfile.open(tmp_path / "link.tar", "w") as tar:
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(StorageError, match=r"link\.tar: 1\.jpg is a symbolic link"):
        list(read_members(str(tmp_path / "link.tar"), {"1"}, {"jpg"}))


def test_a_torn_tar_is_named(tmp_path):
    content = make_tar({"1": {"jpg": bytes(3000)}})
    (tmp_path / "torn.tar").write_bytes(content[:2000])
    with pytest.raises(StorageError, match=r"torn\.tar is no whole tar"):
        list(read_members(str(tmp_path / "torn.tar"), {"1"}, {"jpg"}))
