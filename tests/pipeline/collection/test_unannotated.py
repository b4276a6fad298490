"""Images without annotations: keys, ids and sizes follow from names and headers alone."""

import io
import posixpath
import re
import string
import tarfile
import unicodedata
import zipfile

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.collection import folders, unannotated
from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.unannotated import find_samples, key_and_id
from pipeline.errors import CollectionError
from tests.pipeline.files.make_images import HEIGHT, WIDTH, chunk, exif_with, png_with
from tests.pipeline.make import make_jpeg, open_images

STEM = st.text("abcXYZ019 ._-äé日#%&'\u0301", min_size=1, max_size=12).filter(lambda text: not text.startswith("."))
NAME = st.builds(
    lambda folders, stem, suffix: "/".join([*folders, stem + suffix]),
    st.lists(st.text("abé_", min_size=1, max_size=4), max_size=2),
    STEM,
    st.sampled_from([".jpg", ".JPG", ".png", ".webp"]),
)
ORIENTATION = 0x0112
SIZED = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("WEBP", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("AVIF", {}),
]
PADDING = st.integers(0, 40_000)


def samples_of(images):
    return read_collection(InputConfig(images=str(images))).samples


def make_folder(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


# Properties


@given(NAME)
def test_a_key_is_readable_ascii_without_dots_and_fits_everywhere(name):
    key, image_id = key_and_id(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", key)
    assert 0 <= image_id < 1 << 53
    plain = unicodedata.normalize("NFKD", posixpath.splitext(name)[0])
    assert [letter for letter in key.rpartition("-")[0] if letter in string.ascii_letters] in (
        [letter for letter in plain if letter in string.ascii_letters],
        list("image"),
    )


@given(NAME)
def test_the_form_of_a_name_changes_neither_key_nor_id(name):
    assert key_and_id(unicodedata.normalize("NFD", name)) == key_and_id(unicodedata.normalize("NFC", name))


@given(st.sets(NAME, min_size=2, max_size=30))
def test_distinct_names_have_distinct_keys_and_ids(names):
    names = {unicodedata.normalize("NFC", name) for name in names}
    keys, ids = zip(*map(key_and_id, names), strict=True)
    assert len(set(keys)) == len(set(ids)) == len(names)


@settings(max_examples=30, deadline=None)
@given(st.sets(NAME, min_size=2, max_size=6), st.data())
def test_images_keep_keys_ids_and_sizes_when_the_collection_grows(tmp_path_factory, names, data):
    names = sorted({unicodedata.normalize("NFC", name) for name in names})
    assume(len({key_and_id(name)[0] for name in names}) == len(names))
    content = {name: make_jpeg(number, 8 + number, 6) for number, name in enumerate(names)}
    few = data.draw(st.sets(st.sampled_from(names), min_size=1))
    folder = make_folder(tmp_path_factory.mktemp("few"), {name: content[name] for name in few})
    before = [(sample.key, sample.image_id, sample.file_name, sample.width) for sample in samples_of(folder)]
    after = [
        (sample.key, sample.image_id, sample.file_name, sample.width)
        for sample in samples_of(make_folder(folder, content))
    ]
    assert set(before) <= set(after)
    assert {name for _, _, name, _ in after} == set(names)
    assert after == sorted(after)


@example(("AVIF", {}), 1, 2, 6, False, 0)
@example(("PNG", {}), 1, 2, 6, False, 40_000)
@example(("JPEG", {}), 1, 2, 6, False, 40_000)
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SIZED), st.integers(1, 70), st.integers(1, 70), st.integers(0, 9), st.booleans(), PADDING)
def test_sizes_are_those_at_which_pillow_shows_an_image(tmp_path_factory, form, width, height, turned, grey, padding):
    kind, options = form
    buffer, exif = io.BytesIO(), Image.Exif()
    if turned:
        exif[ORIENTATION] = turned
        exif[0x010E] = "x" * padding  # a description that pushes the size far into the file
    Image.new("L" if grey and kind != "WEBP" else "RGB", (width, height)).save(buffer, kind, exif=exif, **options)
    folder = make_folder(tmp_path_factory.mktemp("sizes"), {"a.jpg": buffer.getvalue()})
    (sample,) = samples_of(folder)
    assert (sample.problem, sample.width, sample.height) == (
        "",
        *ImageOps.exif_transpose(Image.open(io.BytesIO(buffer.getvalue()))).size,
    )


# Examples


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("000000000139.jpg", "000000000139"),
        ("holiday/IMG_0001.jpg", "holiday-IMG_0001-4e89827e"),
        ("train/000000000139.jpg", "train-000000000139-"),
        ("139.jpg", "139-"),
        ("Küche (1).jpg", "Kuche-1-"),
        ("日本.jpg", "image-"),
        ("v1.0_a.b.jpg", "v1-0_a-b-"),
        ("x" * 200 + ".jpg", "x" * 60 + "-"),
    ],
)
def test_keys_say_which_image_they_are(name, key):
    assert key_and_id(name)[0].startswith(key)


def test_a_name_like_cocos_has_the_id_of_coco():
    assert key_and_id("000000000139.jpg") == ("000000000139", 139)


def test_what_is_no_image_is_ignored_and_the_log_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    jpeg = make_jpeg(1, 8, 6)
    files = {
        "a.jpg": jpeg,
        "notes.txt": b"",
        "b.txt": b"",
        "._a.jpg": b"",
        ".hidden/b.jpg": jpeg,
        "__MACOSX/a.jpg": b"",
    }
    assert [sample.file_name for sample in samples_of(make_folder(tmp_path, files))] == ["a.jpg"]
    said = "ignoring 5 files that are hidden or not named like images: 3 hidden .jpg, 2 .txt"
    assert said in caplog.messages
    for name in ("a.jpg", "notes.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(CollectionError, match=r"4 files, none with the suffix of an image but hidden ones \(3 hidden"):
        samples_of(tmp_path)


def test_a_zip_gives_the_images_of_its_folder(tmp_path):
    files = {f"in/{number}.jpg": make_jpeg(number, 8 + number, 6) for number in range(4)}
    folder = make_folder(tmp_path / "folder", files)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if "1" in name else zipfile.ZIP_STORED)
    facts = [
        [(sample.key, sample.image_id, sample.file_name, sample.width, sample.height) for sample in samples_of(images)]
        for images in (folder, tmp_path / "x.zip")
    ]
    assert facts[0] == facts[1]
    assert len(facts[0]) == 4


def test_absolute_names_in_a_zip_are_below_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("/in/a.jpg", "./in/b.jpg", "in\\c.jpg", "C:/in/d.jpg"):
            archive.writestr(name, make_jpeg(1, 8, 6))
    assert sorted(sample.file_name for sample in samples_of(tmp_path / "x.zip")) == [
        f"in/{letter}.jpg" for letter in "abcd"
    ]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_few_kilobytes_of_a_large_photo_are_read(tmp_path, monkeypatch, orientation):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = orientation
    Image.effect_noise((1200, 900), 80).save(buffer, "JPEG", quality=95, exif=exif)
    folder, read, asked = make_folder(tmp_path, {"a.jpg": buffer.getvalue()}), folders.read_range, []
    monkeypatch.setattr(folders, "read_range", lambda *given: asked.append(given[3] - given[2]) or read(*given))
    (sample,) = samples_of(folder)
    assert (sample.width, sample.height) == ((1200, 900) if orientation == 1 else (900, 1200))
    assert len(buffer.getvalue()) > 500_000
    assert sum(asked) <= 32 << 10


@pytest.mark.parametrize("more_bytes", [0, 60_000])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("in_tar", [False, True])
def test_a_png_is_upright_wherever_its_orientation_stands_and_however_large_it_is(tmp_path, in_tar, place, more_bytes):
    turned, more = chunk(b"eXIf", exif_with(6)[6:]), chunk(b"moRe", bytes(more_bytes))
    png = png_with(before=turned, after=more) if place == "before" else png_with(after=more + turned)
    images = make_folder(tmp_path, {"in/a.png": png}) / "in"
    if in_tar:
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            tar.add(images / "a.png", "a.png")
    (sample,) = samples_of(tmp_path / "x.tar" if in_tar else images)
    assert (sample.width, sample.height) == (HEIGHT, WIDTH)


# Faults


@pytest.mark.parametrize("content", [b"", b"no image", make_jpeg(1, 9, 9)[:30], b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_file_that_is_no_image_costs_one_image(tmp_path, content):
    bad, good = samples_of(make_folder(tmp_path, {"a.jpg": content, "b.jpg": make_jpeg(1, 8, 6)}))
    assert (bad.problem, bad.width, bad.height) == ("undecodable", 0, 0)
    assert "'a.jpg'" in bad.problem_detail
    assert (good.problem, good.width, good.height) == ("", 8, 6)


def test_a_file_over_the_limit_costs_one_image(tmp_path):
    noise = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(noise, "TIFF")
    folder = make_folder(tmp_path, {"a.tif": noise.getvalue(), "b.jpg": make_jpeg(1, 8, 6)})
    bad, good = read_collection(InputConfig(images=str(folder), max_image_bytes=20_000)).samples
    assert (bad.problem, good.problem) == ("too_many_bytes", "")


def test_a_name_that_is_no_text_costs_one_image(tmp_path):
    (tmp_path / b"caf\xe9.jpg".decode("utf-8", "surrogateescape")).write_bytes(make_jpeg(1, 8, 6))
    (tmp_path / "b.jpg").write_bytes(make_jpeg(1, 8, 6))
    good, bad = samples_of(tmp_path)
    assert (bad.file_name, bad.problem, good.problem) == ("caf\\udce9.jpg", "unsafe_path", "")
    assert "is not valid text" in bad.problem_detail


def test_two_images_with_one_key_are_refused_by_name(tmp_path):
    make_folder(tmp_path, {"000000000007.jpg": make_jpeg(1, 8, 6), "000000000007.png": make_jpeg(1, 8, 6)})
    with pytest.raises(
        CollectionError, match=r"'000000000007\.jpg' and '000000000007\.png' both get the key 000000000007; rename"
    ):
        samples_of(tmp_path)


def test_names_that_look_alike_are_told_apart_where_they_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("e\u0301.jpg", "\u00e9.jpg"):
            archive.writestr(name, make_jpeg(1, 8, 6))
    said = (
        r"'e\\u0301\.jpg' and '\\xe9\.jpg' differ only in their form of Unicode, so both get the key e-\w+; rename one"
    )
    with pytest.raises(CollectionError, match=said):
        samples_of(tmp_path / "a.zip")


def test_names_that_would_share_a_key_get_longer_ones(tmp_path):
    names = ("为付.jpg", "乛仓.jpg", "专侠.jpg")
    assert [key_and_id(name)[0] for name in names] == ["image-935cb3f8", "image-935cb3f8", "image-a45705a6"]
    make_folder(tmp_path, {name: make_jpeg(1, 8, 6) for name in names})
    found = {sample.file_name: (sample.key, sample.image_id) for sample in samples_of(tmp_path)}
    assert found == {name: key_and_id(name, is_shared=name != "专侠.jpg") for name in names}
    assert len({key for key, _ in found.values()}) == 3


def test_names_whose_digests_collide_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(unannotated, "key_and_id", lambda name, is_shared=False: ("same", 1))
    make_folder(tmp_path, {"a.jpg": make_jpeg(1, 8, 6), "b.jpg": make_jpeg(1, 8, 6)})
    with pytest.raises(CollectionError, match=r"'a\.jpg' and 'b\.jpg' both get the key same; rename one of them"):
        find_samples(open_images(tmp_path), InputConfig(images=str(tmp_path)))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no files; images end in .jpg"),
        (
            {"a.txt": b"", "c.txt": b"", "b": b""},
            "3 files, none with the suffix of an image (2 .txt, 1 no suffix); images end in",
        ),
    ],
)
def test_a_place_without_images_is_refused_with_what_it_has(tmp_path, files, said):
    make_folder(tmp_path, files)
    with pytest.raises(CollectionError) as caught:
        samples_of(tmp_path)
    assert f"images {str(tmp_path)!r}: {said}" in str(caught.value)
