"""Whole passes in this process: the same bytes whatever happens, and never a byte of the run itself."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import ModelConfig
from pipeline import precision
from pipeline.errors import (
    CollectionError,
    ConfigError,
    LeaseLostError,
    RunBusyError,
    RunMismatchError,
    Stopped,
    StorageError,
)
from pipeline.files import storage
from pipeline.passes import score as score_module
from pipeline.passes.check import verify_passes
from pipeline.passes.folder import pass_folder
from pipeline.passes.options import FlipOptions
from pipeline.runs import machine
from pipeline.runs.commits import committed_shards, read_shard_record
from pipeline.runs.lease import Lease, held
from tests.pipeline.make import WHEN, SessionEnded, end_at_write, make_collection, make_key, tree
from tests.pipeline.passes.conftest import COUNT, CUT
from tests.pipeline.passes.make import (
    LEAST,
    SOURCE,
    copy_of,
    make_run,
    own_class,
    pass_tree,
    score,
    values_of,
    without_passes,
    write_module,
)

pytestmark = pytest.mark.usefixtures("user")

SCORED = [make_key(number) for number in range(1, COUNT + 1) if number != CUT]


def sound(run):
    """Whether a check of the passes finds nothing, and nothing is left."""
    return all((check.problems, check.stray, check.left) == ((), (), 0) for check in verify_passes(str(run)))


# Same bytes, whatever happens


@pytest.mark.parametrize("after", WHEN)
def test_a_session_that_ends_at_any_write_is_gone_on_with_to_the_same_bytes(predicted, scored, tmp_path, after):
    undisturbed, candidates = pass_tree(scored), tree(predicted)
    for number in itertools.count():
        run = copy_of(predicted, tmp_path / str(number))
        with pytest.MonkeyPatch.context() as patch:
            end_at_write(patch, number + 1, after=after)
            try:
                score(run)
            except SessionEnded:
                pass
            else:
                break
        score(run)
        assert pass_tree(run) == undisturbed
        assert without_passes(run) == candidates
    # lease, pass.json, device.json; rows and record of three shards
    assert number == 3 + 2 * 3


def test_a_pass_changes_no_byte_of_the_run_and_a_second_session_none_of_the_pass(predicted, scored):
    assert without_passes(scored) == tree(predicted)
    before = pass_tree(scored)
    report = score(scored)
    assert (report.computed, report.scored, report.failed, report.not_predicted) == (0, 6, 1, 0)
    assert pass_tree(scored) == before
    assert own_class().seen == []
    assert sound(scored)


@given(st.integers(1, 4))
@settings(max_examples=4)
def test_each_image_is_scored_once_whatever_the_batches(predicted, tmp_path_factory, batch_images):
    run = copy_of(predicted, tmp_path_factory.mktemp("batches") / "run")
    own_class().seen.clear()
    score(run, batch_images=batch_images)
    assert own_class().seen == SCORED
    rows = values_of(run)
    assert list(rows) == [make_key(number) for number in range(1, COUNT + 1)]
    assert {key for key, row in rows.items() if row.status == "failed"} == {make_key(CUT)}
    assert rows[make_key(CUT)].reason == "no_candidate"


def test_passes_stand_side_by_side_and_a_kind_may_be_there_twice(run, predicted, scored):
    score(run)
    score(run, name="half", scale=0.5)
    score(run, kind="flip", options=FlipOptions(), model=ModelConfig(model="fake"))
    assert pass_tree(run) == pass_tree(scored)
    assert without_passes(run) == tree(predicted)
    whole, half = values_of(run), values_of(run, "half")
    assert all(2 * half[key].values["half_mean"] == whole[key].values["brightness_mean"] for key in SCORED)
    assert values_of(run, "flip").keys() == whole.keys()
    assert [check.name for check in verify_passes(run)] == ["brightness", "flip", "half"]
    assert sound(run)


# Runs that change


def test_of_a_run_that_grew_only_the_new_shards_are_scored(inputs, run, scored, tmp_path):
    score(run)
    before = pass_tree(run)
    own_class().seen.clear()
    more = make_collection(tmp_path / "more", COUNT + 2)
    shutil.copy(inputs.file(CUT), more.file(CUT))
    make_run(more, run)
    report = score(run)
    assert own_class().seen == [make_key(COUNT + 1), make_key(COUNT + 2)]
    assert (report.images, report.computed, report.scored) == (COUNT + 2, 2, COUNT + 1)
    after = pass_tree(run)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2
    assert sound(run)


def test_a_run_that_is_not_complete_is_scored_as_far_as_it_is(inputs, predicted, tmp_path, scored):
    partial = copy_of(predicted, tmp_path / "run")
    for path in [*Path(partial).glob("commits/000001*"), *Path(partial).glob("candidates/000001*")]:
        path.unlink()
    report = score(partial)
    assert (report.images, report.scored, report.failed, report.not_predicted) == (COUNT, 3, 1, 3)
    assert sound(partial)
    make_run(inputs, partial)
    report = score(partial)
    assert (report.computed, report.scored, report.not_predicted) == (3, 6, 0)
    assert pass_tree(partial) == pass_tree(scored)


def test_images_that_the_run_tried_again_are_scored_again_and_the_others_keep_their_rows(inputs, tmp_path, scored):
    own = type(inputs)(images=tmp_path / "images", annotations=inputs.annotations, entries=inputs.entries)
    shutil.copytree(inputs.images, own.images)
    run = make_run(own, tmp_path / "run")
    score(run)
    before = values_of(run)
    (record,) = [read_shard_record(pass_folder(run, "brightness"), shard) for shard in ["000000"]]
    whole = make_collection(tmp_path / "whole", COUNT)
    shutil.copy(whole.file(CUT), own.file(CUT))
    make_run(own, run, retry_failed=True)
    (check,) = verify_passes(run)
    assert (check.problems, check.left) == ((), 3)
    own_class().seen.clear()
    report = score(run)
    assert own_class().seen == [make_key(CUT)]  # its batch; the first two images of the shard are another one
    assert (report.computed, report.failed) == (1, 0)
    after = values_of(run)
    assert {key: after[key] for key in SCORED} == {key: before[key] for key in SCORED}
    assert after[make_key(CUT)].status == "done"
    again = read_shard_record(pass_folder(run, "brightness"), "000000")
    assert (again.number, again.scored != record.scored) == (record.number + 1, True)
    assert sound(run)


def test_failed_images_are_tried_again_on_request_with_their_batches_alone(run, scored):
    own_class().answers[make_key(4)] = {}
    score(run)
    assert values_of(run)[make_key(4)].reason == "pass_output"
    own_class().answers.clear()
    own_class().seen.clear()
    assert score(run).computed == 0
    report = score(run, retry_failed=True)
    assert own_class().seen == [make_key(4), make_key(5)]
    assert (report.computed, report.failed) == (2, 1)
    assert values_of(run) == values_of(scored)
    assert sound(run)
    before = pass_tree(run)
    score(run, retry_failed=True)  # the image without a candidate can't be mended here
    assert pass_tree(run) == before


# Images that are elsewhere, gone, or others


@pytest.fixture
def moving(inputs, tmp_path):
    """A run whose images may be moved, with its inputs."""
    own = type(inputs)(images=tmp_path / "images", annotations=inputs.annotations, entries=inputs.entries)
    shutil.copytree(inputs.images, own.images)
    return own, make_run(own, tmp_path / "run")


def test_images_that_have_moved_are_found_where_they_are_said_to_be(moving, tmp_path, scored):
    own, run = moving
    own.images.rename(tmp_path / "elsewhere")
    with pytest.raises(CollectionError, match=r"images '.*/images': .*No such file"):
        score(run)
    assert not Path(run, "passes").exists()
    score(run, images=str(tmp_path / "elsewhere"))
    assert values_of(run) == values_of(scored)


def test_images_that_a_later_session_of_the_run_found_elsewhere_are_found_there(moving, tmp_path, scored):
    own, run = moving
    own.images.rename(tmp_path / "elsewhere")
    make_run(type(own)(images=tmp_path / "elsewhere", annotations=own.annotations, entries=own.entries), run)
    score(run)
    assert values_of(run) == values_of(scored)


def test_the_images_of_another_collection_are_refused_by_name(moving, tmp_path):
    _, run = moving
    other = make_collection(tmp_path / "other", COUNT - 1)
    with pytest.raises(RunMismatchError, match=r"000000000007, 7\.jpg: no longer listed"):
        score(run, images=str(other.images), annotations=str(other.annotations))


def test_an_image_that_is_gone_changed_or_torn_costs_its_own_row(moving, scored):
    own, run = moving
    own.file(1).unlink()
    own.file(4).write_bytes(own.file(5).read_bytes())
    own.file(6).write_bytes(own.file(6).read_bytes()[:60])
    candidates = tree(run)
    report = score(run)
    assert (report.scored, report.failed) == (3, 4)
    rows, healthy = values_of(run), values_of(scored)
    assert {key: row.reason for key, row in rows.items() if row.status == "failed"} == {
        make_key(1): "missing",
        make_key(CUT): "no_candidate",
        make_key(4): "size_mismatch",
        make_key(6): "undecodable",
    }
    assert all(rows[key] == healthy[key] for key in rows if rows[key].status == "done")
    assert without_passes(run) == candidates
    assert sound(run)


def test_an_image_of_the_same_size_that_is_another_one_is_not_scored_on_a_foreign_candidate(moving):
    own, run = moving
    own.file(1).write_bytes(make_collection(own.images.parent / "x", 16).file(16).read_bytes())  # 16 has the size of 1
    score(run)
    row = values_of(run)[make_key(1)]
    assert (row.reason, "its SHA-256 was" in row.detail) == ("image_changed", True)


# Requests that are refused


def refused(run, error, match, **given):
    """The request is refused with this message, and changes nothing."""
    before = tree(run)
    with pytest.raises(error, match=match):
        score(run, **given)
    assert tree(run) == before


def test_other_options_code_or_weights_in_the_middle_are_refused_with_both_values(run, user, monkeypatch):
    score(run)
    refused(run, RunMismatchError, r"option scale: made with 1\.0, requested 0\.5", scale=0.5)
    refused(run, RunMismatchError, "batch_images: made with 2, requested 3", batch_images=3)
    with monkeypatch.context() as patch:
        patch.setattr(score_module, "code_sha256", lambda _: "ab" * 32)
        refused(run, RunMismatchError, r"code: made with \w{64}, requested (ab){32}")
    write_module(user, SOURCE + "\n# another source\n")
    refused(run, RunMismatchError, r"source: made with \w{64}, requested \w{64}")
    write_module(user)
    flip = {"kind": "flip", "options": FlipOptions(), "model": ModelConfig(model="fake")}
    score(run, **flip)
    with monkeypatch.context() as patch:
        patch.setattr(score_module, "model_fields", lambda *_: {"weights": "cd" * 32})
        refused(run, RunMismatchError, r"weights: made with fake, requested (cd){32}", **flip)
    refused(run, RunMismatchError, "pass: made with flip, requested own_pass:Brightness", name="flip")


def test_a_pass_of_auto_goes_on_in_the_precision_that_it_was_begun_with(run, monkeypatch):
    """Whatever the processor of the next session is best at."""
    flip = {"kind": "flip", "options": FlipOptions()}
    score(run, model=ModelConfig(model="fake", dtype="bfloat16"), **flip)
    for path in Path(pass_folder(run, "flip"), "commits").glob("000002*"):
        path.unlink()
    monkeypatch.setattr(precision, "settled_precision", lambda model, _: replace(model, dtype="float32"))
    assert score(run, model=ModelConfig(model="fake", dtype="auto"), **flip).computed > 0
    assert sound(run)


def test_other_versions_of_libraries_are_refused_unless_they_are_accepted(run, monkeypatch):
    score(run)
    for path in Path(pass_folder(run, "brightness"), "commits").glob("000002*"):
        path.unlink()
    versions = machine.library_versions()
    for module in (machine, score_module):
        monkeypatch.setattr(module, "library_versions", lambda: versions | {"numpy": "9.9"})
    refused(run, RunMismatchError, r"brightness holds a pass .*:\n  numpy: made with [\d.]+, requested 9\.9")
    assert score(run, accept_mixed=True).computed == 1
    assert len(list(Path(pass_folder(run, "brightness"), "mixed").iterdir())) == 1
    assert sound(run)


def test_another_kind_of_machine_is_refused_with_what_to_do_about_a_pass(run):
    score(run)
    folder = Path(pass_folder(run, "brightness"))
    (folder / "commits/000002.json").unlink()
    path = folder / "device.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"instructions": "z80"}))
    with pytest.raises(RunMismatchError, match=r"instructions: made with z80.*\n.*another --name"):
        score(run)
    path.unlink()
    with pytest.raises(StorageError, match=r"device\.json is missing: remove .*/passes/brightness and run the pass"):
        score(run)


def test_a_run_at_work_and_a_pass_at_work_are_refused(run):
    with held(run), pytest.raises(RunBusyError, match="works on this run"):
        score(run)
    assert not Path(run, "passes").exists()
    with held(pass_folder(run, "brightness")):
        with pytest.raises(RunBusyError, match=r"passes/brightness: a session on .* works on this run"):
            score(run)
        score(run, name="other")  # another pass may work beside it
    score(run)
    assert sound(run)


def test_a_run_without_anything_to_score_is_refused(inputs, predicted, tmp_path):
    with pytest.raises(CollectionError, match=r"is not a run: .*run\.json does not exist"):
        score(tmp_path / "nowhere")
    run = copy_of(predicted, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/commits")
    refused(run, CollectionError, "nothing of this run is computed yet")


@pytest.mark.parametrize("name", ["a/b", "..", ".", "../x", "Big", "1st", "with space", "a" * 21, "é", "a\n"])
def test_a_name_that_can_not_be_one_is_refused(run, name):
    refused(run, ConfigError, "--name .*: it must be lower-case letters", name=name)


def test_columns_that_are_taken_are_refused_before_a_folder_is_made(run, user):
    score(run)
    for column, owner in (
        ("area", "every run has a column area already"),
        ("verdict", "every manifest has a column verdict already"),
        ("candidate_sha256", "every manifest has a column candidate_sha256 already"),
        ("brightness_mean", "the pass brightness has a column brightness_mean already"),
    ):
        write_module(user, SOURCE.replace('f"{self.name}_mean"', f'"{column}"'), "taken")
        kind = "taken:Brightness"
        refused(run, ConfigError, owner, kind=kind, name="second", options=own_class(kind).Options())
        assert not Path(run, "passes/second").exists()


def test_a_pass_that_builds_on_another_wants_it_first(run, monkeypatch):
    known = score_module.PASSES["flip"]
    monkeypatch.setattr(score_module, "PASSES", {"flip": replace(known, needs=("brightness",))})
    given = {"kind": "flip", "options": FlipOptions(), "model": ModelConfig(model="fake")}
    refused(run, ConfigError, r"--pass flip builds on the pass brightness: .* has no score pass brightness", **given)
    score(run)
    assert score(run, **given).scored == 6


# Damage


def test_a_damaged_or_lost_pass_json_is_written_anew_if_the_records_prove_the_request(run, scored):
    score(run)
    path = Path(pass_folder(run, "brightness"), "pass.json")
    before = pass_tree(run)
    for damage in (
        lambda: path.write_bytes(b"half"),
        path.unlink,
        lambda: path.write_bytes(swapped(path, "1.0", "2.0")),
    ):
        damage()
        assert [problem.where for problem in verify_passes(run)[0].problems] == ["passes/brightness/pass.json"]
        with pytest.raises(RunMismatchError, match=r"pass\.json is damaged or missing, and 3 shards|option scale"):
            score(run, scale=0.5)
        assert score(run).computed == 0
        assert pass_tree(run) == before


def swapped(path, one, other):
    content = path.read_bytes().replace(one.encode(), other.encode(), 1)
    assert content != path.read_bytes()
    return content


def test_a_damaged_record_stops_the_pass_with_what_to_do(run):
    score(run)
    Path(pass_folder(run, "brightness"), "commits/000001.json").write_bytes(b"{}")
    match = rf"commits/000001\.json is not a shard record .*sod run verify {run} --repair"
    with pytest.raises(StorageError, match=match):
        score(run)


def test_torn_rows_that_are_needed_stop_the_pass_with_what_to_do(run):
    score(run)
    (path,) = Path(pass_folder(run, "brightness"), "scores").glob("000000*")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StorageError, match=r"scores/000000.*sod run verify RUN --repair"):
        score(run, retry_failed=True)


def test_what_a_killed_session_left_is_swept(run):
    score(run)
    before = pass_tree(run)
    folder = Path(pass_folder(run, "brightness"))
    strays = ["scores/000001.abcdefabcdefabcd.parquet", "scores/.000002.parquet.x.tmp", ".pass.json.x.tmp"]
    for name in strays:
        (folder / name).write_bytes(b"x")
    score(run)
    after = pass_tree(run)
    assert not after.keys() & set(strays)
    assert {name: after[name] for name in before} == before


# Stops


def test_ctrl_c_ends_a_pass_with_what_is_committed_and_the_next_session_goes_on(run, scored):
    class Interrupting(dict):
        def get(self, key, found):
            if key == make_key(5):
                os.kill(os.getpid(), signal.SIGINT)
            return found

    cls = own_class()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "answers", Interrupting())
        before = threading.active_count()
        with pytest.raises(Stopped, match="asked to stop with 3 of 7 images committed"):
            score(run)
    assert threading.active_count() <= before + 1
    assert list(committed_shards(pass_folder(run, "brightness"))) == ["000000"]
    score(run)
    assert pass_tree(run) == pass_tree(scored)


def test_a_session_that_lost_its_lease_stops_and_the_other_one_goes_on(run, scored):
    folder = pass_folder(run, "brightness")

    class Losing(dict):
        def get(self, key, found):
            if key == make_key(1):  # as another session does once this one does not answer
                (mine,) = storage.list_names(storage.join(folder, "lease"))[:1]
                lease = storage.read(storage.join(folder, "lease", mine))
                storage.create(storage.join(folder, "lease", "000009.json"), lease.replace(b'"owner":"', b'"owner":"0'))
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_class(), "answers", Losing())
        patch.setattr(Lease, "confirm", Lease.confirm_now)  # by default it looks once a second
        with pytest.raises(LeaseLostError, match="took over"):
            score(run)
    shutil.rmtree(storage.join(folder, "lease"))
    score(run)
    assert pass_tree(run) == pass_tree(scored)


def test_the_whole_of_it_on_a_store(inputs, scored):
    """A store in memory has no links and no renames, as S3."""
    run = f"memory://passes-{os.getpid()}/run"
    make_run(inputs, run)
    score(run)
    folder = pass_folder(run, "brightness")
    expected = pass_tree(scored)
    assert {name: storage.read(storage.join(folder, name)) for name in expected} == expected
    assert verify_passes(run)[0].problems == ()
    with contextlib.suppress(FileNotFoundError):
        storage.remove_tree(f"memory://passes-{os.getpid()}")


def test_a_pass_without_options_and_without_a_context_is_enough(run, user):
    write_module(user, LEAST, "least")
    report = score(run, kind="least:Zero")
    assert (report.name, report.columns, report.scored) == ("zero", ("zero",), 6)
    assert values_of(run, "zero")[make_key(1)].values == {"zero": 0.0}
    assert sound(run)
