"""A release as an audit reads it: its accepted rows, its strata, and its masks, pixel by pixel."""

import hashlib
import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from pipeline.audit.released import read_audited
from pipeline.errors import CollectionError, StorageError
from pipeline.passes.mask_text import pixels_of
from pipeline.release import opened
from pipeline.release.opened import masks_in

KEYS = [f"{number:012d}" for number in (2, 4, 6, 8, 10)]


@pytest.fixture(scope="module")
def audited(audited_release):
    return read_audited(str(audited_release))


@pytest.fixture
def copied(audited_release, tmp_path):
    return shutil.copytree(audited_release, tmp_path / "release")


def test_accepted_images_and_the_digest_are_read(audited, audited_release):
    assert list(audited.rows) == KEYS
    assert audited.sha256 == hashlib.sha256((audited_release / "release.json").read_bytes()).hexdigest()
    stated = json.loads((audited_release / "release.json").read_text())
    assert audited.title == f"{audited.stated.release.name} {audited.stated.release.version}"
    assert audited.title.split()[0] in json.dumps(stated)


def test_masks_are_those_of_the_tars(audited, audited_release):
    masks = masks_in(audited, KEYS[1:4])
    assert masks.keys() == set(KEYS[1:4])
    for path in audited_release.rglob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                if key in masks and extension == "mask.png":
                    mask = np.asarray(Image.open(io.BytesIO(tar.extractfile(member).read()))) > 127
                    assert (pixels_of(masks[key]) == mask).all()


@pytest.fixture
def without_a_mask(audited, monkeypatch):
    """Annotations that lack the first image's mask."""
    read, number = opened._segmentations, audited.rows[KEYS[0]]["image_id"]
    lacking = lambda content: {other: mask for other, mask in read(content).items() if other != number}  # noqa: E731
    monkeypatch.setattr(opened, "_segmentations", lacking)


def test_an_empty_scene_has_an_empty_mask(audited, monkeypatch, without_a_mask):
    row = audited.rows[KEYS[0]]
    monkeypatch.setitem(audited.rows, KEYS[0], row | {"scene": "empty"})
    assert audited.is_empty_scene(KEYS[0])
    mask = masks_in(audited, [KEYS[0]])[KEYS[0]]
    assert pixels_of(mask).shape == (row["height"], row["width"])
    assert not pixels_of(mask).any()


def test_a_mask_that_is_missing_is_named(audited, without_a_mask):
    with pytest.raises(StorageError, match=f"it has no mask of {KEYS[0]}"):
        masks_in(audited, KEYS)


def test_strata_cover_all_accepted_images(audited):
    assert audited.strata("none") == dict.fromkeys(KEYS, "all")
    assert audited.strata("split") == dict.fromkeys(KEYS, "test")
    assert audited.strata("supercategory") == dict.fromkeys(KEYS, "unknown")
    assert set(audited.strata("size").values()) <= {"small", "medium", "large"}


def test_the_quarters_of_a_score_are_in_its_order(audited, monkeypatch):
    for number, key in enumerate(KEYS):
        value = None if number == 4 else number / 10
        monkeypatch.setitem(audited.rows, key, audited.rows[key] | {"ensemble_variance": value})
    found = audited.strata("ensemble_variance")
    assert [found[key] for key in KEYS] == [
        *(f"ensemble_variance quarter {place}" for place in (1, 2, 3, 4)),
        "ensemble_variance unknown",
    ]


def test_a_score_that_nothing_has_is_one_stratum(audited, monkeypatch):
    for key in KEYS:
        monkeypatch.setitem(audited.rows, key, audited.rows[key] | {"ensemble_variance": None})
    assert set(audited.strata("ensemble_variance").values()) == {"ensemble_variance unknown"}


def test_a_folder_without_a_release_is_refused(tmp_path):
    with pytest.raises(CollectionError):
        read_audited(str(tmp_path))


@pytest.mark.parametrize("name", ["manifest.parquet", "annotations/test.json"])
def test_a_file_that_was_changed_is_noticed(copied, name):
    path = copied / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(StorageError, match=r"has .* bytes and SHA-256"):
        masks_in(read_audited(str(copied)), KEYS)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 1000, b'{"files": 7}'])
def test_a_release_json_that_is_none_is_refused(copied, content):
    (copied / "release.json").write_bytes(content)
    with pytest.raises(CollectionError):
        read_audited(str(copied))
