"""What a release says has changed since an earlier one, and whether it is true."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas
import pyarrow.csv as arrow_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ReleaseConfig
from pipeline.errors import CollectionError, StorageError
from pipeline.files.csv_keys import key_in_csv
from pipeline.files.tars import encode_json
from pipeline.release.changes import (
    CHANGELOG,
    CHANGES,
    GONE,
    Change,
    Earlier,
    change_files,
    change_problems,
    changes_since,
    read_earlier,
    says_more,
)
from pipeline.release.check.verify import verify_release
from pipeline.release.coco_json import encode_mask
from tests.pipeline.make import make_collection, make_key
from tests.pipeline.release.editing import mend_sums

SHAPE = (4, 5)
MASKS = st.integers(0, 2**20 - 1).map(lambda bits: np.array([bits >> n & 1 for n in range(20)], bool).reshape(SHAPE))
IMAGES = st.dictionaries(st.integers(1, 9), MASKS, max_size=6)


def make_earlier(masks):
    encoded = {make_key(number): (SHAPE, encode_mask(mask).counts) for number, mask in masks.items()}
    return Earlier(name="n", version="1", sha256="ab", masks=encoded)


def rows_of(masks, rejected=()):
    rows = [
        {"key": make_key(number), "verdict": "accepted", "reason": "", "height": SHAPE[0], "width": SHAPE[1]}
        for number in masks
    ]
    return rows + [{"key": make_key(number), "verdict": "rejected", "reason": "why"} for number in rejected]


def compared(before, now, rejected=()):
    masks = {make_key(number): encode_mask(mask) for number, mask in now.items()}
    return changes_since(make_earlier(before), rows_of(now, rejected), masks)


# Properties


@given(IMAGES, IMAGES)
def test_images_are_added_removed_changed_or_as_before(before, now):
    found = {change.key: change for change in compared(before, now)}
    assert list(found) == sorted(found)
    for number in before.keys() | now.keys():
        change = found.get(make_key(number))
        if number not in before:
            assert change == Change(key=make_key(number), change="added")
        elif number not in now:
            assert change == Change(key=make_key(number), change="removed", reason=GONE)
        elif np.array_equal(before[number], now[number]):
            assert change is None
        else:
            one, other = before[number], now[number]
            assert change.change == "changed"
            assert change.iou == pytest.approx((one & other).sum() / (one | other).sum())


@given(IMAGES, IMAGES)
def test_the_table_agrees_with_the_manifest_and_the_counts_add_up(before, now):
    rejected = before.keys() - now.keys()
    changes = compared(before, now, rejected)
    files = change_files("n", "2", make_earlier(before), changes, len(now))
    rows = {row["key"]: row for row in rows_of(now, rejected)}
    assert list(change_problems(files["changes.csv"], rows)) == []
    numbers = [int(line.split("|")[2]) for line in files["CHANGELOG.md"].decode().splitlines() if line[:3] in
               ("| a", "| w")]  # fmt: skip
    added, changed, unchanged = numbers
    assert added + changed + unchanged == len(now)


@given(IMAGES, IMAGES, st.data())
def test_a_changelog_says_what_its_table_gives_and_any_other_word_is_noticed(before, now, data):
    files = change_files("n", "2", make_earlier(before), compared(before, now), len(now))
    about = ReleaseConfig(name="n", version="2")
    changelog, changes = files[CHANGELOG], files[CHANGES]
    assert not says_more(changelog, changes, about, "ab", len(now))
    place = data.draw(st.integers(0, len(changelog)))
    heading = changelog.index(b" since ")
    if not heading < place <= changelog.index(b"\n", heading):  # the name of the earlier release may be any
        assert says_more(changelog[:place] + b"other words" + changelog[place:], changes, about, "ab", len(now))


# Examples


def test_an_image_that_is_rejected_now_has_the_reason_of_the_manifest():
    (change,) = compared({1: np.ones(SHAPE, bool)}, {}, rejected=[1])
    assert change == Change(key=make_key(1), change="removed", reason="why")


def test_an_image_whose_size_changed_has_an_iou_of_0():
    (change,) = changes_since(
        Earlier(name="n", version="1", sha256="ab", masks={make_key(1): ((5, 4), "d0")}),
        rows_of([1]),
        {make_key(1): encode_mask(np.ones(SHAPE, bool))},
    )
    assert (change.change, change.iou) == ("changed", 0.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory, release_of):
    """A release, and a stricter one of the same run, compared with the first."""
    folder = tmp_path_factory.mktemp("pair")
    inputs = make_collection(folder / "in", 6)
    first = release_of(inputs, folder / "out")
    return first, release_of(
        inputs, folder / "out", version="2.0.0", allowed_licenses=(1,), target_images=2, previous=str(first.folder)
    )


def test_a_release_says_what_changed_since_the_earlier_one(pair):
    first, second = pair
    with (second.folder / "changes.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    (left_out,) = [row["key"] for row in second.manifest() if row["reason"] == "beyond_target"]
    found = [(line["key"], line["change"], line["reason"]) for line in lines]
    assert found == [(f"key-{left_out}", "removed", "beyond_target")]
    changelog = (second.folder / "CHANGELOG.md").read_text()
    assert "| as before | 2 |" in changelog
    assert read_earlier(str(first.folder)).sha256 in changelog
    assert verify_release(str(second.folder)).problems == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("`changes.csv` lists", "Every mask was checked by hand. `changes.csv` lists"),
        ("# Changes", "# Changes <script>alert(1)</script>"),
        ("SHA-256 `", "SHA-256 `0"),
        (" since sod-benchmark 1.0.0", " since [anything](https://evil.example) 1.0.0"),
    ],
    ids=range(4),
)
def test_a_changelog_that_says_more_is_found_or_named(pair, tmp_path, old, new):
    folder = tmp_path / "copy"
    shutil.copytree(pair[1].folder, folder)
    changelog = (folder / "CHANGELOG.md").read_text()
    assert old in changelog
    (folder / "CHANGELOG.md").write_text(changelog.replace(old, new, 1))
    mend_sums(folder)
    check = verify_release(str(folder))
    assert [problem.where for problem in check.problems] == ["CHANGELOG.md"]
    stated = json.loads((folder / "release.json").read_text())
    (folder / "release.json").write_bytes(encode_json(stated | {"texts": "0" * 64}))
    mend_sums(folder)
    check = verify_release(str(folder))
    assert check.problems == ()
    assert [unchecked.where for unchecked in check.unchecked] == ["CHANGELOG.md"]


@pytest.mark.parametrize("words", ["added", "removed", "with another mask", "as before"])
def test_a_changelog_whose_numbers_differ_from_the_table_is_found(pair, tmp_path, words):
    folder = tmp_path / "copy"
    shutil.copytree(pair[1].folder, folder)
    changelog = (folder / "CHANGELOG.md").read_text()
    (folder / "CHANGELOG.md").write_text(re.sub(rf"\| {words} \| \d+ \|", f"| {words} | 5000 |", changelog))
    mend_sums(folder)
    (problem,) = verify_release(str(folder)).problems
    assert (problem.where, words in problem.what) == ("CHANGELOG.md", True)


def test_a_release_without_an_earlier_one_has_neither_file(pair):
    assert not {"CHANGELOG.md", "changes.csv"} & {file["name"] for file in pair[0].release_json()["files"]}


@given(st.lists(st.integers(0, 10**12 - 1), min_size=1, max_size=5, unique=True))
def test_programs_that_guess_types_read_keys_as_text(numbers):
    changes = [Change(key=make_key(number), change="added") for number in numbers]
    earlier = Earlier(name="n", version="1", sha256="a", masks={})
    content = change_files("n", "2", earlier, changes, len(numbers))["changes.csv"]
    for keys in (
        list(pandas.read_csv(io.BytesIO(content))["key"]),
        list(arrow_csv.read_csv(io.BytesIO(content))["key"].to_pylist()),
    ):
        assert keys == [f"key-{make_key(number)}" for number in numbers]


def test_an_earlier_release_of_the_format_before_can_be_compared_with(earlier_with):
    annotation = {"image_id": 1, "segmentation": {"size": list(SHAPE), "counts": "04"}}
    earlier = read_earlier(
        earlier_with(json.dumps({"annotations": [annotation]}).encode(), lambda stated: stated.update(format=2))
    )
    assert earlier.masks == {make_key(1): (SHAPE, "04")}


# Faults


def test_comparing_with_something_else_than_a_release_is_refused(tmp_path, pair, release_of):
    with pytest.raises(CollectionError, match="is not a complete release"):
        release_of(pair[0].inputs, pair[0].config.out, version="3.0.0", previous=str(tmp_path))


@pytest.fixture
def earlier_with(pair, tmp_path):
    """A function that makes an earlier release with other annotations or another `release.json`."""

    def make(content, edit=lambda stated: None):
        folder = tmp_path / "earlier"
        shutil.copytree(pair[0].folder, folder)
        (folder / "annotations/test.json").write_bytes(content)
        mend_sums(folder)
        stated = json.loads((folder / "release.json").read_text())
        edit(stated)
        (folder / "release.json").write_text(json.dumps(stated))
        return str(folder)

    return make


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"annotations": [1]}',
        b'{"annotations": [{"image_id": "x", "segmentation": {"size": [1, 1]}}]}',
    ],
)
def test_an_earlier_release_that_can_not_be_read_is_named(earlier_with, content):
    with pytest.raises(StorageError, match="earlier can't be read as a release"):
        read_earlier(earlier_with(content))


@pytest.mark.parametrize("name", ["annotations/../../outside.json", "/etc/passwd", "annotations/.hidden"])
def test_no_name_in_an_earlier_release_leaves_its_folder(earlier_with, tmp_path, name):
    (tmp_path / "outside.json").write_bytes(b'{"annotations": []}')

    def leave(stated):
        stated["files"][0]["name"] = name

    with pytest.raises(StorageError, match="names a file"):
        read_earlier(earlier_with(b'{"annotations": []}', leave))


def test_a_pipe_in_place_of_annotations_is_refused_at_once(earlier_with):
    folder = Path(earlier_with(b'{"annotations": []}'))
    (folder / "annotations/test.json").unlink()
    os.mkfifo(folder / "annotations/test.json")
    with pytest.raises(StorageError, match="not a regular file"):
        read_earlier(str(folder))


def test_a_name_that_would_be_read_as_markdown_is_refused(earlier_with):
    with pytest.raises(StorageError, match="its name or version differs"):
        read_earlier(earlier_with(b'{"annotations": []}', lambda stated: stated.update(name="x](http://evil)")))


def test_a_mask_that_can_not_be_decoded_is_named(earlier_with):
    annotation = {"image_id": 1, "segmentation": {"size": list(SHAPE), "counts": "oooo"}}
    earlier = read_earlier(earlier_with(json.dumps({"annotations": [annotation]}).encode()))
    earlier = Earlier(name="n", version="1", sha256="a", masks={make_key(1): (SHAPE, earlier.masks[make_key(1)][1])})
    with pytest.raises(StorageError, match=make_key(1)):
        changes_since(earlier, rows_of([1]), {make_key(1): encode_mask(np.ones(SHAPE, bool))})


@pytest.mark.parametrize(
    "line",
    [
        "{a},removed,,why",
        "{a},changed,1.5,",
        "{a},added,,why",
        "{r},added,,",
        "{r},removed,,other",
        "{r},removed,0.5,why",
        "{g},removed,,why",
        "{g},added,,",
    ],
)
def test_a_line_that_contradicts_the_manifest_is_found(line):
    rows = {row["key"]: row for row in rows_of([1], rejected=[2])}
    line = line.format(a=key_in_csv(make_key(1)), r=key_in_csv(make_key(2)), g=key_in_csv(make_key(3)))
    content = f"key,change,iou,reason\r\n{line}\r\n".encode()
    assert len(list(change_problems(content, rows))) == 1


def test_lines_out_of_order_and_other_columns_are_found():
    rows = {row["key"]: row for row in rows_of([1, 2])}
    twice = io.StringIO()
    csv.writer(twice).writerows([("key", "change", "iou", "reason"), *[(key_in_csv(make_key(1)), "added", "", "")] * 2])
    assert list(change_problems(twice.getvalue().encode(), rows)) == ["its keys are out of order or repeated"]
    assert len(list(change_problems(b"key\n", rows))) == 1
