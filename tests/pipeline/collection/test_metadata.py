"""Licences and origins from a table beside the images."""

import csv
import io
import json

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.collection.collection import License, Origin
from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.license_names import is_name
from pipeline.errors import CollectionError
from tests.pipeline.make import make_jpeg

CELL = st.text("ab,;\"'\n é1", max_size=6).map(str.strip)
OPEN_IMAGES = """\
ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,\
Thumbnail300KURL,Rotation
000a1249af2bc5f0,train,https://c2.staticflickr.com/5/1/9_o.jpg,https://www.flickr.com/photos/one/9,\
https://creativecommons.org/licenses/by/2.0/,https://www.flickr.com/people/one/,"One, A.","A ""title"", quoted",\
3142,1CR==,https://c4.staticflickr.com/5/1/9_z.jpg,0.0
000a1249af2bc5f1,train,https://c2.staticflickr.com/5/1/8_o.jpg,https://www.flickr.com/photos/two/8,\
https://creativecommons.org/licenses/by/2.0/,https://www.flickr.com/people/two/,Two,,11,1CS==,,
"""


def make_photos(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make_jpeg(number, 8, 6))
    return str(folder)


def make_table(path, rows):
    columns = list(rows[0])
    if str(path).endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(rows)
    return str(path)


def read(images, metadata, annotations=""):
    """File name → licence and origin of its image."""
    collection = read_collection(InputConfig(images=images, metadata=str(metadata), annotations=annotations))
    return {
        sample.file_name: (collection.licenses.get(sample.license_id), collection.origins.get(sample.key))
        for sample in collection.samples
    }


def message_of(images, metadata):
    with pytest.raises(CollectionError) as caught:
        read(images, metadata)
    assert str(caught.value).startswith(f"--metadata {str(metadata)!r}: ")
    return str(caught.value)


# Properties


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=2, max_size=4), st.sampled_from(["t.csv", "t.parquet"]))
def test_what_a_table_says_of_an_image_is_known_of_it(tmp_path_factory, told, table):
    folder = tmp_path_factory.mktemp("told")
    names = [f"{number}.jpg" for number in range(len(told))]
    rows = [
        dict(zip(("name", "license", "author", "source"), (name, *said), strict=True))
        for name, said in zip(names, told, strict=True)
    ]
    found = read(make_photos(folder / "in", *names), make_table(folder / table, rows))
    for name, (license_, author, source) in zip(names, told, strict=True):
        described, origin = found[name]
        assert (described.name if described else "") == (" ".join(license_.split()) if is_name(license_) else "")
        assert origin == (Origin(author=author, source=source) if author or source else None)


# Examples


def test_the_table_of_open_images_is_read_as_it_is(tmp_path):
    images = make_photos(tmp_path / "in", "000a1249af2bc5f0.jpg", "train/000a1249af2bc5f1.jpg", "other.jpg")
    (tmp_path / "train-images-with-rotation.csv").write_text(OPEN_IMAGES)
    by = License(id=4, name="Attribution License 2.0", url="https://creativecommons.org/licenses/by/2.0/")
    assert read(images, tmp_path / "train-images-with-rotation.csv") == {
        "000a1249af2bc5f0.jpg": (by, Origin(author="One, A.", source="https://www.flickr.com/photos/one/9")),
        "train/000a1249af2bc5f1.jpg": (by, Origin(author="Two", source="https://www.flickr.com/photos/two/8")),
        "other.jpg": (None, None),
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_spreadsheets_write_csv_in_their_own_ways(tmp_path, delimiter, encoding):
    text = f"Image Name{delimiter}LICENCE\r\nün.jpg{delimiter}CC BY\r\n\r\n"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert read(make_photos(tmp_path / "in", "ün.jpg"), tmp_path / "t.csv")["ün.jpg"][0].id == 4


@pytest.mark.parametrize("name", ["x/a.jpg", "/home/me/x/a.jpg", "x\\a.jpg", "https://host/x/a.jpg", "./a.jpg"])
def test_names_in_a_table_are_matched_as_those_of_annotations(tmp_path, name):
    images = make_photos(tmp_path / "in", "x/a.jpg", "b.jpg")
    table = make_table(tmp_path / "t.csv", [{"file": name, "author": "Ann"}, {"file": "c.jpg", "author": "Bob"}])
    assert read(images, table)["x/a.jpg"][1] == Origin(author="Ann", source="")


def test_an_address_alone_is_a_licence_and_the_next_column_fills_in(tmp_path):
    rows = [{"name": "a.jpg", "license": "", "license_url": "https://creativecommons.org/publicdomain/zero/1.0"}]
    found = read(make_photos(tmp_path / "in", "a.jpg"), make_table(tmp_path / "t.csv", rows))
    assert found["a.jpg"][0].name == "CC0 1.0"


def test_what_annotations_say_goes_before_the_table(tmp_path, caplog):
    caplog.set_level("INFO")
    images = make_photos(tmp_path / "in", "1.jpg", "2.jpg")
    entries = [{"id": number, "file_name": f"{number}.jpg", "width": 8, "height": 6} for number in (1, 2)]
    entries[0] |= {"license": 3, "author": "Said"}
    (tmp_path / "labels.json").write_text(json.dumps({"images": entries, "licenses": [{"id": 3, "name": "Mine"}]}))
    rows = [{"name": f"{number}.jpg", "license": "CC BY", "author": "Told"} for number in (1, 2)]
    found = read(images, make_table(tmp_path / "t.csv", rows), str(tmp_path / "labels.json"))
    assert found["1.jpg"] == (License(id=3, name="Mine", url=""), Origin(author="Said", source=""))
    assert (found["2.jpg"][0].id, found["2.jpg"][1]) == (4, Origin(author="Told", source=""))
    assert "metadata: tells of 2 of 2 images" in caplog.messages
    assert "metadata: 1 images keep the licence that the annotations give them" in caplog.messages


LABELS = [{"id": 4, "name": "Mine", "url": ""}, {"id": 9, "name": "NASA", "url": "https://nasa.example/use"}]
NASA = License(id=9, name="NASA", url="https://nasa.example/use")


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def licences_of(tmp_path, value, kind, *, annotated, column="license"):
    """The licence of an image of which a table says this."""
    images, annotations = make_photos(tmp_path / "in", "1.jpg"), ""
    if annotated:
        annotations = str(tmp_path / "labels.json")
        entry = {"id": 1, "file_name": "1.jpg", "width": 8, "height": 6}
        (tmp_path / "labels.json").write_text(json.dumps({"images": [entry], "licenses": LABELS}))
    write = write_jsonl if kind == "jsonl" else make_table
    table = write(tmp_path / f"t.{kind}", [{"name": "1.jpg", column: value}])
    collection = read_collection(InputConfig(images=images, metadata=table, annotations=annotations))
    return collection.samples[0].license_id, collection.licenses


@pytest.mark.parametrize("column", ["license", "license_id"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("value", [4, 4.0, "4", "4.0"])
def test_a_number_is_the_licence_that_annotations_describe_and_else_says_nothing(tmp_path, caplog, value, kind, column):
    assert licences_of(tmp_path, value, kind, annotated=True, column=column)[0] == 4
    assert not [line for line in caplog.messages if "says nothing" in line]
    assert licences_of(tmp_path, value, kind, annotated=False, column=column) == (0, {})
    (line,) = [line for line in caplog.messages if "says nothing" in line]
    assert line.startswith("metadata: 1 images have a `license` that says nothing ('4")
    assert line.endswith("for example), so their licence is 0, unknown")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["CC BY", "CC0"], "jsonl"), (["CC BY", "CC0"], "parquet"), ("['CC BY', 'CC0']", "csv"), (5, "csv"),
        (5, "jsonl"), (4.5, "parquet"), ([5], "parquet"), (0, "csv"), (True, "csv"),
    ],
)  # fmt: skip
def test_what_is_no_name_and_no_known_number_says_nothing(tmp_path, caplog, value, kind):
    number, licenses = licences_of(tmp_path, value, kind, annotated=True)
    assert (number, set(licenses)) == (0, {4, 9})
    assert "1 images have a `license` that says nothing" in " ".join(caplog.messages)


@pytest.mark.parametrize(
    ("value", "kind", "number"),
    [
        (["CC BY-SA"], "jsonl", 5), (["CC BY-SA"], "parquet", 5), ([4], "jsonl", 4), (["4"], "parquet", 4),
        ("Mine", "csv", 4), ("", "csv", 0), (None, "jsonl", 0), ([], "jsonl", 0), (float("nan"), "parquet", 0),
    ],
)  # fmt: skip
def test_a_list_of_one_is_what_it_has_and_nothing_is_nothing(tmp_path, caplog, value, kind, number):
    assert licences_of(tmp_path, value, kind, annotated=True)[0] == number
    assert "says nothing" not in " ".join(caplog.messages)


def licenses_csv(path, licence):
    row = {"key": "key-1", "image_id": 1, "file_name": "1.jpg", "license_id": licence.id, "license_name": licence.name}
    return make_table(path, [row | {"license_url": licence.url, "author": "", "source": ""}])


def test_the_table_of_a_release_keeps_the_names_of_its_licences(tmp_path):
    found = read(make_photos(tmp_path / "in", "1.jpg"), licenses_csv(tmp_path / "licenses.csv", NASA))["1.jpg"][0]
    assert (found.name, found.url) == (NASA.name, NASA.url)


def test_the_table_of_a_release_means_the_licences_that_its_annotations_describe(tmp_path):
    entry = {"id": 1, "file_name": "1.jpg", "width": 8, "height": 6}
    (tmp_path / "labels.json").write_text(json.dumps({"images": [entry], "licenses": LABELS}))
    table = licenses_csv(tmp_path / "licenses.csv", NASA)
    found = read(make_photos(tmp_path / "in", "1.jpg"), table, str(tmp_path / "labels.json"))
    assert found["1.jpg"][0] == NASA


def test_ids_stay_when_the_collection_and_its_table_grow(tmp_path):
    rows = [{"name": f"{number}.jpg", "license": f"licence {number}"} for number in range(3)]
    images = make_photos(tmp_path / "in", "0.jpg", "1.jpg", "2.jpg")
    few = read(images, make_table(tmp_path / "few.csv", rows[:2]))
    many = read(images, make_table(tmp_path / "many.csv", rows[::-1]))
    assert many["0.jpg"] == few["0.jpg"]
    assert many["1.jpg"] == few["1.jpg"]
    assert many["2.jpg"][0].name == "licence 2"


def test_a_table_may_be_at_a_url(tmp_path):
    fsspec.filesystem("memory").pipe_file("/tables/t.csv", b"name,author\na.jpg,Ann\n")
    assert read(make_photos(tmp_path / "in", "a.jpg"), "memory://tables/t.csv")["a.jpg"][1].author == "Ann"


# Faults


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has the columns (none); needed are one of name, file_name"),
        (b"a,b\n1,2\n", "it has the columns 'a', 'b'; needed are one of name"),
        (b"name,x\na.jpg,2\n", "and license, author or source"),
        (b"license,x\na.jpg,2\n", "needed are one of name"),
        (b"name,author\n", "no row is of one of the 1 images, 'a.jpg' for example; it has none. Give the table"),
        (b"name,author\nb.jpg,Bob\n", "'a.jpg' for example; its first is of 'b.jpg'. Give the table of these images"),
        (b"name,author\na.jpg,Ann\na.jpg,Bob\n", "two rows of 'a.jpg' differ; remove one"),
        (b"name,author\na.jpg,\xff\n", "not UTF-8"),
        (b'name,author\na.jpg,"' + b"x" * 140_000 + b'"\n', "line 2: a cell has more than"),
        (b'name,author\na.jpg,"Ann\nb.jpg,Bob\n', "line 2: a cell begins with a quote that is never closed"),
        (
            b"name,author\na.jpg,Smith, John\n",
            "line 2: it has more cells (3) than there are columns (2). Put quotes around",
        ),
        (b"PAR1 and no more", "; give it whole"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_table_that_can_not_be_used_is_refused_with_what_it_has(tmp_path, content, said):
    (tmp_path / "t.csv").write_bytes(content)
    assert said in message_of(make_photos(tmp_path / "in", "a.jpg"), tmp_path / "t.csv")


@pytest.mark.parametrize("table", ["/absent/t.csv", "nonsense://t.csv", "memory://absent.csv"])
def test_a_table_that_is_not_there_is_refused_by_name(tmp_path, table):
    message_of(make_photos(tmp_path / "in", "a.jpg"), table)


def test_a_table_at_a_chained_url_is_refused():
    with pytest.raises(ValueError, match="a chained URL"):
        InputConfig(images="x", metadata="simplecache::s3://bucket/t.csv")


def test_equal_rows_are_one_row_and_columns_nobody_knows_are_ignored(tmp_path):
    buffer = io.StringIO()
    buffer.write("name,author,score\n" + "a.jpg,Ann,0.5\na.jpg,Ann,0.7\n")
    (tmp_path / "t.csv").write_text(buffer.getvalue())
    assert read(make_photos(tmp_path / "in", "a.jpg"), tmp_path / "t.csv")["a.jpg"][1].author == "Ann"
