"""The embedded sample: every photograph is whole, and has a free licence and a named author."""

import json
from pathlib import Path

import pytest

import pipeline
from pipeline.collection.images import decode
from pipeline.collection.stores import read_bytes
from pipeline.evaluation.truth import read_truth
from tests.pipeline.make import read_samples

FOLDER = Path(pipeline.__file__).parent / "sample"
ANNOTATIONS = FOLDER / "instances_sample.json"
DOCUMENT = json.loads(ANNOTATIONS.read_text(encoding="utf-8"))
COLLECTION = read_samples(str(ANNOTATIONS), str(FOLDER / "images"))
OUTLINES = json.loads((FOLDER / "masks/outlines.json").read_text(encoding="utf-8"))
ENTRIES = {entry["id"]: entry for entry in DOCUMENT["images"]}
NOTICE = (FOLDER / "NOTICE.md").read_text(encoding="utf-8")
ROWS = {row.split(" | ")[0].removeprefix("| "): row for row in NOTICE.splitlines() if row.startswith("| 0")}

every_sample = pytest.mark.parametrize("sample", COLLECTION.samples, ids=lambda sample: sample.key)


def test_the_description_counts_the_images():
    assert DOCUMENT["info"]["description"].startswith(f"Embedded sample: {len(COLLECTION.samples)} photographs")
    assert DOCUMENT["info"]["version"]


@every_sample
def test_an_image_exists_and_decodes_at_its_annotated_size(sample):
    assert sample.problem == ""
    assert decode(sample, read_bytes(sample)).shape == (sample.height, sample.width, 3)


@every_sample
def test_an_image_is_no_larger_than_the_notice_says(sample):
    assert max(sample.width, sample.height) <= 480
    assert "at most 480 px" in NOTICE


@every_sample
def test_an_image_is_named_by_its_key(sample):
    assert sample.file_name == f"{sample.key}.jpg"


@every_sample
def test_an_image_has_a_licence_with_an_address_and_an_author(sample):
    entry, licence = ENTRIES[sample.image_id], COLLECTION.licenses[sample.license_id]
    assert licence.url.startswith("https://")
    assert licence.name == entry["licence_name"]
    assert entry["author"].strip()


@every_sample
def test_the_notice_and_the_annotations_agree_on_an_image(sample):
    entry, licence = ENTRIES[sample.image_id], COLLECTION.licenses[sample.license_id]
    _, title, author, source, licence_cell, package = ROWS[sample.file_name].strip(" |").split(" | ")
    assert (title, author) == (entry["name"], entry["author"])
    assert "(https://" in source.replace("<", "")
    assert entry["source"] in source or not entry["source"].startswith("https://")
    assert licence_cell == f"[{licence.name}]({licence.url})"
    assert package.startswith(f"[{entry['package']}](https://")


def test_every_row_of_the_notice_is_an_image():
    assert sorted(ROWS) == sorted(sample.file_name for sample in COLLECTION.samples)


def test_there_are_no_other_files():
    expected = {"NOTICE.md", "instances_sample.json", "masks/README.md", "masks/outlines.json"}
    expected |= {f"images/{sample.file_name}" for sample in COLLECTION.samples}
    expected |= {f"masks/{sample.key}.png" for sample in COLLECTION.samples}
    assert {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()} == expected


def test_every_licence_belongs_to_an_image():
    assert set(COLLECTION.licenses) == {sample.license_id for sample in COLLECTION.samples}


@every_sample
def test_a_photograph_has_a_mask_of_its_size_and_outlines(sample):
    truth = read_truth(FOLDER / "masks" / f"{sample.key}.png")
    assert truth.shape == (sample.height, sample.width)
    assert 0.005 < truth.mean() < 0.95
    outline = OUTLINES[sample.key]
    assert outline["object"]
    assert all(len(polygon) >= 3 for polygon in outline["polygons"])


def test_the_outlines_say_for_which_photographs_another_object_is_as_good():
    assert OUTLINES.keys() == {sample.key for sample in COLLECTION.samples}
    unclear = [int(key) for key, outline in OUTLINES.items() if not outline["clear"]]
    assert unclear == [7, 15, 16, 19]
