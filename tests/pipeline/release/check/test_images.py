"""The check of a release's images: digests, what is said to have been done, and what readers see."""

import hashlib

import pytest

from pipeline.release.check.images import image_problems, is_said_released
from tests.pipeline.files.make_images import HEIGHT, WIDTH, encoded, exif_with

PLAIN, TURNED = encoded("JPEG"), encoded("JPEG", exif=exif_with(6))
PNG = encoded("PNG")
NOTHING = {"released_as": "", "released_sha256": "", "released_bytes": 0}


def sums(content):
    return hashlib.sha256(content).hexdigest(), len(content)


def row_of(released, original=None, **stated):
    """A manifest row of an image that was released in these bytes."""
    (sha256, size), (image_sha256, image_bytes) = sums(released), sums(original or released)
    row = {"width": WIDTH, "height": HEIGHT, "image_sha256": image_sha256, "image_bytes": image_bytes}
    row |= {"released_as": "original", "released_sha256": sha256, "released_bytes": size}
    return row | {"frame": "stored", "exif_orientation": 1} | stated


SOUND = [
    (PLAIN, row_of(PLAIN)),
    (PLAIN, row_of(PLAIN, TURNED, released_as="orientation_neutralised", exif_orientation=6)),
    (PNG, row_of(PNG, TURNED, released_as="turned_png", frame="upright", exif_orientation=6)),
    (PNG, row_of(PNG, TURNED, released_as="png", exif_orientation=6)),
    (PNG, row_of(PNG, PLAIN, released_as="png")),
    (PLAIN, row_of(PLAIN, frame="", exif_orientation=0)),
]


@pytest.mark.parametrize(("content", "row"), SOUND)
def test_a_sound_image_has_no_problem(content, row):
    assert list(image_problems(content, row)) == []


def test_rows_of_earlier_formats_say_that_images_are_the_collections():
    sha256, size = sums(PLAIN)
    row = {"width": WIDTH, "height": HEIGHT, "image_sha256": sha256, "image_bytes": size}
    assert list(image_problems(PLAIN, row)) == []
    assert "its SHA-256 differs" in next(image_problems(PNG, row))


@pytest.mark.parametrize(
    ("content", "row", "found"),
    [
        (PNG, row_of(PLAIN), "its SHA-256 differs from the manifest's"),
        (PLAIN, row_of(PLAIN, released_bytes=1), "the manifest has 1"),
        (PLAIN, row_of(PLAIN, released_as="cleaned"), "is released as 'cleaned'"),
        (PLAIN, row_of(PLAIN, TURNED), "is released as original, which its sums"),
        (PLAIN, row_of(PLAIN, released_as="png"), "is released as png, which its sums"),
        (PLAIN, row_of(PLAIN, PNG, released_as="png"), "is released as png, but is no PNG"),
        (PNG, row_of(PNG, PLAIN, released_as="turned_png"), "though its frame is stored and its orientation was 1"),
        (
            PNG,
            row_of(PNG, PLAIN, released_as="png", frame="upright", exif_orientation=3),
            "though its frame is upright",
        ),
        (PLAIN, row_of(PLAIN, PNG, released_as="orientation_neutralised"), "and its orientation was 1"),
        (PLAIN, row_of(PLAIN, exif_orientation=6), "and its orientation was 6"),
        (PLAIN, row_of(PLAIN, frame="sideways"), "the frame 'sideways'"),
        (PLAIN, row_of(PLAIN, exif_orientation=9), "the orientation 9"),
        (
            PLAIN,
            row_of(PLAIN, width=HEIGHT, height=WIDTH),
            f"is {WIDTH} x {HEIGHT} px; its maps are {HEIGHT} x {WIDTH}",
        ),
        (TURNED, row_of(TURNED), "has the orientation 6: some readers turn it"),
        (b"no image", row_of(b"no image"), "can't be read as an image"),
    ],
)
def test_whatever_contradicts_is_told(content, row, found):
    assert any(found in problem for problem in image_problems(content, row))


def test_a_tiff_whose_tag_turns_it_is_told_by_its_size():
    content = encoded("TIFF", exif=exif_with(6))
    assert any("its maps are" in problem for problem in image_problems(content, row_of(content)))


@pytest.mark.parametrize(("name", "value"), [("released_as", "png"), ("released_sha256", "ab"), ("released_bytes", 1)])
def test_each_column_says_that_an_image_is_in_a_tar(name, value):
    assert not is_said_released(NOTHING)
    assert not is_said_released({"image_sha256": "ab"})
    assert is_said_released(NOTHING | {name: value})
