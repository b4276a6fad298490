"""Pictures, tars and folders hold what a release puts into them, and whatever else is in them is found."""

import io
import os
import shutil
import struct
import tarfile
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from model.maps import encode_png
from pipeline.files.maps import decode_png
from pipeline.files.tars import SampleTar, samples_of
from pipeline.release.check.containers import TarComparison, parquet_problem, png_problem, webp_problem
from pipeline.release.check.verify import verify_release
from tests.pipeline.make import make_key
from tests.pipeline.release.editing import edit_tar, forge, mend_sums, write_tar

TAR = "data/test/test-00000-of-00001.tar"
SHEET = "page/tiles/000/00000.webp"
MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20))
EXTENSIONS = st.sets(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3)
CHUNK = st.tuples(
    st.sampled_from([b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"prVt", b"IHDR", b"IDAT"]), st.binary(max_size=9)
)


def png_size(values):
    return values.shape[1], values.shape[0]


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def chunk_starts(content):
    places = [8]
    while places[-1] < len(content):
        places.append(places[-1] + 12 + struct.unpack_from(">I", content, places[-1])[0])
    return places


@given(MAPS)
def test_a_map_as_it_is_stored_has_nothing_else(values):
    assert png_problem(encode_png(values), png_size(values)) == ""


@given(MAPS, CHUNK, st.data())
def test_a_chunk_more_is_found_wherever_it_is(values, more, data):
    content = encode_png(values)
    place = data.draw(st.sampled_from(chunk_starts(content)))
    if more == (b"IDAT", b""):
        return  # an empty piece of the pixels, which hides nothing
    assert png_problem(content[:place] + chunk(*more) + content[place:], png_size(values))


@given(MAPS, st.data())
def test_any_byte_flipped_in_a_picture_is_found_or_changes_its_pixels(values, data):
    content = bytearray(encode_png(values))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    assert png_problem(bytes(content), png_size(values))


@given(MAPS, st.binary(min_size=1, max_size=9))
def test_bytes_after_the_pixels_are_found(values, more):
    content = encode_png(values)
    assert "after its end" in png_problem(content + more, png_size(values))
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    header, end = content[:33], content[-12:]
    assert png_problem(header + chunk(b"IDAT", packed) + end, png_size(values)) == ""
    assert (
        png_problem(header + chunk(b"IDAT", packed + more) + end, png_size(values))
        == "has more or fewer bytes than pixels"
    )


@given(st.lists(st.binary(max_size=700), min_size=1, max_size=3), EXTENSIONS)
def test_a_tar_as_it_is_written_has_nothing_else(contents, extensions):
    content = make_tar([(str(n), dict.fromkeys(extensions, each)) for n, each in enumerate(contents)])
    assert tar_problem(content) == ""


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_any_byte_of_a_tar_that_is_not_its_samples_is_found(place, change):
    samples = [("1", {"a": b"one", "b": b"1"}), ("2", {"a": b"two", "b": b"2" * 600})]
    content = bytearray(make_tar(samples))
    content[place % len(content)] ^= change
    try:
        found = dict(samples_of(bytes(content)))
    except (ValueError, tarfile.TarError):
        return
    assert found != dict(samples) or tar_problem(bytes(content))


def make_tar(samples):
    buffer = io.BytesIO()
    tar = SampleTar(buffer)
    for key, members in samples:
        tar.add(key, members)
    tar.close()
    return buffer.getvalue()


def tar_problem(content):
    again = TarComparison(content)
    for key, members in samples_of(content):
        again.add(key, members)
    return again.problem()


@given(st.integers(1, 30), st.integers(1, 30), st.binary(min_size=1, max_size=9))
def test_a_sheet_has_one_picture(width, height, more):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (9, 8, 7)).save(buffer, "WEBP", quality=70, method=2)
    assert webp_problem(buffer.getvalue()) == ""
    assert webp_problem(buffer.getvalue() + more)
    with_text = io.BytesIO()
    Image.new("RGB", (width, height)).save(with_text, "WEBP", xmp=more)
    assert "VP8X" in webp_problem(with_text.getvalue())


@given(st.binary(min_size=1, max_size=30))
def test_bytes_between_the_columns_of_a_manifest_and_its_footer_are_found(released, more):
    content = (released.folder / "manifest.parquet").read_bytes()
    assert parquet_problem(content) == ""
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    hidden = content[:footer] + more + content[footer:]
    assert pq.read_table(io.BytesIO(hidden)).num_rows == 10, "readers do not notice"
    assert "account for" in parquet_problem(hidden)


# In releases whose forger mended everything else


@pytest.fixture
def copy(released, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    return folder


def problems_of(folder):
    return {problem.where: problem.what for problem in verify_release(str(folder)).problems}


def with_text(content):
    info = PngInfo()
    info.add_text("Comment", "by somebody else")
    buffer = io.BytesIO()
    Image.fromarray(decode_png(content)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["mask.png", "saliency.png", "variance.png"])
@pytest.mark.parametrize(
    ("hide", "said"), [(with_text, "tEXt"), (lambda content: content + b"x", "1 bytes after its end")], ids=range(2)
)
def test_what_hides_in_a_map_is_found(copy, name, hide, said):
    def edit(samples, rows):
        samples[make_key(2)][name] = hide(samples[make_key(2)][name])

    forge(copy, edit)
    assert f"{make_key(2)}.{name}: the PNG has" in problems_of(copy)[TAR]
    assert said in problems_of(copy)[TAR]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda tar: tar + bytes(10_240), "10240 bytes after its end"),
        (lambda tar: tar + tar, "bytes after its end"),
        (lambda tar: tar[:-100] + b"x" * 100, "do not account for"),
        (lambda tar: tar[: len(b"000000000002.jpg")] + b"\0hidden" + tar[len(b"000000000002.jpg") + 7 :], ""),
    ],
    ids=range(4),
)
def test_what_hides_in_a_tar_is_found(copy, edit, said):
    write_tar(copy, edit((copy / TAR).read_bytes()), 5)
    assert said in problems_of(copy)[TAR]


def test_an_owner_and_a_time_of_members_are_found(copy):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples_of((copy / TAR).read_bytes()):
            for extension, content in sorted(members.items()):
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size, member.uname, member.mtime = len(content), "somebody", 1
                tar.addfile(member, io.BytesIO(content))
    write_tar(copy, buffer.getvalue(), 5)
    assert "owners, times or padding" in problems_of(copy)[TAR]


def test_members_that_no_sample_has_are_found_in_every_sample(copy):
    edit_tar(copy, lambda samples: [(key, members | {"cls": b"1"}) for key, members in samples])
    assert "has the members ['cls', 'jpg'" in problems_of(copy)[TAR]


def test_text_in_a_sheet_is_found(copy):
    with Image.open(copy / SHEET) as sheet:
        sheet.save(copy / SHEET, "WEBP", xmp=b"by somebody else")
    mend_sums(copy)
    assert problems_of(copy) == {
        SHEET: "can't be read as a picture alone: it begins with the chunk VP8X, so it has more than a picture"
    }


@pytest.mark.parametrize("name", ["NOTICE", "page", "data/test", TAR, "release.json"])
def test_a_link_out_of_the_release_is_found(copy, name):
    outside = copy.parent / "outside"
    os.rename(copy / name, outside)
    (copy / name).symlink_to(outside)
    assert problems_of(copy) == {name: f"is a symbolic link to {outside}; copy the release with its files (cp -rL)"}


def test_a_release_may_be_reached_through_a_link(copy):
    (copy.parent / "latest").symlink_to(copy)
    assert problems_of(copy.parent / "latest") == {}


def test_a_manifest_with_notes_is_found(copy):
    table = pq.read_table(copy / "manifest.parquet").replace_schema_metadata({"note": "x"})
    pq.write_table(table, copy / "manifest.parquet")
    mend_sums(copy)
    assert "metadata" in problems_of(copy)["manifest.parquet"]
