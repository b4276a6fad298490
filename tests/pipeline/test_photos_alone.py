"""A collection without annotations, from a folder of photos to a release that the libraries of its users read."""

import json
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.config import RunConfig
from pipeline.errors import CollectionError, ConfigError, RunMismatchError
from pipeline.forecast import forecast
from pipeline.options import from_options
from pipeline.release.check.verify import verify_release
from pipeline.run import run
from pipeline.runs.check import repair_run, verify_run
from tests.pipeline.make import make_jpeg, tree

pytestmark = pytest.mark.usefixtures("small_pages")

NAMES = [
    *(f"holiday/IMG_{number:04d}.jpg" for number in range(6)), "Küche (1).JPG", "日本.jpg", "v1.0_a.b.jpeg",
    "000000000139.jpg",
]  # fmt: skip
BY = "https://creativecommons.org/licenses/by/4.0/"


def make_photos(folder, names=NAMES, first=0):
    for number, name in enumerate(names, start=first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make_jpeg(number, 24 + 3 * (number % 5), 20 + 5 * (number % 3)))
    return folder


def make_config(images, out, **options):
    """A run in this process with the fake model, without annotations."""
    given = {"images": str(images), "out": str(out), "engine": "inline", "model": "fake", "ensemble_size": 3}
    config: RunConfig = from_options(RunConfig, given | {"shard_size": 4, "batch_images": 2} | options, missing=None)
    return config


def rows_of(release):
    return {row["file_name"]: row for row in pq.read_table(Path(release) / "manifest.parquet").to_pylist()}


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos")


def test_a_folder_of_photos_becomes_a_release_that_stands_the_check_and_is_loaded(photos, tmp_path):
    report = run(make_config(photos, tmp_path / "run"))
    assert (report.images, report.failed) == (len(NAMES), {})
    assert 0 < report.accepted < len(NAMES)
    rows = rows_of(report.release)
    assert set(rows) == set(NAMES)
    assert rows["holiday/IMG_0001.jpg"]["key"] == "holiday-IMG_0001-4e89827e"
    assert (rows["000000000139.jpg"]["key"], rows["000000000139.jpg"]["image_id"]) == ("000000000139", 139)
    assert [row["key"] for row in rows.values()] == sorted(row["key"] for row in rows.values())
    annotated = json.loads((Path(report.release) / "annotations/test.json").read_text())
    assert len(annotated["images"]) == report.accepted
    for image in annotated["images"]:
        row = rows[image["collection_file_name"]]
        assert (image["id"], image["file_name"]) == (row["image_id"], f"{row['key']}.jpg")
    check = verify_release(report.release, run=str(tmp_path / "run"), loaders=True)
    assert (check.problems, check.unchecked, check.accepted) == ((), (), report.accepted)


def test_photos_that_are_added_make_the_run_grow_and_keys_stay(photos, tmp_path):
    before = rows_of(run(make_config(photos, tmp_path / "run")).release)
    make_photos(photos, ["holiday/A.jpg", "z.jpg"], first=50)
    grown = run(make_config(photos, tmp_path / "run", version="2.0.0"))
    assert (grown.images, grown.computed) == (len(NAMES) + 2, 2)
    after = rows_of(grown.release)
    assert {name: after[name] | {"tar": ""} for name in before} == {
        name: row | {"tar": ""} for name, row in before.items()
    }
    assert verify_run(str(tmp_path / "run")).problems == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda photo: photo.write_bytes(make_jpeg(1, 40, 20)), r"key 000000000139: width was \d+, is 40"),
        (lambda photo: photo.unlink(), "key 000000000139, 000000000139.jpg: no longer listed"),
        (lambda photo: photo.rename(photo.with_name("x.jpg")), "key 000000000139, 000000000139.jpg: no longer listed"),
    ],
)
def test_a_photo_that_is_replaced_by_another_size_or_gone_is_refused_by_name(photos, tmp_path, change, said):
    run(make_config(photos, tmp_path / "run"))
    change(photos / "000000000139.jpg")
    for request in (run, forecast):
        with pytest.raises(RunMismatchError, match=said):
            request(make_config(photos, tmp_path / "run"))


def test_a_photo_that_is_torn_costs_one_image_and_stays_in_the_run(photos, tmp_path):
    (photos / "torn.jpg").write_bytes(make_jpeg(3, 30, 30)[:-80])
    (photos / "none.jpg").write_bytes(b"no image")
    report = run(make_config(photos, tmp_path / "run"))
    assert (report.images, report.failed) == (len(NAMES) + 2, {"undecodable": 2})
    rows = rows_of(report.release)
    assert (rows["torn.jpg"]["width"], rows["none.jpg"]["width"]) == (30, 0)


def test_what_a_table_says_is_in_the_release_and_the_policy_uses_it(photos, tmp_path):
    lines = [f'"{name}",{BY if number % 2 else "CC BY-NC 2.0"},Ann' for number, name in enumerate(NAMES)]
    (tmp_path / "told.csv").write_text("\n".join(["file,license,photographer", *lines]))
    told = {"metadata": str(tmp_path / "told.csv")}
    report = run(make_config(photos, tmp_path / "run", commercial=True, max_variance=0.25, **told))
    rows = rows_of(report.release)
    assert {name: (row["license_id"], row["author"]) for name, row in rows.items()} == {
        name: (4 if number % 2 else 2, "Ann") for number, name in enumerate(NAMES)
    }
    assert {row["license_url"] for row in rows.values() if row["verdict"] == "accepted"} == {BY}
    assert report.rejected["license_not_allowed"] > 0
    later = run(make_config(photos, tmp_path / "run", allowed_licenses=(2,), version="2.0.0", **told))
    accepted = [row for row in rows_of(later.release).values() if row["verdict"] == "accepted"]
    assert ({row["license_id"] for row in accepted}, later.computed) == ({2}, 0)
    assert verify_release(report.release).problems == verify_release(later.release).problems == ()


def test_a_release_since_an_earlier_one_says_what_changed_by_key(photos, tmp_path):
    first = run(make_config(photos, tmp_path / "run", embed_images=False))
    make_photos(photos, ["new.jpg"], first=50)
    later = run(make_config(photos, tmp_path / "run", version="2.0.0", max_variance=0.25, previous=first.release))
    lines = (Path(later.release) / "changes.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0].removeprefix("key-") for line in lines if ",added," in line} == {
        row["key"] for row in rows_of(later.release).values() if row["verdict"] == "accepted"
    } - {row["key"] for row in rows_of(first.release).values() if row["verdict"] == "accepted"}
    assert all(",added," in line for line in lines)
    assert verify_release(later.release).problems == ()


def test_a_zip_of_the_photos_continues_the_run_of_the_folder(photos, tmp_path):
    first = run(make_config(photos, tmp_path / "run"))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, content in tree(photos).items():
            archive.writestr(name, content)
    again = run(make_config(tmp_path / "photos.zip", tmp_path / "run"))
    assert (again.computed, tree(again.release)) == (0, tree(first.release))


def test_a_torn_shard_is_repaired_to_the_same_bytes(photos, tmp_path):
    first = run(make_config(photos, tmp_path / "run"))
    before = tree(first.release)
    (torn,) = (tmp_path / "run/candidates").glob("000001.*.tar")
    torn.write_bytes(torn.read_bytes()[:-700])
    assert repair_run(str(tmp_path / "run")).check.broken == ("000001",)
    run(make_config(photos, tmp_path / "run", version="2.0.0"))
    assert tree(first.release) == before
    assert verify_run(str(tmp_path / "run")).problems == ()


def test_a_dry_run_counts_the_photos_and_writes_nothing(photos, tmp_path):
    found = forecast(make_config(photos, tmp_path / "run", pilot_images=2))
    assert (found.images, found.left, found.pilot_images) == (len(NAMES), len(NAMES), 2)
    assert not (tmp_path / "run").exists()


def test_scores_against_annotations_need_annotations(photos, tmp_path):
    with pytest.raises(ConfigError, match=r"instance_iou>=0\.3 needs outlines of instances, and there are none"):
        run(make_config(photos, tmp_path / "run", thresholds=("instance_iou>=0.3",)))


def test_photos_without_licences_can_not_be_limited_to_some_and_the_message_says_what_tells_them(photos, tmp_path):
    with pytest.raises(
        ConfigError, match=r"the images have the licences 0 .*; 0: none is known, --metadata TABLE tells"
    ):
        run(make_config(photos, tmp_path / "run", commercial=True))


@pytest.mark.parametrize("request_it", [run, forecast])
def test_photos_none_of_which_can_be_read_are_refused_before_any_work(tmp_path, request_it):
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.png"):
        (tmp_path / "photos" / name).write_bytes(b"no image")
    with pytest.raises(CollectionError, match="none of the 2 images in a form that can be read"):
        request_it(make_config(tmp_path / "photos", tmp_path / "run"))
    assert not (tmp_path / "run").exists()
