"""Releases made from an existing run: no model, another policy, another release, the same bytes twice."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pandas
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.collection import License, Origin
from pipeline.collection.config import InputConfig
from pipeline.errors import CollectionError, LeaseLostError, ReleaseExistsError, RunMismatchError
from pipeline.files import storage
from pipeline.files.tables import cell
from pipeline.files.tars import encode_json
from pipeline.release.build import build_release, complete_run, source_of
from pipeline.release.check.verify import verify_release
from pipeline.release.licenses import COLUMNS, LicenseTable, notice
from pipeline.replicas import setup
from pipeline.runs.inputs import remember_inputs, remembered_inputs
from pipeline.selection.policy import SPLITS, parse_splits, split_of
from tests.pipeline.make import (
    make_collection,
    make_config,
    make_key,
    make_sample,
    read_samples,
    tree,
    write_annotations,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@pytest.fixture
def build(released, monkeypatch):
    """A function that makes a release of the existing run, with options; no model may be loaded."""
    monkeypatch.setattr(setup, "load_model", None)

    def make(**options):
        config = make_config(released.inputs, released.config.out, **options)
        collection = read_samples(config.input.annotations, config.input.images)
        specs, made_with = complete_run(config.out, collection)
        return build_release(source_of(config, collection, specs), config, made_with)

    return make


def keys_of(folder, split="test"):
    rows = pq.read_table(f"{folder}/manifest.parquet").to_pylist()
    return [row["key"] for row in rows if row["split"] == split]


# Properties


@given(st.integers(0, 10**12 - 1), st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_every_image_is_in_one_split_and_stays_there(number, parts):
    shares = parse_splits([f"{name}={part / sum(parts)!r}" for name, part in zip(SPLITS, parts, strict=False)])
    assert split_of(make_key(number), shares) in shares
    assert split_of(make_key(number), shares) == split_of(make_key(number), dict(shares))


def test_the_order_in_which_splits_are_written_moves_no_image():
    one, other = parse_splits(["train=0.8", "test=0.2"]), parse_splits(["test=0.2", "train=0.8"])
    assert [split_of(make_key(n), one) for n in range(500)] == [split_of(make_key(n), other) for n in range(500)]


def test_the_same_policy_spelled_differently_is_the_same_release(build):
    first = build(version="4.0.0", thresholds=("border<=0.4", "area >= 0.010"), allowed_licenses=(2, 1))
    again = build(version="4.0.0", thresholds=("area>=0.01", "border <= 0.40"), allowed_licenses=(1, 2))
    assert first == again


def test_splits_have_their_shares():
    shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
    found = [split_of(make_key(number), shares) for number in range(20_000)]
    for name, share in shares.items():
        assert abs(found.count(name) / len(found) - share) < 0.01


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS), max_size=5))
def test_licences_with_any_text_are_read_back_as_cells_have_them(texts):
    licenses, origins, expected = {}, {}, []
    for number, (file_name, name, url, author, source) in enumerate(texts):
        licenses[number] = License(id=number, name=name, url=url)
        origins[make_key(number)] = Origin(author=author, source=source)
        expected.append([f"key-{make_key(number)}", number, file_name, number, name, url, author, source])
    table = LicenseTable(origins)
    for number, row in enumerate(expected):
        sample = make_sample(key=make_key(number), image_id=number, file_name=row[2], license_id=number)
        table.add(sample, licenses[number])
    header, *rows = csv.reader(io.StringIO(table.encode().decode(), newline=""))
    assert (tuple(header), rows) == (COLUMNS, [[cell(value) for value in row] for row in expected])
    said = notice("x 1", table.counts).decode()
    assert said.count(" images   licence ") == len(texts)
    assert all(letter.isprintable() or letter == "\n" for letter in said)


# Another release from the same run


def test_a_second_policy_is_a_second_release(released, build):
    built = build(version="2.0.0", target_images=2, embed_images=False)
    assert (built.images, built.accepted) == (10, 2)
    assert built.rejected == {"beyond_target": 3, "variance_above_max": 4}
    assert built.failed == {"undecodable": 1}
    assert verify_release(built.release).problems == ()
    assert verify_release(str(released.folder)).problems == ()


def test_the_same_policy_with_another_version_has_the_same_tars_and_masks(released, build):
    again = tree(build(version="1.0.1").release)
    before = tree(released.folder)
    same = [name for name in before if name.startswith("data/") or name in ("manifest.parquet", "licenses.csv")]
    assert [name for name in same if again[name] != before[name]] == []


def test_an_existing_version_is_not_made_again_and_never_changed(released, build):
    before = tree(released.folder)
    assert build().release == str(released.folder)
    with pytest.raises(ReleaseExistsError, match=r"policy\."):
        build(max_variance=0.01)
    assert tree(released.folder) == before


def test_splits_share_the_images_among_them(build):
    built = build(version="3.0.0", splits=("train=0.5", "test=0.5"))
    train, test = keys_of(built.release, "train"), keys_of(built.release, "test")
    assert sorted(train + test) == [make_key(number) for number in (2, 4, 6, 8, 10)]
    for split, keys in (("train", train), ("test", test)):
        with open(f"{built.release}/annotations/{split}.json") as file:
            assert [image["id"] for image in json.load(file)["images"]] == [int(key) for key in keys]


def test_licences_name_author_and_source_of_an_image(tmp_path, release_of):
    inputs = make_collection(tmp_path / "in", 4)
    inputs.entries[1] |= {"flickr_url": "http://f/2", "coco_url": "http://c/2", "author": 'A "B", <i>C</i>'}
    inputs.entries[3] |= {"coco_url": "http://c/4", "author": 7}
    write_annotations(inputs)
    released = release_of(inputs, tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO((released.folder / "licenses.csv").read_text())))
    expected = [
        (make_key(1), "", ""),
        (make_key(2), 'A "B", <i>C</i>', "http://f/2"),
        (make_key(3), "", ""),
        (make_key(4), "", "http://c/4"),
    ]
    assert [(row["key"].removeprefix("key-"), row["author"], row["source"]) for row in rows] == expected
    assert [(row["key"], row["author"], row["source"]) for row in released.manifest()] == expected
    assert "2 images   licence 1: CC BY http://x/by" in (released.folder / "NOTICE").read_text()


def test_keys_of_the_licences_are_text_to_programs_that_guess_types_and_ids_join_with_the_manifest(released):
    path = released.folder / "licenses.csv"
    manifest = pandas.read_parquet(released.folder / "manifest.parquet")
    wanted = [f"key-{key}" for key in manifest["key"] if key != make_key(3)]
    frame = pandas.read_csv(path)
    assert list(frame["key"]) == list(arrow_csv.read_csv(path)["key"].to_pylist()) == wanted
    joined = frame.merge(manifest, on="image_id", suffixes=("_in_csv", ""))
    assert list(joined["key_in_csv"].str.removeprefix("key-")) == list(joined["key"])
    assert len(joined) == len(frame) == 9
    texts = pandas.read_csv(path, dtype=str, keep_default_na=False)
    assert set(texts["author"]) == {""}


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        ({}, [1, 2, 4, 5, 6, 7, 8, 9, 10]),  # 3 has failed: the release has nothing of it
        ({"allowed_licenses": (2,)}, [1, 5, 7, 9]),
        ({"embed_images": False}, [2, 4, 6, 8, 10]),
    ],
    ids=["all", "one licence", "masks only"],
)
def test_licences_are_listed_for_every_image_of_which_the_release_has_something(build, options, listed):
    built = build(version=f"8.{len(listed)}.0", **options)
    with open(f"{built.release}/licenses.csv", newline="") as file:
        assert [int(row["image_id"]) for row in csv.DictReader(file)] == listed
    assert verify_release(built.release).problems == ()


# Faults


def test_an_incomplete_run_is_refused(tmp_path, release_of):
    inputs = make_collection(tmp_path / "in", 7)
    released = release_of(inputs, tmp_path / "out")
    (tmp_path / "out" / "commits" / "000001.json").unlink()
    collection = read_samples(released.config.input.annotations, released.config.input.images)
    with pytest.raises(RunMismatchError, match="3 of 7 images are not computed yet"):
        complete_run(released.config.out, collection)


def test_annotations_that_have_grown_are_refused_until_the_run_has_grown_too(tmp_path, release_of):
    inputs = make_collection(tmp_path / "in", 4)
    released = release_of(inputs, tmp_path / "out")
    more = make_collection(tmp_path / "more", 6)
    with pytest.raises(RunMismatchError, match="2 of 6 images are not computed yet"):
        complete_run(released.config.out, read_samples(str(more.annotations), str(more.images)))


def test_a_run_remembers_where_its_images_were(tmp_path):
    inputs = InputConfig(images="/a", annotations="s3://b/c", max_image_bytes=5)
    remember_inputs(str(tmp_path), inputs)
    assert remembered_inputs(str(tmp_path)) == inputs


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"annotations": "a"}', b'{"images": 1}', b'{"nonsense": 1}'])
def test_a_run_that_does_not_remember_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "plan").mkdir()
        (tmp_path / "plan" / "inputs.json").write_bytes(content)
    with pytest.raises(CollectionError, match=r"inputs\.json does not say where the images are"):
        remembered_inputs(str(tmp_path))


def test_the_reason_of_an_image_that_fails_two_bounds_does_not_depend_on_their_order(build):
    bounds = ("pairwise_iou>=1", "area<=0.005")
    built = build(version="7.0.0", thresholds=bounds, max_variance=0.25, max_variance_per_area=250.0)
    assert built.rejected == {"area_above_max": 9}
    assert verify_release(built.release).problems == ()
    assert build(version="7.0.0", thresholds=bounds[::-1], max_variance=0.25, max_variance_per_area=250.0) == built


@pytest.mark.parametrize(
    ("write", "version"), [("the first", "9.0.0"), ("one in the middle", "9.1.0"), ("the last", "9.2.0")]
)
def test_a_build_that_has_lost_the_run_stops_before_its_next_write(released, write, version):
    """Otherwise it would overwrite the files of the session that holds the run now."""
    confirmed = 0
    config = make_config(released.inputs, released.config.out, version=version)
    collection = read_samples(config.input.annotations, config.input.images)
    specs, made_with = complete_run(config.out, collection)
    source = source_of(config, collection, specs)

    def count():
        nonlocal confirmed
        confirmed += 1

    complete = build_release(source, config, made_with, count)
    left = {"the first": 1, "one in the middle": confirmed // 2, "the last": confirmed}[write]
    folder = Path(complete.release)
    shutil.rmtree(folder)

    def lost():
        nonlocal left
        left -= 1
        if not left:
            raise LeaseLostError("lost")

    with pytest.raises(LeaseLostError):
        build_release(source, config, made_with, lost)
    assert not (folder / "release.json").exists()
    written = len(tree(folder)) if folder.exists() else 0
    left = 1
    with pytest.raises(LeaseLostError):
        build_release(source, config, made_with, lost)
    assert (len(tree(folder)) if folder.exists() else 0) == written


def test_a_build_confirms_that_it_holds_the_run_before_every_write_of_the_driver(released, monkeypatch):
    config = make_config(released.inputs, released.config.out, version="9.3.0")
    collection = read_samples(config.input.annotations, config.input.images)
    specs, made_with = complete_run(config.out, collection)
    source, events = source_of(config, collection, specs), []

    def noted(name):
        call = getattr(storage, name)

        def note(url, *rest, **options):
            events.append(re.sub(r".*/\.?sod-benchmark-9\.3\.0[^/]*/", "", url))
            return call(url, *rest, **options)

        return note

    for name in ("add", "add_file"):
        monkeypatch.setattr(storage, name, noted(name))
    build_release(source, config, made_with, lambda: events.append("confirmed"))
    by_tasks = [event for event in events if event.endswith((".webp", ".tar"))]
    others = {*by_tasks, "confirmed"}
    by_driver = [place for place, event in enumerate(events) if event not in others]
    assert len(by_tasks) == 2
    assert len(by_driver) > 20
    assert events[by_driver[-1]] == "release.json"
    assert {events[place - 1] for place in by_driver} == {"confirmed"}


def test_release_json_names_a_changed_photo_that_the_page_does_not_show(tmp_path, release_of):
    inputs = make_collection(tmp_path / "in", 4)
    release_of(inputs, tmp_path / "out")
    inputs.file(3).write_bytes(b"another")  # was rejected
    later = release_of(inputs, tmp_path / "out", version="2.0.0")
    assert later.release_json()["without_thumbnail"] == [make_key(3)]
    assert verify_release(str(later.folder)).problems == ()


@pytest.mark.parametrize(
    ("info", "given", "name", "url"),
    [
        ({"description": " COCO\n2017 ", "url": "http://cocodataset.org"}, {}, "COCO 2017", "http://cocodataset.org"),
        ({"description": "COCO 2017", "url": "javascript:alert(1)"}, {}, "COCO 2017", ""),
        ({"description": "x" * 300, "url": ["https://a.org"]}, {}, "", ""),
        ("no object", {}, "", ""),
        ({"description": "COCO", "url": "http://a.org"}, {"collection_name": "Mine"}, "Mine", ""),
    ],
)
def test_the_collection_is_named_as_by_its_annotations_unless_the_publisher_names_it(
    tmp_path, release_of, info, given, name, url
):
    inputs = make_collection(tmp_path / "in", 1)
    document = json.loads(inputs.annotations.read_text())
    inputs.annotations.write_text(json.dumps(document | {"info": info}))
    found = release_of(inputs, tmp_path / "out", **given).release_json()["made_from"]["publication"]
    assert (found["collection_name"], found["collection_url"]) == (name, url)
    again = release_of(inputs, tmp_path / "out", **given)
    assert again.release_json()["made_from"]["publication"] == found


def test_a_release_of_an_earlier_format_stays_though_the_annotations_name_their_collection(build):
    folder = Path(build(version="8.0.0").release)
    stated = json.loads((folder / "release.json").read_text())
    for name in ("collection_name", "errata"):
        del stated["made_from"]["publication"][name]
    (folder / "release.json").write_bytes(encode_json(stated))
    assert build(version="8.0.0").release == str(folder)
    with pytest.raises(ReleaseExistsError, match=r"publication\.errata: made with '', requested a@b\.org"):
        build(version="8.0.0", errata="a@b.org")
