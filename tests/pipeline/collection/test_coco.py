"""Properties, examples and faults of reading a COCO annotation JSON."""

import contextlib
import io
import json
import random
import tempfile
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.collection.coco import read_annotations
from pipeline.collection.collection import License
from pipeline.collection.images import decode
from pipeline.collection.stores import read_bytes
from pipeline.errors import AnnotationError, CollectionError, PipelineError, SampleError, UsageError
from tests.pipeline.make import read_samples

ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=4,
)


def make_entry(image_id, /, **overrides):
    """An entry of `images`; the n-th image is n + 2 pixels wide."""
    entry = {"id": image_id, "file_name": f"{image_id:012d}.jpg", "width": image_id + 2, "height": 5, "license": 3}
    return {name: value for name, value in {**entry, **overrides}.items() if value != "ABSENT"}


def make_document(*entries, **overrides):
    licenses = [{"id": 3, "name": "CC BY", "url": "http://x/by"}, {"id": 7, "name": "No known", "url": ""}]
    return {"info": {}, "licenses": licenses, "images": list(entries), **overrides}


def write(path, document):
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return str(path)


def make_images(path, ids):
    path.mkdir(exist_ok=True)
    for image_id in ids:
        pixels = np.full((5, image_id + 2, 3), image_id, np.uint8)
        Image.fromarray(pixels).save(path / f"{image_id:012d}.jpg", "PNG")
    return str(path)


def read(tmp_path, document, images=None):
    return read_samples(write(tmp_path / "annotations.json", document), images or make_images(tmp_path / "f", [1, 2]))


def message_of(tmp_path, document):
    with pytest.raises(AnnotationError) as caught:
        read(tmp_path, document)
    return str(caught.value)


# Properties


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 200), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_samples_come_in_id_order_for_any_order_of_entries_and_decode_as_annotated(ids, shuffler):
    shuffled = sorted(ids)
    shuffler.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent)
        images = make_images(path / "f", ids)
        collection = read(path, make_document(*map(make_entry, shuffled)), images)
        assert [sample.image_id for sample in collection.samples] == sorted(ids)
        for sample in collection.samples:
            pixels = decode(sample, read_bytes(sample))
            assert (pixels == sample.image_id).all()
            assert sample.key == f"{sample.image_id:012d}"


@settings(max_examples=4 * settings().max_examples, deadline=None)
@given(st.data())
def test_changed_annotations_give_samples_or_a_usage_error(data):
    document = make_document(make_entry(1), make_entry(2), annotations=[{"id": 1, "image_id": 1}])
    if data.draw(st.booleans()):
        target = data.draw(st.sampled_from([document, document["licenses"][0], *document["images"]]))
        target[data.draw(st.sampled_from(sorted(target)))] = data.draw(ANYTHING)
        content = json.dumps(document).encode()
    else:
        changed = bytearray(json.dumps(document).encode())
        for _ in range(data.draw(st.integers(0, 3))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        content = bytes(changed[: data.draw(st.one_of(st.just(len(changed)), st.integers(0, len(changed))))])
    gives_samples_or_usage_error(content)


@settings(max_examples=4 * settings().max_examples, deadline=None)
@given(st.one_of(st.binary(max_size=50), ANYTHING.map(json.dumps).map(str.encode)))
def test_any_bytes_as_annotations_give_samples_or_a_usage_error(content):
    gives_samples_or_usage_error(content)


def gives_samples_or_usage_error(content):
    with tempfile.TemporaryDirectory() as parent, contextlib.suppress(UsageError):
        for sample in read(Path(parent), content).samples:
            assert (sample.location is None) == bool(sample.problem)
            with contextlib.suppress(SampleError):
                read_bytes(sample)


# Examples


def test_a_sample_has_all_fields_of_its_entry(tmp_path):
    sample = read(tmp_path, make_document(make_entry(2), make_entry(1))).samples[1]
    assert (sample.key, sample.image_id, sample.file_name) == ("000000000002", 2, "000000000002.jpg")
    assert (sample.width, sample.height, sample.license_id) == (4, 5, 3)
    assert (sample.problem, sample.problem_detail) == ("", "")
    assert sample.location.path == str(tmp_path / "f" / "000000000002.jpg")


def test_the_collection_has_the_licences_of_the_file(tmp_path):
    collection = read(tmp_path, make_document(make_entry(1)))
    assert collection.licenses[3] == License(id=3, name="CC BY", url="http://x/by")
    assert set(collection.licenses) == {3, 7}


def test_an_entry_without_licence_has_licence_0(tmp_path):
    document = make_document(make_entry(1, license="ABSENT"), make_entry(2, license=None))
    assert [sample.license_id for sample in read(tmp_path, document).samples] == [0, 0]


@pytest.mark.parametrize("licenses", [None, [], [{"id": 1}, {"id": 2, "name": None, "url": None}]])
def test_licences_may_be_absent_or_nameless(tmp_path, licenses):
    found = read(tmp_path, make_document(make_entry(1), licenses=licenses)).licenses
    assert found == {entry["id"]: License(id=entry["id"], name="", url="") for entry in licenses or []}


def test_images_alone_are_enough(tmp_path):
    assert len(read(tmp_path, {"images": [make_entry(1)]}).samples) == 1


def test_annotations_with_polygons_are_ignored(tmp_path):
    polygons = [{"id": number, "image_id": 1, "segmentation": [[0, 1, 2, 3]]} for number in range(100)]
    assert len(read(tmp_path, make_document(make_entry(1), annotations=polygons)).samples) == 1


def test_an_image_entry_may_have_extra_fields(tmp_path):
    entry = make_entry(1, image_id=5, segments=[{"x": 1}])
    assert read(tmp_path, make_document(entry)).samples[0].image_id == 1


def test_annotations_and_images_are_read_from_urls(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/coco/annotations.json", json.dumps(make_document(make_entry(1))).encode())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("train2017/000000000001.jpg", b"image")
    memory.pipe_file("/coco/train2017.zip", archive.getvalue())
    collection = read_samples("memory://coco/annotations.json", "memory://coco/train2017.zip")
    assert read_bytes(collection.samples[0]) == b"image"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_unicode_encodings_are_read(tmp_path, encoding):
    assert len(read(tmp_path, json.dumps(make_document(make_entry(1))).encode(encoding)).samples) == 1


def test_the_largest_numbers_are_read(tmp_path):
    sample = read(tmp_path, make_document(make_entry(10**12 - 1, width=10**12 - 1))).samples[0]
    assert (sample.key, sample.width) == ("9" * 12, 10**12 - 1)


# Faults: one image


@pytest.mark.parametrize("file_name", ["", "/etc/passwd", "../a.jpg", "..\\b.jpg", "C:/a.jpg", "a\0.jpg"])
def test_an_unsafe_name_costs_one_image_and_keeps_its_name(tmp_path, file_name):
    unsafe, good = read(tmp_path, make_document(make_entry(1, file_name=file_name), make_entry(2))).samples
    assert (unsafe.problem, unsafe.location, unsafe.file_name) == ("unsafe_path", None, file_name)
    assert unsafe.problem_detail
    assert good.problem == ""


@pytest.mark.parametrize("name", ["a\ud800.jpg", "\ud800.jpg", "x/caf\ud83d.jpg"])
def test_a_name_that_is_not_valid_utf_8_costs_one_image_and_is_called_what_it_is(tmp_path, name):
    bad, good = read(tmp_path, make_document(make_entry(1, file_name=name), make_entry(2))).samples
    assert (bad.problem, bad.location, bad.file_name) == ("unsafe_path", None, ascii(name)[1:-1])
    assert bad.problem_detail.startswith(f"file_name {name!a} is not valid text")
    assert bad.problem_detail.encode()
    assert good.problem == ""


def test_a_missing_image_costs_one_image(tmp_path):
    missing, good = read(tmp_path, make_document(make_entry(1, file_name="b.jpg"), make_entry(2))).samples
    assert (missing.problem, missing.location) == ("missing", None)
    assert "'b.jpg'" in missing.problem_detail
    assert good.problem == ""


def test_a_link_out_of_the_folder_costs_one_image(tmp_path):
    images = make_images(tmp_path / "f", [2])
    (tmp_path / "f" / "000000000001.jpg").symlink_to("/etc/passwd")
    unsafe, good = read(tmp_path, make_document(make_entry(1), make_entry(2)), images).samples
    assert (unsafe.problem, good.problem) == ("unsafe_path", "")


# Faults: the annotations


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        *((field, value, found) for field in ("id", "width", "height") for value, found in [
            ("ABSENT", "is missing"), (None, "NoneType None"), ("640", "str '640'"), (640.0, "float 640.0"),
            (True, "bool True"), (-1, "int -1"), (10**12, "int 1000000000000"), (float("nan"), "float nan"),
            (float("inf"), "float inf"), ([1], "list [1]"),
        ]),
        ("width", 0, "int 0"),
        ("height", 0, "int 0"),
        ("file_name", "ABSENT", "is missing"),
        ("file_name", 7, "int 7"),
        ("file_name", None, "NoneType None"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_reported_with_file_entry_id_value_and_remedy(tmp_path, field, value, found):
    message = message_of(tmp_path, make_document(make_entry(1), make_entry(2, **{field: value})))
    assert message.startswith(f"annotations '{tmp_path}/annotations.json': images[1]")
    assert field == "id" or "(id 2)" in message
    assert f"`{field}` " in message
    assert found in message
    assert "correct or remove the entry" in message


@pytest.mark.parametrize("address", ["http://[x/1.jpg", "http://℀/1.jpg", "x://[bad]/1.jpg"])
def test_an_address_that_stands_for_a_name_and_is_none_is_reported(tmp_path, address):
    entry = make_entry(2, file_name="ABSENT", coco_url=address)
    message = message_of(tmp_path, make_document(make_entry(1), entry))
    assert "images[1] (id 2): `coco_url` " in message
    assert repr(address) in message
    assert "correct or remove the entry" in message


@pytest.mark.parametrize("entry", [None, 5, "a.jpg", [1]])
def test_an_entry_that_is_not_an_object_is_reported(tmp_path, entry):
    message = message_of(tmp_path, make_document(make_entry(1), entry))
    assert "images[1]: an object is needed, found " in message


def test_a_duplicate_id_is_reported_with_both_places(tmp_path):
    message = message_of(tmp_path, make_document(make_entry(1), make_entry(2), make_entry(1, file_name="b.jpg")))
    assert "images[0] and images[2] both have id 1" in message


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.thorough)])
def test_very_many_entries_are_read_and_the_duplicate_is_named(tmp_path, count):
    line = '{{"id": {0}, "file_name": "{0}.jpg", "width": 9, "height": 9}}'
    entries = ", ".join(line.format(number) for number in (*range(count - 1), 7))
    annotations = tmp_path / "many.json"
    annotations.write_text(f'{{"images": [{entries}]}}')
    with pytest.raises(AnnotationError, match=rf"images\[7\] and images\[{count - 1}\] both have id 7"):
        read_samples(str(annotations), str(tmp_path))


@pytest.mark.parametrize("images", ["ABSENT", None, [], {}, "x", 5])
def test_a_document_without_images_is_reported(tmp_path, images):
    document = make_document(images=images)
    if images == "ABSENT":
        del document["images"]
    assert "`images` must be a list of at least one image, found " in message_of(tmp_path, document)


@pytest.mark.parametrize("content", [b"", b"{", b"\x1f\x8b\x08\0", b"\xff\xfe\xff", b"[" * 100_000, b"1" * 5000])
def test_invalid_json_is_reported_with_its_size(tmp_path, content):
    message = message_of(tmp_path, content)
    assert f"; found {len(content)} bytes" in message
    assert any(reason in message for reason in ("not JSON: ", "more than 64 levels deep", "too many digits"))


@pytest.mark.parametrize(
    "content", ["root:$6$hunter2:19000:0:99999:7:::\n", '"hunter2"', '["hunter2"]', '{"hunter2": 1}', '{"a": hunter2}']
)
def test_nothing_of_a_file_that_is_no_annotations_is_quoted(tmp_path, content):
    assert "hunter2" not in message_of(tmp_path, content.encode())


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", b'"x"', b"NaN"])
def test_json_that_is_not_an_object_is_reported(tmp_path, content):
    assert "a JSON object with `images` is needed, found " in message_of(tmp_path, content)


def test_annotations_that_can_not_be_opened_are_reported(tmp_path):
    for annotations in (str(tmp_path / "absent.json"), str(tmp_path), "memory://absent.json", "nonsense://x", ""):
        with pytest.raises(AnnotationError) as caught:
            read_annotations(annotations)
        assert repr(annotations) in str(caught.value)


def test_missing_images_are_a_collection_error(tmp_path):
    with pytest.raises(CollectionError, match="absent"):
        read(tmp_path, make_document(make_entry(1)), str(tmp_path / "absent"))


def test_a_message_stays_short_whatever_the_value(tmp_path):
    value = [random.Random(0).random() for _ in range(10_000)]
    for document in (make_document(make_entry(1, width=value)), make_document(make_entry(1, id="x" * 10**6)), value):
        assert len(message_of(tmp_path, document)) < 600


def test_a_machine_error_is_not_a_usage_error(tmp_path, monkeypatch):
    def failing(*args, **named):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(LocalFileSystem, "cat_file", failing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        read(tmp_path, make_document(make_entry(1)))
    assert not isinstance(caught.value, PipelineError)


@pytest.mark.parametrize(
    ("annotation", "has_any", "has_outlines"),
    [
        ({"image_id": 1, "segmentation": [[1, 1, 2, 1, 2, 2]]}, True, True),
        ({"image_id": 1, "segmentation": [[]], "width": 3, "height": 3}, True, True),  # as some tools write them
        ({"image_id": 1, "segmentation": []}, True, False),
        ({"image_id": 1, "bbox": [1, 1, 2, 2]}, True, False),
        ({"image_id": 1, "caption": "x"}, False, False),
    ],
)
def test_the_collection_says_whether_the_file_has_instances(tmp_path, annotation, has_any, has_outlines):
    path = tmp_path / "annotations.json"
    images = [{"id": 1, "file_name": "1.jpg", "width": 3, "height": 3}]
    path.write_text(json.dumps({"images": images, "annotations": [annotation]}))
    found = read_annotations(str(path))
    assert (found.has_annotations, found.has_instances) == (has_any, has_outlines)


@pytest.mark.parametrize("annotations", [{"7": [{"category_id": 1, "segmentation": []}]}, "none", 3])
def test_annotations_that_are_no_list_are_told(tmp_path, caplog, annotations):
    image = {"id": 1, "file_name": "1.jpg", "width": 8, "height": 6}
    (tmp_path / "labels.json").write_text(json.dumps({"images": [image], "annotations": annotations}))
    assert not read_annotations(str(tmp_path / "labels.json")).has_annotations
    assert f"labels.json': `annotations` is {type(annotations).__name__} " in caplog.text
    assert "not a list" in caplog.text


@pytest.mark.parametrize("annotations", [None, {}, [], {"5": {"image_id": 1, "category_id": 2}}])
def test_annotations_that_are_empty_or_found_in_an_object_are_no_fault(tmp_path, caplog, annotations):
    image = {"id": 1, "file_name": "1.jpg", "width": 8, "height": 6}
    (tmp_path / "labels.json").write_text(json.dumps({"images": [image], "annotations": annotations}))
    assert read_annotations(str(tmp_path / "labels.json")).has_annotations is ("5" in (annotations or ()))
    assert not caplog.messages
