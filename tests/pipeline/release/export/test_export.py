"""Exports of a release, read by the libraries that they are for. YOLO's and FiftyOne's own were tried by hand.

Ultralytics 8.4.190 reads the labels, one segment per image, and draws masks with an IoU of at least 0.999 with ours on
the 31 images of the demo's release. FiftyOne 1.22.1 makes samples of the script; no database server was at hand.
"""

import csv
import io
import json
import os
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Image as ImageFeature
from datasets import load_dataset
from PIL import Image
from pycocotools.coco import COCO

from pipeline.errors import CollectionError, ConfigError, ReleaseExistsError, StorageError
from pipeline.release.export import hf_parquet
from pipeline.release.export.export import LAYOUTS, export_release
from tests.pipeline.make import make_collection, write_annotations

KEYS = [f"{number:012d}" for number in (2, 4, 6, 8, 10)]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def exported(released, tmp_path_factory):
    """A function that exports the release in a layout, once."""
    made = {}

    def export(layout):
        if layout not in made:
            made[layout] = tmp_path_factory.mktemp("exported") / layout
            export_release(str(released.folder), layout, made[layout])
        return made[layout]

    return export


def test_sod_has_the_photos_and_masks_of_the_tars_under_one_name(released, exported):
    found, samples = contents(exported("sod")), released.samples()
    assert sorted(samples) == KEYS
    for key, members in samples.items():
        assert found.pop(f"Image/{key}.jpg") == members["jpg"]
        assert found.pop(f"GT/{key}.png") == members["mask.png"]
    assert found.pop("splits/test.txt").decode().split() == KEYS
    assert set(found) == {"LICENSE", "licenses.csv", "NOTICE"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_terms_of_the_images(released, exported, layout):
    for name in ("LICENSE", "licenses.csv", "NOTICE"):
        assert (exported(layout) / name).read_bytes() == (released.folder / name).read_bytes()


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools does not know numpy 2's yet
def test_coco_is_read_by_pycocotools_with_the_photos_beside_it(released, exported):
    folder = exported("coco")
    coco = COCO(str(folder / "annotations/instances_test.json"))
    for annotation in coco.loadAnns(coco.getAnnIds()):
        (image,) = coco.loadImgs(annotation["image_id"])
        photo = Image.open(io.BytesIO((folder / "test" / image["file_name"]).read_bytes()))
        assert photo.size == (image["width"], image["height"])
        mask = Image.open(io.BytesIO(released.samples()[image["file_name"].removesuffix(".jpg")]["mask.png"]))
        assert (coco.annToMask(annotation) == np.asarray(mask) // 255).all()
    assert len(coco.getAnnIds()) == len(KEYS)


def test_parquet_is_loaded_with_pictures_and_scores(released, exported, tmp_path):
    dataset = load_dataset(str(exported("hf-parquet")), split="test", cache_dir=str(tmp_path))
    rows = {row["key"]: row for row in released.manifest()}
    assert dataset["key"] == KEYS
    for name in ("image", "mask", "saliency", "variance"):
        assert isinstance(dataset.features[name], ImageFeature)
    for row in dataset:
        members = released.samples()[row["key"]]
        assert (np.asarray(row["mask"]) == np.asarray(Image.open(io.BytesIO(members["mask.png"])))).all()
        assert row["image"].size == (row["width"], row["height"])
        for name in ("pairwise_iou", "ensemble_variance", "license_name", "categories"):
            assert row[name] == rows[row["key"]][name]


def test_parquet_is_cut_into_files_and_groups_that_are_numbered_to_the_end(released, tmp_path, monkeypatch):
    monkeypatch.setattr(hf_parquet, "FILE_BYTES", 1)
    monkeypatch.setattr(hf_parquet, "_ROWS_PER_GROUP", 1)
    export_release(str(released.folder), "hf-parquet", tmp_path / "out")
    files = sorted((tmp_path / "out/data").iterdir())
    assert [path.name for path in files] == [f"test-{place:05d}-of-00005.parquet" for place in range(5)]
    assert [pq.read_table(path)["key"].to_pylist() for path in files] == [[key] for key in KEYS]


def test_yolo_has_a_label_for_every_photo_and_says_what_its_class_is(exported):
    folder = exported("yolo")
    assert sorted(path.stem for path in (folder / "images/test").iterdir()) == KEYS
    for key in KEYS:
        number, *corners = (folder / f"labels/test/{key}.txt").read_text().split()
        assert number == "0"
        assert len(corners) % 2 == 0
        assert all(0 <= float(corner) < 1 for corner in corners)
    assert "0: salient object" in (folder / "data.yaml").read_text()
    assert "path:" not in (folder / "data.yaml").read_text()  # it would be relative to who knows what


class FakeSample(dict):
    """As much of FiftyOne's sample as the script uses; it has an attribute `tags`."""

    def __init__(self, filepath, tags):
        super().__init__()
        self.filepath, self.tags = filepath, tags


def test_the_script_for_fiftyone_makes_samples_with_masks_and_scores(released, exported, monkeypatch):
    fake = types.ModuleType("fiftyone")
    fake.Sample = FakeSample
    fake.Segmentation = fake.Heatmap = lambda **options: options
    monkeypatch.setitem(sys.modules, "fiftyone", fake)
    folder = exported("fiftyone")
    document = json.loads((folder / "samples.json").read_text())
    document["samples"][0]["fields"]["tags"] = 0.5  # a score pass may call its column so
    (folder / "samples.json").write_text(json.dumps(document))
    name, samples = runpy.run_path(str(folder / "load_in_fiftyone.py"))["read_samples"](folder)
    assert name == "sod-benchmark-1.0.0"
    assert [Path(sample.filepath).stem for sample in samples] == KEYS
    rows = {row["key"]: row for row in released.manifest()}
    for sample in samples:
        assert sample.tags == ["test"]
        assert Path(sample["mask"]["mask_path"]).is_file()
        assert Path(sample["variance"]["map_path"]).is_file()
        assert sample["pairwise_iou"] == rows[sample["key"]]["pairwise_iou"]
    assert samples[0]["tags_"] == 0.5


def test_what_is_there_stays(released, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ReleaseExistsError, match="exists and is not an empty folder"):
        export_release(str(released.folder), "sod", tmp_path)
    with pytest.raises(ReleaseExistsError):
        export_release(str(released.folder), "sod", tmp_path / "notes.txt")
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_an_empty_folder_is_taken(released, tmp_path):
    export_release(str(released.folder), "coco", tmp_path)
    assert (tmp_path / "test").is_dir()


def test_a_folder_without_a_release_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(CollectionError, match="does not exist"):
        export_release(str(tmp_path / "nowhere"), "sod", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_inside_the_release_is_refused_and_the_release_stays(released):
    before = contents(released.folder)
    with pytest.raises(ConfigError, match=r"^--out .*/deep/er is inside the release .*; give a folder outside it$"):
        export_release(str(released.folder), "sod", released.folder / "deep/er")
    assert contents(released.folder) == before


def test_a_torn_tar_leaves_nothing(released, tmp_path):
    broken = tmp_path / "release"
    for name, content in contents(released.folder).items():
        (broken / name).parent.mkdir(parents=True, exist_ok=True)
        (broken / name).write_bytes(content[: len(content) // 2] if name.endswith(".tar") else content)
    with pytest.raises(StorageError, match=r"test-00000-of-00001\.tar"):
        export_release(str(broken), "sod", tmp_path / "out")
    assert os.listdir(tmp_path) == ["release"]


def test_masks_alone_are_exported_with_the_names_of_their_photos(release_of, tmp_path):
    masks = release_of(make_collection(tmp_path / "in", 4), tmp_path / "run", embed_images=False)
    with pytest.raises(ConfigError, match="masks alone, and the layout coco needs photos"):
        export_release(str(masks.folder), "coco", tmp_path / "out")
    export_release(str(masks.folder), "sod", tmp_path / "out")
    found = contents(tmp_path / "out")
    accepted = [row for row in masks.manifest() if row["verdict"] == "accepted"]
    assert accepted
    assert {f"GT/{row['key']}.png" for row in accepted} <= found.keys()
    assert not any(name.startswith("Image/") for name in found)
    lines = found["images.csv"].decode().split("\r\n")
    assert lines == ["key,file_name", *(f"key-{row['key']},{row['file_name']}" for row in accepted), ""]


def test_no_spreadsheet_takes_an_exported_name_for_a_formula(release_of, tmp_path):
    inputs = make_collection(tmp_path / "in", 4)
    for entry in inputs.entries:
        name = f"=HYPERLINK({entry['id']}).jpg"
        (inputs.images / entry["file_name"]).rename(inputs.images / name)
        entry["file_name"] = name
    write_annotations(inputs)
    masks = release_of(inputs, tmp_path / "run", embed_images=False)
    export_release(str(masks.folder), "sod", tmp_path / "out")
    head, *rows = csv.reader(io.StringIO(contents(tmp_path / "out")["images.csv"].decode(), newline=""))
    assert head == ["key", "file_name"]
    assert rows
    assert all(name.startswith("'=HYPERLINK(") for _, name in rows)


def test_a_package_that_is_missing_is_named(released, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "pipeline.release.export.yolo", raising=False)
    with pytest.raises(
        ConfigError, match=r"--layout yolo needs the package cv2; .*pip install '(\.|sod-benchmark)\[eval\]'"
    ):
        export_release(str(released.folder), "yolo", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
