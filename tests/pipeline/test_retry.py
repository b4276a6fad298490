"""Failed images tried again: the result is that of a run in which they never failed, whatever else happens."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ReleaseExistsError
from pipeline.replicas import setup, work
from pipeline.run import run
from pipeline.runs.check import verify_run
from pipeline.runs.commits import committed_shards, read_shard_record
from tests.pipeline.make import WHEN, ended_sessions, make_collection, make_config, make_key, tree

pytestmark = pytest.mark.usefixtures("small_pages")

COUNT = 8
RELEASE = "release/sod-benchmark-1.0.0"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Inputs, and the run in which nothing failed: shards of three, batches of two."""
    folder = tmp_path_factory.mktemp("quiet")
    inputs = make_collection(folder / "in", COUNT)
    run(make_config(inputs, folder / "run"))
    return inputs, folder / "run"


@pytest.fixture
def inputs(quiet, tmp_path):
    return copy_of(quiet[0], tmp_path / "in")


def copy_of(inputs, folder):
    """The same collection elsewhere, to be broken and mended."""
    shutil.copytree(inputs.images.parent, folder)
    return type(inputs)(images=folder / "images", annotations=folder / "annotations.json", entries=inputs.entries)


def hurt(inputs, number):
    inputs.file(number).write_bytes(inputs.file(number).read_bytes()[:60])


def mend(inputs, healthy, number):
    shutil.copy(healthy.file(number), inputs.file(number))


def maps_of(folder):
    """What a release is made of, whatever the files are called: shard → digests."""
    records = [read_shard_record(str(folder), name) for name in committed_shards(str(folder))]
    return {record.shard: (record.tar.sha256, record.rows.sha256, record.done, record.failed) for record in records}


def release_of(folder, version="1.0.0"):
    release = tree(Path(folder) / "release" / f"sod-benchmark-{version}")
    return {name: content for name, content in release.items() if name not in ("release.json", "README.md")}


@given(st.sets(st.integers(1, COUNT), min_size=1, max_size=4), st.sets(st.integers(1, COUNT)))
@settings(max_examples=settings().max_examples // 4)
def test_mended_images_come_out_as_if_they_had_never_failed(quiet, tmp_path_factory, bad, mended):
    healthy, undisturbed = quiet
    folder = tmp_path_factory.mktemp("retry")
    inputs = copy_of(healthy, folder / "in")
    for number in bad:
        hurt(inputs, number)
    first = run(make_config(inputs, folder / "run"))
    assert first.failed == {"undecodable": len(bad)}
    for number in mended:
        mend(inputs, healthy, number)
    report = run(make_config(inputs, folder / "run", retry_failed=True, version="2.0.0"))
    left = bad - mended
    assert sum(report.failed.values()) == len(left)
    assert verify_run(str(folder / "run")).problems == ()
    if not left:
        assert maps_of(folder / "run") == maps_of(undisturbed)
        expected = release_of(undisturbed)
        assert {k: v for k, v in release_of(folder / "run", "2.0.0").items() if k.endswith(".tar")} == {
            k: v for k, v in expected.items() if k.endswith(".tar")
        }


def test_only_shards_with_a_failed_image_are_touched_and_only_their_batches_computed(
    quiet, inputs, tmp_path, monkeypatch
):
    hurt(inputs, 4)  # the first of the second shard: 4 and 5 are a batch, 6 is one
    config = make_config(inputs, tmp_path / "run")
    run(config)
    before = tree(config.out)
    mend(inputs, quiet[0], 4)
    read = []
    monkeypatch.setattr(
        work,
        "read_image",
        lambda sample, work, real=work.read_image: read.append(sample.key) or real(sample, work),
    )
    report = run(make_config(inputs, tmp_path / "run", retry_failed=True, version="2.0.0"))
    after = tree(config.out)
    assert sorted(read) == [make_key(4), make_key(5)]
    assert report.computed == 2
    untouched = [
        name for name in before if name.startswith(("candidates/000000", "candidates/000002", "commits/00000[02]"))
    ]
    assert all(before[name] == after[name] for name in untouched)
    record = read_shard_record(config.out, "000001")
    assert record.number == 1
    assert [name for name in after if name.startswith("candidates/000001")] == sorted(
        f"candidates/{file.name}" for file in (record.tar, record.rows)
    )


def test_without_the_option_failed_images_stay_failed(quiet, inputs, tmp_path):
    hurt(inputs, 2)
    run(make_config(inputs, tmp_path / "run"))
    mend(inputs, quiet[0], 2)
    report = run(make_config(inputs, tmp_path / "run"))
    assert (report.failed, report.computed) == ({"undecodable": 1}, 0)


def test_a_missing_file_that_is_put_back_is_tried_again(quiet, inputs, tmp_path):
    inputs.file(6).unlink()
    assert run(make_config(inputs, tmp_path / "run")).failed == {"missing": 1}
    mend(inputs, quiet[0], 6)
    report = run(make_config(inputs, tmp_path / "run", retry_failed=True, version="2.0.0"))
    assert report.failed == {}
    assert maps_of(tmp_path / "run") == maps_of(quiet[1])


def test_an_image_that_fails_again_changes_no_file(inputs, tmp_path):
    hurt(inputs, 2)
    config = make_config(inputs, tmp_path / "run", retry_failed=True)
    run(config)
    before = tree(config.out)
    report = run(make_config(inputs, config.out, retry_failed=True, version="2.0.0"))
    assert report.failed == {"undecodable": 1}
    after = tree(config.out)
    assert {name: content for name, content in after.items() if "-2.0.0/" not in name} == before


def test_a_retry_into_a_version_that_is_taken_is_refused_before_any_image(inputs, tmp_path, monkeypatch):
    hurt(inputs, 2)
    config = make_config(inputs, tmp_path / "run", retry_failed=True)
    run(config)
    monkeypatch.setattr(setup, "load_model", None)
    with pytest.raises(ReleaseExistsError, match="before its failed images were tried again"):
        run(config)


def test_the_records_of_repeated_tries_are_numbered(quiet, inputs, tmp_path):
    for number in (1, 2):
        hurt(inputs, number)
    options = {"retry_failed": True}
    run(make_config(inputs, tmp_path / "run", **options))
    for number in (1, 2):
        mend(inputs, quiet[0], number)
        run(make_config(inputs, tmp_path / "run", **options, version=f"{number + 1}.0.0"))
    assert (tmp_path / "run/commits/000000.2.json").is_file()
    assert verify_run(str(tmp_path / "run")).stray == ()
    assert maps_of(tmp_path / "run") == maps_of(quiet[1])


@pytest.mark.parametrize("after", WHEN)
def test_a_retry_that_ends_at_any_write_or_removal_resumes(quiet, inputs, tmp_path, after):
    hurt(inputs, 5)
    run(make_config(inputs, tmp_path / "failed"))
    mend(inputs, quiet[0], 5)

    def begin(number):
        shutil.copytree(tmp_path / "failed", tmp_path / str(number))
        return make_config(inputs, tmp_path / str(number), retry_failed=True, version="2.0.0")

    ended = 0
    for config in ended_sessions(begin, after=after, removals=True):
        ended += 1
        run(config)
        assert maps_of(config.out) == maps_of(quiet[1])
        assert verify_run(config.out).problems == ()
    assert ended >= 8
