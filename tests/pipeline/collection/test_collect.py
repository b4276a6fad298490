"""The annotation JSON of a collection without one: the main job reads it back as the images that are there."""

import io
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from pipeline.collection import collect as collecting
from pipeline.collection import unannotated
from pipeline.collection.collect import collect, ids_of
from pipeline.collection.collection import MAX_NUMBER, license_of
from pipeline.collection.config import CollectConfig, InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.stores import read_bytes
from pipeline.errors import CollectionError, ConfigError
from tests.pipeline.files.test_tar_headers import make_tar
from tests.pipeline.make import make_jpeg

NAMES = st.lists(
    st.builds(
        lambda folders, stem, suffix: "/".join([*folders, stem + suffix]),
        st.lists(st.sampled_from(["a", "é", "b 1"]), max_size=2),
        st.sampled_from(["x", "y.z", "e\u0301", "000000000139", "it's", "a\\b", "日 1"]),
        st.sampled_from([".jpg", ".png"]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda name: unannotated.key_and_id(name)[0],  # a collection with two of one key is refused
)
ORIENTATION = 0x0112


def contents(names):
    return {name: make_jpeg(number, 8 + number, 6) for number, name in enumerate(sorted(names))}


def in_folder(folder, files):
    for name, content in files.items():
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(content)
    return str(folder / "images")


def in_zip(folder, files):
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(folder / "images.zip")


def in_tars(folder, files):
    (folder / "tars").mkdir()
    for number, (name, content) in enumerate(files.items()):
        (folder / "tars" / f"{number:05d}.tar").write_bytes(make_tar({name: content}))
    return str(folder / "tars")


def in_parquet(folder, files):
    rows = [{"image": {"bytes": content, "path": name}} for name, content in files.items()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return str(folder / "rows.parquet")


def in_table(folder, files):
    in_folder(folder, files)
    (folder / "paths.csv").write_text("path\n" + "".join(f"images/{name}\n" for name in files))
    return str(folder / "paths.csv")


PLACES = [in_folder, in_zip, in_tars, in_parquet, in_table]


def collect_into(folder, images, **options):
    collected = collect(CollectConfig(images=images, out=str(folder / "collected.json"), **options))
    assert collected.images == collected.collected + sum(collected.failed.values())
    return collected


def seen(images, **options):
    """What a run sees of its images, but keys and ids: by name, sizes, bytes, licences and origins."""
    collection = read_collection(InputConfig(images=images, **options))
    return {
        sample.file_name: (
            *(sample.width, sample.height, sample.problem),
            read_bytes(sample),
            license_of(sample, collection.licenses),
            collection.origins.get(sample.key),
        )
        for sample in collection.samples
    }


def images_in(folder):
    return json.loads((folder / "collected.json").read_bytes())["images"]


# Properties


@settings(max_examples=12)
@pytest.mark.parametrize("place", [in_folder, in_zip])
@given(names=NAMES)
def test_a_run_with_the_annotations_sees_the_images_that_one_without_sees(tmp_path_factory, place, names):
    folder = tmp_path_factory.mktemp("names")
    images = place(folder, contents(names))
    without = seen(images)
    collect_into(folder, images)
    assert seen(images, annotations=str(folder / "collected.json")) == without


@given(NAMES, st.data())
def test_ids_fit_differ_and_stay_when_images_are_added(names, data):
    few = data.draw(st.lists(st.sampled_from(names), unique=True))
    before, after = ids_of(few), ids_of(names)
    assert len(set(after.values())) == len(names)
    assert all(0 <= number <= MAX_NUMBER for number in after.values())
    assert before == {name: after[name] for name in few}


# Examples


@pytest.mark.parametrize("place", PLACES)
def test_every_kind_of_place_can_be_collected_with_what_a_table_tells(tmp_path, place):
    names = ["000000000139.jpg", "b.jpg", "c.jpg"]
    images = place(tmp_path, contents(names))
    (tmp_path / "told.csv").write_text("name,license,author,source\nb.jpg,CC BY 4.0,Ann,https://x/b\nc.jpg,mine,,\n")
    collected = collect_into(tmp_path, images, metadata=str(tmp_path / "told.csv"))
    assert (collected.collected, collected.failed, collected.orientation) == (3, {}, "upright")
    without = seen(images, metadata=str(tmp_path / "told.csv"))
    assert seen(images, annotations=str(tmp_path / "collected.json")) == without
    assert "Ann" in str(without)


def test_the_file_has_a_line_for_each_image_and_states_what_its_sizes_are(tmp_path):
    images = in_folder(tmp_path, contents(["b/é.jpg", "000000000139.jpg"]))
    (tmp_path / "told.csv").write_text("name,license\n000000000139.jpg,CC BY 4.0\n")
    collect_into(tmp_path, images, metadata=str(tmp_path / "told.csv"))
    assert (tmp_path / "collected.json").read_text().splitlines()[1:] == [
        '"info": {"description": "Images without annotations, listed by sod-benchmark. `orientation` is that of their '
        'sizes", "orientation": "upright"},',
        '"licenses": [',
        '{"id": 4, "name": "Attribution License 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"}',
        "],",
        '"images": [',
        '{"id": 139, "file_name": "000000000139.jpg", "width": 8, "height": 6, "license": 4},',
        f'{{"id": {unannotated.key_and_id("b/é.jpg")[1] % 10**12}, "file_name": "b/é.jpg", "width": 9, "height": 6}}',
        "],",
        '"annotations": [],',
        '"categories": []',
        "}",
    ]


def test_tools_for_cocos_format_open_it(tmp_path, capsys):
    collect_into(tmp_path, in_folder(tmp_path, contents(["a.jpg", "b.jpg"])))
    coco = COCO(str(tmp_path / "collected.json"))
    assert {coco.loadImgs(number)[0]["file_name"] for number in coco.getImgIds()} == {"a.jpg", "b.jpg"}
    assert "index created" in capsys.readouterr().out


def test_equal_images_give_equal_bytes_wherever_they_are(tmp_path):
    files, written = contents(["a.jpg", "b/c.jpg"]), set()
    for number, place in enumerate([in_folder, in_zip, in_parquet]):
        folder = tmp_path / str(number)
        folder.mkdir()
        collect_into(folder, place(folder, files))
        written.add((folder / "collected.json").read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize(("orientation", "size"), [("auto", (6, 8)), ("upright", (6, 8)), ("stored", (8, 6))])
def test_sizes_of_turned_photos_are_in_the_frame_that_is_asked_for(tmp_path, orientation, size):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = 6
    Image.new("RGB", (8, 6)).save(buffer, "JPEG", exif=exif)
    collected = collect_into(tmp_path, in_folder(tmp_path, {"a.jpg": buffer.getvalue()}), orientation=orientation)
    (entry,) = images_in(tmp_path)
    assert (entry["width"], entry["height"]) == size
    assert collected.orientation == ("stored" if orientation == "stored" else "upright")


@pytest.mark.parametrize(
    ("collected", "given", "warned"),
    [("upright", "auto", True), ("upright", "stored", True), ("upright", "upright", False), ("stored", "auto", False)],
)
def test_a_run_in_another_frame_than_that_of_the_sizes_is_warned(tmp_path, caplog, collected, given, warned):
    images = in_folder(tmp_path, contents(["a.jpg"]))
    collect_into(tmp_path, images, orientation=collected)
    caplog.clear()
    seen(images, annotations=str(tmp_path / "collected.json"), orientation=given)
    said = [message for message in caplog.messages if "have the sizes of upright images; give --orientation" in message]
    assert len(said) == warned


def test_names_that_share_an_id_get_the_next_and_numbers_keep_theirs(monkeypatch):
    monkeypatch.setattr(collecting, "key_and_id", lambda _name: ("", MAX_NUMBER + 1))
    assert ids_of(["b.jpg", "#.jpg", "000000000000.jpg"]) == {"000000000000.jpg": 0, "#.jpg": 1, "b.jpg": 2}
    monkeypatch.setattr(collecting, "key_and_id", lambda _name: ("", MAX_NUMBER))
    assert ids_of(["a.jpg", "b.jpg"]) == {"a.jpg": MAX_NUMBER, "b.jpg": 0}


# Faults


def test_images_without_a_size_are_named_counted_and_left_out(tmp_path, caplog):
    files = contents(["a.jpg"]) | {"b.jpg": b"no image", "c.jpg": b"", "d\udcff.jpg": make_jpeg(0, 8, 6)}
    collected = collect_into(tmp_path, in_folder(tmp_path, files))
    assert (collected.images, collected.collected) == (4, 1)
    assert collected.failed == {"undecodable": 2, "unsafe_path": 1}
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 3
    assert any(line.startswith("b.jpg failed: undecodable: b-") for line in errors)
    assert [entry["file_name"] for entry in images_in(tmp_path)] == ["a.jpg"]


def test_images_none_of_which_has_a_size_are_refused_with_the_reason_of_the_first(tmp_path):
    with pytest.raises(
        CollectionError, match=r"none of the 2 has a size that can be read\. The first, undecodable: a-"
    ):
        collect_into(tmp_path, in_folder(tmp_path, {"a.jpg": b"x", "b.jpg": b"y"}))
    assert not (tmp_path / "collected.json").exists()


def test_an_existing_file_is_refused_before_anything_is_read_and_stays(tmp_path, monkeypatch):
    images = in_folder(tmp_path, contents(["a.jpg"]))
    (tmp_path / "collected.json").write_text("mine")
    with monkeypatch.context() as patch:
        patch.delattr(collecting, "read_collection")
        with pytest.raises(ConfigError, match=r"--out .*collected\.json exists, and is not replaced"):
            collect_into(tmp_path, images)
    assert (tmp_path / "collected.json").read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    images = in_folder(tmp_path, contents(["a.jpg"]))

    def then_another(inputs):
        (tmp_path / "collected.json").write_text("of another")
        return read_collection(inputs)

    monkeypatch.setattr(collecting, "read_collection", then_another)
    with pytest.raises(ConfigError, match="is not replaced"):
        collect_into(tmp_path, images)
    assert (tmp_path / "collected.json").read_text() == "of another"


@pytest.mark.parametrize("out", ["in_the_way/a.json", "https://host/a.json"])
def test_a_file_that_can_not_be_written_is_refused_before_anything_is_read(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delattr(collecting, "read_collection")
    (tmp_path / "in_the_way").touch()
    with pytest.raises(ConfigError, match=r"^--out"):
        collect(CollectConfig(images="photos", out=out))


def test_how_far_it_is_is_logged_while_sizes_are_read(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(unannotated, "_TOLD_EVERY_S", 0.0)
    with caplog.at_level("INFO"):
        collect_into(tmp_path, in_folder(tmp_path, contents(["a.jpg", "b.jpg"])))
    assert "images: the sizes of 1 of 2 are read" in caplog.messages
