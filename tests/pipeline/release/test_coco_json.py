"""Properties and examples of the annotations in COCO format, read with COCO's own tools."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from pipeline.collection.coco import License
from pipeline.config import ReleaseConfig
from pipeline.files.maps import decode_png
from pipeline.release.coco_json import CATEGORY, CocoAnnotations, encode_mask
from tests.pipeline.make import make_sample

# numpy 2 warns about the arrays that pycocotools hands it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))


def document_of(masks, licenses=None):
    annotations = CocoAnnotations(ReleaseConfig(), licenses or {})
    for number, mask in enumerate(masks, start=1):
        annotations.add(make_sample(image_id=number, height=mask.shape[0], width=mask.shape[1]), encode_mask(mask))
    return json.loads(annotations.encode())


def box_of(mask):
    """Left, top, width, height of a mask, counted row by row."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [0, 0, 0, 0]
    left, top = columns.min(), rows.min()
    return [left, top, columns.max() - left + 1, rows.max() - top + 1]


# Properties


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
        assert (image["file_name"], image["license"]) == (facts["file_name"], facts["license_id"])


def test_ids_are_those_of_the_input_and_unique(released):
    document = json.loads((released.folder / "annotations" / "test.json").read_text())
    ids = [image["id"] for image in document["images"]]
    assert ids == [row["image_id"] for row in released.manifest() if row["verdict"] == "accepted"]
    assert [annotation["id"] for annotation in document["annotations"]] == ids


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
