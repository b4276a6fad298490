"""A damaged or lost run.json or part of the plan: restored where the rest proves it, else named; never a traceback."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError, PipelineError, RunMismatchError, StorageError
from pipeline.files.tars import encode_json
from pipeline.run import run
from pipeline.runs.check import repair_run, verify_run
from pipeline.runs.machine import LIBRARIES
from pipeline.runs.plan import plan_digest
from pipeline.runs.restore import restore
from pipeline.runs.run_file import read_run
from tests.pipeline.make import make_collection, make_config, tree, write_annotations

pytestmark = pytest.mark.usefixtures("small_pages")

FOREIGN = [b"", b"{}", b"[]", b"7", b'{"fingerprint": 1}', b'{"format": 2, "fingerprint": {}, "plan": 5}', b"[" * 9999]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("inputs") / "in", 7)


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    """Three shards in two parts of a plan that has grown from four images to seven; with two releases."""
    config = make_config(inputs, tmp_path_factory.mktemp("done") / "run")
    entries = inputs.entries
    write_annotations(inputs, entries[:4])
    run(config)
    write_annotations(inputs, entries)
    run(make_config(inputs, config.out, version="2.0.0"))
    return Path(config.out)


@pytest.fixture
def broken(done, tmp_path):
    """A copy to be changed."""
    return Path(shutil.copytree(done, tmp_path / "run"))


def files_of(folder):
    """What is tried here: every run.json and part of the plan, the newest run.json first."""
    return [*sorted(folder.glob("run*.json")), *sorted(folder.glob("plan/0*.parquet"))]


@st.composite
def damages(draw):
    """Content → damaged content, or None for a lost file."""
    kind = draw(st.sampled_from(["flip", "cut", "foreign", "lost", "random"]))
    if kind == "flip":
        place, bits = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 255))
        return lambda content: _flipped(content, int(place * len(content)), bits)
    if kind == "cut":
        kept = draw(st.floats(0, 1, exclude_max=True))
        return lambda content: content[: int(kept * len(content))]
    new = {"foreign": st.sampled_from(FOREIGN), "lost": st.none(), "random": st.binary(max_size=50)}[kind]
    content = draw(new)
    return lambda _: content


def _flipped(content, place, bits):
    changed = bytes(byte ^ bits for byte in content[place : place + 1])  # nothing, once the file was emptied
    return content[:place] + changed + content[place + 1 :]


def damage(path, how):
    content = how(path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def known(folder):
    """What a run says about itself, but for versions of libraries and places of images, which nothing proves."""
    made_with, specs = read_run(str(folder))
    return {name: value for name, value in made_with.items() if name not in LIBRARIES}, plan_digest(specs)


def other_files(folder):
    return {name: content for name, content in tree(folder).items() if not name.startswith(("run", "plan/0"))}


# Properties


@given(st.integers(0, 3), damages())
def test_whichever_file_is_damaged_however_it_is_restored_and_nothing_else_is_changed(
    done, tmp_path_factory, number, how
):
    copy = Path(shutil.copytree(done, tmp_path_factory.mktemp("damaged") / "run"))
    damage(files_of(copy)[number], how)
    repaired = repair_run(str(copy))
    assert (repaired.check.problems, repaired.removed) == ((), ())
    assert known(copy) == known(done)
    assert other_files(copy) == other_files(done)
    assert verify_run(str(copy)).problems == ()


@given(st.lists(st.tuples(st.integers(0, 4), damages()), min_size=1, max_size=4), st.booleans())
def test_any_damages_together_are_restored_or_named_and_nothing_is_removed(done, tmp_path_factory, several, released):
    copy = Path(shutil.copytree(done, tmp_path_factory.mktemp("damaged") / "run"))
    if not released:
        shutil.rmtree(copy / "release")
    paths = [*files_of(copy), copy / "plan/inputs.json"]
    for number, how in several:
        if paths[number].exists():
            damage(paths[number], how)
    before = other_files(copy)
    with suppress(PipelineError):
        verify_run(str(copy))
    repaired = None
    with suppress(PipelineError):
        repaired = repair_run(str(copy))
    assert repaired is None or known(copy)[1] == known(done)[1]
    kept = {name: content for name, content in before.items() if not name.startswith("plan/inputs")}
    assert kept.items() <= tree(copy).items()


# Examples


def test_a_whole_run_is_left_as_it_is(broken, done):
    assert restore(str(broken)) == ()
    assert tree(broken) == tree(done)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_lost_file_is_named_with_what_restores_it_and_comes_back_byte_for_byte(broken, done, number):
    path = files_of(broken)[number]
    path.unlink()
    if number != 0:  # without its newest run.json a run is as it was before it grew, but for the shards
        with pytest.raises(StorageError, match=rf"{path.name} is missing.*sod run verify {broken} --repair restores"):
            verify_run(str(broken))
    assert repair_run(str(broken)).restored == (path.relative_to(broken).as_posix(),)
    assert tree(broken) == tree(done)


def test_everything_about_the_plan_is_restored_at_once_if_a_release_says_what_the_run_was_made_with(broken, done):
    for path in (*broken.glob("run*.json"), files_of(broken)[2]):
        path.write_bytes(b"torn")
    assert len(repair_run(str(broken)).restored) == 3
    assert tree(broken) == tree(done)


def change_fingerprint(folder, **fields):
    """Change the newest run.json, which stays readable."""
    path = folder / "run.1.json"
    values = json.loads(path.read_bytes())
    path.write_bytes(encode_json(values | {"fingerprint": values["fingerprint"] | fields}))


def test_a_readable_fingerprint_that_no_record_has_is_the_one_that_is_wrong(broken, done):
    change_fingerprint(broken, seed="7")
    assert len(verify_run(str(broken)).broken) == 3
    assert repair_run(str(broken)).restored == ("run.1.json",)
    assert tree(broken) == tree(done)


def test_a_part_of_the_plan_that_never_counted_stays_out(broken, done, inputs, tmp_path):
    other = make_config(inputs, tmp_path / "other", shard_size=2)
    run(other)
    (stray,) = Path(other.out, "plan").glob("000000.*.parquet")
    shutil.copy(stray, broken / "plan")
    (broken / "run.1.json").write_bytes(b"torn")
    repair_run(str(broken))
    assert known(broken) == known(done)


# What nothing proves


@pytest.fixture
def alone(inputs, tmp_path):
    """A run that has not grown, without a release."""
    config = make_config(inputs, tmp_path / "run")
    run(config)
    shutil.rmtree(Path(config.out) / "release")
    return Path(config.out)


@pytest.mark.parametrize("content", [*FOREIGN, None], ids=repr)
def test_without_proof_nothing_is_changed_and_the_runs_own_command_restores_it(alone, inputs, content):
    whole = tree(alone)
    damage(alone / "run.json", lambda _: content)
    before = tree(alone)
    with pytest.raises(StorageError, match=r"run\.json is damaged or missing.*own command again, which restores it"):
        repair_run(str(alone))
    assert tree(alone) == before
    with pytest.raises((StorageError, RunMismatchError), match=r"run\.json|seed"):
        run(make_config(inputs, alone, seed=7))
    assert tree(alone) == before
    run(make_config(inputs, alone))
    assert {name: content for name, content in tree(alone).items() if not name.startswith("release/")} == whole


def test_a_fingerprint_that_no_record_has_removes_no_shard_without_proof(alone):
    values = json.loads((alone / "run.json").read_bytes())
    (alone / "run.json").write_bytes(encode_json(values | {"fingerprint": values["fingerprint"] | {"seed": "7"}}))
    before = tree(alone)
    with pytest.raises(StorageError, match=r"what the 3 committed shards were made with"):
        repair_run(str(alone))
    assert tree(alone) == before


def test_a_part_whose_images_are_no_longer_listed_is_named_with_what_to_do(broken, inputs, done):
    entries = inputs.entries
    path = files_of(broken)[2]
    path.write_bytes(b"torn")
    before = tree(broken)
    write_annotations(inputs, entries[1:])
    try:
        with pytest.raises(StorageError, match=rf"{path.name} is damaged .* Put back the annotations and images"):
            repair_run(str(broken))
    finally:
        write_annotations(inputs, entries)
    assert tree(broken) == before


def test_committed_shards_that_no_part_of_the_plan_has_are_kept_for_the_runs_own_command(broken, done, inputs):
    for path in (broken / "run.1.json", files_of(broken)[3]):
        path.unlink()
    before = tree(broken)
    with pytest.raises(StorageError, match=r"shard 000002 is committed.* own command again, which plans it anew"):
        repair_run(str(broken))
    assert tree(broken) == before
    run(make_config(inputs, broken, version="2.0.0"))
    assert tree(broken) == tree(done)


def test_two_damaged_parts_are_named(broken):
    for path in files_of(broken)[2:]:
        path.write_bytes(b"torn")
    with pytest.raises(StorageError, match="2 parts are damaged"):
        repair_run(str(broken))


def test_a_folder_without_a_run_is_none(tmp_path):
    with pytest.raises(CollectionError, match=r"run\.json does not exist"):
        repair_run(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
