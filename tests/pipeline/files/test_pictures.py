"""The one place that opens images: no other module does, and which formats it opens is the same for everybody."""

import ast
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.evaluation.grey import read_prediction
from pipeline.evaluation.pairs import SUFFIXES
from pipeline.evaluation.truth import read_truth
from pipeline.files import pictures
from pipeline.files.in_flight import BYTES_PER_CANVAS_PIXEL, BYTES_PER_PIXEL, PixelBudget
from pipeline.files.pictures import OPENED, decoded, size_and_orientation, size_in_start
from pipeline.training.pairs import ImageSource, TrainingPair
from tests.pipeline.files.make_images import HEIGHT, PIXELS, WIDTH, chunk, encoded, exif_with, png_with, webp_with

ROOT = Path(__file__).resolve().parents[3]
HOME = "pipeline/files/pictures.py"
OPENERS = {"Image.open", "PIL.Image.open", "Image.OPEN", "cv2.imread", "cv2.imdecode", "iio.imread", "plt.imread"}
OPENING_MODULES = ("torchvision.io", "imageio", "skimage.io", "matplotlib.image")
EARLY = ("WEBP", "JPEG2000", "JXL")
"""Formats whose size is read before Pillow opens them: it reserves memory then, or goes by another header."""
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n%%EOF\n"


def openings(source):
    """Calls and imports in a source that open images."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in OPENERS:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith(OPENING_MODULES)]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name.startswith((*OPENING_MODULES, "PIL.Image.")) or "Plugin" in name]
    return found


def test_no_other_module_opens_images():
    sources = [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "jobs").rglob("*.py"), *(ROOT / "model").rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): openings(path.read_text()) for path in sources}
    # The second one is the loop of another tool, which ours is measured against; the third opens a person's own photo.
    assert {path for path, calls in found.items() if calls} == {
        HOME,
        "pipeline/benchmarks/scoring.py",
        "model/images.py",
    }


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("with Image.open(path) as image: pass", ["Image.open"]),
        ("def f():\n    return PIL.Image.open(path)", ["PIL.Image.open"]),
        ("from PIL.Image import open as load", ["PIL.Image.open"]),
        ("from PIL import EpsImagePlugin", ["PIL.EpsImagePlugin"]),
        ("levels = cv2.imread(name)", ["cv2.imread"]),
        ("from torchvision.io import read_image", ["torchvision.io.read_image"]),
        ("path.open()\nImage.new('L', (1, 1))", []),
    ],
)
def test_that_test_notices_what_it_forbids(source, found):
    assert openings(source) == found


# Sizes


EXIF = exif_with(6)
XMP = b'XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
TURNED = {
    "Exif before the pixels of a PNG": png_with(before=chunk(b"eXIf", EXIF[6:])),
    "Exif after the pixels of a PNG": png_with(after=chunk(b"eXIf", EXIF[6:]), idat_bytes=200),
    "XMP after the pixels of a PNG": png_with(after=chunk(b"iTXt", XMP), idat_bytes=200),
    "Exif after the pixels of a WebP": webp_with(b"EXIF" + len(EXIF).to_bytes(4, "little") + EXIF),
    **{f"Exif in a {kind}": encoded(kind, exif=EXIF) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")},
}


@example("Exif after the pixels of a PNG", 300)
@example("XMP after the pixels of a PNG", 300)
@given(st.sampled_from(sorted(TURNED)), st.integers(0, 7000))
def test_the_beginning_of_a_file_tells_its_size_and_orientation_as_the_whole_does_or_nothing(name, read_bytes):
    content = TURNED[name]
    whole = size_and_orientation(name, content)
    assert whole == (WIDTH, HEIGHT, 6)
    assert size_in_start(content[:read_bytes]) in (None, whole)


@pytest.mark.parametrize("name", [name for name in TURNED if "PNG" in name or "JPEG" in name])
def test_a_small_file_is_not_read_twice_to_learn_its_size(name):
    assert size_in_start(TURNED[name]) == (WIDTH, HEIGHT, 6)


# Formats


def readers(path):
    """Every way in which the pipeline reads an image file of somebody else."""
    pair = TrainingPair(image=ImageSource(path=path), mask=ImageSource(path=path))
    return {
        "runs and predict": lambda: decode_rgb(path.name, path.read_bytes()),
        "maps to evaluate": lambda: read_prediction(path),
        "masks to evaluate": lambda: read_truth(path),
        "pairs to train on": lambda: pair.read(),
        "sizes of pairs": lambda: pair.image.size_px() or pair.read(),
    }


@pytest.fixture
def watched(monkeypatch):
    """The formats that Pillow was asked to try."""
    asked = []
    open_image = Image.open

    def open_and_note(file, mode="r", formats=None):
        asked.append(formats)
        return open_image(file, mode, formats)

    monkeypatch.setattr(Image, "open", open_and_note)
    return asked


@pytest.mark.parametrize("reader", readers(Path()))
@pytest.mark.parametrize("content", [POSTSCRIPT, encoded("PPM"), encoded("ICO"), encoded("TGA")])
def test_formats_that_runs_do_not_open_are_opened_by_nobody(reader, content, watched, tmp_path):
    path = tmp_path / "map.png"
    path.write_bytes(content)
    with pytest.raises(Exception, match="undecodable"):
        readers(path)[reader]()
    assert watched
    assert all(formats == OPENED for formats in watched)


@pytest.mark.parametrize("reader", readers(Path()))
@pytest.mark.parametrize("image_format", OPENED)
def test_formats_that_runs_open_are_opened_by_everybody(reader, image_format, tmp_path):
    path = tmp_path / "map.png"
    path.write_bytes(encoded(image_format, PIXELS[:, :, 0]))
    assert readers(path)[reader]() is not None


def test_the_suffixes_of_images_are_those_of_the_formats():
    extensions = {suffix for suffix, name in Image.registered_extensions().items() if name in OPENED}
    assert set(SUFFIXES) <= extensions


# Limits


def no_other_limit(image):
    return image.size


def test_no_limit_of_pillow_is_left(monkeypatch):
    """It is 2 x 89 megapixels, whatever limit a run has."""
    assert Image.MAX_IMAGE_PIXELS is None
    large = encoded("PNG", np.zeros((14_000, 14_000), np.uint8), mode="1")
    assert decoded("x", large, no_other_limit, max_pixels=400_000_000) == (14_000, 14_000)
    with pytest.raises(SampleError, match="x: 14000 x 14000 px; the limit is 195999999 pixels"):
        decoded("x", large, no_other_limit, max_pixels=195_999_999)


@pytest.mark.parametrize("image_format", OPENED)
def test_the_limit_is_checked_before_a_decoder_begins(image_format, monkeypatch):
    content = encoded(image_format)
    assert decoded("x", content, no_other_limit, max_pixels=WIDTH * HEIGHT) == (WIDTH, HEIGHT)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    if image_format in EARLY:
        monkeypatch.setattr(Image, "open", None)
    with pytest.raises(SampleError) as caught:
        decoded("x", content, no_other_limit, max_pixels=WIDTH * HEIGHT - 1)
    assert caught.value.reason == "too_many_pixels"


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
@pytest.mark.parametrize(("most", "meet"), [(2 * WIDTH * HEIGHT, True), (2 * WIDTH * HEIGHT - 1, False)])
def test_images_are_decoded_together_only_within_the_budget_of_the_process(image_format, most, meet, monkeypatch):
    shared, barrier = PixelBudget(most), threading.Barrier(2)
    monkeypatch.setattr(pictures, "budget", lambda: shared)

    def met(image):
        try:
            barrier.wait(30 if meet else 0.2)
        except threading.BrokenBarrierError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        content = encoded(image_format)
        assert list(pool.map(lambda _: decoded("x", content, met, max_pixels=None), range(2))) == [meet, meet]


def test_an_image_that_lacks_memory_waits_until_no_other_is_in_flight(monkeypatch):
    shared = PixelBudget(10 * WIDTH * HEIGHT)
    monkeypatch.setattr(pictures, "budget", lambda: shared)
    in_flight = []

    def convert(image):
        in_flight.append(shared._in_flight)
        if len(in_flight) == 1:
            raise MemoryError
        return np.asarray(image)

    assert np.array_equal(decoded("x", encoded("PNG"), convert, max_pixels=None), PIXELS)
    assert in_flight == [WIDTH * HEIGHT, shared.most]
    assert shared._in_flight == 0


@pytest.mark.parametrize("image_format", OPENED)
def test_a_decoder_that_can_not_have_its_memory_does_not_begin(image_format, monkeypatch):
    """Most decoders report a lack of memory as a broken image."""

    def lacking(needed):
        asked.append(needed)
        raise MemoryError

    asked = []
    content = encoded(image_format)
    monkeypatch.setattr(pictures, "require_memory", lacking)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(SampleError) as caught:
        decode_rgb("x", content)
    assert caught.value.reason == "too_large"
    per_pixel = BYTES_PER_CANVAS_PIXEL if image_format in EARLY else BYTES_PER_PIXEL
    assert asked == [WIDTH * HEIGHT * per_pixel] * 2
