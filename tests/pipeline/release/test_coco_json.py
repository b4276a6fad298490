"""Properties and examples of the annotations in COCO format, read with COCO's own tools."""

import hashlib
import json
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.collection.collection import License
from pipeline.config import ReleaseConfig
from pipeline.files.maps import decode_png
from pipeline.release.coco_json import CATEGORY, CocoAnnotations, encode_mask
from tests.pipeline.make import make_sample

# numpy 2 warns about the arrays that pycocotools hands it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))


def document_of(masks, licenses=None, first_id=1, **release):
    annotations = CocoAnnotations(ReleaseConfig(**release), licenses or {})
    for number, mask in enumerate(masks, start=first_id):
        annotations.add(make_sample(image_id=number, height=mask.shape[0], width=mask.shape[1]), encode_mask(mask))
    return json.loads(annotations.encode())


def box_of(mask):
    """Left, top, width, height of a mask, counted row by row."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [0, 0, 0, 0]
    left, top = columns.min(), rows.min()
    return [left, top, columns.max() - left + 1, rows.max() - top + 1]


def average_precision(document, tmp_path, capsys):
    """AP, as pycocotools computes it, of predictions that equal the annotations."""
    (tmp_path / "truth.json").write_text(json.dumps(document))
    truth = COCO(str(tmp_path / "truth.json"))
    predictions = [
        {name: annotation[name] for name in ("image_id", "category_id", "segmentation")} | {"score": 0.9}
        for annotation in document["annotations"]
    ]
    evaluation = COCOeval(truth, truth.loadRes(predictions), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()  # it prints
    return evaluation.stats[0]


# Properties


@given(st.lists(MASKS, max_size=4), st.integers(0, 10**12 - 9), st.booleans())
def test_annotations_are_numbered_from_1_whatever_the_ids_of_the_images(masks, first_id, embed_images):
    document = document_of(masks, first_id=first_id, embed_images=embed_images)
    assert [annotation["id"] for annotation in document["annotations"]] == list(range(1, len(masks) + 1))
    assert [annotation["image_id"] for annotation in document["annotations"]] == [
        image["id"] for image in document["images"]
    ]


@given(st.lists(MASKS, max_size=4))
def test_masks_boxes_and_areas_come_back_as_they_were(masks):
    document = document_of(masks)
    for mask, image, annotation in zip(masks, document["images"], document["annotations"], strict=True):
        assert np.array_equal(coco_mask.decode(annotation["segmentation"]), mask)
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == box_of(mask)
        assert annotation["image_id"] == image["id"]
        assert (image["height"], image["width"]) == mask.shape


# Examples


def test_coco_tools_see_the_masks_of_the_tars(released, capsys):
    coco = COCO(str(released.folder / "annotations" / "test.json"))
    capsys.readouterr()  # it prints
    samples = released.samples()
    assert sorted(coco.getImgIds()) == [int(key) for key in samples]
    for key, sample in samples.items():
        (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=int(key)))
        mask = decode_png(sample["mask.png"])
        assert np.array_equal(coco.annToMask(annotation) * 255, mask)
        assert annotation["area"] == (mask == 255).sum()
        assert annotation["bbox"] == box_of(mask)
        facts = json.loads(sample["json"])
        (image,) = coco.loadImgs(int(key))
        assert (image["width"], image["height"]) == (facts["width"], facts["height"])
        assert (image["collection_file_name"], image["license"]) == (facts["file_name"], facts["license_id"])


@pytest.mark.parametrize("first_id", [0, 1, 7])
def test_pycocotools_finds_a_perfect_prediction_perfect(first_id, tmp_path, capsys):
    masks = [np.arange(900).reshape(30, 30) % 30 < width for width in (5, 9, 14)]
    assert average_precision(document_of(masks, first_id=first_id), tmp_path, capsys) == pytest.approx(1)


def test_that_test_notices_an_annotation_with_the_id_0(tmp_path, capsys):
    """pycocotools takes it for "no annotation matches", so its prediction counts as a false alarm."""
    masks = [np.arange(900).reshape(30, 30) % 30 < width for width in (5, 9, 14)]
    document = document_of(masks)
    for annotation in document["annotations"]:
        annotation["id"] -= 1
    assert average_precision(document, tmp_path, capsys) < 0.7


def test_a_file_name_is_that_of_the_file_that_extracting_the_tars_makes(released, tmp_path):
    for path in released.tars():
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path, filter="data")
    images = json.loads((released.folder / "annotations/test.json").read_text())["images"]
    rows = {row["image_id"]: row for row in released.manifest()}
    assert len(images) == 5
    for image in images:
        content = (tmp_path / image["file_name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == rows[image["id"]]["image_sha256"]
        assert image["collection_file_name"] == rows[image["id"]]["file_name"]


def test_a_file_name_is_the_collections_in_a_release_of_masks_alone():
    (image,) = document_of([np.ones((2, 2), bool)], embed_images=False)["images"]
    assert image["file_name"] == image["collection_file_name"] == "7.jpg"


def test_ids_of_images_are_those_of_the_input_and_unique(released):
    document = json.loads((released.folder / "annotations" / "test.json").read_text())
    ids = [image["id"] for image in document["images"]]
    assert ids == [row["image_id"] for row in released.manifest() if row["verdict"] == "accepted"]
    assert [annotation["image_id"] for annotation in document["annotations"]] == ids


def test_every_annotation_has_the_one_category():
    document = document_of([np.ones((2, 2), bool)] * 2)
    assert document["categories"] == [CATEGORY]
    assert {annotation["category_id"] for annotation in document["annotations"]} == {CATEGORY["id"]}
    assert {annotation["iscrowd"] for annotation in document["annotations"]} == {0}


def test_licences_are_listed_in_the_order_of_their_ids():
    licenses = {number: License(id=number, name=f"name {number}", url=f"url {number}") for number in (3, 1, 2)}
    listed = document_of([], licenses)["licenses"]
    assert listed == [{"id": number, "name": f"name {number}", "url": f"url {number}"} for number in (1, 2, 3)]


def test_the_release_is_named_in_the_annotations():
    annotations = CocoAnnotations(ReleaseConfig(name="birds", version="2.1.0"), {})
    assert json.loads(annotations.encode())["info"] == {"description": "birds", "version": "2.1.0"}
