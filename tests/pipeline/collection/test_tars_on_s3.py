"""Tars in a bucket: images come by ranges, and a session that resumes reads no header again."""

import itertools
from collections import Counter

import pytest
import s3fs

from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_collection
from pipeline.collection.kept import Kept
from pipeline.collection.stores import read_bytes
from pipeline.run import run
from pipeline.runs.check import verify_run
from tests.pipeline.collection.test_tars import contents, jpeg
from tests.pipeline.files.test_tar_headers import make_tar
from tests.pipeline.make import make_collection, make_config
from tests.pipeline.s3_server import s3_server

numbers = itertools.count()


@pytest.fixture(scope="module")
def s3():
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as app:
        yield app


@pytest.fixture
def put(s3):
    """Stores a tar in a folder of the bucket, whose URL is `put.url`."""

    def put(name, members):
        client.pipe_file(f"{put.url}/{name}", make_tar(members))
        return members

    client = s3fs.S3FileSystem(skip_instance_cache=True)
    put.url = f"s3://{s3.bucket}/shards-{next(numbers)}"
    return put


def reads(s3, call):
    """What a call gives, and how often it reads of each tar."""
    s3.requests.clear()
    result = call()
    paths = [path for method, path in s3.requests if method == "GET" and path.endswith(".tar")]
    return result, Counter(path.rpartition("/")[2] for path in paths)


def test_a_bucket_gives_the_images_of_a_disk_with_a_request_for_several_small_members(s3, put, tmp_path):
    for stem in ("0", "1"):
        members = {f"{number}.{kind}": jpeg(number) for number in range(5) for kind in ("jpg", "json")}
        (tmp_path / f"{stem}.tar").write_bytes(make_tar(put(f"{stem}.tar", members)))
    on_disk = read_collection(InputConfig(images=str(tmp_path))).samples
    in_bucket, made = reads(s3, lambda: read_collection(InputConfig(images=put.url)).samples)
    assert contents(in_bucket) == contents(on_disk)
    assert len(contents(in_bucket)) == 10
    assert made == {"0.tar": 1, "1.tar": 1}
    for pattern in ("*.tar", "{0..1}.tar"):
        assert read_collection(InputConfig(images=f"{put.url}/{pattern}")).samples == in_bucket
    (first, *_), made = reads(s3, lambda: [read_bytes(in_bucket[0])])
    assert (first, made) == (jpeg(0), {"0.tar": 1})


def test_large_members_are_not_read_to_find_the_next(s3, put):
    members = {f"{number}.jpg": jpeg(number) + bytes(1 << 20) for number in range(4)}
    put("0.tar", members)
    received = []
    read_range = s3fs.S3FileSystem.cat_file

    with pytest.MonkeyPatch.context() as patch:

        def cat_file(fs, path, start=None, end=None, **options):
            received.append(end - start)
            return read_range(fs, path, start=start, end=end, **options)

        patch.setattr(s3fs.S3FileSystem, "cat_file", cat_file)
        samples = read_collection(InputConfig(images=put.url)).samples
    assert [sample.width for sample in samples] == [20, 21, 22, 23]
    assert sum(received) < 300_000


def test_a_session_that_resumes_reads_no_header_and_one_that_grows_only_those_of_new_tars(s3, put):
    """Both with a run in the same bucket; the inputs have no annotations, so sizes are kept too."""
    out, inputs = f"{put.url}-run", InputConfig(images=put.url)
    for stem in ("0", "1", "2"):
        put(f"{stem}.tar", {f"{number}.jpg": jpeg(number) + bytes(40_000) for number in range(6)})

    def session():
        kept = Kept(out)
        samples = read_collection(inputs, kept).samples
        kept.write()
        return samples

    first, made = reads(s3, session)
    assert made.total() >= 3 * 6
    again, made = reads(s3, session)
    assert (again, made) == (first, {})
    put("3.tar", {"new.jpg": jpeg(1)})
    put("1.tar", {"changed.jpg": jpeg(1)})
    grown, made = reads(s3, session)
    assert made.keys() == {"1.tar", "3.tar"}
    assert [sample.file_name for sample in grown if sample not in first] == ["1/changed.jpg", "3/new.jpg"]


def test_a_run_over_a_bucket_keeps_what_it_read_and_a_dry_look_writes_nothing(s3, put, tmp_path, small_pages):
    inputs = make_collection(tmp_path, 2)
    put("0.tar", {entry["file_name"]: inputs.file(entry["id"]).read_bytes() for entry in inputs.entries})
    config = make_config(inputs, f"{put.url}-run", images=put.url)
    s3.requests.clear()
    read_collection(config.input, Kept(config.out))
    assert {method for method, _ in s3.requests} <= {"GET", "HEAD"}
    _, made = reads(s3, lambda: run(config))
    assert made["0.tar"] > 0
    _, made = reads(s3, lambda: read_collection(config.input, Kept(config.out)))
    assert made == {}
    assert verify_run(config.out).problems == ()
