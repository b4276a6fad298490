"""What is taken as an image, and what is said of everything else; `tests/pipeline/collection` compares the pixels."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import images
from model.images import as_list, name_of, pixels_of, require_images

GREY = np.full((4, 5), 7, np.uint8)
RGB = np.stack([GREY] * 3, axis=-1)


@pytest.fixture
def photo(tmp_path):
    """The file of a photo."""
    path = tmp_path / "photo.2.png"
    Image.fromarray(RGB).save(path)
    return path


@pytest.mark.parametrize(
    ("several", "count"),
    [([], 0), ([RGB], 1), ((RGB, RGB), 2), (iter([RGB, RGB, RGB]), 3), (np.stack([RGB, RGB]), 2)],
    ids=["empty", "list", "tuple", "iterator", "batch"],
)
def test_several_images_are_a_list_a_tuple_an_iterator_or_a_batch(several, count):
    listed, are_several = as_list(several)
    assert (len(listed), are_several) == (count, True)


def test_one_image_is_a_path_a_picture_or_an_array(photo):
    for one in (photo, str(photo), RGB, Image.fromarray(RGB), io.BytesIO(b"a file\nof lines")):
        listed, are_several = as_list(one)
        assert listed[0] is one
        assert (len(listed), are_several) == (1, False)


def test_the_name_is_that_of_the_file_without_the_suffix_also_of_a_picture_that_was_opened(photo):
    with Image.open(photo) as opened:
        assert [name_of(image) for image in (photo, str(photo), opened, RGB)] == ["photo.2"] * 3 + ["image"]


@pytest.mark.parametrize("kind", ["path", "text", "opened", "array"])
def test_every_kind_of_image_gives_the_same_pixels(photo, kind):
    with Image.open(photo) as opened:
        given = {"path": photo, "text": str(photo), "opened": opened, "array": RGB}[kind]
        require_images([given])
        assert np.array_equal(pixels_of(given), RGB)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (None, TypeError, "image is None; give a path, a Pillow image, an array of uint8 with the shape"),
        (3, TypeError, "image is of type int; give a path"),
        (io.BytesIO(b""), TypeError, "image is a _io.BytesIO; give Image.open(image), with"),
        (b"\xff\xd8\xff", TypeError, "image is of type bytes; give Image.open(io.BytesIO(image))"),
        (torch.zeros(3, 4, 5), TypeError, "image is a torch.Tensor; give an array: for values from 0 to 1"),
        (RGB / 255, ValueError, "image has values of type float64; it must be uint8, from 0 to 255: for values from"),
        (RGB > 0, ValueError, "image has values of type bool; it must be uint8"),
        (GREY, ValueError, "image has the shape (4, 5); it must be (height, width, 3): numpy.stack([image] * 3"),
        (GREY[..., None], ValueError, "(4, 5, 1); it must be (height, width, 3): numpy.repeat(image, 3, axis=2)"),
        (np.zeros((4, 5, 4), np.uint8), ValueError, "(4, 5, 4); it must be (height, width, 3): give PIL.Image.from"),
        (np.zeros((3, 4, 5), np.uint8), ValueError, "(3, 4, 5); it must be (height, width, 3): image.transpose(1, 2"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, "image has the shape (0, 5, 3); it must be (height, width, 3)"),
        ("https://host/photo.jpg", ValueError, "image is an address, 'https://host/photo.jpg'; download it"),
        ("absent.jpg", FileNotFoundError, "image: there is no file 'absent.jpg'; the current folder is /"),
        ("photos/*.jpg", FileNotFoundError, "image: there is no file 'photos/*.jpg'; give glob.glob('photos/*.jpg')"),
        (Path("/tmp"), IsADirectoryError, "image is a folder, '/tmp'; give its files: Path('/tmp').glob('*')"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:12],
)
def test_what_is_no_image_is_refused_with_what_to_give(given, error, said):
    with pytest.raises(error, match=re.escape(said)):
        require_images([given])


@pytest.mark.parametrize("given", [{"image": RGB}, {1}])
def test_a_collection_without_an_order_is_refused(given):
    with pytest.raises(TypeError, match=f"image is of type {type(given).__name__}; give a path"):
        as_list(given)


def test_the_wrong_one_of_several_is_named_by_its_place():
    with pytest.raises(TypeError, match=r"^images\[1\] is None; give"):
        require_images([RGB, None])


def test_what_hints_say_to_do_works():
    tensor = torch.from_numpy(RGB).permute(2, 0, 1) / 255
    assert np.array_equal((255 * tensor).round().byte().permute(1, 2, 0).cpu().numpy(), RGB)
    floats = RGB / 255
    assert np.array_equal((255 * floats).round().astype(np.uint8), RGB)
    require_images([np.stack([GREY] * 3, axis=-1), np.repeat(GREY[..., None], 3, axis=2)])


def test_a_torn_file_and_one_that_is_no_image_are_named_with_what_they_hold(photo, tmp_path):
    photo.write_bytes(photo.read_bytes()[:-30])
    text = tmp_path / "notes.jpg"
    text.write_text("no photo")
    for path, said in ((photo, "PNG"), (text, "no photo")):
        with pytest.raises(
            ValueError, match=rf"^{re.escape(str(path))} can't be decoded: .* bytes that begin .*{said}"
        ):
            pixels_of(path)


def test_a_program_in_the_place_of_a_photo_is_not_run(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(ValueError, match="can't be decoded: cannot identify"):
        pixels_of(path)


def test_too_many_pixels_are_refused_before_they_are_decoded(photo, monkeypatch):
    monkeypatch.setattr(images, "MAX_IMAGE_PIXELS", 19)
    with pytest.raises(
        ValueError, match=r"photo\.2\.png can't be decoded: the image has 5 x 4 px; it may have 19 pixels at most"
    ):
        pixels_of(photo)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_range_are_refused(mode):
    with pytest.raises(ValueError, match=f"pixels of mode {mode} have no fixed range"):
        pixels_of(Image.fromarray(GREY).convert(mode))
