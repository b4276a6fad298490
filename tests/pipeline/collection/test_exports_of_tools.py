"""Collections as tools export them: which image each name means, and what is refused."""

import json
import zipfile

import pytest

from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.stores import read_bytes
from pipeline.collection.usable import require_usable
from pipeline.errors import CollectionError
from tests.pipeline.make import make_jpeg


def make_export(folder, files, names, **fields):
    """Image files, and annotations that have these names, or in their place other fields: ids 1, 2, …"""
    for number, name in enumerate(files, start=1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make_jpeg(number, 8, 6))
    entries = [
        {"id": number, "width": 8, "height": 6, **({"file_name": name} if isinstance(name, str) else name)}
        for number, name in enumerate(names, start=1)
    ]
    annotations = folder.parent / "labels.json"
    annotations.write_text(json.dumps({"images": entries, **fields}))
    return str(annotations)


def numbers_of(images, annotations):
    """Which of the images each entry means; in place of one that is none, its problem."""
    content = {make_jpeg(number, 8, 6): number for number in range(1, 9)}
    samples = read_collection(InputConfig(images=str(images), annotations=annotations)).samples
    return [sample.problem or content[read_bytes(sample)] for sample in samples]


def test_lvis_has_addresses_in_place_of_names(tmp_path):
    files = ["coco/train2017/000000000009.jpg", "coco/val2017/000000000009.jpg"]
    urls = [f"http://images.cocodataset.org/{name.removeprefix('coco/')}" for name in files]
    annotations = make_export(tmp_path / "in", files, [{"coco_url": url, "neg_category_ids": []} for url in urls])
    for images in (tmp_path / "in", tmp_path / "in/coco"):
        assert numbers_of(images, annotations) == [1, 2]
    samples = read_collection(InputConfig(images=str(tmp_path / "in"), annotations=annotations)).samples
    assert [sample.file_name for sample in samples] == ["train2017/000000000009.jpg", "val2017/000000000009.jpg"]


@pytest.mark.parametrize("form", ["images\\{}", "images\\1/{}", "images/{}"])
def test_label_studio_on_windows_writes_backslashes(tmp_path, form):
    annotations = make_export(
        tmp_path / "in", ["images/a.jpg", "images/b.jpg"], [form.format("a.jpg"), form.format("b.jpg")]
    )
    assert numbers_of(tmp_path / "in", annotations) == [1, 2]


def test_fiftyone_writes_absolute_names(tmp_path):
    names = [f"{tmp_path}/in/a.jpg", f"file://{tmp_path}/in/sub/b.jpg", f"{tmp_path}/elsewhere/a.jpg"]
    annotations = make_export(tmp_path / "in", ["a.jpg", "sub/b.jpg"], names)
    assert numbers_of(tmp_path / "in", annotations) == [1, 2, "unsafe_path"]


def test_label_studio_writes_addresses_of_its_server(tmp_path):
    names = ["http://localhost:8080/data/upload/1/a.jpg", "https://host/b.jpg?signature=x", "http://localhost/c.jpg"]
    annotations = make_export(tmp_path / "in", ["a.jpg", "b.jpg"], names)
    assert numbers_of(tmp_path / "in", annotations) == [1, 2, "unsafe_path"]


def test_cvat_writes_names_without_the_folders_of_its_zip(tmp_path):
    files = ["images/default/cam1/1.jpg", "images/default/cam2/1.jpg"]
    annotations = make_export(tmp_path / "in", files, ["cam1/1.jpg", "cam2/1.jpg"])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in files:
            archive.write(tmp_path / "in" / file, file)
    for images in (tmp_path / "in", tmp_path / "x.zip"):
        assert numbers_of(images, annotations) == [1, 2]


@pytest.mark.parametrize("member", ["./images/{}", "/images/{}", "images\\{}", "C:/images/{}", "C:\\images\\{}"])
def test_zips_have_names_in_their_tools_own_ways(tmp_path, member):
    annotations = make_export(tmp_path / "in", ["a.jpg", "b.jpg"], ["images/a.jpg", "b.jpg"])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.write(tmp_path / "in" / name, name)
            archive.infolist()[-1].filename = member.format(name)
    assert numbers_of(tmp_path / "x.zip", annotations) == [1, 2]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["2.JPG"], "Names differ in capital and small letters: '2.jpg' in the annotations, '2.JPG' there"),
        (["2.jpg.jpg"], "Names differ in a second suffix"),
        (["2"], "Names differ in the suffix: '2.jpg' in the annotations, '2' there"),
        (["2.png"], "Names differ in the suffix"),
        (["0000002"], "which no name in the annotations resembles"),
    ],
)
def test_names_that_nearly_fit_are_refused_with_the_difference(tmp_path, files, said):
    inputs = InputConfig(images=str(tmp_path / "in"), annotations=make_export(tmp_path / "in", files, ["2.jpg"]))
    with pytest.raises(CollectionError) as caught:
        require_usable(read_collection(inputs), inputs)
    assert said in str(caught.value)


def test_names_that_fit_beside_names_that_do_not_cost_nothing(tmp_path):
    files = ["Küche é.jpg", "b.JPG", "a b.jpg", "c%20d.jpg", "e.jpg", "sub/f.jpg", "#1?.jpg", "plus+.jpg"]
    names = [
        "Küche e\u0301.jpg", "b.jpg", "a%20b.jpg", "c d.jpg", " e.jpg", "sub//f.jpg", "#1?.jpg", "e", "./plus+.jpg",
    ]  # fmt: skip
    annotations = make_export(tmp_path / "in", files, names)
    missing = "missing"
    assert numbers_of(tmp_path / "in", annotations) == [1, *([missing] * 4), 6, 7, missing, 8]
