"""Properties and examples of `manifest.parquet`, one row per input image."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.collection.collection import License
from pipeline.collection.instances import UNCHECKED, CrossCheck
from pipeline.errors import FAILURE_REASONS
from pipeline.records import Verdict
from pipeline.release.manifest import NOWHERE, SCHEMA, Place, considered_of, encode_manifest, manifest_row
from pipeline.release.released import Released
from pipeline.selection.scores import SCORES
from pipeline.selection.verdicts import considered
from tests.pipeline.make import make_row, make_sample, make_scores

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


def row_of(sample, row, verdict, *facts):
    licence = LICENSES.get(sample.license_id, License(id=sample.license_id, name="", url=""))
    return manifest_row(sample, row, licence, verdict, *facts)


def read_back(*rows):
    return pq.read_table(io.BytesIO(encode_manifest(rows))).to_pylist()


def verdict_of(row):
    return Verdict(decision="failed", reason=row.reason) if row.status == "failed" else ACCEPTED


# Properties


@given(st.lists(st.tuples(SAMPLES, ROWS), max_size=5))
def test_whatever_annotations_say_every_image_has_a_row_with_all_columns(images):
    found = read_back(*(row_of(sample, row, verdict_of(row)) for sample, row in images))
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
    one, other = ([row_of(sample, row, verdict_of(row)) for sample, row in images] for _ in range(2))
    assert encode_manifest(one) == encode_manifest(other)


# Examples


def test_an_accepted_image_has_the_name_of_its_tar_and_the_digest_of_its_mask():
    place = Place(split="test", tar="second.tar", mask_sha256="bb")
    rows = read_back(row_of(make_sample(), make_row(), ACCEPTED, place), row_of(make_sample(), make_row(), ACCEPTED))
    found = [(row["split"], row["tar"], row["mask_sha256"]) for row in rows]
    assert found == [("test", "second.tar", "bb"), ("", "", "")]


def test_an_image_in_a_tar_has_what_was_done_to_it_beside_what_the_collection_has():
    released = Released(released_as="turned_png", sha256="cc", file_bytes=99)
    place = Place(split="test", tar="a.tar", mask_sha256="bb", released=released)
    measured = make_row(frame="upright", exif_orientation=6)
    rows = read_back(row_of(make_sample(), measured, ACCEPTED, place), row_of(make_sample(), measured, ACCEPTED))
    stated = [tuple(row[name] for name in ("frame", "exif_orientation", "image_sha256", "image_bytes")) for row in rows]
    assert stated == [("upright", 6, measured.image_sha256, measured.image_bytes)] * 2
    found = [tuple(row[name] for name in ("released_as", "released_sha256", "released_bytes")) for row in rows]
    assert found == [("turned_png", "cc", 99), ("", "", 0)]


def test_a_cross_check_has_its_columns_and_an_image_without_one_no_agreement():
    checked = CrossCheck(instance_iou=0.75, categories=("dog", "cat"), supercategory="animal")
    place = Place(split="test", tar="a.tar", mask_sha256="aa")
    rows = read_back(
        row_of(make_sample(), make_row(), ACCEPTED, place, checked), row_of(make_sample(), make_row(), ACCEPTED)
    )
    found = [(row["instance_iou"], row["categories"], row["supercategory"]) for row in rows]
    assert found == [(0.75, ["dog", "cat"], "animal"), (None, [], "")]


def test_a_failed_image_has_its_reason_and_no_scores():
    verdict = Verdict(decision="failed", reason="undecodable")
    (row,) = read_back(row_of(make_sample(), make_row(reason="undecodable"), verdict))
    assert (row["verdict"], row["reason"], row["detail"], row["members"]) == ("failed", "undecodable", "found so", 0)
    assert [row[name] for name in SCORES] == [None] * len(SCORES)


def test_a_rejected_image_keeps_its_scores():
    scores = make_scores(ensemble_variance=0.2)
    verdict = Verdict(decision="rejected", reason="variance_above_max")
    (row,) = read_back(row_of(make_sample(), make_row(scores=scores), verdict))
    assert (row["verdict"], row["reason"]) == ("rejected", "variance_above_max")
    assert {name: row[name] for name in SCORES} == scores


def test_a_licence_missing_from_the_annotations_has_no_name_and_url():
    rows = read_back(*(row_of(make_sample(license_id=number), make_row(), ACCEPTED) for number in (1, 9)))
    found = [(row["license_id"], row["license_name"], row["license_url"]) for row in rows]
    assert found == [(1, "CC BY", "http://x/by"), (9, "", "")]


def test_a_manifest_without_images_still_has_its_columns():
    table = pq.read_table(io.BytesIO(encode_manifest([])))
    assert table.num_rows == 0
    assert table.schema.remove_metadata() == SCHEMA


@given(SAMPLES, ROWS)
def test_what_a_verdict_depends_on_can_be_read_back_from_the_manifest(sample, row):
    licence = License(id=sample.license_id, name="", url="http://x/by")
    checked = CrossCheck(instance_iou=0.5, categories=("dog",), supercategory="animal")
    if row.status == "failed":
        checked = UNCHECKED
    (stored,) = read_back(manifest_row(sample, row, licence, verdict_of(row), NOWHERE, checked))
    assert considered_of(stored | {"key": row.key}) == considered(row, sample, licence.url, checked)


def test_every_score_is_a_column_of_64_bits():
    assert {SCHEMA.field(name).type for name in SCORES} == {pa.float64()}
