"""Properties and examples of `manifest.parquet`, one row per input image."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.coco import License
from pipeline.errors import FAILURE_REASONS
from pipeline.records import Verdict
from pipeline.release.manifest import SCHEMA, Manifest
from pipeline.scores import SCORES
from tests.pipeline.make import make_key, make_row, make_sample, make_scores

LICENSES = {1: License(id=1, name="CC BY", url="http://x/by")}
ACCEPTED = Verdict(decision="accepted", reason="")
LARGEST = 10**12 - 1
SAMPLES = st.builds(
    make_sample,
    image_id=st.integers(0, LARGEST),
    file_name=st.text(),
    width=st.integers(1, LARGEST),
    height=st.integers(1, LARGEST),
    license_id=st.integers(0, LARGEST),
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.builds(make_row, detail=st.text(), scores=st.fixed_dictionaries(dict.fromkeys(SCORES, FINITE))) | st.builds(
    lambda reason: make_row(reason=reason), st.sampled_from(sorted(FAILURE_REASONS))
)


def rows_of(manifest, tar_names=()):
    return pq.read_table(io.BytesIO(manifest.encode(tar_names))).to_pylist()


def verdict_of(row):
    return Verdict(decision="failed", reason=row.reason) if row.status == "failed" else ACCEPTED


# Properties


@settings(max_examples=40)
@given(st.lists(st.tuples(SAMPLES, ROWS), max_size=5))
def test_whatever_annotations_claim_every_image_keeps_its_row_with_all_columns(images):
    manifest = Manifest(LICENSES)
    for sample, row in images:
        manifest.add(sample, row, verdict_of(row))
    found = rows_of(manifest)
    assert len(found) == len(images)
    for (sample, row), columns in zip(images, found, strict=True):
        assert list(columns) == SCHEMA.names
        for name in ("key", "image_id", "file_name", "width", "height", "license_id"):
            assert columns[name] == getattr(sample, name)
        assert (columns["verdict"], columns["reason"]) == (verdict_of(row).decision, row.reason)
        assert {name: columns[name] for name in SCORES} == {name: row.scores.get(name) for name in SCORES}


@settings(max_examples=20)
@given(st.lists(st.tuples(SAMPLES, ROWS), max_size=3))
def test_equal_rows_give_equal_bytes(images):
    manifests = [Manifest(LICENSES), Manifest(dict(LICENSES))]
    for manifest in manifests:
        for sample, row in images:
            manifest.add(sample, row, verdict_of(row))
    assert manifests[0].encode({}) == manifests[1].encode({})


# Examples


def test_an_accepted_image_has_the_name_of_its_tar_and_the_digest_of_its_mask():
    manifest = Manifest(LICENSES)
    for number in (1, 2, 3):
        sample = make_sample(key=make_key(number), image_id=number)
        manifest.add(sample, make_row(key=sample.key), ACCEPTED)
    manifest.place(make_key(1), "train", 0, "aa")
    manifest.place(make_key(3), "test", 1, "bb")
    rows = rows_of(manifest, {"train": ["a.tar"], "test": ["first.tar", "second.tar"]})
    found = [(row["split"], row["tar"], row["mask_sha256"]) for row in rows]
    assert found == [("train", "a.tar", "aa"), ("", "", ""), ("test", "second.tar", "bb")]


def test_a_failed_image_has_its_reason_and_no_scores():
    manifest = Manifest(LICENSES)
    manifest.add(make_sample(), make_row(reason="undecodable"), Verdict(decision="failed", reason="undecodable"))
    (row,) = rows_of(manifest)
    assert (row["verdict"], row["reason"], row["detail"], row["members"]) == ("failed", "undecodable", "found so", 0)
    assert [row[name] for name in SCORES] == [None] * len(SCORES)


def test_a_rejected_image_keeps_its_scores():
    manifest = Manifest(LICENSES)
    scores = make_scores(ensemble_variance=0.2)
    manifest.add(make_sample(), make_row(scores=scores), Verdict(decision="rejected", reason="variance_above_max"))
    (row,) = rows_of(manifest)
    assert (row["verdict"], row["reason"]) == ("rejected", "variance_above_max")
    assert {name: row[name] for name in SCORES} == scores


def test_a_licence_that_the_annotations_do_not_name_is_empty():
    manifest = Manifest(LICENSES)
    for license_id in (1, 9):
        manifest.add(make_sample(license_id=license_id), make_row(), ACCEPTED)
    found = [(row["license_id"], row["license_name"], row["license_url"]) for row in rows_of(manifest)]
    assert found == [(1, "CC BY", "http://x/by"), (9, "", "")]


def test_a_manifest_without_images_still_has_its_columns():
    table = pq.read_table(io.BytesIO(Manifest({}).encode({})))
    assert table.num_rows == 0
    assert table.schema.remove_metadata() == SCHEMA


def test_every_score_is_a_column_of_64_bits():
    assert {SCHEMA.field(name).type for name in SCORES} == {pa.float64()}
