"""Properties, examples and faults of images in parquet."""

import re
import shutil

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.stores import open_store, read_bytes
from pipeline.errors import CollectionError, RunMismatchError, SampleError
from pipeline.files import cells
from pipeline.runs.run_file import open_run
from tests.pipeline.make import make_jpeg, open_images
from tests.pipeline.s3_server import s3_server

SIZES = [(20 + number, 16 + number % 3) for number in range(30)]
JPEGS = [make_jpeg(number, *size) for number, size in enumerate(SIZES)]


def images(numbers, paths=None):
    """A column of Hugging Face's `Image`."""
    paths = paths or [f"{number}.jpg" for number in numbers]
    return [{"bytes": JPEGS[number], "path": path} for number, path in zip(numbers, paths, strict=True)]


def write(path, columns, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def collection(images, **options):
    return read_collection(InputConfig(images=str(images), **options)).samples


def numbers_of(samples):
    """Which image each sample's bytes are; its size must be that image's."""
    found = []
    for sample in samples:
        number = JPEGS.index(read_bytes(sample))
        assert (sample.width, sample.height) == SIZES[number]
        found.append(number)
    return found


def refusal(images, **options):
    with pytest.raises(CollectionError) as caught:
        open_store(InputConfig(images=str(images), **options))
    return str(caught.value)


# Properties


@given(
    files=st.lists(st.lists(st.integers(0, 29), max_size=8), min_size=1, max_size=4),
    group_rows=st.integers(1, 9),
    named=st.booleans(),
)
def test_every_row_of_every_file_is_a_sample_with_its_bytes_and_its_size(tmp_path_factory, files, group_rows, named):
    folder = tmp_path_factory.mktemp("repo")
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))])
    for number, rows in enumerate(files):
        column = images(rows, None if named else [None] * len(rows))
        table = pa.table({"image": column}, schema=schema)
        pq.write_table(table, folder / f"train-{number:05d}.parquet", row_group_size=group_rows)
    rows = [number for rows in files for number in rows]
    if not rows:
        with pytest.raises(CollectionError, match="0 rows of"):
            collection(folder)
        return
    samples = collection(folder)
    assert sorted(numbers_of(samples)) == sorted(rows)
    assert {sample.problem for sample in samples} == {""}
    if not named:  # keys are in the order of the rows
        assert numbers_of(samples) == rows


@pytest.mark.parametrize("growth", ["rows", "row groups", "files"])
def test_a_run_grows_by_appended_rows_row_groups_and_files(tmp_path, growth):
    folder, run = tmp_path / "repo", str(tmp_path / "run")
    write(folder / "a.parquet", {"image": images(range(6))}, row_group_size=6)
    before, _ = open_run(run, collection(folder), 4, {"code": "1"})
    if growth == "files":
        write(folder / "b.parquet", {"image": images(range(5), [None] * 5)})
    else:
        write(folder / "a.parquet", {"image": images(range(9))}, row_group_size=9 if growth == "rows" else 6)
    after, _ = open_run(run, collection(folder), 4, {"code": "1"})
    assert [spec.samples for spec in after[:2]] == [spec.samples for spec in before]
    assert len(after) > len(before)


def test_a_run_refuses_by_name_a_row_that_changed_or_is_gone(tmp_path):
    file, run = tmp_path / "a.parquet", str(tmp_path / "run")
    write(file, {"image": images(range(6))})
    open_run(run, collection(file), 4, {"code": "1"})
    write(file, {"image": images([0, 1, 2, 9, 4], [f"{number}.jpg" for number in range(5)])})
    with pytest.raises(RunMismatchError, match=r"3\.jpg|key 3-") as caught:
        open_run(run, collection(file), 4, {"code": "1"})
    assert "5.jpg: no longer listed" in str(caught.value)


# Where parquet lies


@pytest.mark.parametrize("layout", ["a.parquet", "data/a.parquet", "default/train/0000.parquet"])
def test_parquet_is_found_up_to_two_levels_down_as_repositories_have_it(tmp_path, layout):
    write(tmp_path / "repo" / layout, {"image": images(range(3))})
    (tmp_path / "repo" / "README.md").write_text("a card")
    (tmp_path / "repo" / "assets").mkdir()
    (tmp_path / "repo" / "assets" / "figure.png").write_bytes(b"")
    if layout == "a.parquet":
        assert numbers_of(collection(tmp_path / "repo")) == [0, 1, 2]
    shutil.rmtree(tmp_path / "repo" / "assets")
    assert numbers_of(collection(tmp_path / "repo")) == [0, 1, 2]


@pytest.mark.parametrize("pattern", ["train-*.parquet", "train-{0..1}.parquet"])
def test_a_pattern_names_parquet_files_as_their_folder_does(tmp_path, pattern):
    for name in ("train-0", "train-1", "val-0"):
        write(tmp_path / f"{name}.parquet", {"image": images([int(name[-1])])})
    whole = [sample for sample in collection(tmp_path) if "val" not in sample.location.path]
    assert len(whole) == 2
    assert collection(tmp_path / pattern) == tuple(whole)


def test_a_folder_of_images_stays_one_beside_parquet_that_is_about_them(tmp_path):
    (tmp_path / "0.jpg").write_bytes(JPEGS[0])
    write(tmp_path / "metadata.parquet", {"file_name": ["0.jpg"], "license": ["CC0"]})
    assert [sample.file_name for sample in collection(tmp_path)] == ["0.jpg"]
    assert open_images(tmp_path).found.startswith("a folder")


def test_what_datasets_writes_goes_straight_in(tmp_path):
    import datasets

    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(JPEGS[number])
    files = [str(tmp_path / "photos" / f"{number}.jpg") for number in range(3)]
    with_bytes = [{"bytes": jpeg, "path": None} for jpeg in JPEGS[:3]]
    for name, column in (("bytes", with_bytes), ("paths", files)):  # `datasets` leaves bytes out for paths
        table = datasets.Dataset.from_dict({"image": column, "label": [0, 1, 0]})
        table.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / f"{name}.parquet"))
    assert numbers_of(collection(tmp_path / "bytes.parquet")) == [0, 1, 2]
    samples = collection(tmp_path / "paths.parquet")
    assert numbers_of(samples) == [0, 1, 2]
    assert [sample.file_name for sample in samples] == [f"photos/{number}.jpg" for number in range(3)]


def test_paths_without_bytes_that_lie_elsewhere_say_what_to_do(tmp_path):
    paths = ["/elsewhere/0.jpg", "/elsewhere/1.jpg"]
    column = pa.array(
        [{"bytes": None, "path": path} for path in paths], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    samples = collection(write(tmp_path / "a.parquet", {"image": column}))
    assert {sample.problem for sample in samples} == {"unsafe_path"}
    assert "Put the table into a folder above its images" in samples[0].problem_detail
    assert "elsewhere" not in samples[0].problem_detail


def test_parquet_on_s3_and_in_memory_is_read_alike(tmp_path, monkeypatch):
    file = write(tmp_path / "a.parquet", {"image": images(range(9))}, row_group_size=4)
    with s3_server(monkeypatch) as s3:
        for folder in (f"s3://{s3.bucket}/repo", "memory://parquet-repo"):
            with fsspec.open(f"{folder}/data/train.parquet", "wb") as target:
                target.write(file.read_bytes())
            for place in (folder, f"{folder}/data/train.parquet"):
                assert numbers_of(collection(place)) == list(range(9))
    fsspec.filesystem("memory").rm("memory://parquet-repo", recursive=True)


def test_an_order_that_has_row_groups_decoded_again_and_again_is_told(tmp_path, caplog):
    in_order = write(tmp_path / "a.parquet", {"image": images([0] * 200, [None] * 200)}, row_group_size=5)
    collection(in_order)
    assert caplog.messages == []
    names = [f"{number * 311 % 1009:04d}.jpg" for number in range(1000)]  # neighbours by name are far apart
    collection(write(tmp_path / "b.parquet", {"image": images([0] * 1000, names)}, row_group_size=5))
    (said,) = caplog.messages
    assert re.search(r"row groups are decoded [0-9,]+ times instead of 200\. Sort the rows by the names", said)


def test_a_repository_on_the_hub_is_read_by_ranges(tmp_path, monkeypatch):
    """A Hub in memory: what the client asks of it is answered here, and no network is used."""
    from huggingface_hub import HfApi, HfFileSystem
    from huggingface_hub.hf_api import RepoFile, RepoFolder
    from huggingface_hub.hf_file_system import HfFileSystemFile

    content = write(tmp_path / "a.parquet", {"image": images(range(9))}, row_group_size=4).read_bytes()
    file = RepoFile(path="data/train-00000-of-00001.parquet", size=len(content), oid="1")
    tree = {"data": [file], None: [RepoFolder(path="data", oid="2"), RepoFile(path="README.md", size=1, oid="3")]}
    known = {entry.path: entry for entries in tree.values() for entry in entries}
    fetched = []

    def fetch(_, start, end):
        fetched.append(end - start)
        return content[start:end]

    monkeypatch.setattr(HfApi, "repo_info", lambda *_, **__: None)
    monkeypatch.setattr(HfApi, "list_repo_tree", lambda _, repo, path=None, **__: iter(tree[path or None]))
    monkeypatch.setattr(
        HfApi, "get_paths_info", lambda _, repo, paths, **__: [known[path] for path in paths if path in known]
    )
    monkeypatch.setattr(HfFileSystemFile, "_fetch_range", fetch)
    HfFileSystem.clear_instance_cache()
    for place in ("hf://datasets/org/name", "hf://datasets/org/name/data", f"hf://datasets/org/name/{file.path}"):
        assert numbers_of(collection(place)) == list(range(9))
    assert fetched
    HfFileSystem.clear_instance_cache()


# Columns


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int8(), pa.binary())], ids=str
)
def test_every_type_of_binary_column_is_read(tmp_path, kind):
    write(tmp_path / "a.parquet", {"jpg": pa.array(JPEGS[:3], kind), "embedding": [b"1"] * 3})
    assert numbers_of(collection(tmp_path / "a.parquet")) == [0, 1, 2]


def test_several_columns_that_may_be_the_images_are_named_with_the_option(tmp_path):
    file = write(tmp_path / "a.parquet", {"image": images([0, 1]), "png": JPEGS[2:4], "label": [1, 2]})
    assert "2 columns may be the images: 'image', 'png'. Give the right one, --image-column image" in refusal(file)
    assert numbers_of(collection(file, image_column="png")) == [2, 3]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"image_column": "x"}, "no column 'x'; --image-column must be one of 'image', 'label'"),
        ({"image_column": "label"}, "column 'label' is int64; --image-column must name binary values"),
        ({"name_column": "x"}, "no column 'x'; --name-column must be one of 'label'"),
    ],
)
def test_a_column_that_is_named_and_not_there_is_refused(tmp_path, option, said):
    assert said in refusal(write(tmp_path / "a.parquet", {"image": images([0]), "label": [1]}), **option)


def test_parquet_without_images_and_addresses_is_refused_with_its_columns(tmp_path):
    said = refusal(write(tmp_path / "a.parquet", {"caption": ["a"], "n": [1]}))
    assert "no column of images or of their addresses among 'caption', 'n'" in said


def test_names_come_from_the_path_a_column_or_the_row(tmp_path):
    columns = {"image": images([0, 1], ["x/0.jpg", None]), "id": [7, 8]}
    file = write(tmp_path / "a.parquet", columns)
    assert sorted(open_images(file).names()) == ["8", "x/0.jpg"]
    by_column = open_store(InputConfig(images=str(file), name_column="id"))
    assert sorted(by_column.names()) == ["7", "8"]
    del columns["id"]
    assert sorted(open_images(write(file, columns)).names()) == ["a/000000001", "x/0.jpg"]


def test_other_columns_tell_licence_author_and_source(tmp_path):
    columns = {
        "image": images([0, 1]),
        "license": ["CC0", None],
        "creator": ["Ann", "x" * 5000],
        "source_url": ["s", ""],
    }
    store = open_images(write(tmp_path / "a.parquet", columns))
    assert (store.about("0.jpg").license, store.about("0.jpg").author, store.about("0.jpg").source) == (
        "CC0",
        "Ann",
        "s",
    )
    assert (store.about("1.jpg").license, len(store.about("1.jpg").author)) == ("", 2000)


# Faults


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([4, None], ["4", ""]),
        ([4.0, float("nan")], ["4", ""]),
        ([["CC0"], ["CC BY", "CC0"]], ["CC0", "['CC BY', 'CC0']"]),
        ([[4], []], ["4", ""]),
    ],
)
def test_a_licence_may_be_a_number_or_a_list(tmp_path, cells, said):
    write(tmp_path / "a.parquet", {"image": images(range(2), ["0.jpg", "1.jpg"]), "license": cells})
    store = open_store(InputConfig(images=str(tmp_path)))
    assert [store.about(f"{number}.jpg").license.removesuffix(".0") for number in range(2)] == said


def test_a_licence_in_words_goes_before_a_number(tmp_path):
    columns = {"license": [4, 4], "license_name": ["CC0", None]}
    write(tmp_path / "a.parquet", {"image": images(range(2), ["0.jpg", "1.jpg"])} | columns)
    store = open_store(InputConfig(images=str(tmp_path)))
    assert [store.about(f"{number}.jpg").license for number in range(2)] == ["CC0", "4"]


def test_a_row_that_is_null_too_large_or_no_image_costs_itself_alone(tmp_path):
    rows = [*images([0]), None, {"bytes": None, "path": "2.jpg"}, {"bytes": b"x" * 5000, "path": "3.jpg"}, *images([4])]
    samples = collection(write(tmp_path / "a.parquet", {"image": rows}), max_image_bytes=4000)
    assert {sample.file_name: sample.problem for sample in samples} == {
        "0.jpg": "",
        "a/000000001": "unreadable",
        "2.jpg": "unreadable",
        "3.jpg": "too_many_bytes",
        "4.jpg": "",
    }


@given(data=st.data())
def test_a_damaged_file_is_refused_or_costs_its_images(tmp_path_factory, data):
    file = write(tmp_path_factory.mktemp("torn") / "a.parquet", {"image": images(range(6)), "license": ["CC0"] * 6})
    content = bytearray(file.read_bytes())
    spot = st.one_of(st.integers(4, len(content) - 1), st.integers(len(content) - 600, len(content) - 1))
    for at, value in data.draw(st.lists(st.tuples(spot, st.integers(0, 255)), max_size=4)):
        content[at] = value
    file.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(4, len(content))))])
    try:
        store = open_images(file)
    except CollectionError:
        return
    for name in store.names():
        store.about(name)
    collection(file)


def test_a_file_that_is_torn_is_refused(tmp_path):
    content = write(tmp_path / "a.parquet", {"image": images([0, 1])}).read_bytes()
    (tmp_path / "torn.parquet").write_bytes(content[:-20])
    assert "not a whole parquet file" in refusal(tmp_path / "torn.parquet")


def test_more_rows_or_columns_than_files_have_are_refused(tmp_path, monkeypatch):
    file = write(tmp_path / "a.parquet", {"image": images(range(20))})
    monkeypatch.setattr("pipeline.collection.parquet._FREE_ROWS", -10_000)
    assert re.search(r"bytes of parquet claim 20 rows of 2 columns; at most", refusal(file))


def test_a_file_that_changed_since_it_was_planned_costs_the_images_that_are_gone(tmp_path):
    file = write(tmp_path / "a.parquet", {"image": images(range(4))})
    samples = collection(file)
    write(file, {"image": images(range(2))})
    assert [read_bytes(sample) for sample in samples[:2]] == JPEGS[:2]
    for sample in samples[2:]:
        with pytest.raises(SampleError, match="row group 0 ends after 2 rows; has the file changed"):
            read_bytes(sample)


def test_headers_are_read_row_group_by_row_group(tmp_path, monkeypatch):
    """Without annotations every row is looked at; each row group is decoded once for that."""
    file = write(tmp_path / "a.parquet", {"image": images([*range(30)] * 20)}, row_group_size=100)
    opened, begin = [], cells._Stream._opened
    monkeypatch.setattr(cells, "MOST_KEPT_BYTES", 1 << 16)
    monkeypatch.setattr(cells._Stream, "_opened", lambda self: opened.append(self._cell.group) or begin(self))
    assert len(collection(file)) == 600
    assert sorted(opened) == [*range(6)]
