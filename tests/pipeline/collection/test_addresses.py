"""Properties, examples and faults of tables of addresses."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfFileSystem
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.collection import About
from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.stores import open_store, read_bytes
from pipeline.errors import CollectionError, RunMismatchError, SampleError
from pipeline.files import web
from pipeline.run import run
from pipeline.runs.plan import encode_plan, plan_shards
from pipeline.runs.run_file import open_run
from tests.pipeline.files.web_server import web_server
from tests.pipeline.make import make_collection, make_config, make_jpeg, make_sample
from tests.pipeline.s3_server import s3_server

SIZES = [(20 + number, 16 + number % 3) for number in range(12)]
JPEGS = [make_jpeg(number, *size) for number, size in enumerate(SIZES)]
HOSTS = ("127.0.0.1",)


@pytest.fixture(scope="module")
def server():
    with web_server() as site:
        yield site


@pytest.fixture
def site(server, monkeypatch):
    server.pages = {f"/i/{number}.jpg": [jpeg] for number, jpeg in enumerate(JPEGS)}
    server.requests.clear()
    monkeypatch.setattr(web._OF_PROCESS, "here", web._Web())
    monkeypatch.setattr(web, "_PAUSES_S", (0.0, 0.0))
    return server


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "i").mkdir()
    for number, jpeg in enumerate(JPEGS):
        (tmp_path / "i" / f"{number}.jpg").write_bytes(jpeg)
    return tmp_path


def write(path, rows):
    """A table of these rows, in the format that its suffix names."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        lines = [delimiter.join(rows[0]), *(delimiter.join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines))
    return path


def collection(table, **options):
    samples = read_collection(InputConfig(images=str(table), **options)).samples
    return {sample.file_name: sample for sample in samples}


def store_of(table, **options):
    return open_store(InputConfig(images=str(table), **options))


def refusal(table, **options):
    with pytest.raises(CollectionError) as caught:
        store_of(table, **options)
    return str(caught.value)


# Tables


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("column", ["path", "file_name", "Filepath", "image"])
def test_paths_of_every_format_are_relative_to_the_table(folder, suffix, column):
    table = write(folder / f"t.{suffix}", [{column: f"i/{number}.jpg", "n": number} for number in range(3)])
    samples = collection(table)
    assert {name: read_bytes(sample) for name, sample in samples.items()} == {
        f"i/{number}.jpg": JPEGS[number] for number in range(3)
    }
    assert [(sample.width, sample.height) for sample in samples.values()] == SIZES[:3]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("column", ["url", "URL", "image_url", "OriginalURL", "coco_url"])
def test_urls_of_every_format_are_read_from_their_servers(site, tmp_path, suffix, column):
    rows = [{column: f"{site.url}/i/{number}.jpg"} for number in range(3)]
    samples = collection(write(tmp_path / f"t.{suffix}", rows), allow_hosts=HOSTS)
    assert {name: read_bytes(sample) for name, sample in samples.items()} == {
        f"i/{number}.jpg": JPEGS[number] for number in range(3)
    }
    assert [(sample.width, sample.height) for sample in samples.values()] == SIZES[:3]


def test_only_the_beginning_of_an_image_is_asked_for_to_learn_its_size(site, tmp_path):
    collection(write(tmp_path / "t.csv", [{"url": f"{site.url}/i/1.jpg"}]), allow_hosts=HOSTS)
    assert [headers["Range"] for _, headers in site.requests] == ["bytes=0-32767"]


def test_a_folder_of_parquet_with_addresses_is_one_table(site, tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(2):
        write(tmp_path / "data" / f"{number}.parquet", [{"url": f"{site.url}/i/{number}.jpg", "phash": "x"}])
    assert list(collection(tmp_path, allow_hosts=HOSTS)) == ["i/0.jpg", "i/1.jpg"]


def test_the_columns_are_told_by_their_names_or_by_options(site, folder):
    rows = [
        {"where": f"i/{number}.jpg", "path": f"{site.url}/i/{number}.jpg", "label": f"no{number}"} for number in (1, 2)
    ]
    table = write(folder / "t.csv", rows)
    assert set(collection(table, allow_hosts=HOSTS)) == {"i/1.jpg", "i/2.jpg"}
    named = collection(table, address_column="where", name_column="label")
    assert {name: sample.location.path for name, sample in named.items()} == {
        f"no{number}": str(folder / "i" / f"{number}.jpg") for number in (1, 2)
    }
    assert "no column 'x'; --address-column must be one of 'where', 'path', 'label'" in refusal(
        table, address_column="x"
    )


def test_names_of_urls_come_from_a_column_or_from_the_path_without_query(site, tmp_path):
    rows = [{"url": f"{site.url}/i/1.jpg?Signature=secret", "key": "a"}, {"url": f"{site.url}/i/1.jpg?v=2", "key": ""}]
    table = write(tmp_path / "t.csv", rows)
    assert list(store_of(table).names()) == ["a", "i/1.jpg"]
    assert list(store_of(write(table, [{"url": row["url"]} for row in rows])).names()) == ["i/1.jpg", "t/i/1.jpg"]


def test_other_columns_tell_licence_author_and_source_else_the_url_is_the_source_without_its_secrets(tmp_path):
    rows = [
        {"url": "https://a.example/1.jpg?token=abcdefgh", "license": "CC0", "author": "Ann", "landing_page": ""},
        {"url": "https://a.example/2.jpg", "license": "", "author": "", "landing_page": "https://a.example/2"},
    ]
    store = store_of(write(tmp_path / "t.csv", rows))
    assert store.about("1.jpg") == About(license="CC0", author="Ann", source="https://a.example/1.jpg?token=(hidden)")
    assert store.about("2.jpg") == About(license="", author="", source="https://a.example/2")


@pytest.mark.parametrize("licenses", [(4, 5), (["CC0"], ["CC BY", "CC0"]), (4.0, 5.0)])
@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_a_licence_may_be_a_number_or_a_list(tmp_path, name, licenses):
    rows = [{"url": f"https://a.example/{number}.jpg", "license": value} for number, value in enumerate(licenses)]
    store = store_of(write(tmp_path / name, rows))
    first, second = (store.about(f"{number}.jpg").license for number in range(2))
    if isinstance(licenses[0], list):
        assert (first, second) == ("CC0", "['CC BY', 'CC0']")
    else:
        assert (float(first), float(second)) == licenses


def test_addresses_on_s3_are_read_beside_paths_and_the_table_may_be_there(folder, monkeypatch):
    with s3_server(monkeypatch) as s3:
        import s3fs

        fs = s3fs.S3FileSystem()
        for number in range(3):
            fs.pipe_file(f"{s3.bucket}/i/{number}.jpg", JPEGS[number])
        rows = [{"path": f"s3://{s3.bucket}/i/0.jpg"}, {"path": "i/1.jpg"}]
        table = write(folder / "t.csv", rows)
        assert [read_bytes(sample) for sample in collection(table).values()] == JPEGS[:2]
        fs.pipe_file(f"{s3.bucket}/t.csv", b"path\ni/1.jpg\n/etc/passwd\n../x.jpg\ni/9.jpg\n")
        samples = collection(f"s3://{s3.bucket}/t.csv")
        assert read_bytes(samples["i/1.jpg"]) == JPEGS[1]
        assert sorted(sample.problem for sample in samples.values()) == ["", "missing", "unsafe_path", "unsafe_path"]


def test_a_table_on_a_web_server_has_its_images_beside_it(site):
    def ranged(handler):
        content = b"path\ni/1.jpg\n"
        asked = handler.headers.get("Range")
        return (206, {}, content[int(asked[6:].partition("-")[0]) :]) if asked else (200, {}, content)

    site.pages["/t.csv"] = [ranged]
    samples = collection(f"{site.url}/t.csv")
    assert read_bytes(samples["i/1.jpg"]) == JPEGS[1]


def test_annotations_find_their_images_in_a_table(site, folder):
    entries = [{"id": number, "file_name": f"{number}.jpg", "width": 9, "height": 9} for number in range(3)]
    (folder / "a.json").write_text(json.dumps({"images": entries}))
    table = write(folder / "t.csv", [{"url": f"{site.url}/i/{number}.jpg"} for number in (2, 1)])
    samples = read_collection(
        InputConfig(images=str(table), annotations=str(folder / "a.json"), allow_hosts=HOSTS)
    ).samples
    assert [sample.problem for sample in samples] == ["missing", "", ""]
    assert [read_bytes(sample) for sample in samples[1:]] == JPEGS[1:3]


# Growing


def test_a_run_grows_by_appended_rows_and_refuses_a_row_that_changed(folder):
    table, run = folder / "t.csv", str(folder / "run")
    rows = [{"path": f"i/{number}.jpg"} for number in range(9)]
    before, _ = open_run(run, list(collection(write(table, rows[:5])).values()), 4, {"code": "1"})
    after, _ = open_run(run, list(collection(write(table, rows)).values()), 4, {"code": "1"})
    assert after[:2] == before
    assert len(after) == 3
    (folder / "i" / "3.jpg").write_bytes(make_jpeg(3, 50, 50))
    with pytest.raises(RunMismatchError, match=r"width was 23, is 50"):
        open_run(run, list(collection(table).values()), 4, {"code": "1"})
    with pytest.raises(RunMismatchError, match="no longer listed"):
        open_run(run, list(collection(write(table, rows[1:])).values()), 4, {"code": "1"})


def test_a_plan_has_no_secret_of_an_address(tmp_path):
    store = store_of(write(tmp_path / "t.csv", [{"url": "https://a.example/1.jpg?X-Amz-Signature=abcdefgh"}]))
    location = store.locate("1.jpg")
    assert "abcdefgh" in location.path
    assert b"abcdefgh" not in encode_plan(plan_shards([make_sample(location=location)], 1))


def test_an_image_whose_server_failed_is_tried_again_on_request(site, tmp_path):
    inputs = make_collection(tmp_path / "in", 4)
    for number in range(1, 5):
        site.pages[f"/{number}.jpg"] = [inputs.file(number).read_bytes()]
    whole, site.pages["/2.jpg"] = site.pages["/2.jpg"], [(503, {}, b"")]
    table = write(tmp_path / "t.csv", [{"url": f"{site.url}/{number}.jpg"} for number in range(1, 5)])
    options = {"images": str(table), "allow_hosts": HOSTS}
    assert run(make_config(inputs, tmp_path / "out", **options)).failed == {"unreadable": 1}
    site.pages["/2.jpg"] = whole
    assert run(make_config(inputs, tmp_path / "out", **options, retry_failed=True, version="1.1.0")).failed == {}


# Faults


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "missing"),
        ("i/77.jpg", "missing"),
        ("../i/0.jpg", "unsafe_path"),
        ("/etc/passwd", "unsafe_path"),
        ("file:///etc/passwd", "unsafe_path"),
        ("i\\..\\..\\0.jpg", "unsafe_path"),
        ("out.jpg", "unsafe_path"),
        ("i/0.jpg\0", "unsafe_address"),
        ("x" * 9000, "unsafe_address"),
        ("ssh://host/a.jpg", "unsafe_address"),
        ("simplecache::s3://bucket/a.jpg", "unsafe_address"),
        ("memory://a.jpg", "unsafe_address"),
        ("=HYPERLINK(1)", "missing"),
        ("http://127.0.0.1:9/a.jpg", "unsafe_address"),
        ("http://[::1/a.jpg", "unsafe_address"),
        ("http://a..b.com/a.jpg", "unsafe_address"),
        (f"http://{'a' * 64}.com/a.jpg", "unsafe_address"),
        ("http://h:abc/a.jpg", "unsafe_address"),
        ("s3://[x/a.jpg", "unsafe_address"),
        ("s3://a bucket/a.jpg", "unsafe_address"),
        ("s3://", "unsafe_address"),
        ("hf://a", "unsafe_address"),
        ("hf://", "unsafe_address"),
        ("hf://datasets/org/a name/a.jpg", "unsafe_address"),
    ],
)
def test_a_bad_address_costs_its_image_alone(folder, address, problem, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    (folder / "out.jpg").symlink_to("/etc/passwd")
    (folder / "t.jsonl").write_text(json.dumps({"path": address}) + "\n" + json.dumps({"path": "i/1.jpg"}))
    samples = collection(folder / "t.jsonl")
    assert sorted(sample.problem for sample in samples.values()) == sorted(["", problem])
    assert samples["i/1.jpg"].problem == ""
    assert not any("passwd" in sample.problem_detail for sample in samples.values())
    assert all(sample.problem_detail.isprintable() for sample in samples.values())


@given(st.lists(st.text(st.sampled_from("ab./\\:~%\0?#@ [1é\ud7ff"), max_size=14), max_size=4))
def test_no_address_leads_out_of_the_tables_folder_or_stops_the_others(tmp_path_factory, addresses):
    folder = tmp_path_factory.mktemp("t")
    rows = [{"path": address} for address in [*addresses, "a.jpg"]]
    (folder / "a.jpg").write_bytes(JPEGS[0])
    write(folder / "t.jsonl", rows)
    store = store_of(folder / "t.jsonl")
    assert len(list(store.names())) == len(rows)
    for name in store.names():
        try:
            location = store.locate(name)
        except SampleError:
            continue
        assert location.path == str(folder / "a.jpg")


def test_absolute_paths_below_the_table_are_what_they_would_be_relative_to_it(folder):
    rows = [{"path": str(folder / "i" / "0.jpg")}, {"path": f"file://{folder}/i/1.jpg"}]
    assert list(collection(write(folder / "t.csv", rows))) == ["i/0.jpg", "i/1.jpg"]


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ((404, {}, b""), "missing"),
        ((403, {}, b""), "unreadable"),
        ((500, {}, b""), "unreadable"),
        ((302, {"Location": "http://10.0.0.1/a.jpg"}, b""), "unsafe_address"),
        (b"<html>not found</html>", "undecodable"),
        (b"x" * 5000, "too_many_bytes"),
    ],
)
def test_what_a_server_answers_costs_its_image_alone(site, tmp_path, page, problem):
    site.pages["/x.jpg"] = [page]
    table = write(tmp_path / "t.csv", [{"url": f"{site.url}/x.jpg"}, {"url": f"{site.url}/i/1.jpg"}])
    samples = collection(table, allow_hosts=HOSTS, max_image_bytes=4000)
    assert {name: sample.problem for name, sample in samples.items()} == {"x.jpg": problem, "i/1.jpg": ""}


def test_a_bucket_that_denies_access_costs_its_images_alone(folder, monkeypatch):
    def denied(*_, **__):
        raise PermissionError("Access Denied")

    table = write(folder / "t.csv", [{"path": "hf://datasets/org/name/0.jpg"}, {"path": "i/1.jpg"}])
    monkeypatch.setattr(HfFileSystem, "cat_file", denied)
    samples = collection(table)
    assert {name: sample.problem for name, sample in samples.items()} == {"org/name/0.jpg": "unreadable", "i/1.jpg": ""}


@pytest.mark.parametrize("address", ["data:image/png;base64,iVBORw0KGgo=", "DATA:,x", f"data:,{'A' * 70_000}"])
def test_an_image_within_its_address_is_refused_in_words(tmp_path, address):
    table = tmp_path / "t.jsonl"
    table.write_text(json.dumps({"url": address}))
    (sample,) = collection(table).values()
    assert sample.problem == "unsafe_address"
    assert "data: addresses are not read" in sample.problem_detail


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,2\n", "no column of addresses among 'a', 'b'; the first row must have the names"),
        (b"", "no column of addresses among (none); the first row must have the names"),
        (b"\npath\n1.jpg\n", "no column of addresses among (none); the first row must have the names"),
        (b'path,author\n1.jpg,Ann\n2.jpg,"Bob\n3.jpg,Cy\n', "line 3: a cell begins with a quote that is never closed"),
        (
            b"path,author\n2.jpg,Smith, John\n",
            "line 2: it has more cells (3) than there are columns (2). Put quotes around",
        ),
        ("url\nä".encode("utf-16"), "not UTF-8"),
        ("url\nä".encode("latin-1"), "not UTF-8"),
        (b"url\n" + b"x" * 200_000, "line 2: a cell has more than"),
    ],
)
def test_what_is_no_table_of_addresses_is_refused(tmp_path, content, said):
    (tmp_path / "t.csv").write_bytes(content)
    assert said in refusal(tmp_path / "t.csv")


def test_a_table_without_rows_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("url\n")
    with pytest.raises(CollectionError, match="a table of 0 addresses"):
        collection(tmp_path / "t.csv")
