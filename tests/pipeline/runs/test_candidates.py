"""Properties, examples and faults of candidate shards: a file that differs from its record is never read."""

import io
import json
import shutil
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.maps import quantise_saliency, quantise_variance
from pipeline.errors import FAILURE_REASONS, StorageError
from pipeline.files import storage
from pipeline.records import CandidateRow
from pipeline.runs.candidates import commit_shard, decode_rows, encode_members, encode_rows, read_maps, read_rows
from pipeline.runs.commits import committed_shards, read_shard_record, read_shard_records
from pipeline.runs.sweep import sweep
from tests.pipeline.make import candidate, make_key, make_prediction, make_row, make_scores, tree

SHARD = "000042"
ROWS = st.lists(
    st.builds(
        CandidateRow,
        key=st.text(),
        status=st.sampled_from(["done", "failed"]),
        reason=st.sampled_from(["", *sorted(FAILURE_REASONS)]),
        detail=st.text(),
        image_sha256=st.text("0123456789abcdef", min_size=64, max_size=64) | st.just(""),
        image_bytes=st.integers(0, 2**63 - 1),
        members=st.integers(0, 2**31 - 1),
        fewer_at_once=st.integers(0, 2**31 - 1),
        scores=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
        frame=st.sampled_from(["", "stored", "upright"]),
        exif_orientation=st.integers(0, 8),
    ),
    max_size=5,
)


def prediction(number):
    return make_prediction((np.arange(3 * 6 * 5).reshape(3, 6, 5) * number % 17) / 16)


def shard_of(numbers, failed=()):
    """Rows and tar members of images with these numbers; the failed ones have no members."""
    rows = [
        make_row(key=make_key(number), reason="undecodable")
        if number in failed
        else make_row(key=make_key(number), scores=make_scores(area=number / 100))
        for number in numbers
    ]
    members = [(row.key, encode_members(row, prediction(int(row.key)))) for row in rows if row.status == "done"]
    return rows, members


@pytest.fixture
def run(tmp_path):
    """A run with one committed shard of three images, the second of them failed."""
    commit_shard(str(tmp_path), SHARD, *shard_of((1, 2, 3), failed=(2,)))
    return str(tmp_path)


def overwrite(url, content):
    """Without the care that `publish` takes, and faster."""
    Path(url).write_bytes(content)


def read_everything(run, shard=SHARD):
    record = read_shard_record(run, shard)
    return read_rows(run, record), list(read_maps(run, record))


# Properties


@given(ROWS)
def test_rows_are_read_back_as_they_were(rows):
    assert decode_rows(encode_rows(rows)) == rows


@settings(max_examples=20)
@given(ROWS)
def test_rows_of_earlier_versions_which_had_no_frames_are_read_too(rows):
    table = pq.read_table(io.BytesIO(encode_rows(rows))).drop_columns(["frame", "exif_orientation"])
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    assert decode_rows(buffer.getvalue()) == [replace(row, frame="", exif_orientation=0) for row in rows]


def test_a_row_without_a_frame_is_stored_as_earlier_versions_stored_it():
    earlier = make_row(frame="", exif_orientation=0).stored()
    assert set(asdict(make_row())) - set(earlier) == {"frame", "exif_orientation"}
    assert make_row(frame="upright", exif_orientation=6).stored()["exif_orientation"] == 6


@given(ROWS)
def test_the_order_of_scores_does_not_change_the_bytes_of_rows(rows):
    others = [replace(row, scores=dict(reversed(row.scores.items()))) for row in rows]
    assert encode_rows(others) == encode_rows(rows)


@settings(max_examples=25)
@given(st.data())
def test_a_changed_byte_in_tar_or_rows_is_noticed_before_anything_is_read(tmp_path_factory, data):
    run = str(tmp_path_factory.getbasetemp() / "changed")
    commit_shard(run, SHARD, *shard_of((1, 2)))
    record = read_shard_record(run, SHARD)
    file = data.draw(st.sampled_from([record.tar, record.rows]))
    path = storage.join(run, "candidates", file.name)
    content = bytearray(storage.read(path))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    overwrite(path, content)
    with pytest.raises(StorageError, match="; expected "):
        read_everything(run)
    shutil.rmtree(run)


# Examples


def test_a_committed_shard_is_read_back(run):
    rows, maps = read_everything(run)
    assert rows == shard_of((1, 2, 3), failed=(2,))[0]
    assert [key for key, _ in maps] == [make_key(1), make_key(3)]
    for key, stored in maps:
        assert np.array_equal(stored.saliency, quantise_saliency(prediction(int(key)).saliency))
        assert np.array_equal(stored.variance, quantise_variance(prediction(int(key)).variance))


def test_the_record_counts_the_images_and_names_the_files(run):
    record = read_shard_record(run, SHARD)
    assert (record.shard, record.done, record.failed) == (SHARD, 2, 1)
    for file in (record.tar, record.rows):
        assert storage.stored_file(file.name, storage.read(storage.join(run, "candidates", file.name))) == file


def test_the_tar_has_the_row_of_each_predicted_image(run):
    with tarfile.open(fileobj=io.BytesIO(storage.read(candidate(run, SHARD, "tar")))) as tar:
        names = tar.getnames()
        found = json.load(tar.extractfile(f"{make_key(3)}.json"))
    members = ("json", "saliency.png", "variance.png")
    assert names == [f"{make_key(number)}.{member}" for number in (1, 3) for member in members]
    assert found == asdict(shard_of((1, 2, 3), failed=(2,))[0][2])


def test_a_shard_whose_images_all_failed_is_still_a_shard(tmp_path):
    commit_shard(str(tmp_path), SHARD, *shard_of((1, 2), failed=(1, 2)))
    rows, maps = read_everything(str(tmp_path))
    assert [row.status for row in rows] == ["failed", "failed"]
    assert maps == []


def test_only_shards_with_a_record_are_committed(run, monkeypatch):
    def die(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "create", die)
        with pytest.raises(KeyboardInterrupt):
            commit_shard(run, "000043", *shard_of((4,)))
    assert storage.exists(candidate(run, "000043", "tar"))
    assert committed_shards(run) == {SHARD: 0}
    with pytest.raises(StorageError, match=r"000043\.json is missing"):
        read_shard_record(run, "000043")


def test_the_same_images_give_the_same_bytes_and_a_second_commit_changes_nothing(run):
    before = tree(run)
    commit_shard(run, SHARD, *shard_of((1, 2, 3), failed=(2,)))
    assert tree(run) == before


def test_a_late_commit_of_other_bytes_leaves_strays_only(run):
    before, record = tree(run), read_shard_record(run, SHARD)
    assert commit_shard(run, SHARD, *shard_of((1, 2, 3))) == record
    after = tree(run)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2
    assert len(sweep(run, {SHARD: record})) == 2
    left = tree(run)
    assert {name: left[name] for name in before} == before
    # The number that the late one would have claimed next says what the record says.
    assert replace(read_shard_record(run, SHARD), number=0) == record
    late = commit_shard(run, SHARD, *shard_of((1, 2)), before=record)
    assert late == read_shard_record(run, SHARD)
    assert replace(late, number=0) == record


def test_the_record_with_the_highest_number_counts_whenever_the_others_come(run):
    first = read_shard_record(run, SHARD)
    second = commit_shard(run, SHARD, *shard_of((1, 2, 3)), before=first)
    assert (second.number, committed_shards(run)) == (1, {SHARD: 1})
    assert read_shard_record(run, SHARD) == read_shard_records(run, [SHARD])[SHARD] == second
    assert not storage.exists(storage.join(run, "candidates", first.rows.name))
    Path(f"{run}/commits/{SHARD}.json").unlink()
    commit_shard(run, SHARD, *shard_of((1, 2, 3), failed=(1,)))  # a session that was paused before its first commit
    assert read_shard_record(run, SHARD) == second


def test_a_run_of_an_earlier_version_is_read(run):
    """Its files have no digest in their names, and its record no number and no fingerprint."""
    record = json.loads(storage.read(f"{run}/commits/{SHARD}.json"))
    for kind, extension in (("tar", "tar"), ("rows", "parquet")):
        name = f"{SHARD}.1.{extension}"
        Path(run, "candidates", record[kind]["name"]).rename(Path(run, "candidates", name))
        record[kind]["name"] = name
    old = {name: record[name] for name in ("shard", "tar", "rows", "done", "failed")}
    overwrite(f"{run}/commits/{SHARD}.json", json.dumps(old).encode())
    rows, maps = read_everything(run)
    assert (len(rows), len(maps)) == (3, 2)


# Faults


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_file_that_is_cut_anywhere_is_noticed(run, kind):
    path = candidate(run, SHARD, kind)
    content = storage.read(path)
    cuts = range(0, len(content), 192)
    assert len(cuts) > 10
    for length in cuts:
        overwrite(path, content[:length])
        with pytest.raises(StorageError, match=rf"{SHARD}\.\w+\.{kind} has {length} bytes"):
            read_everything(run)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_file_that_is_missing_or_another_shards_is_noticed(run, kind):
    commit_shard(run, "000043", *shard_of((4, 5, 6)))
    path = candidate(run, SHARD, kind)
    overwrite(path, storage.read(candidate(run, "000043", kind)))
    with pytest.raises(StorageError, match="; expected "):
        read_everything(run)
    storage.remove_tree(path)
    with pytest.raises(StorageError, match="is missing"):
        read_everything(run)


def test_a_file_with_bytes_after_its_end_is_noticed(run):
    path = candidate(run, SHARD, "tar")
    overwrite(path, storage.read(path) + bytes(512))
    with pytest.raises(StorageError, match="; expected "):
        read_everything(run)


def test_a_missing_record_is_named(run):
    with pytest.raises(StorageError, match=r"commits/000043\.json is missing"):
        read_shard_record(run, "000043")


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"5", b'"text"', b"[]", b"{}", b"\xff\xfe", b'{"tar": 1, "rows": 2}', b'{"tar": {}, "rows": {}}'],
)
def test_a_file_that_is_not_a_record_is_refused_with_what_to_do(run, content):
    overwrite(f"{run}/commits/{SHARD}.json", content)
    with pytest.raises(StorageError, match="--repair, and the shard is computed again"):
        read_shard_record(run, SHARD)


def test_a_record_that_is_cut_or_has_other_fields_is_refused(run):
    path = f"{run}/commits/{SHARD}.json"
    whole = storage.read(path)
    values = json.loads(whole)
    wrong = [values | {"more": 1}, {name: values[name] for name in values if name != "done"}]
    for content in [whole[:length] for length in range(0, len(whole), 7)] + [
        json.dumps(value).encode() for value in wrong
    ]:
        overwrite(path, content)
        with pytest.raises(StorageError, match="is not a shard record"):
            read_shard_record(run, SHARD)


def test_a_record_of_another_shard_is_refused(run):
    commit_shard(run, "000043", *shard_of((4, 5, 6)))
    overwrite(f"{run}/commits/{SHARD}.json", storage.read(f"{run}/commits/000043.json"))
    with pytest.raises(StorageError, match="000043"):
        read_shard_record(run, SHARD)


def test_a_record_that_names_files_of_another_shard_is_refused(run):
    commit_shard(run, "000043", *shard_of((4, 5, 6)))
    theirs = json.loads(storage.read(f"{run}/commits/000043.json"))
    overwrite(f"{run}/commits/{SHARD}.json", json.dumps(theirs | {"shard": SHARD}).encode())
    with pytest.raises(StorageError, match="000043"):
        read_shard_record(run, SHARD)
