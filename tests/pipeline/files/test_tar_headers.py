"""Walking through tars: the members that Python's tarfile finds, and never more than the file holds."""

import io
import struct
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files.tar_headers import BLOCK_BYTES, TornTarError, walk

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
PART = st.text("abcäß漢 ._-", min_size=1, max_size=40).filter(lambda part: part.strip(". ") == part)
NAME = st.lists(PART, min_size=1, max_size=8).map("/".join)
MEMBERS = st.dictionaries(NAME, st.binary(max_size=1200), max_size=5)


def make_tar(members, form="pax", kinds=None):
    """A tar of these members; those with a kind, a type of tarfile's, have no content."""
    file, kinds = io.BytesIO(), kinds or {}
    with tarfile.open(fileobj=file, mode="w", format=FORMATS[form]) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = 0 if name in kinds else len(content)
            member.type = kinds.get(name, tarfile.REGTYPE)
            member.linkname = "elsewhere" if name in kinds else ""
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def read_of(content):
    return lambda start, end: content[start:end]


def members_of(content):
    return list(walk(read_of(content), len(content)))


def with_sum(block):
    """The header with the checksum that belongs to it."""
    total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


def header(name=b"a.jpg", size=b"00000000003\0", kind=b"0"):
    block = struct.pack("100s24x12s12x8x1s100x8s247x", name, size, kind, b"ustar\x0000")
    return with_sum(block)


def padded(content):
    return content + bytes(-len(content) % BLOCK_BYTES)


END = bytes(2 * BLOCK_BYTES)


# Properties


@given(MEMBERS, st.sampled_from(["gnu", "pax"]))
def test_members_and_their_bytes_are_those_that_tarfile_finds(members, form):
    content = make_tar(members, form)
    found = {one.name: content[one.start : one.start + one.content_bytes] for one in members_of(content)}
    assert found == members
    assert not any(one.problem for one in members_of(content))


@given(MEMBERS, st.data())
def test_a_tar_that_was_cut_off_is_always_noticed(members, data):
    content = make_tar(members)
    whole = sum(BLOCK_BYTES + len(padded(one)) for one in members.values())
    cut = data.draw(st.integers(0, min(whole, len(content) - 1)))
    with pytest.raises(TornTarError):
        members_of(content[:cut])


@given(MEMBERS, st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_bytes_a_tar_has_every_member_lies_inside_it(members, changes):
    content = bytearray(make_tar(members, "gnu"))
    for place, value in changes:
        content[place % len(content)] = value
    try:
        for member in walk(read_of(bytes(content)), len(content)):
            assert BLOCK_BYTES <= member.start <= member.start + member.content_bytes <= len(content)
    except TornTarError:
        pass


# Examples


def test_a_long_name_of_ustar_is_put_together():
    name = f"{'f' * 120}/{'n' * 90}.jpg"
    assert [one.name for one in members_of(make_tar({name: b"1"}, "ustar"))] == [name]


def test_a_size_in_base_256_is_read():
    size = b"\x80" + (3).to_bytes(11, "big")
    (member,) = members_of(header(size=size) + padded(b"abc") + END)
    assert (member.start, member.content_bytes) == (512, 3)


def test_a_name_that_is_not_utf_8_can_be_stored():
    (member,) = members_of(header(name=b"caf\xe9.jpg") + padded(b"abc") + END)
    assert member.name == "café.jpg"


def test_the_header_is_the_block_before_the_content():
    content = make_tar({"n" * 200: b"abc"})
    (member,) = members_of(content)
    assert content[member.start - BLOCK_BYTES : member.start] == member.header


def test_tars_that_were_joined_by_cat_are_read_to_the_end():
    content = make_tar({"a": b"1"}) + make_tar({"b": b"2"})
    assert [one.name for one in members_of(content)] == ["a", "b"]


def test_what_is_behind_the_end_and_is_no_tar_is_left_alone():
    assert [one.name for one in members_of(make_tar({"a": b"1"}) + b"x" * 2000)] == ["a"]


# Faults


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.DIRTYPE, "a folder"),
        (tarfile.FIFOTYPE, "a pipe"),
    ],
)
def test_what_is_no_file_is_named_and_the_next_member_is_found(kind, problem):
    found = members_of(make_tar({"a.jpg": b"", "b.jpg": b"2"}, kinds={"a.jpg": kind}))
    assert [(one.name.rstrip("/"), one.problem) for one in found] == [("a.jpg", problem), ("b.jpg", "")]


def test_sparse_members_are_named_and_the_next_member_is_found():
    with_map = bytearray(header(kind=b"S"))
    with_map[482] = 1
    more, last = bytearray(BLOCK_BYTES), bytes(BLOCK_BYTES)
    more[504] = 1
    old = with_sum(bytes(with_map)) + bytes(more) + last + padded(b"abc")
    new = header(name=b"b.jpg") + padded(b"abc")
    assert [(one.name, one.problem) for one in members_of(old + new + END)] == [
        ("a.jpg", "a sparse file"),
        ("b.jpg", ""),
    ]
    pax = padded(b"22 GNU.sparse.major=1\n30 GNU.sparse.name=sparse.jpg\n")
    content = header(kind=b"x", size=b"%011o\0" % 52) + pax + header() + padded(b"abc") + END
    assert [(one.name, one.problem) for one in members_of(content)] == [("sparse.jpg", "a sparse file")]


@pytest.mark.parametrize("kind", [b"x", b"L"])
def test_a_huge_header_of_a_name_is_never_read(kind):
    huge = 10 << 20
    read_bytes = []

    def read(start, end):
        read_bytes.append(end - start)
        return content[start:end]

    content = header(kind=kind, size=b"%011o\0" % huge) + bytes(huge) + header() + padded(b"abc") + END
    (member,) = walk(read, len(content))
    assert member.problem == f"a member with a header of {huge} bytes"
    assert max(read_bytes) == BLOCK_BYTES


@pytest.mark.parametrize("record", [b"9999 path=x\n", b"path=x\n", b"0 path=x\n", b"7 pathx\n", b"12345678 a=b\n"])
def test_a_torn_pax_header_is_the_problem_of_its_member(record):
    content = header(kind=b"x", size=b"%011o\0" % len(record)) + padded(record) + header() + padded(b"abc") + END
    assert [(one.name, one.problem) for one in members_of(content)] == [("a.jpg", "a member with a torn pax header")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it ends at byte 0 without the mark of its end"),
        (b"no tar" * 200, "at byte 0 is no header"),
        (header(size=b"77777777777\0") + padded(b"abc") + END, "8589934591 bytes at 512 lead beyond its end at 2048"),
        (header(size=b"\xff" * 12) + END, "the member at byte 0 has no size"),
        (header(size=b"99999999999\0") + END, "the member at byte 0 has no size"),
        (header() + padded(b"abc") + b"x" * 512 + END, "at byte 1024 is no header"),
        (header(kind=b"x", size=b"00000000010\0") + padded(b"8 size=x\n"[:8]) + header() + END, "lead beyond its end"),
    ],
)
def test_what_is_no_whole_tar_is_refused_with_the_place(content, said):
    with pytest.raises(TornTarError, match=said):
        members_of(content)
