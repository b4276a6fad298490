"""Properties, examples and faults of cutting samples into shards, and of the file that keeps the plan."""

import dataclasses
import io
import json
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import FAILURE_REASONS, StorageError
from pipeline.records import Location, Sample, ShardSpec
from pipeline.runs.plan import decode_plan, encode_plan, plan_digest, plan_shards
from tests.pipeline.make import read_samples


def make_sample(image_id, /, **overrides):
    fields = {"key": f"{image_id:012d}", "image_id": image_id, "file_name": f"{image_id}.jpg", "width": 640}
    location = Location(path=f"/coco/{image_id}.jpg")
    return Sample(**{**fields, "height": 480, "license_id": image_id % 9, "location": location, **overrides})


LOCATIONS = st.builds(
    Location,
    path=st.text(),
    reader=st.sampled_from(["file", "zip", "another"]),
    place=st.lists(st.integers(0, 2**62), max_size=6).map(tuple),
    part=st.text(),
)
SAMPLES = st.lists(
    st.builds(
        make_sample,
        st.integers(0, 10**12 - 1),
        file_name=st.text(),
        width=st.integers(1, 10**12 - 1),
        location=st.none() | LOCATIONS,
        problem=st.sampled_from(["", *sorted(FAILURE_REASONS)]),
        problem_detail=st.text(),
    ),
    max_size=12,
    unique_by=lambda sample: sample.key,
)
SIZES = st.integers(1, 15)


# Properties


@settings(deadline=None)
@given(SAMPLES, SIZES)
def test_every_sample_is_in_exactly_one_shard_in_key_order_and_only_the_last_shard_is_short(samples, shard_size):
    specs = plan_shards(samples, shard_size)
    flat = [sample for spec in specs for sample in spec.samples]
    assert flat == sorted(samples, key=lambda sample: sample.image_id)
    assert [spec.index for spec in specs] == list(range(-(-len(samples) // shard_size)))
    assert all(len(spec.samples) == shard_size for spec in specs[:-1])
    assert all(spec.samples for spec in specs)


@settings(deadline=None)
@given(SAMPLES, SIZES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_neither_plan_nor_digest_nor_bytes(samples, shard_size, shuffler):
    shuffled = list(samples)
    shuffler.shuffle(shuffled)
    specs, others = plan_shards(samples, shard_size), plan_shards(iter(shuffled), shard_size)
    assert specs == others
    assert plan_digest(specs) == plan_digest(others)
    assert encode_plan(specs) == encode_plan(others)


@settings(deadline=None)
@given(SAMPLES, SIZES)
def test_a_decoded_plan_equals_the_encoded_one(samples, shard_size):
    specs = plan_shards(samples, shard_size)
    assert decode_plan(encode_plan(specs)) == specs


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(0, 999), st.binary(max_size=50), min_size=1, max_size=8), SIZES)
def test_the_same_images_in_a_folder_and_in_a_zip_have_the_same_digest(files, shard_size):
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent)
        (path / "f").mkdir()
        with (
            zipfile.ZipFile(path / "stored.zip", "w") as stored,
            zipfile.ZipFile(path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as deflated,
        ):
            for image_id, content in files.items():
                (path / "f" / f"{image_id}.jpg").write_bytes(content)
                stored.writestr(f"f/{image_id}.jpg", content)
                deflated.writestr(f"{image_id}.jpg", content)
        absent = [{"id": 1000, "file_name": "absent.jpg"}, {"id": 1001, "file_name": "../unsafe.jpg"}]
        entries = [{"id": image_id, "file_name": f"{image_id}.jpg"} for image_id in files] + absent
        document = {"images": [{**entry, "width": 1, "height": 1} for entry in entries]}
        (path / "a.json").write_text(json.dumps(document))
        places = [str(path / name) for name in ("f", "stored.zip", "deflated.zip")]
        plans = [plan_shards(read_samples(str(path / "a.json"), place).samples, shard_size) for place in places]
    assert len({plan_digest(plan) for plan in plans}) == 1
    assert plans[0] != plans[1] != plans[2]


# Examples


def test_shards_are_cut_by_count():
    specs = plan_shards([make_sample(image_id) for image_id in (5, 1, 9, 3, 7)], 2)
    assert [[sample.image_id for sample in spec.samples] for spec in specs] == [[1, 3], [5, 7], [9]]
    assert [spec.name for spec in specs] == ["000000", "000001", "000002"]


def test_no_samples_make_no_shards():
    assert plan_shards([], 3) == ()
    assert decode_plan(encode_plan(())) == ()


def test_a_part_of_a_plan_is_stored_with_its_shard_numbers():
    part = plan_shards([make_sample(image_id) for image_id in range(9)], 2)[1:4:2]
    assert decode_plan(encode_plan(part)) == part


def test_the_plan_file_has_the_columns_of_its_description():
    table = pq.read_table(io.BytesIO(encode_plan(plan_shards([make_sample(1)], 1))))
    assert table.schema.names == [
        *("shard", "key", "image_id", "file_name", "width", "height", "license_id", "problem", "problem_detail"),
        *("path", "reader", "place", "part"),
    ]


def test_a_plan_of_an_earlier_version_is_read():
    """There, a location had the numbers of a zip; the offset of a file of its own was -1."""
    whole = pq.read_table(io.BytesIO(encode_plan(plan_shards([make_sample(number) for number in range(3)], 2))))
    numbers = {"header_offset": [-1, 77, None], "stored_bytes": [0, 5, None], "image_bytes": [0, 9, None]}
    numbers |= {"compression": [0, 8, None], "crc32": [0, 3, None]}
    required = [field for field in whole.schema if field.name not in ("path", "reader", "place", "part")]
    schema = pa.schema([*required, pa.field("path", pa.string()), *(pa.field(name, pa.int64()) for name in numbers)])
    columns = {field.name: whole[field.name] for field in required}
    file = io.BytesIO()
    pq.write_table(pa.table({**columns, "path": ["/a.jpg", "/b.zip", None], **numbers}, schema=schema), file)
    found = [sample.location for spec in decode_plan(file.getvalue()) for sample in spec.samples]
    assert found == [
        Location(path="/a.jpg"),
        Location(path="/b.zip", reader="zip", place=(77, 5, 9, 8, 3)),
        None,
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"key": "000000000002"},
        {"image_id": 2},
        {"file_name": "b.jpg"},
        {"width": 641},
        {"height": 481},
        {"license_id": 2},
    ],
    ids=str,
)
def test_the_digest_depends_on_what_determines_a_release(change):
    assert plan_digest(plan_shards([make_sample(1)], 1)) != plan_digest(plan_shards([make_sample(1, **change)], 1))


def test_the_digest_depends_on_the_shard_an_image_is_in():
    samples = [make_sample(image_id) for image_id in range(4)]
    assert plan_digest(plan_shards(samples, 2)) != plan_digest(plan_shards(samples, 3))
    assert plan_digest([ShardSpec(index=0, samples=(samples[0],))]) != plan_digest(
        [ShardSpec(index=1, samples=(samples[0],))]
    )


@pytest.mark.parametrize("change", [{"location": None}, {"problem": "missing", "problem_detail": "elsewhere"}], ids=str)
def test_the_digest_does_not_depend_on_where_the_bytes_are_or_whether_they_are_there(change):
    sample = make_sample(1)
    assert plan_digest(plan_shards([sample], 1)) == plan_digest(plan_shards([dataclasses.replace(sample, **change)], 1))


def test_the_digest_of_a_known_plan_stays_the_same():
    # Another value here means that no run made before can be resumed: raise the version in `plan_digest` knowingly.
    specs = plan_shards([make_sample(image_id, file_name=f"ä{image_id}.jpg") for image_id in range(3)], 2)
    assert plan_digest(specs) == "529c755dc7bb41433dd48b0a8f8eb75ff63e77f043f9e7350efab92be545bdbd"


# Faults


def test_a_duplicate_key_is_refused_with_both_files():
    samples = [make_sample(1), make_sample(3), make_sample(1, file_name="b.jpg")]
    with pytest.raises(ValueError, match=r"000000000001: '1\.jpg' and 'b\.jpg'"):
        plan_shards(samples, 1)


@pytest.mark.parametrize("shard_size", [0, -1])
def test_a_shard_size_below_1_is_refused(shard_size):
    with pytest.raises(ValueError, match=f"shard_size is {shard_size}"):
        plan_shards([make_sample(1)], shard_size)


def test_shards_that_rows_can_not_tell_apart_are_not_stored():
    first, second = plan_shards([make_sample(1), make_sample(2)], 1)
    for specs in ((second, first), (first, first), (ShardSpec(index=0, samples=()),)):
        with pytest.raises(ValueError, match="ascending order, each with at least one sample"):
            encode_plan(specs)


def test_a_plan_cut_anywhere_is_a_storage_error():
    whole = encode_plan(plan_shards([make_sample(image_id) for image_id in range(20)], 3))
    for length in range(0, len(whole), 16):
        with pytest.raises(StorageError, match=f"plan of {length} bytes is not a parquet file"):
            decode_plan(whole[:length])


def test_a_parquet_file_with_other_columns_is_a_storage_error():
    file = io.BytesIO()
    pq.write_table(pa.table({"shard": [1]}), file)
    with pytest.raises(StorageError, match=r"has the columns \['shard'\]"):
        decode_plan(file.getvalue())


def test_an_unknown_problem_is_a_storage_error():
    specs = plan_shards([make_sample(1, problem="eaten", problem_detail="by a dog")], 1)
    with pytest.raises(StorageError, match="unknown problem 'eaten' at 000000000001"):
        decode_plan(encode_plan(specs))
