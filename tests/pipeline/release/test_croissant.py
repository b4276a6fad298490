"""mlcroissant accepts a release's croissant.json without complaint and returns every record that it describes."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest
from PIL import Image

from pipeline.records import StoredFile
from pipeline.release.croissant import CROISSANT, croissant, tars_by_split
from pipeline.release.croissant_texts import MEMBERS, CroissantAbout
from pipeline.release.manifest import COLUMNS, SCHEMA
from tests.pipeline.make import make_collection, make_key

READ = """
import hashlib, json, logging, sys

complaints = []

class Keeper(logging.Handler):
    def emit(self, record):
        complaints.append(record.getMessage())

import mlcroissant
logging.getLogger().addHandler(Keeper(logging.WARNING))

def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [plain(one) for one in value]
    if hasattr(value, "tobytes"):
        return [value.mode, *value.size, hashlib.sha256(value.tobytes()).hexdigest()]
    return value

found = {"complaints": complaints, "records": {}}
try:
    dataset = mlcroissant.Dataset(jsonld=sys.argv[1])
    for name in sys.argv[2:]:
        records = [
            {field.rpartition("/")[2]: plain(value) for field, value in record.items()}
            for record in dataset.records(name)
        ]
        found["records"][name] = {record["key"]: record for record in records}
        assert len(records) == len(found["records"][name])
except Exception as error:
    found["error"] = f"{error} {error.__cause__}"
print(json.dumps(found))
"""
ODD_NAMES = {2: 'ü "x", y.jpg', 4: "a b=c;d.jpg", 6: "日本.jpg", 8: "NaN", 10: "8"}
SAME_FOR_ALL = ("verdict", "reason", "detail")


def about(released, **changes):
    known = {"creator": "Somebody", "published_on": "2026-11-24", "homepage": "https://example.org/sod"} | changes
    return CroissantAbout(
        release=replace(released.config.release, **known),
        policy=released.config.policy,
        counts=released.release_json()["counts"],
        made_with={"ensemble_size": "3", "weights": "ab12"},
    )


def files_of(released):
    """The files of a release that Croissant describes."""
    files = [StoredFile(**file) for file in released.release_json()["files"]]
    wanted = ("data/", "annotations/", "licenses.csv", "manifest.parquet")
    return [file for file in files if file.name.startswith(wanted) and not file.name.endswith("index.json")]


def document_of(released, **changes):
    return json.loads(croissant(about(released, **changes), files_of(released)))


def described(released, folder):
    """A copy of a release with its croissant.json."""
    shutil.copytree(released.folder, folder)
    (folder / CROISSANT).write_bytes(croissant(about(released), files_of(released)))
    return replace(released, folder=folder)


def read(released, *names):
    """What mlcroissant returns. Runs in a process of its own: it fixes its cache folder when it is imported."""
    settings = {"CROISSANT_CACHE": str(released.folder.parent / f"cache-{os.urandom(4).hex()}"), "LC_ALL": "C"}
    command = [sys.executable, "-c", READ, str(released.folder / CROISSANT), *names]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def picture(content):
    with Image.open(io.BytesIO(content)) as image:
        return [image.mode, *image.size, hashlib.sha256(image.tobytes()).hexdigest()]


def pictures_of(released, split):
    """Key → name → picture, from the tars of a split."""
    found = {}
    for name in tars_by_split(files_of(released)).get(split, []):
        with tarfile.open(released.folder / name) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                if extension in MEMBERS:
                    picture_name = MEMBERS[extension][0]
                    found.setdefault(key, {})[picture_name] = picture(tar.extractfile(member).read())
    return found


def images_of(released, split):
    """Key → expected record of an accepted image."""
    rows = {row["key"]: row for row in released.manifest() if row["split"] == split}
    pictures = pictures_of(released, split)
    assert pictures.keys() == rows.keys()
    return {
        key: pictures[key] | {name: value for name, value in row.items() if name not in SAME_FOR_ALL}
        for key, row in rows.items()
    }


def write_with_instances(inputs):
    """Write annotations in which every image but the sixth has two instances of two categories, one in each half."""
    boxes = [(entry, half) for entry in inputs.entries if entry["id"] != 6 for half in (0, 1)]
    annotations = []
    for number, (entry, half) in enumerate(boxes, start=1):
        middle, right, bottom = entry["width"] / 2, entry["width"], entry["height"]
        left, right = (0, middle) if half == 0 else (middle, right)
        outline = [left, 0, right, 0, right, bottom, left, bottom]
        annotations.append(
            {"id": number, "image_id": entry["id"], "category_id": 1 + half, "segmentation": [outline], "iscrowd": 0}
        )
    categories = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "cup", "supercategory": ""}]
    document = {"images": inputs.entries, "annotations": annotations, "categories": categories}
    inputs.annotations.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def odd(tmp_path_factory, release_of):
    """Several tars in two splits; names of files and of the release that formats could mistake for something else."""
    inputs = make_collection(tmp_path_factory.mktemp("odd") / "in", 16)
    for number, name in ODD_NAMES.items():
        inputs.file(number).rename(inputs.images / name)
        inputs.entries[number - 1]["file_name"] = name
    write_with_instances(inputs)
    inputs.file(3).write_bytes(b"no image")
    options = {"name": "null", "tar_bytes": 1, "splits": ("train=0.5", "test=0.5")}
    released = release_of(inputs, tmp_path_factory.mktemp("release"), **options)
    return described(released, tmp_path_factory.mktemp("described") / "copy")


@pytest.fixture(scope="module")
def odd_read(odd):
    return read(odd, "manifest", "images-train", "images-test")


def test_mlcroissant_reports_neither_errors_nor_warnings(odd_read):
    assert "error" not in odd_read
    assert odd_read["complaints"] == []


def test_there_is_a_record_for_every_row_of_the_manifest_with_all_its_columns(odd, odd_read):
    rows = {row["key"]: row for row in odd.manifest()}
    assert len(rows) == 16
    assert odd_read["records"]["manifest"] == rows


@pytest.mark.parametrize("split", ["train", "test"])
def test_there_is_a_record_for_every_accepted_image_with_its_pictures_and_facts(odd, odd_read, split):
    expected = images_of(odd, split)
    assert len(tars_by_split(files_of(odd))[split]) > 1
    assert odd_read["records"][f"images-{split}"] == expected


def test_odd_names_lists_and_unknown_values_are_among_those_records(odd_read):
    records = odd_read["records"]["images-train"] | odd_read["records"]["images-test"]
    assert set(ODD_NAMES.values()) <= {record["file_name"] for record in records.values()}
    assert any(len(record["categories"]) > 1 for record in records.values())
    assert records[make_key(6)]["categories"] == []
    assert records[make_key(6)]["instance_iou"] is None


def test_mlcroissant_finds_a_flipped_bit_in_a_tar(odd, tmp_path):
    copy = described(odd, tmp_path / "copy")
    path = copy.folder / tars_by_split(files_of(odd))["test"][0]
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    assert "Hash of downloaded file" in read(copy, "images-test")["error"]


@pytest.fixture(scope="module")
def masks_only(tmp_path_factory, release_of, released):
    """A release without images in the tars and with an empty split."""
    options = {"embed_images": False, "splits": ("validation=0.000001", "test=0.999999")}
    made = release_of(released.inputs, tmp_path_factory.mktemp("masks"), **options)
    assert (made.folder / "annotations" / "validation.json").exists()
    return described(made, tmp_path_factory.mktemp("described") / "copy")


def test_without_images_and_with_an_empty_split_the_masks_come_out(masks_only):
    found = read(masks_only, "manifest", "images-test")
    assert (found.get("error"), found["complaints"]) == (None, [])
    expected = images_of(masks_only, "test")
    assert found["records"]["images-test"] == expected
    assert all("mask" in record and "image" not in record for record in expected.values())


def test_a_split_without_images_has_no_record_set_but_its_annotations_are_there(masks_only):
    document = document_of(masks_only)
    assert not [one["@id"] for one in document["recordSet"] if "validation" in one["@id"]]
    assert "annotations/validation.json" in {one["@id"] for one in document["distribution"]}


def test_files_are_named_with_their_size_and_sum(odd):
    stated = {
        (one["contentUrl"], one["contentSize"], one["sha256"])
        for one in document_of(odd)["distribution"]
        if one["@type"] == "cr:FileObject"
    }
    assert stated == {(file.name, f"{file.file_bytes} B", file.sha256) for file in files_of(odd)}


def test_the_bytes_follow_from_the_release_and_are_ascii(released):
    document = croissant(about(released), files_of(released))
    assert document == croissant(about(released), files_of(released))
    assert document.isascii()
    assert croissant(about(released, creator="Ü"), files_of(released)).isascii()


def test_columns_have_their_data_types(released):
    (manifest,) = (one for one in document_of(released)["recordSet"] if one["@id"] == "manifest")
    kinds = {field["name"]: (field["dataType"], field.get("repeated", False)) for field in manifest["field"]}
    assert kinds["file_name"] == ("sc:Text", False)
    assert (kinds["image_id"], kinds["members"]) == (("sc:Integer", False), ("sc:Integer", False))
    assert kinds["instance_iou"] == ("sc:Float", False)
    assert kinds["categories"] == ("sc:Text", True)


def test_what_only_the_publisher_knows_is_left_out_unless_given(released):
    unknown = document_of(released, creator="", published_on="", homepage="")
    assert unknown.keys().isdisjoint({"creator", "datePublished", "url"})
    known = document_of(released)
    assert known["datePublished"] == "2026-11-24"
    assert known["creator"] == {"@type": "sc:Organization", "name": "Somebody"}


def test_every_column_of_the_manifest_is_described_in_a_sentence_and_nothing_else_is():
    assert COLUMNS.keys() == set(SCHEMA.names)
    assert all(text.endswith(".") and text[0].isupper() and len(text) > 20 for text in COLUMNS.values())


def test_the_responsible_ai_texts_give_counts_tools_and_limits(released):
    document = document_of(released)
    texts = " ".join(json.dumps(value) for name, value in document.items() if name.startswith("rai:"))
    for said in (
        "Agreement is not correctness",
        "5 accepted, 4 rejected, 1 failed",
        "weights: ab12",
        "not ground truth",
    ):
        assert said in texts
    assert "No human has checked them" in document["description"]
    assert '\\"max_variance\\": ' in texts


def test_a_file_without_records_is_refused(released):
    notice = StoredFile(name="NOTICE", file_bytes=1, sha256="0" * 64)
    with pytest.raises(ValueError, match="NOTICE can't be described: its suffix is not one of tar, parquet, json, csv"):
        croissant(about(released), [*files_of(released), notice])


def test_files_without_a_manifest_are_refused(released):
    tars = [file for file in files_of(released) if file.name.endswith(".tar")]
    with pytest.raises(ValueError, match=r"manifest\.parquet is not among the files"):
        croissant(about(released), tars)
