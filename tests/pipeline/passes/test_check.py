"""Checking passes: any change in a file is found; what a repair removes is scored again, byte for byte."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RunBusyError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.passes.check import refuse_busy_passes, repair_passes, verify_passes
from pipeline.passes.folder import pass_folder, read_document
from pipeline.passes.rows import decode_rows, encode_rows
from pipeline.runs.check import repair_run, verify_run
from pipeline.runs.commits import read_shard_record
from pipeline.runs.lease import held
from tests.pipeline.make import candidate, make_key, tree
from tests.pipeline.passes.conftest import COUNT
from tests.pipeline.passes.make import copy_of, make_run, own_class, pass_tree, score, without_passes

pytestmark = pytest.mark.usefixtures("user")


@pytest.fixture
def broken(scored, tmp_path):
    """A copy to be changed."""
    return copy_of(scored, tmp_path / "run")


def folder_of(run):
    return Path(pass_folder(str(run), "brightness"))


def rewrite(run, shard, /, change_rows=lambda rows: rows, **record):
    """Replace rows and make the record fit them, or fields of the record: only the plan and the candidates can tell."""
    folder, columns = str(folder_of(run)), read_document(run, "brightness").columns
    path = folder_of(run) / "scores" / read_shard_record(folder, shard).rows.name
    rows = change_rows(decode_rows(path.read_bytes(), columns))
    path.write_bytes(encode_rows(rows, columns))
    file = storage.stored_file(path.name, path.read_bytes())
    commit = folder_of(run) / f"commits/{shard}.json"
    values = json.loads(commit.read_bytes())
    values["rows"] = {"name": file.name, "file_bytes": file.file_bytes, "sha256": file.sha256}
    commit.write_bytes(encode_json(values | record))


def test_a_pass_that_was_not_touched_has_no_problem(scored, told):
    (check,) = verify_passes(scored)
    assert (check.name, check.images, check.scored, check.failed, check.left) == ("brightness", COUNT, 6, 1, 0)
    assert (check.problems, check.broken, check.stray) == ((), (), ())
    assert told.ended == [("reading the pass brightness", 3, True)]
    before = tree(scored)
    assert repair_passes(scored) == (check,)
    assert tree(scored) == before


def test_a_run_without_passes_has_none_to_check(predicted):
    assert verify_passes(predicted) == repair_passes(predicted) == ()


@given(st.data())
@settings(max_examples=10)
def test_whichever_bit_is_flipped_its_file_is_named_and_the_next_session_mends_it(scored, tmp_path_factory, data):
    copy = copy_of(scored, tmp_path_factory.mktemp("turned") / "run")
    folder = folder_of(copy)
    files = [*(folder / "scores").iterdir(), *(folder / "commits").iterdir(), folder / "pass.json"]
    path = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    (check,) = verify_passes(copy)
    name = path.relative_to(copy).as_posix()
    if path.parent.name == "commits" and not check.problems:  # the digest of what was scored: it is scored again
        assert check.left
    else:
        assert check.problems
        # A record that names another file is not told from a file that is not the record's.
        shard = path.name.partition(".")[0]
        assert all(problem.where == name or f"/{shard}." in problem.where for problem in check.problems)
    repair_passes(copy)
    score(copy)
    assert [(found.problems, found.stray, found.left) for found in verify_passes(copy)] == [((), (), 0)]
    after, undisturbed = pass_tree(copy), pass_tree(scored)
    assert {n: c for n, c in after.items() if "scores/" in n} == {
        n: c for n, c in undisturbed.items() if "scores/" in n
    }
    assert after["pass.json"] == undisturbed["pass.json"]
    assert without_passes(copy) == without_passes(scored)


def test_rows_that_their_record_fits_are_compared_with_plan_columns_and_candidates(broken):
    def first(**changes):
        return lambda rows: [replace(rows[0], **changes), *rows[1:]]

    name = make_key(4)
    good = {"brightness_mean": 0.5, "brightness_note": "x"}
    cases = [
        (lambda rows: rows[1:], f"2 rows for 3 planned images; missing ['{name}'], not planned []"),
        (lambda rows: rows[::-1], "3 rows for 3 planned images"),
        (lambda rows: [*rows, rows[0]], "4 rows for 3 planned images"),
        (
            first(values=good | {"brightness_mean": 7.0}),
            f"{name} has brightness_mean 7.0; it must be a number from 0 to",
        ),
        (
            first(values=good | {"brightness_mean": float("nan")}),
            f"{name} has brightness_mean nan; it must be a number",
        ),
        (first(status="odd"), f"{name} has the status 'odd'"),
        (first(status="failed", reason="odd", values={}), f"{name} is failed with the reason 'odd'"),
        (first(reason="missing"), f"{name} is done with the reason 'missing'"),
        (first(candidate_sha256="ab" * 32), f"{name} was scored on another candidate than the run has"),
    ]
    for change, what in cases:
        run = Path(shutil.copytree(broken, f"{broken}-case"))
        rewrite(str(run), "000001", change)
        (check,) = verify_passes(str(run))
        assert any(what in problem.what for problem in check.problems), what
        assert {problem.where.rpartition("/")[0] for problem in check.problems} == {"passes/brightness/scores"}
        assert (check.broken, check.left) == (("000001",), 3)
        shutil.rmtree(run)


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({"made_with": "ab" * 32}, "was made with something else (options, code or weights) than pass.json says"),
        ({"made_with": ""}, "was made with something else"),
        ({"done": 2}, "3 scored and 0 failed; the record says 2 and 0"),
        ({"shard": "000002"}, "is the record of another shard"),
        ({"number": 1}, "is the record of another shard"),
    ],
)
def test_a_record_that_says_something_else_is_named(broken, record, what):
    rewrite(broken, "000001", **record)
    (check,) = verify_passes(broken)
    assert [what in problem.what for problem in check.problems] == [True]
    assert check.broken == ("000001",)


def test_the_record_of_candidates_is_none_of_a_pass(broken):
    shutil.copy(Path(broken, "commits/000001.json"), folder_of(broken) / "commits/000001.json")
    (check,) = verify_passes(broken)
    assert "is the record of candidates, not of a score pass" in check.problems[0].what


def test_files_that_are_lost_shards_that_are_not_planned_and_strays_are_told_apart(broken, scored):
    folder = folder_of(broken)
    (rows,) = (folder / "scores").glob("000000*")
    rows.unlink()
    (folder / "commits/000001.json").unlink()
    shutil.copy(folder / "commits/000002.json", folder / "commits/000077.json")
    (folder / "scores/.half.tmp").write_bytes(b"half")
    (check,) = verify_passes(broken)
    assert sorted(problem.where for problem in check.problems) == [
        "passes/brightness/commits/000077.json", f"passes/brightness/scores/{rows.name}",
    ]  # fmt: skip
    assert (set(check.broken), check.left) == ({"000000", "000077"}, 6)
    (left,) = (folder / "scores").glob("000001*")
    assert set(check.stray) == {"passes/brightness/scores/.half.tmp", f"passes/brightness/scores/{left.name}"}
    (repaired,) = repair_passes(broken)
    assert repaired.remaining == ()
    assert set(repaired.removed) == {
        *(f"passes/brightness/commits/{shard}.json" for shard in ("000000", "000077")),
        "passes/brightness/scores/.half.tmp",
    }
    score(broken)
    assert pass_tree(broken) == pass_tree(scored)


@pytest.mark.parametrize("damage", [lambda _: b"half", lambda content: content.replace(b"mean of all", b"mean of ill")])
def test_without_its_document_nothing_of_a_pass_is_removed(broken, damage):
    folder = folder_of(broken)
    (folder / "pass.json").write_bytes(damage((folder / "pass.json").read_bytes()))
    before = tree(broken)
    (check,) = repair_passes(broken)
    assert (check.problems, check.removed) == (check.remaining, ())
    assert [problem.where for problem in check.problems] == ["passes/brightness/pass.json"]
    assert tree(broken) == before


def test_a_lost_device_json_is_named_and_left_to_the_user(broken):
    (folder_of(broken) / "device.json").unlink()
    (check,) = repair_passes(broken)
    assert [problem.where for problem in check.remaining] == ["passes/brightness/device.json"]
    assert "remove" in check.problems[0].what
    assert check.scored == 6


def test_scores_of_candidates_that_are_broken_or_were_computed_again_are_no_problem(inputs, broken, scored):
    Path(candidate(broken, "000001", "tar")).write_bytes(b"half")
    of_run = verify_run(broken)
    assert of_run.broken == ("000001",)
    (check,) = verify_passes(broken, of_run.broken)
    assert (check.problems, check.images, check.scored) == ((), 4, 3)
    repair_run(broken)
    assert [found.problems for found in verify_passes(broken)] == [()]
    own_class().seen.clear()
    make_run(inputs, broken)
    score(broken)
    assert own_class().seen == []  # the same candidates as before
    assert pass_tree(broken) == pass_tree(scored)


def test_no_pass_is_repaired_while_a_session_works_on_it(broken):
    (rows,) = folder_of(broken).glob("scores/000000*")
    rows.unlink()
    with held(str(folder_of(broken))):
        before = pass_tree(broken)
        for work in (refuse_busy_passes, repair_passes):
            with pytest.raises(RunBusyError, match=r"passes/brightness: a session on"):
                work(broken)
        assert pass_tree(broken) == before
        assert len(verify_passes(broken)[0].problems) == 1


def test_empty_folders_and_what_is_none_of_ours_are_left_alone(broken):
    for name in ("Notes", ".hidden", "begun"):
        Path(broken, "passes", name).mkdir()
    mine = Path(broken, "passes/Notes/mine.txt")
    mine.write_text("mine")
    assert [check.problems for check in repair_passes(broken)] == [(), ()]
    assert mine.read_text() == "mine"
