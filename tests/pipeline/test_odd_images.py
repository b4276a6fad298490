"""Images as cameras, phones, scanners and torn downloads leave them, on their way from a collection to a release."""

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from pipeline.collection.frames import upright
from pipeline.errors import PipelineError
from pipeline.files.maps import decode_png
from pipeline.files.pictures import OPENED
from pipeline.release.check.verify import verify_release
from pipeline.release.released import released_image
from pipeline.run import run
from tests.pipeline.files.make_images import exif_with, ink_profile
from tests.pipeline.make import Inputs, make_config, write_annotations

WIDTH, HEIGHT = 48, 32
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
PIXELS = np.stack([ROWS * 7, COLUMNS * 5, ROWS * 3 + COLUMNS], axis=-1).astype(np.uint8)
SQUARE = np.ascontiguousarray(PIXELS[:, :HEIGHT])
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def encoded(image_format, pixels=PIXELS, mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, image_format, **options)
    return file.getvalue()


def lab_tiff():
    file = io.BytesIO()
    Image.fromarray(PIXELS // 2, "LAB").save(file, "TIFF")
    return file.getvalue()


def torn(jpeg):
    return jpeg[: len(jpeg) // 2].rstrip(b"\xff") + b"\xff\xd9"


GREY_12 = (ROWS * 60 + COLUMNS * 40).astype(np.uint16)
TURNED = {stated: {"exif": exif_with(stated)} for stated in (3, 6)}
ORIGINAL, NEUTRAL, TURNED_PNG, PNG = "original", "orientation_neutralised", "turned_png", "png"
CASES = {
    # name: (content, annotated width and height, what is released or why it failed)
    "plain.jpg": (encoded("JPEG"), (WIDTH, HEIGHT), ORIGINAL),
    "stored-6.jpg": (encoded("JPEG", **TURNED[6]), (WIDTH, HEIGHT), NEUTRAL),
    "upright-6.jpg": (encoded("JPEG", **TURNED[6]), (HEIGHT, WIDTH), TURNED_PNG),
    "square-6.jpg": (encoded("JPEG", SQUARE, **TURNED[6]), (HEIGHT, HEIGHT), NEUTRAL),
    "stored-3.jpg": (encoded("JPEG", **TURNED[3]), (WIDTH, HEIGHT), NEUTRAL),
    "stored-6.png": (encoded("PNG", **TURNED[6]), (WIDTH, HEIGHT), NEUTRAL),
    "upright-6.png": (encoded("PNG", **TURNED[6]), (HEIGHT, WIDTH), TURNED_PNG),
    "stored-6.webp": (encoded("WEBP", **TURNED[6]), (WIDTH, HEIGHT), NEUTRAL),
    "stored-3.tif": (encoded("TIFF", **TURNED[3]), (WIDTH, HEIGHT), NEUTRAL),
    "stored-6.tif": (encoded("TIFF", **TURNED[6]), (WIDTH, HEIGHT), NEUTRAL),
    "upright-6.tif": (encoded("TIFF", **TURNED[6]), (HEIGHT, WIDTH), TURNED_PNG),
    "one-pixel.png": (encoded("PNG", PIXELS[:1, :1]), (1, 1), ORIGINAL),
    "thin.png": (encoded("PNG", np.resize(PIXELS, (5000, 1, 3))), (1, 5000), ORIGINAL),
    "flat.png": (encoded("PNG", np.resize(PIXELS, (1, 70000, 3))), (70000, 1), ORIGINAL),
    "12-bits.png": (encoded("PNG", GREY_12), (WIDTH, HEIGHT), PNG),
    "12-bits.tif": (encoded("TIFF", GREY_12), (WIDTH, HEIGHT), PNG),
    "16-bits.png": (encoded("PNG", GREY_12 << 4), (WIDTH, HEIGHT), PNG),
    "no-range.tif": (encoded("TIFF", GREY_12.astype(np.float32)), (WIDTH, HEIGHT), "undecodable"),
    "lab.tif": (lab_tiff(), (WIDTH, HEIGHT), PNG),
    "inks.jpg": (encoded("JPEG", mode="CMYK", icc_profile=ink_profile()), (WIDTH, HEIGHT), PNG),
    "avif.jpg": (encoded("AVIF"), (WIDTH, HEIGHT), PNG),
    "jpeg2000.jpg": (encoded("JPEG2000"), (WIDTH, HEIGHT), PNG),
    "webp.jpg": (encoded("WEBP"), (WIDTH, HEIGHT), ORIGINAL),
    "tiff.jpg": (encoded("TIFF"), (WIDTH, HEIGHT), ORIGINAL),
    "tga.jpg": (encoded("TGA"), (WIDTH, HEIGHT), "undecodable"),
    "ppm.jpg": (encoded("PPM"), (WIDTH, HEIGHT), "undecodable"),
    "heic.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", (WIDTH, HEIGHT), "undecodable"),
    "torn.jpg": (torn(encoded("JPEG", NOISE)), (WIDTH, HEIGHT), "undecodable"),
    "whole.jpg": (encoded("JPEG", NOISE), (WIDTH, HEIGHT), ORIGINAL),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """One image of each case; all ids are even, so that the fake model agrees on them."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "images").mkdir()
    entries = []
    for place, (name, (content, (width, height), _)) in enumerate(CASES.items(), start=1):
        (folder / "images" / name).write_bytes(content)
        entries.append({"id": 2 * place, "file_name": name, "width": width, "height": height, "license": 1})
    made = Inputs(images=folder / "images", annotations=folder / "annotations.json", entries=entries)
    write_annotations(made)
    return made


@pytest.fixture(scope="module")
def released(inputs, tmp_path_factory):
    """The folder of a release that accepts whatever can be predicted."""
    config = make_config(
        inputs, tmp_path_factory.mktemp("odd-run"), max_variance=0.25, max_variance_per_area=250.0, min_area=0.0,
        max_area=1.0, max_failed_share=1.0,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        return Path(run(config).release)


@pytest.fixture(scope="module")
def rows(released):
    return {row["file_name"]: row for row in pq.read_table(released / "manifest.parquet").to_pylist()}


@pytest.fixture(scope="module")
def members(released):
    """File name of a member → content."""
    (path,) = (released / "data" / "test").glob("*.tar")
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


@pytest.mark.parametrize("name", CASES)
def test_each_image_has_its_right_outcome(name, rows):
    row, (content, _, expected) = rows[name], CASES[name]
    if expected in (ORIGINAL, NEUTRAL, TURNED_PNG, PNG):
        assert (row["verdict"], row["detail"], row["released_as"]) == ("accepted", "", expected)
        assert row["image_bytes"] == len(content)
        assert (row["released_sha256"] == row["image_sha256"]) == (expected == ORIGINAL)
    else:
        assert (row["verdict"], row["reason"]) == ("failed", expected)
        assert (row["released_as"], row["frame"], row["exif_orientation"]) == ("", "", 0)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2] != "undecodable"])
def test_readers_with_and_without_orientations_see_what_the_mask_lies_on(name, rows, members):
    key = rows[name]["key"]
    _, (width, height), _ = CASES[name]
    with Image.open(io.BytesIO(members[f"{key}.jpg"])) as image:
        turned, plain = (np.asarray(one.convert("RGB")) for one in (ImageOps.exif_transpose(image), image))
    assert np.array_equal(turned, plain)
    assert plain.shape == (height, width, 3)
    assert decode_png(members[f"{key}.mask.png"]).shape == (height, width)


@pytest.mark.parametrize(
    ("name", "stated", "frame"),
    [("stored-6.png", 6, "stored"), ("upright-6.png", 6, "upright"), ("stored-3.tif", 3, "stored"),
     ("upright-6.tif", 6, "upright"), ("12-bits.png", 1, "stored")],
)  # fmt: skip
def test_the_pixels_are_those_of_the_frame_that_the_manifest_names(name, stated, frame, rows, members):
    row = rows[name]
    assert (row["frame"], row["exif_orientation"]) == (frame, stated)
    with Image.open(io.BytesIO(members[f"{row['key']}.jpg"])) as image:
        found = np.asarray(image.convert("RGB"))
    stored = np.repeat((GREY_12 >> 4)[:, :, None], 3, axis=2) if name.startswith("12") else PIXELS
    assert np.array_equal(found, upright(stored, stated) if frame == "upright" else stored)


def test_the_check_finds_nothing_wrong(released, inputs):
    check = verify_release(str(released), str(inputs.annotations))
    assert check.problems == ()
    assert check.accepted == sum(case[2] != "undecodable" for case in CASES.values())


@pytest.mark.thorough
def test_the_libraries_of_the_users_load_it(released, inputs):
    assert verify_release(str(released), str(inputs.annotations), loaders=True).problems == ()


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "mode"), [("grey.jpg", "L"), ("colour.jpg", "RGB"), ("palette.png", "P")])
def test_an_image_above_the_default_limit_is_released_where_a_higher_one_is_given(name, mode, tmp_path):
    (tmp_path / "images").mkdir()
    Image.linear_gradient("L").resize((9500, 9500)).convert(mode).save(tmp_path / "images" / name)
    entry = {"id": 2, "file_name": name, "width": 9500, "height": 9500, "license": 1}
    inputs = Inputs(images=tmp_path / "images", annotations=tmp_path / "a.json", entries=[entry])
    write_annotations(inputs)
    refused = run(make_config(inputs, tmp_path / "low", max_failed_share=1.0))
    assert refused.failed == {"too_many_pixels": 1}
    made = run(make_config(inputs, tmp_path / "high", max_image_pixels=100_000_000))
    assert made.accepted == 1
    assert verify_release(made.release, loaders=True).problems == ()


def test_the_annotations_have_the_size_of_the_released_image(released):
    document = json.loads((released / "annotations" / "test.json").read_text())
    sizes = {image["collection_file_name"]: (image["width"], image["height"]) for image in document["images"]}
    assert sizes == {name: size for name, (_, size, outcome) in CASES.items() if outcome != "undecodable"}


def test_failures_name_the_format_and_what_to_install(rows):
    assert ("pip install pillow-heif" in rows["heic.jpg"]["detail"]) == ("HEIF" not in OPENED)
    assert "Netpbm" in rows["ppm.jpg"]["detail"]
    assert "its data end before its last pixel" in rows["torn.jpg"]["detail"]


def square_of(folder, content):
    """A collection of one square image."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "2.png").write_bytes(content)
    entry = {"id": 2, "file_name": "2.png", "width": HEIGHT, "height": HEIGHT, "license": 1}
    inputs = Inputs(images=folder / "images", annotations=folder / "a.json", entries=[entry])
    write_annotations(inputs)
    return inputs


def test_a_turned_image_looks_on_page_and_contact_sheet_as_if_it_had_been_stored_that_way(tmp_path):
    for name, content in (
        ("asked", encoded("PNG", SQUARE, **TURNED[6])),
        ("stored", encoded("PNG", upright(SQUARE, 6))),
    ):
        run(make_config(square_of(tmp_path / name, content), tmp_path / name / "run", orientation="upright"))
    for picture in ("contact_sheet.png", "release/sod-benchmark-1.0.0/page/tiles/000/00000.webp"):
        asked, stored = ((tmp_path / name / "run" / picture).read_bytes() for name in ("asked", "stored"))
        assert asked == stored


def test_an_image_that_becomes_other_bytes_in_its_tar_than_were_surveyed_stops_the_release(tmp_path, monkeypatch):
    inputs = square_of(tmp_path, encoded("PNG", SQUARE, **TURNED[6]))

    def other(image, content):
        released, found = released_image(image, content)
        return replace(released, sha256="0" * 64), found

    monkeypatch.setattr("pipeline.release.tar_series.released_image", other)
    with pytest.raises(PipelineError, match=r"key 000000000002: released as orientation_neutralised, .* same versions"):
        run(make_config(inputs, tmp_path / "run"))


@pytest.mark.parametrize("orientation", ["stored", "upright"])
def test_the_option_decides_where_sizes_do_not(orientation, tmp_path):
    inputs = square_of(tmp_path, encoded("PNG", SQUARE, **TURNED[6]))
    config = make_config(inputs, tmp_path / "run", orientation=orientation)
    folder = Path(run(config).release)
    (row,) = pq.read_table(folder / "manifest.parquet").to_pylist()
    assert row["frame"] == orientation
    with tarfile.open(next(folder.rglob("*.tar"))) as tar:
        found = Image.open(tar.extractfile("000000000002.jpg")).convert("RGB")
    assert np.array_equal(found, upright(SQUARE, 6) if orientation == "upright" else SQUARE)
    assert verify_release(str(folder), str(inputs.annotations), run=config.out).problems == ()
