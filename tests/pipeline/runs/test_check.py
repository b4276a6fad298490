"""Checking a run: any change in a file is found; what repair removes is computed again, byte for byte."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CollectionError, RunBusyError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.records import CandidateRow
from pipeline.run import run
from pipeline.runs.candidates import decode_rows, encode_rows
from pipeline.runs.check import lasting_problems, repair, repair_run, verify_run
from pipeline.runs.commits import read_shard_record
from pipeline.runs.inputs import remember_model
from pipeline.runs.lease import held
from pipeline.runs.machine import note_mixed
from tests.pipeline.make import candidate, make_collection, make_config, tree

COUNT = 7
BAD = 3
"""Id of an image that is cut, so that its row is a failed one."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", COUNT)
    inputs.file(BAD).write_bytes(inputs.file(BAD).read_bytes()[:60])
    return inputs


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    """Three shards of three, three and one image; not to be changed."""
    config = make_config(inputs, tmp_path_factory.mktemp("done") / "run")
    run(config)
    return Path(config.out)


@pytest.fixture
def broken(done, tmp_path):
    """A copy to be changed."""
    return Path(shutil.copytree(done, tmp_path / "run"))


def rewrite_rows(run_folder, shard, change):
    """Replace the rows and make the record fit them: only the plan and the tar can tell."""
    record = read_shard_record(str(run_folder), shard)
    path = run_folder / "candidates" / record.rows.name
    path.write_bytes(encode_rows(change(decode_rows(path.read_bytes()))))
    rewrite_record(run_folder, shard, rows=path)


def rewrite_tar(run_folder, shard, change):
    """Replace the members and make the record fit them."""
    record = read_shard_record(str(run_folder), shard)
    path = run_folder / "candidates" / record.tar.name
    with tarfile.open(path) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(path, "w") as tar:
        for name, content in change(members):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    rewrite_record(run_folder, shard, tar=path)


def rewrite_record(run_folder, shard, **files):
    path = run_folder / "commits" / f"{shard}.json"
    values = json.loads(path.read_bytes())
    for kind, file in files.items():
        values[kind] = vars_of(storage.stored_file(file.name, file.read_bytes()))
    path.write_bytes(encode_json(values))


def vars_of(record):
    return {"name": record.name, "file_bytes": record.file_bytes, "sha256": record.sha256}


def whats(check):
    return [problem.what for problem in check.problems]


def test_a_run_that_was_not_touched_has_no_problem(done):
    check = verify_run(str(done))
    assert (check.shards, check.checked, check.images, check.done, check.failed, check.left) == (3, 3, 7, 6, 1, 0)
    assert (check.problems, check.broken, check.stray) == ((), (), ())


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_whichever_bit_is_flipped_its_shard_is_named_and_computed_again(inputs, done, tmp_path_factory, data):
    copy = Path(shutil.copytree(done, tmp_path_factory.mktemp("turned") / "run"))
    folder = data.draw(st.sampled_from(["candidates", "commits"]))
    path = data.draw(st.sampled_from(sorted((copy / folder).iterdir())))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    check = verify_run(str(copy))
    assert check.broken == (path.name.partition(".")[0],)
    assert check.left == (3 if path.name < "000002" else 1)
    repair(str(copy), check)
    run(make_config(inputs, copy))
    assert tree(copy) == tree(done)


@pytest.mark.parametrize("kept_bytes", [0, 1, 511, 512, 1024])
@pytest.mark.parametrize("kind", ["tar", "parquet", "json"])
def test_a_file_that_ends_early_is_named(broken, kind, kept_bytes):
    path = broken / "commits/000001.json" if kind == "json" else Path(candidate(broken, "000001", kind))
    name = path.relative_to(broken).as_posix()
    content = (broken / name).read_bytes()
    (broken / name).write_bytes(content[: min(kept_bytes, len(content) - 1)])
    check = verify_run(str(broken))
    assert {problem.where for problem in check.problems} == {name}
    assert check.broken == ("000001",)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_missing_file_is_named_and_a_shard_without_a_record_is_merely_left_to_do(broken, kind):
    path = Path(candidate(broken, "000001", kind))
    name = path.relative_to(broken).as_posix()
    path.unlink()
    (broken / "commits/000002.json").unlink()
    check = verify_run(str(broken))
    assert [(problem.where, "is missing" in problem.what) for problem in check.problems] == [(name, True)]
    assert (check.broken, check.left) == (("000001",), 4)
    assert sorted(check.stray) == sorted(
        Path(candidate(broken, "000002", kind)).relative_to(broken).as_posix() for kind in ("parquet", "tar")
    )


def test_repair_removes_records_first_and_says_what_it_removed(broken):
    tar, rows = (Path(candidate(broken, "000001", kind)) for kind in ("tar", "parquet"))
    tar.write_bytes(b"")
    (broken / "candidates/.000002.tar.abc.tmp").write_bytes(b"half")
    check = verify_run(str(broken))
    removed = repair(str(broken), check)
    assert (removed[0], removed[-1]) == ("commits/000001.json", "candidates/.000002.tar.abc.tmp")
    assert set(removed[1:-1]) == {f"candidates/{tar.name}", f"candidates/{rows.name}"}
    again = verify_run(str(broken))
    assert (again.problems, again.left, again.stray) == ((), 3, ())


def test_storage_that_does_not_answer_is_no_reason_to_remove_anything(broken, monkeypatch):
    """Under `repair`, "can't be read now" taken for "torn" would empty the run."""
    before = tree(broken)

    def away(url, record):
        raise StorageUnavailableError(f"{url}: the storage does not do what it is asked for")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "read_checked", away)
        with pytest.raises(StorageUnavailableError):
            repair_run(str(broken))
        patch.setattr(storage, "read_checked", lambda url, record: (_ for _ in ()).throw(OSError(5, "I/O error")))
        with pytest.raises(OSError, match="I/O error"):
            repair_run(str(broken))
    assert tree(broken) == before


def test_a_run_is_not_repaired_while_a_session_works_on_it(broken):
    """The shard that the session is about to commit has no record yet."""
    (broken / "commits/000002.json").unlink()
    with held(str(broken)), pytest.raises(RunBusyError):
        repair_run(str(broken))
    files = tree(broken / "candidates")
    repaired = repair_run(str(broken))
    assert (len(repaired.check.stray), repaired.removed, tree(broken / "candidates")) == (2, (), files)


def test_repair_does_not_make_a_run_where_none_exists(tmp_path):
    with pytest.raises(CollectionError, match="is not a run"):
        repair_run(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


# What fits its record, and is wrong nevertheless


def swapped(rows):
    return [rows[1], rows[0], *rows[2:]]


def other_key(rows):
    return [CandidateRow(**{**as_dict(rows[0]), "key": "000000000099"}), *rows[1:]]


def as_dict(row):
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


@pytest.mark.parametrize("change", [swapped, other_key, lambda rows: rows[:-1], lambda rows: [*rows, rows[-1]]])
def test_rows_that_are_not_the_planned_ones_are_named(broken, change):
    rewrite_rows(broken, "000000", change)
    check = verify_run(str(broken))
    assert check.broken == ("000000",)
    assert any("planned images" in what for what in whats(check))


def test_a_row_that_contradicts_its_json_is_named(broken):
    rewrite_rows(broken, "000000", lambda rows: [CandidateRow(**{**as_dict(rows[0]), "members": 9}), *rows[1:]])
    assert whats(verify_run(str(broken))) == [
        "000000000001 has 9 ensemble members; the run's images have 3",
        "000000000001.json is not the row of the parquet file",
    ]


def test_a_shard_that_was_made_with_something_else_is_named(broken):
    """As when two sessions with other seeds shared a store that lets a lease be created twice."""
    path = broken / "commits/000001.json"
    path.write_bytes(encode_json(json.loads(path.read_bytes()) | {"made_with": "0" * 64}))
    check = verify_run(str(broken))
    assert check.broken == ("000001",)
    assert "was made with something else (seed" in whats(check)[0]


def test_a_shard_whose_record_binds_something_else_is_named(broken):
    path = broken / "commits/000001.json"
    record = json.loads(path.read_bytes())
    assert len(record["binding"]) == 64
    path.write_bytes(encode_json(record | {"binding": "0" * 64}))
    check = verify_run(str(broken))
    assert whats(check) == ["binds other images, maps or scores to each other than the shard has"]
    assert check.broken == ("000001",)
    path.write_bytes(encode_json({name: value for name, value in record.items() if name != "binding"}))
    assert whats(verify_run(str(broken))) == []  # as earlier versions wrote it


def test_numbers_that_the_record_does_not_have_are_named(broken):
    path = broken / "commits/000000.json"
    values = json.loads(path.read_bytes())
    path.write_bytes(encode_json(values | {"done": 3, "failed": 0}))
    assert whats(verify_run(str(broken))) == ["2 done and 1 failed; the record says 3 and 0"]


def first_png(members):
    return next(content for name, content in members if name.endswith("png"))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda members: members[:-3], "missing"),
        (lambda members: members[:-1], "has the members"),
        (lambda members: [*members, members[0]], "comes twice"),
        (lambda members: [*members, ("000000000099.json", b"{}")], "without a row"),
        (lambda members: [(name, b"no PNG") for name, _ in members], "is not a map"),
        (
            lambda members: [(name, first_png(members) if name[-3:] == "png" else found) for name, found in members],
            "px",
        ),
        (lambda members: [], "images 0"),
    ],
)
def test_maps_that_are_not_the_predicted_images_are_named(broken, change, found):
    rewrite_tar(broken, "000001", change)
    check = verify_run(str(broken))
    assert check.broken == ("000001",)
    assert any(found in what for what in whats(check))


def test_a_link_in_a_tar_is_not_a_map(broken):
    path = Path(candidate(broken, "000001", "tar"))
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("000000000004.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    rewrite_record(broken, "000001", tar=path)
    assert any("is not a plain file" in what for what in whats(verify_run(str(broken))))


def test_a_record_of_no_planned_shard_is_named_and_repaired(broken):
    shutil.copy(broken / "commits/000002.json", broken / "commits/000777.json")
    check = verify_run(str(broken))
    assert (check.broken, whats(check)) == (("000777",), ["no shard of the plan has this name"])
    repair(str(broken), check)
    assert verify_run(str(broken)).problems == ()


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[" * 9999])
def test_a_damaged_device_json_is_named_and_restored_from_a_release(broken, inputs, content):
    whole = (broken / "device.json").read_bytes()
    (broken / "device.json").unlink()
    if content is not None:
        (broken / "device.json").write_bytes(content)
    check = verify_run(str(broken))
    assert [problem.where for problem in check.problems] == ["device.json"]
    with pytest.raises(StorageError, match=r"device\.json"):
        run(make_config(inputs, broken, version="9.0.0"))
    repair(str(broken), check)
    assert (broken / "device.json").read_bytes() == whole
    assert verify_run(str(broken)).problems == ()


def test_a_device_json_that_nothing_restores_stays_a_problem(broken):
    shutil.rmtree(broken / "release")
    (broken / "device.json").write_bytes(b"")
    repair(str(broken), verify_run(str(broken)))
    assert [problem.where for problem in verify_run(str(broken)).problems] == ["device.json"]


@pytest.mark.parametrize("content", [b"junk", b"", b"[" * 9999])
def test_whichever_file_of_a_run_is_damaged_it_is_named_unless_nothing_counts_on_it(done, tmp_path, content):
    notes = ("contact_sheet.png", "live/")
    whole = Path(shutil.copytree(done, tmp_path / "whole", ignore=shutil.ignore_patterns("release")))
    remember_model(str(whole), "hf://a/b", "0" * 64, {"max_variance": 0.01})
    note_mixed(str(whole), {"torch": "1.0"})
    assert verify_run(str(whole)).problems == ()
    names = [path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()]
    counting = [name for name in names if not name.startswith(notes)]
    assert {"run.json", "device.json", "plan/inputs.json", "plan/model.json"} < set(counting)
    for number, name in enumerate(counting):
        copy = Path(shutil.copytree(whole, tmp_path / str(number)))
        (copy / name).write_bytes(content)
        try:
            said = " ".join(problem.where for problem in verify_run(str(copy)).problems)
        except StorageError as error:
            said = str(error)
        assert name in said


@pytest.mark.parametrize("content", [None, b"junk", b"[]", b'{"images": 1}', b'{"images": "a", "metadata": 1}'])
def test_inputs_that_are_not_remembered_are_a_problem_until_the_command_of_the_run_writes_them_again(
    broken, inputs, content
):
    path = broken / "plan/inputs.json"
    whole = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    check = verify_run(str(broken))
    assert [problem.where for problem in check.problems] == ["plan/inputs.json"]
    assert "run its own sod label command again" in whats(check)[0]
    repair(str(broken), check)
    assert lasting_problems(str(broken)) == list(check.problems), "a repair can't know where the images are"
    run(make_config(inputs, broken))
    assert (path.read_bytes(), verify_run(str(broken)).problems) == (whole, ())


def test_a_run_that_has_computed_nothing_need_not_remember_its_inputs(broken):
    """A session may have been killed before it wrote them; the next one does."""
    for name in ("commits", "candidates", "release"):
        shutil.rmtree(broken / name)
    (broken / "plan/inputs.json").unlink()
    assert verify_run(str(broken)).problems == ()


# Runs that can't be checked


def test_without_a_run_there_is_nothing_to_check(tmp_path):
    with pytest.raises(CollectionError, match="is not a run"):
        verify_run(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"fingerprint": 1}', b"[" * 9999, b"7"])
def test_an_unreadable_run_json_is_named_with_what_restores_it(broken, content):
    (broken / "run.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"does not hold a fingerprint.*--repair restores it"):
        verify_run(str(broken))


def test_another_plan_is_noticed(broken, inputs, tmp_path):
    other = make_config(inputs, tmp_path / "other", shard_size=2)
    run(other)
    (theirs,), (ours,) = (Path(out, "plan").glob("0*.parquet") for out in (other.out, broken))
    shutil.copy(theirs, ours)
    with pytest.raises(StorageError, match="does not hold the plan"):
        verify_run(str(broken))


def test_a_run_on_an_object_store_is_checked_in_the_same_way(inputs):
    config = make_config(inputs, "memory://verify/run")
    run(config)
    assert verify_run(config.out).problems == ()
    storage.publish(candidate(config.out, "000001", "tar"), b"half")
    check = verify_run(config.out)
    assert check.broken == ("000001",)
    assert "commits/000001.json" in repair(config.out, check)
    storage.remove_tree("memory://verify")
