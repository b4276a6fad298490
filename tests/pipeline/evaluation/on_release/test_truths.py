"""Masks of a release come from its annotations, and are those of its tars; a torn release is named."""

import json
import shutil

import numpy as np
import pytest

from pipeline.errors import CollectionError, ConfigError, StorageError
from pipeline.evaluation.contents import drawn
from pipeline.evaluation.on_release.truths import read_truths
from tests.pipeline.release.editing import edit_manifest, mend_sums
from tests.pipeline.s3_server import s3_server


@pytest.fixture
def copied(released, tmp_path):
    return shutil.copytree(released.folder, tmp_path / "release")


def edit_annotations(folder, edit):
    path = folder / "annotations/test.json"
    document = json.loads(path.read_text())
    edit(document["annotations"])
    path.write_text(json.dumps(document))
    mend_sums(folder)


def test_masks_are_those_of_the_tars(released, masks):
    found = read_truths(str(released.folder), ())
    assert list(found.masks) == sorted(masks)
    for key, mask in found.masks.items():
        assert np.array_equal(drawn(mask), masks[key])
        assert drawn(mask).flags.c_contiguous, "sums depend on the order in memory"
    assert found.splits == ("test",)
    assert found.rows().keys() == masks.keys()


def test_an_empty_scene_has_an_empty_mask(copied):
    """A release that keeps empty scenes says so in its manifest; here its rows alone are made to."""
    edit_annotations(copied, lambda annotations: annotations.pop(0))
    with pytest.raises(StorageError, match=r"annotations/test.json does not fit the manifest.*no mask of 0{11}2"):
        read_truths(str(copied), ())

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(copied / "manifest.parquet")
    pq.write_table(table.append_column("scene", pa.array(["empty"] * len(table))), copied / "manifest.parquet")
    mend_sums(copied)
    found = read_truths(str(copied), ()).masks[f"{2:012d}"]
    assert not drawn(found).any()
    assert drawn(found).shape == (found.height_px, found.width_px)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda found: found.append(found[0]), "two masks of image 2"),
        (lambda found: found.append(found[0] | {"image_id": 3}), "image 3, which the manifest has not accepted"),
        (
            lambda found: found[0]["segmentation"].update(size=[1, 1]),
            "mask of 000000000002: its size is",
        ),
        (lambda found: found[0].pop("image_id"), "KeyError"),
    ],
)
def test_annotations_that_do_not_fit_to_the_manifest_are_refused(copied, edit, said):
    edit_annotations(copied, edit)
    with pytest.raises(StorageError, match=said):
        read_truths(str(copied), ())


def test_a_file_with_another_sum_is_refused(copied):
    path = copied / "annotations/test.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StorageError, match=r"annotations/test\.json"):
        read_truths(str(copied), ())


def test_a_split_that_the_release_has_not_is_named_with_those_it_has(released):
    with pytest.raises(ConfigError, match=r"--splits train: .* has no such split; it has test"):
        read_truths(str(released.folder), ("train",))


def test_a_release_without_an_accepted_image_can_measure_nothing(copied):
    edit_annotations(copied, lambda annotations: annotations.clear())
    edit_manifest(copied, lambda rows: [row.update(verdict="rejected") for row in rows])
    with pytest.raises(ConfigError, match="has no accepted image in test"):
        read_truths(str(copied), ())


def test_a_folder_that_is_no_release_is_refused(tmp_path):
    with pytest.raises(CollectionError, match="is not a complete release"):
        read_truths(str(tmp_path), ())


def test_of_a_release_in_a_bucket_only_manifest_and_annotations_are_read(released, masks):
    import s3fs

    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as server:
        s3fs.S3FileSystem().put(str(released.folder), f"{server.bucket}/r", recursive=True)
        server.requests.clear()
        found = read_truths(f"s3://{server.bucket}/r", ())
        assert list(found.masks) == sorted(masks)
        read = {path.rpartition("/r/")[2] for method, path in server.requests if method == "GET" and "/r/" in path}
        assert read == {"release.json", "manifest.parquet", "annotations/test.json"}
