"""The files of a run: it resumes with the same images, grows by new ones, and refuses any other change by name."""

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError, RunMismatchError, StorageError
from pipeline.run import run
from pipeline.runs import run_file
from pipeline.runs.candidates import read_rows
from pipeline.runs.check import verify_run
from pipeline.runs.commits import committed_shards, read_shard_record
from pipeline.runs.run_file import made_by, open_run, read_run
from tests.pipeline.make import (
    WHEN,
    ended_sessions,
    make_collection,
    make_config,
    make_key,
    make_sample,
    tree,
    write_annotations,
)

pytestmark = pytest.mark.usefixtures("small_pages")

COUNT = 9
MADE_WITH = {"weights": "w", "shard_size": "2"}


@pytest.fixture
def inputs(tmp_path):
    return make_collection(tmp_path / "in", COUNT)


def samples_of(numbers, **overrides):
    return [make_sample(key=make_key(number), image_id=number, **overrides) for number in numbers]


def keys_of(specs):
    return [[int(sample.key) for sample in spec.samples] for spec in specs]


def list_only(inputs, numbers):
    write_annotations(inputs, [entry for entry in inputs.entries if entry["id"] in numbers])


def kept(folder, *parts):
    return {name: content for name, content in tree(folder).items() if name.startswith(parts)}


# Opening


numbers = st.sets(st.integers(1, 40), min_size=1, max_size=12)


@given(numbers, st.lists(numbers, max_size=4), st.integers(1, 4))
def test_a_run_grows_again_and_again_and_its_old_shards_stay(tmp_path_factory, first, additions, shard_size):
    run_folder = str(tmp_path_factory.mktemp("grow"))
    known, (specs, whole) = first, open_run(run_folder, samples_of(first), shard_size, MADE_WITH)
    for addition in additions:
        before = specs
        known = known | addition
        specs, whole = open_run(run_folder, samples_of(known), shard_size, MADE_WITH)
        assert specs[: len(before)] == before
        assert max(len(spec.samples) for spec in specs) <= shard_size
    assert sorted(number for shard in keys_of(specs) for number in shard) == sorted(known)
    assert [spec.index for spec in specs] == list(range(len(specs)))
    assert read_run(run_folder) == (whole, specs)
    assert open_run(run_folder, samples_of(known), shard_size, MADE_WITH) == (specs, whole)


def test_images_are_found_where_they_are_now(tmp_path):
    open_run(str(tmp_path), samples_of([1, 2], location=None, problem="missing"), 2, MADE_WITH)
    specs, _ = open_run(str(tmp_path), samples_of([1, 2]), 2, MADE_WITH)
    assert all(sample.location is not None for sample in specs[0].samples)


@pytest.mark.parametrize(("then", "now"), [("", "unreadable"), ("unreadable", ""), ("unreadable", "missing")])
def test_an_image_whose_size_is_known_on_one_day_only_stays_as_planned(tmp_path, then, now):
    """Without annotations the size is in the image, whose server may not answer."""

    def sample(problem):
        size = {"width": 0, "height": 0} if problem else {"width": 20, "height": 16}
        return make_sample(**size, problem=problem, problem_detail=problem)

    (planned,), _ = open_run(str(tmp_path), [sample(then)], 2, MADE_WITH)
    (found,), _ = open_run(str(tmp_path), [sample(now)], 2, MADE_WITH)
    assert (found.samples[0].width, found.samples[0].height) == (planned.samples[0].width, planned.samples[0].height)
    assert found.samples[0].problem == (now or then)
    (_, grown), _ = open_run(str(tmp_path), [sample(now), *samples_of([8])], 2, MADE_WITH)
    assert [sample.image_id for sample in grown.samples] == [8]


def test_images_that_are_gone_or_changed_are_named_and_nothing_is_written(tmp_path):
    open_run(str(tmp_path), samples_of(range(1, 9)), 2, MADE_WITH)
    before = tree(tmp_path)
    changed = [*samples_of([6, 7]), *samples_of([8], width=99), *samples_of([20])]
    with pytest.raises(RunMismatchError, match="5 of 8 are gone from the collection, 1 fields have changed") as refused:
        open_run(str(tmp_path), changed, 2, MADE_WITH)
    lines = str(refused.value).splitlines()
    assert lines[1:4] == [f"  key {make_key(number)}, 7.jpg: no longer listed" for number in (1, 2, 3)]
    assert lines[4] == f"  key {make_key(8)}: width was 20, is 99"
    assert tree(tmp_path) == before


@pytest.mark.parametrize("change", [{"file_name": "8.jpg"}, {"height": 17}, {"license_id": 2}, {"image_id": 9}])
def test_one_changed_field_of_one_image_is_enough_to_refuse(tmp_path, change):
    open_run(str(tmp_path), samples_of([1, 2]), 2, MADE_WITH)
    changed = [make_sample(key=make_key(1), **{"image_id": 1, **change}), *samples_of([2])]
    with pytest.raises(
        RunMismatchError, match=f"0 of 2 are gone .*, 1 fields have changed\n.*{next(iter(change))} was"
    ):
        open_run(str(tmp_path), changed, 2, MADE_WITH)


def test_what_a_run_is_made_with_is_compared_before_its_images(tmp_path):
    open_run(str(tmp_path), samples_of([1]), 2, MADE_WITH)
    with pytest.raises(RunMismatchError, match="weights: made with w, requested v"):
        open_run(str(tmp_path), samples_of([1, 2]), 2, MADE_WITH | {"weights": "v"})


def test_a_part_of_the_plan_that_never_counted_is_ignored(tmp_path):
    """A session ended between writing the plan and `run.json`; the next one may even add other images."""
    _, whole = open_run(str(tmp_path), samples_of([1, 2, 3]), 2, MADE_WITH)
    open_run(str(tmp_path), samples_of([1, 2, 3, 4, 5]), 2, MADE_WITH)
    (tmp_path / "run.1.json").unlink()
    assert keys_of(read_run(str(tmp_path))[1]) == [[1, 2], [3]]
    specs, _ = open_run(str(tmp_path), samples_of([1, 2, 3, 9]), 2, MADE_WITH)
    assert keys_of(specs) == [[1, 2], [3], [9]]
    assert whole["plan"] != read_run(str(tmp_path))[0]["plan"]


def test_without_a_run_or_with_a_torn_one_there_is_nothing_to_read(tmp_path):
    with pytest.raises(CollectionError, match="is not a run"):
        read_run(str(tmp_path))
    open_run(str(tmp_path), samples_of([1]), 2, MADE_WITH)
    (part,) = (tmp_path / "plan").iterdir()
    part.unlink()
    with pytest.raises(StorageError, match=r"000000\.\w+\.parquet is missing"):
        read_run(str(tmp_path))
    (tmp_path / "run.json").write_bytes(b"{")
    with pytest.raises(StorageError, match="does not hold a fingerprint"):
        open_run(str(tmp_path), samples_of([1]), 2, MADE_WITH)


def test_a_run_of_an_earlier_version_is_read_and_grows(tmp_path):
    """Its run.json does not name the parts of its plan; the digest of the plan tells which of them count."""
    run = str(tmp_path)
    for count in (3, 5):
        open_run(run, samples_of(range(1, count + 1)), 2, MADE_WITH)
    newest = json.loads((tmp_path / "run.1.json").read_bytes())
    for name in newest["plan"]:
        (tmp_path / "plan" / name).rename(tmp_path / "plan" / f"{name.partition('.')[0]}.parquet")
    (tmp_path / "run.1.json").unlink()
    (tmp_path / "run.json").write_bytes(json.dumps({"format": 1, "fingerprint": newest["fingerprint"]}).encode())
    (tmp_path / "plan/000077.parquet").write_bytes(b"of a session that ended before it named it")
    assert keys_of(read_run(run)[1]) == [[1, 2], [3], [4, 5]]
    open_run(run, samples_of([1, 2, 3, 4, 5, 6]), 2, MADE_WITH)
    assert keys_of(read_run(run)[1]) == [[1, 2], [3], [4, 5], [6]]


COMMIT = "0123456789" * 4


def test_a_run_names_the_code_that_began_it_and_a_mismatch_says_where_that_is(tmp_path, monkeypatch):
    monkeypatch.setattr(run_file, "software", lambda: {"version": "1.2.3", "commit": COMMIT})
    open_run(str(tmp_path), samples_of([1]), 2, MADE_WITH | {"code": "old"})
    assert made_by(str(tmp_path)) == {"version": "1.2.3", "commit": COMMIT}
    monkeypatch.setattr(run_file, "software", lambda: {"version": "2.0.0"})
    open_run(str(tmp_path), samples_of([1, 2]), 2, MADE_WITH | {"code": "old"})  # other code that gives the same bytes
    assert made_by(str(tmp_path))["version"] == "1.2.3"
    (tmp_path / "commits").mkdir()
    (tmp_path / "commits/000000.json").write_bytes(b"{}")
    with pytest.raises(
        RunMismatchError, match=rf"begun with version 1.2.3, commit {COMMIT}. To .*: git checkout {COMMIT}"
    ):
        open_run(str(tmp_path), samples_of([1]), 2, MADE_WITH | {"code": "new"})


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (
            {"version": "1.2.3", "commit": f"{COMMIT}, changed"},
            "with edits that were never committed. To go on with it",
        ),
        ({"version": "1.2.3"}, "begun with version 1.2.3, from a folder without history"),
        ({"version": "\x1b[31m", "commit": "HEAD; rm -rf ~"}, "begun with the code of an earlier version"),
        ({"version": 3}, "begun with the code of an earlier version"),
        (None, "begun with the code of an earlier version"),
    ],
)
def test_what_is_not_known_of_the_code_is_left_out(tmp_path, stated, said):
    open_run(str(tmp_path), samples_of([1]), 2, MADE_WITH | {"code": "old"})
    values = json.loads((tmp_path / "run.json").read_bytes()) | {"made_by": stated}
    (tmp_path / "run.json").write_bytes(json.dumps(values).encode())
    (tmp_path / "commits").mkdir()
    (tmp_path / "commits/000000.json").write_bytes(b"{}")
    with pytest.raises(RunMismatchError, match=said):
        open_run(str(tmp_path), samples_of([1]), 2, MADE_WITH | {"code": "new"})


@pytest.mark.parametrize("plan", [["../../etc/passwd"], ["a/b.parquet"], "x", [1], None])
def test_a_plan_is_read_from_its_own_folder_only(tmp_path, plan):
    open_run(str(tmp_path), samples_of([1]), 2, MADE_WITH)
    values = json.loads((tmp_path / "run.json").read_bytes())
    (tmp_path / "run.json").write_bytes(json.dumps(values | {"plan": plan}).encode())
    with pytest.raises(StorageError, match="does not hold a fingerprint"):
        read_run(str(tmp_path))


# Whole runs


def manifest_keys(out, version):
    content = Path(out, f"release/sod-benchmark-{version}/manifest.parquet").read_bytes()
    return [row["key"] for row in pq.read_table(io.BytesIO(content)).to_pylist()]


def test_a_grown_run_has_every_image_once_and_computes_the_new_ones_alone(inputs, tmp_path):
    """Images 2, 5 and 8 come later, between the others' numbers."""
    list_only(inputs, {1, 3, 4, 6, 7, 9})
    config = make_config(inputs, tmp_path / "run")
    assert run(config).computed == 6
    before = kept(config.out, "candidates", "commits", "release/sod-benchmark-1.0.0")
    list_only(inputs, set(range(1, COUNT + 1)))
    report = run(make_config(inputs, tmp_path / "run", version="2.0.0"))
    assert (report.images, report.computed) == (COUNT, 3)
    after = tree(config.out)
    assert all(after[name] == content for name, content in before.items())
    rows = [
        row.key
        for name in sorted(committed_shards(config.out))
        for row in read_rows(config.out, read_shard_record(config.out, name))
    ]
    assert sorted(rows) == [make_key(number) for number in range(1, COUNT + 1)]
    assert sorted(manifest_keys(config.out, "2.0.0")) == sorted(rows)
    assert verify_run(config.out).problems == ()
    assert run(make_config(inputs, tmp_path / "run", version="2.0.0")).computed == 0


def test_a_shrunken_list_is_refused_and_the_whole_list_resumes(inputs, tmp_path):
    config = make_config(inputs, tmp_path / "run")
    run(config)
    before = tree(config.out)
    list_only(inputs, set(range(1, COUNT)))
    with pytest.raises(RunMismatchError, match=f"1 of {COUNT} are gone from the collection"):
        run(config)
    assert tree(config.out) == before
    list_only(inputs, set(range(1, COUNT + 1)))
    assert run(config).computed == 0


@pytest.mark.thorough  # test_paused_sessions.py lets a run grow too
@pytest.mark.parametrize("after", WHEN)
def test_growing_that_ends_at_any_write_resumes_to_the_same_bytes(inputs, tmp_path, after):
    def begin(out):
        list_only(inputs, {1, 3, 4, 6, 7, 9})
        run(make_config(inputs, out))
        list_only(inputs, set(range(1, COUNT + 1)))
        return make_config(inputs, out, version="2.0.0")

    run(begin(tmp_path / "quiet"))
    ended = 0
    for config in ended_sessions(lambda number: begin(tmp_path / str(number)), after=after):
        ended += 1
        run(config)
        assert tree(config.out) == tree(tmp_path / "quiet")
    # lease, plan, run, device; tar, rows and record of a shard; every file of the second release, its name; picture
    released = [name for name in tree(tmp_path / "quiet") if name.startswith("release/sod-benchmark-2.0.0/")]
    assert len(released) > 20
    assert ended == 4 + 3 + len(released) + 2
