"""Hostile input: whatever the bytes, an image is decoded or refused with a reason, a collection opened or refused.

Valid files are damaged: bytes flipped, cut out, repeated, inserted. `make fuzz N=…` tries N damages of each kind; the
suite has time for a few.
"""

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from model.config import EnsembleConfig
from model.fake import FakeModel
from pipeline.collection.images import decode_rgb
from pipeline.collection.instances import cross_check, read_instances
from pipeline.collection.stores import read_bytes
from pipeline.errors import FAILURE_REASONS, SampleError, UsageError
from pipeline.files.orientation import orientation
from pipeline.records import ShardSpec
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.work import process_shard
from tests.pipeline.make import LICENSES, make_entry, make_instances, make_jpeg, make_key, make_sample, read_samples

DAMAGES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
MAX_PIXELS = 1 << 16
budget = settings(
    max_examples=DAMAGES, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True
)


def assert_has_reason(error):
    assert error.reason in FAILURE_REASONS
    assert len(str(error)) < 1000


def assert_names(error, *places):
    assert any(str(place) in str(error) for place in places)
    assert len(str(error)) < 2000


def picture(mode, file_format, **options):
    pixels = (np.add.outer(np.arange(40) * 5, np.arange(50) * 3) % 256).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


PICTURES = {
    "jpeg": picture("RGB", "JPEG"),
    "progressive jpeg": picture("RGB", "JPEG", progressive=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    "cmyk jpeg": picture("CMYK", "JPEG"),
    "png": picture("RGBA", "PNG"),
    "palette png": picture("P", "PNG", transparency=3),
    "16-bit png": picture("I;16", "PNG"),
    "webp": picture("RGB", "WEBP", lossless=True),
    "gif": picture("P", "GIF", save_all=True, append_images=[Image.new("P", (50, 40))]),
    "jpeg with metadata": picture("RGB", "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0" + bytes(90), comment=b"c" * 99),
    "png with texts": picture("RGB", "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", icc_profile=bytes(200)),
    "animated png": picture("L", "PNG", save_all=True, append_images=[Image.new("L", (50, 40))]),
    "animated webp": picture("RGB", "WEBP", save_all=True, append_images=[Image.new("RGB", (50, 40))]),
    "pages of a tiff": picture("RGB", "TIFF", save_all=True, append_images=[Image.new("RGB", (50, 40))]),
    "jpeg in a tiff": picture("RGB", "TIFF", compression="jpeg"),
    "bmp": picture("RGB", "BMP"),
    "tiff": picture("RGB", "TIFF", compression="tiff_lzw"),
}


@st.composite
def damaged(draw, whole):
    """The bytes with one to six damages."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        if not content:
            break
        place = draw(st.integers(0, len(content) - 1))
        length = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["turn", "cut", "repeat", "put in", "numbers", "end"]))
        if kind == "turn":
            content[place] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del content[place : place + length]
        elif kind == "repeat":
            content[place:place] = content[place : place + length] * draw(st.integers(1, 50))
        elif kind == "put in":
            content[place:place] = draw(st.binary(max_size=40))
        elif kind == "numbers":  # sizes and offsets that lie
            content[place : place + 4] = draw(
                st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f" + b"\xff" * 3, b"\x80\0\0\0"])
            )
        else:
            del content[place:]
    return bytes(content)


@pytest.mark.parametrize("kind", PICTURES)
@given(data=st.data())
@budget
def test_a_damaged_image_is_decoded_or_refused_with_a_reason(kind, data):
    content = data.draw(damaged(PICTURES[kind]))
    orientation(content)
    try:
        pixels = decode_rgb("photo", content, max_pixels=MAX_PIXELS)
    except SampleError as error:
        assert_has_reason(error)
        return
    assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
    assert pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS


# Collections


def entries(count):
    return [make_entry(number) for number in range(1, count + 1)]


def zip_of(compression):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for entry in entries(4):
            archive.writestr(entry["file_name"], make_jpeg(entry["id"], entry["width"], entry["height"]))
    return buffer.getvalue()


ZIPS = {"stored": zip_of(zipfile.ZIP_STORED), "deflated": zip_of(zipfile.ZIP_DEFLATED)}
ANNOTATIONS = json.dumps({"images": entries(4), "licenses": LICENSES}).encode()


def assert_processed(samples, folder):
    """Each sample gets a row, whatever is wrong with it."""
    spec = ShardSpec(index=0, samples=tuple(samples))
    work = ShardWork(run=str(folder / "run"), batch_images=3, max_image_bytes=1 << 20, max_image_pixels=MAX_PIXELS)
    model = FakeModel(ensemble=EnsembleConfig(ensemble_size=2))
    rows = process_shard(spec, model, work).rows
    assert [row.key for row in rows] == [sample.key for sample in samples]
    assert all(row.reason in FAILURE_REASONS for row in rows if row.status == "failed")


@pytest.mark.parametrize("kind", ZIPS)
@given(data=st.data())
@budget
def test_a_damaged_zip_is_refused_or_its_images_match_their_checksums(kind, data, tmp_path_factory):
    whole = {entry["file_name"]: make_jpeg(entry["id"], entry["width"], entry["height"]) for entry in entries(4)}
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        images, annotations = Path(folder, "images.zip"), Path(folder, "annotations.json")
        images.write_bytes(data.draw(damaged(ZIPS[kind])))
        annotations.write_bytes(ANNOTATIONS)
        try:
            samples = read_samples(str(annotations), str(images)).samples
        except UsageError as error:
            assert_names(error, images)
            return
        for sample in samples:
            try:
                content = read_bytes(sample, max_bytes=1 << 20)
            except SampleError as error:
                assert_has_reason(error)
            else:
                assert content in whole.values()
        assert_processed(samples, Path(folder))


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=8),
    st.sampled_from(["../../etc/passwd", "/etc/passwd", "1.jpg", "a\0b", "C:\\x", "..", "", "1.jpg/", "💥.jpg"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
@budget
def test_damaged_annotations_are_refused_by_name_or_every_image_gets_its_row(data, tmp_path_factory):
    document = {"images": entries(4), "licenses": [dict(licence) for licence in LICENSES]}
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(["images", "licenses"]))
        entry = data.draw(st.sampled_from(document[place]))
        if not isinstance(entry, dict):
            continue
        field = data.draw(st.sampled_from(sorted(entry) or ["id"]))
        entry[field] = data.draw(VALUES)
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        images, annotations = Path(folder, "images"), Path(folder, "annotations.json")
        images.mkdir()
        for entry in entries(4):
            (images / entry["file_name"]).write_bytes(make_jpeg(entry["id"], entry["width"], entry["height"]))
        annotations.write_text(json.dumps(document))
        try:
            samples = read_samples(str(annotations), str(images)).samples
        except UsageError as error:
            assert_names(error, annotations, images)
            return
        assert all(sample.location is None or Path(sample.location.path).parent == images for sample in samples)
        assert_processed(samples, Path(folder))


@given(data=st.data())
@budget
def test_annotations_with_damaged_bytes_are_refused_or_read(data, tmp_path_factory):
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        annotations = Path(folder, "annotations.json")
        annotations.write_bytes(data.draw(damaged(ANNOTATIONS)))
        try:
            read_samples(str(annotations), folder)
        except UsageError as error:
            assert_names(error, annotations, folder)


RUN_LENGTHS = st.text(alphabet=[chr(code) for code in range(48, 112)], max_size=30)
OUTLINES = st.lists(st.lists(st.floats(-1e6, 1e6) | SCALARS, min_size=0, max_size=14), max_size=3)


@given(data=st.data())
@budget
def test_damaged_instances_are_ignored_or_compared_with_masks(data, tmp_path_factory):
    samples = [
        make_sample(key=make_key(entry["id"]), image_id=entry["id"], width=entry["width"], height=entry["height"])
        for entry in entries(4)
    ]
    document = make_instances(entries(4))
    for _ in range(data.draw(st.integers(1, 4))):
        entry = data.draw(st.sampled_from([*document["annotations"], *document["categories"]]))
        sizes = st.just([samples[0].height, samples[0].width]) | VALUES
        runs = st.fixed_dictionaries({"size": sizes, "counts": RUN_LENGTHS | st.lists(st.integers(-9, 999)) | VALUES})
        field = data.draw(st.sampled_from(sorted(entry)))
        entry[field] = data.draw(OUTLINES | runs | VALUES if field == "segmentation" else VALUES)
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        annotations = Path(folder, "annotations.json")
        annotations.write_text(json.dumps({"images": [], **document}))
        found = read_instances(str(annotations), samples).of
    for sample in samples:
        checked = cross_check(np.ones((sample.height, sample.width), bool), found.get(sample.key, ()))
        assert checked.instance_iou is None or 0 <= checked.instance_iou <= 1
