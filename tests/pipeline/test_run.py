"""Whole runs in this process with the fake model: the same bytes whatever happens, nothing lost, nothing twice."""

import contextlib
import inspect
import io
import json
import random
import shutil
import threading
import types
import uuid
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.collection.images import decode, decode_rgb
from pipeline.errors import (
    CollectionError,
    ConfigError,
    ReleaseExistsError,
    ReleaseNotMadeError,
    RunMismatchError,
    SampleError,
    StorageError,
    UsageError,
)
from pipeline.files import storage
from pipeline.forecast import forecast
from pipeline.release import build
from pipeline.replicas import setup
from pipeline.run import resolved, run
from pipeline.runs import locking
from pipeline.runs.check import repair_run
from tests.pipeline.make import (
    LICENSES,
    WHEN,
    SessionEnded,
    candidate,
    end_at_write,
    ended_sessions,
    make_collection,
    make_config,
    make_jpeg,
    make_key,
    make_zip,
    tree,
    write_annotations,
)

pytestmark = pytest.mark.usefixtures("small_pages")

COUNT = 7
CUT, ACCEPTED, REJECTED = 3, 4, 5
LAX = {"max_variance": 0.25, "max_variance_per_area": 250.0}
RELEASE = "release/sod-benchmark-1.0.0"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Seven images in three shards: 2, 4 and 6 will be accepted, 1, 5 and 7 rejected, 3 is cut; not to be changed."""
    return make_inputs(tmp_path_factory.mktemp("inputs") / "in")


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    """Configuration and files of a run that was not disturbed; not to be changed."""
    config = make_config(inputs, tmp_path_factory.mktemp("done"))
    run(config)
    return config, tree(config.out)


@pytest.fixture
def own(done, tmp_path):
    """A finished run that the test may disturb: its inputs and its configuration."""
    inputs = make_inputs(tmp_path / "in")
    shutil.copytree(done[0].out, tmp_path / "out")
    config = make_config(inputs, tmp_path / "out")
    run(config)  # computes nothing, and knows where its images lie now
    return inputs, config


def make_inputs(folder):
    inputs = make_collection(folder, COUNT)
    inputs.file(CUT).write_bytes(inputs.file(CUT).read_bytes()[:200])
    return inputs


def another(inputs, config, **options):
    """The same run again, with other options."""
    return make_config(inputs, config.out, **options)


def result_of(out):
    """All files of a run but its plan, which says where each image lies."""
    return {name: content for name, content in tree(out).items() if not name.startswith("plan/")}


def manifest_of(out, release=RELEASE):
    return pq.read_table(io.BytesIO(storage.read(storage.join(str(out), release, "manifest.parquet")))).to_pylist()


def forbid_computing(patch):
    def load_model(*_args):
        raise AssertionError("a model was loaded")

    patch.setattr(setup, "load_model", load_model)


# Nothing lost, nothing twice


@settings(max_examples=12)
@given(st.sets(st.integers(1, COUNT), max_size=COUNT - 1), st.integers(1, COUNT + 1), st.randoms())
def test_every_input_has_one_row_whoever_fails_and_wherever_shards_are_cut(
    tmp_path_factory, broken, shard_size, shuffler
):
    folder = tmp_path_factory.mktemp("any")
    inputs = make_collection(folder / "in", COUNT)
    for number in broken:
        inputs.file(number).write_bytes(b"no image")
    write_annotations(inputs, shuffler.sample(inputs.entries, COUNT))
    report = run(make_config(inputs, folder / "out", shard_size=shard_size))
    rows = manifest_of(folder / "out")
    assert [row["key"] for row in rows] == [make_key(number) for number in range(1, COUNT + 1)]
    assert {row["image_id"] for row in rows if row["verdict"] == "failed"} == broken
    assert report.images == report.accepted + sum(report.rejected.values()) + sum(report.failed.values()) == COUNT


def test_the_report_says_what_the_manifest_says(done):
    config, _ = done
    report = run(config)
    counts = Counter((row["verdict"], row["reason"]) for row in manifest_of(config.out))
    assert counts == {("accepted", ""): 3, ("rejected", "variance_above_max"): 3, ("failed", "undecodable"): 1}
    assert (report.images, report.accepted) == (COUNT, 3)
    assert (report.rejected, report.failed) == ({"variance_above_max": 3}, {"undecodable": 1})
    assert report.failed_share == 1 / COUNT
    assert report.release == storage.join(config.out, RELEASE)


@pytest.mark.parametrize("work", [run, forecast], ids=["run", "dry run"])
def test_images_of_which_none_can_be_decoded_are_refused_before_anything_is_written(tmp_path, work):
    """A collection of Git LFS pointers, for example."""
    inputs = make_collection(tmp_path / "in", COUNT)
    for number in range(1, COUNT + 1):
        inputs.file(number).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CollectionError, match=r"none of the 7 images .* undecodable: .*Git LFS pointer"):
        work(make_config(inputs, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    make_jpeg_of = make_collection(tmp_path / "again", COUNT).file(COUNT)
    inputs.file(COUNT).write_bytes(make_jpeg_of.read_bytes())
    work(make_config(inputs, tmp_path / "out"))


def test_an_image_that_claims_an_absurd_size_and_licence_costs_itself_only(tmp_path):
    inputs = make_collection(tmp_path / "in", 2)
    largest = 10**12 - 1
    write_annotations(inputs, [inputs.entries[0] | {"width": largest, "license": largest}, inputs.entries[1]])
    report = run(make_config(inputs, tmp_path / "out"))
    assert (report.accepted, report.failed) == (1, {"size_mismatch": 1})
    assert manifest_of(tmp_path / "out")[0]["width"] == largest


# Same bytes, whatever happens


@pytest.mark.parametrize("after", WHEN)
def test_a_session_that_ends_at_any_write_is_gone_on_with_to_the_same_bytes(inputs, done, tmp_path, after):
    _, undisturbed = done
    ended = 0
    for config in ended_sessions(lambda number: make_config(inputs, tmp_path / str(number)), after=after):
        ended += 1
        assert tree(config.out) != undisturbed or after
        run(config)
        assert tree(config.out) == undisturbed
    # lease, plan, run, inputs, device; tar, rows and record of 3 shards; every file of the release, its name; picture
    released = [name for name in undisturbed if name.startswith("release/")]
    assert len(released) > 12
    assert ended == 5 + 3 * 3 + len(released) + 2


@pytest.mark.parametrize("begin", [run, forecast])
def test_a_folder_in_the_place_of_a_release_is_left_as_it_is(own, begin):
    inputs, config = own
    mine = Path(config.out, "release/sod-benchmark-2.0.0/mine.txt")
    mine.parent.mkdir()
    mine.write_text("mine")
    before = tree(config.out)
    with pytest.raises(ReleaseExistsError, match=r"2\.0\.0 exists, but is not a release: .* \(it has mine\.txt\)"):
        begin(another(inputs, config, version="2.0.0"))
    assert tree(config.out) == before


def test_files_of_an_unfinished_release_in_a_store_are_not_overwritten(inputs):
    out = f"memory://{uuid.uuid4().hex}"
    run(make_config(inputs, out))
    storage.remove(storage.join(out, RELEASE, "release.json"))
    run(make_config(inputs, out))  # made from the same: what is there is taken
    storage.remove(storage.join(out, RELEASE, "release.json"))
    with pytest.raises(StorageError, match="exists with another content, and is not overwritten"):
        run(make_config(inputs, out, **LAX))
    storage.remove_tree(storage.join(out, RELEASE))
    storage.publish(storage.join(out, RELEASE, "data/test/test-00007-of-00009.tar"), b"of another")
    with pytest.raises(StorageError, match=r"of-00009\.tar is left from an unfinished release"):
        run(make_config(inputs, out))
    storage.remove_tree(out)


def test_unfinished_files_of_a_killed_session_do_no_harm(inputs, done, tmp_path):
    for folder in ("candidates", "commits", "plan", "release/.sod-benchmark-1.0.0.5f.tmp/data"):
        storage.publish(str(tmp_path / folder / ".000000.x.5f.tmp"), b"half")
    run(make_config(inputs, tmp_path))
    assert tree(tmp_path) == done[1]


def test_the_order_of_the_annotations_changes_no_byte(own, done, tmp_path):
    inputs, _ = own
    entries = inputs.entries
    for number, order in enumerate([entries[::-1], random.Random(0).sample(entries, COUNT)]):
        write_annotations(inputs, order)
        run(make_config(inputs, tmp_path / str(number)))
        assert result_of(tmp_path / str(number)) == result_of(done[0].out)


def test_a_zip_parquet_and_a_table_give_the_bytes_of_the_folder_they_were_made_of(tmp_path):
    inputs = make_inputs(tmp_path / "in")
    inputs.file(1).unlink()
    with inputs.file(7).open("ab") as large:
        large.write(bytes(5000))
    names = {5: "../5.jpg", 6: "sub/6.jpg"}
    entries = [entry | {"file_name": names.get(entry["id"], entry["file_name"])} for entry in inputs.entries]
    (inputs.images / "sub").mkdir()
    inputs.file(6).rename(inputs.images / "sub" / "6.jpg")
    write_annotations(inputs, entries)
    files = tree(inputs.images)
    rows = [{"image": {"bytes": content, "path": name}} for name, content in files.items()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "images.parquet", row_group_size=2)
    (inputs.images / "table.csv").write_text("\n".join(["path", *files]))
    runs = {"folder": inputs.images, "zip": make_zip(inputs), "parquet": tmp_path / "images.parquet"}
    runs["table"] = inputs.images / "table.csv"
    for kind, images in runs.items():
        run(make_config(inputs, tmp_path / kind, images=str(images), max_image_bytes=5000))
    reasons = [row["reason"] for row in manifest_of(tmp_path / "zip") if row["verdict"] == "failed"]
    assert reasons == ["missing", "undecodable", "unsafe_path", "too_many_bytes"]
    for kind in runs:
        assert result_of(tmp_path / kind) == result_of(tmp_path / "folder")


@pytest.fixture
def small_default(monkeypatch):
    """The default limit on pixels, wherever nobody passes one, is less than any image has."""
    for function in (decode, decode_rgb):
        monkeypatch.setitem(inspect.unwrap(function).__kwdefaults__, "max_pixels", 10)


@pytest.mark.usefixtures("small_default")
@pytest.mark.parametrize("photo_format", ["JPEG", "PNG"])
def test_the_limit_on_pixels_of_a_run_is_that_of_its_release(tmp_path, photo_format):
    """Thumbnails, sheets and checks had limits of their own, so that a run with a higher limit had no release."""
    inputs = make_inputs(tmp_path / "in")
    if photo_format == "PNG":
        for entry in inputs.entries:
            if entry["id"] != CUT:
                with Image.open(inputs.file(entry["id"])) as image:
                    image.save(inputs.file(entry["id"]), "PNG")
    config = make_config(inputs, tmp_path / "run", max_image_pixels=1_000_000, embed_images=True)
    report = run(config)
    assert (report.failed, report.accepted) == ({"undecodable": 1}, 3)
    assert storage.exists(storage.join(report.release, "release.json"))
    assert storage.exists(storage.join(config.out, "contact_sheet.png"))


@pytest.mark.usefixtures("small_default")
def test_that_test_notices_a_limit_that_is_not_passed_on(tmp_path):
    with pytest.raises(SampleError, match="the limit is 10 pixels"):
        decode_rgb("x", make_jpeg(1, 30, 20))


def test_a_run_on_a_file_system_without_folders_or_renames_has_the_same_bytes(inputs, done):
    out = f"memory://{uuid.uuid4().hex}"
    for _ in range(2):
        report = run(make_config(inputs, out))
    for name, content in done[1].items():
        assert storage.read(storage.join(out, name)) == content
    assert report.release == storage.join(out, RELEASE)
    storage.remove_tree(out)


def test_how_images_are_batched_is_stored_with_the_run_and_where_shards_are_cut_is_its_plan(own):
    inputs, config = own
    for options, field in [
        ({"batch_images": 3}, "batch_images"),
        ({"shard_size": 2}, "shard_size"),
        ({"seed": 1}, "seed"),
    ]:
        with pytest.raises(RunMismatchError, match=f"  {field}: made with"):
            run(another(inputs, config, **options))


# Expensive work is done once


def test_a_second_run_computes_nothing_and_changes_nothing(done, monkeypatch):
    config, files = done
    forbid_computing(monkeypatch)
    report = run(config)
    assert (report.computed, report.images_per_s) == (0, 0)
    assert tree(config.out) == files


def test_a_run_that_was_ended_computes_only_what_was_not_committed(inputs, tmp_path):
    config = make_config(inputs, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        end_at_write(patch, 5 + 3 + 2, after=True)  # the second shard lacks its record
        with pytest.raises(SessionEnded):
            run(config)
    assert run(config).computed == COUNT - 3


def test_two_sessions_that_both_believe_to_have_the_run_do_each_other_no_harm(inputs, done, tmp_path, monkeypatch):
    """As when the first one slept longer than the second was patient: then both work for a while."""
    monkeypatch.setattr(
        locking,
        "held",
        lambda _: contextlib.nullcontext(types.SimpleNamespace(check=bool, confirm=bool, confirm_now=bool, file="")),
    )
    both_loaded, reports = threading.Barrier(2, timeout=60), []
    load_model = setup.load_model

    def load_together(*setup):
        both_loaded.wait()
        return load_model(*setup)

    monkeypatch.setattr(setup, "load_model", load_together)
    config = make_config(inputs, tmp_path, model="fake:sleep_s=0.01")
    swept = []

    def work():
        try:
            reports.append(run(config))
        except StorageError as error:  # the other one swept its attempt at the release, as of a session that is gone
            swept.append(error)

    sessions = [threading.Thread(target=work) for _ in range(2)]
    for session in sessions:
        session.start()
    for session in sessions:
        session.join()
    assert [report.computed for report in reports] == [COUNT] * len(reports)
    assert len(reports) + len(swept) == 2
    assert reports
    assert tree(tmp_path) == done[1]


def test_another_policy_needs_another_version_and_computes_nothing(own, monkeypatch):
    inputs, config = own
    before = tree(config.out)
    forbid_computing(monkeypatch)
    with pytest.raises(ReleaseExistsError) as refused:
        run(another(inputs, config, **LAX))
    for said in (RELEASE, "policy.max_variance: made with 0.02, requested 0.25", "0.02", "0.25", "--version"):
        assert said in str(refused.value)
    assert tree(config.out) == before
    report = run(another(inputs, config, **LAX, version="1.1.0"))
    assert (report.computed, report.accepted) == (0, COUNT - 1)
    after = tree(config.out)
    for name in before.keys() - {"contact_sheet.png"}:
        assert after[name] == before[name]


@pytest.mark.parametrize("change", [{"tar_bytes": 5000}, {"min_area": 0.001}])
def test_whatever_changes_a_release_needs_another_version(own, change):
    inputs, config = own
    with pytest.raises(ReleaseExistsError, match="Give another --version"):
        run(another(inputs, config, **change))


def test_other_licences_need_another_version(own):
    inputs, config = own
    document = json.loads(inputs.annotations.read_text())
    document["licenses"] = [LICENSES[0], LICENSES[1] | {"name": "CC0 1.0"}]
    inputs.annotations.write_text(json.dumps(document))
    with pytest.raises(ReleaseExistsError, match="  licenses: made with "):
        run(config)


def test_what_does_not_change_a_release_is_no_other_request(own):
    inputs, config = own
    assert run(another(inputs, config, max_failed_share=1.0, progress_every_s=0.1)).computed == 0


def test_a_larger_bound_on_the_variance_never_accepts_fewer_images(own):
    inputs, config = own
    bounds = [0.0, 0.001, 0.002, 0.05, 0.25]
    accepted = [
        {row["key"] for row in manifest_of(config.out, f"release/sod-benchmark-{number}") if row["tar"]}
        for number, bound in enumerate(bounds)
        if run(another(inputs, config, **LAX | {"max_variance": bound}, version=str(number)))
    ]
    assert all(fewer <= more for fewer, more in pairwise(accepted))
    assert len({len(keys) for keys in accepted}) > 2


# Faults


def test_an_accepted_image_that_changed_since_it_was_predicted_is_refused_by_name(own):
    inputs, config = own
    before = tree(config.out)
    image = inputs.file(ACCEPTED)
    image.write_bytes(inputs.file(2).read_bytes())
    with pytest.raises(StorageError) as refused:
        run(another(inputs, config, version="1.1.0"))
    for said in (make_key(ACCEPTED), image.name, storage.stored_file_at(image).sha256):
        assert said in str(refused.value)
    assert not storage.exists(storage.join(config.out, "release/sod-benchmark-1.1.0/release.json"))
    assert tree(config.out).items() >= before.items()


def test_an_accepted_image_that_went_away_since_the_run_began_is_refused_by_name(own, monkeypatch):
    inputs, config = own
    assemble = build.assemble

    def assemble_later(*args):
        inputs.file(ACCEPTED).unlink()
        return assemble(*args)

    monkeypatch.setattr(build, "assemble", assemble_later)
    with pytest.raises(StorageError, match=f"{make_key(ACCEPTED)}: its image was predicted but can no longer be read"):
        run(another(inputs, config, version="1.1.0"))


def test_an_image_that_was_rejected_may_change(own):
    inputs, config = own
    inputs.file(REJECTED).write_bytes(b"")
    assert run(another(inputs, config, version="1.1.0")).accepted == 3


def test_other_candidates_under_a_taken_version_fail_after_work_and_the_run_is_not_called_unbegun(own):
    inputs, config = own
    entry = inputs.entries[ACCEPTED - 1]
    inputs.file(ACCEPTED).write_bytes(make_jpeg(99, entry["width"], entry["height"]))
    storage.remove_tree(storage.join(config.out, "commits", "000001.json"))
    with pytest.raises(ReleaseNotMadeError, match="  candidates: made with "):
        run(config)
    assert not issubclass(ReleaseNotMadeError, UsageError)


def test_a_refusal_in_the_middle_of_the_work_is_a_failure(inputs, tmp_path, monkeypatch):
    process_shard = setup.process_shard

    def refuse_the_second(spec, *arguments, **options):
        if spec.index == 1:
            raise RunMismatchError("this replica is on another device")
        return process_shard(spec, *arguments, **options)

    monkeypatch.setattr(setup, "process_shard", refuse_the_second)
    with pytest.raises(ReleaseNotMadeError, match=r"another device\. 3 of 7 images are committed and stay"):
        run(make_config(inputs, tmp_path))


REFUSED = {
    "a previous release that does not exist": (
        {"previous": "/nowhere"},
        "/nowhere is not a complete release",
    ),
    "a licence that no image has": ({"allowed_licenses": (7,)}, "allowed_licenses 7 allows no image.* 1, 2"),
    "no licence known to be commercial": ({"commercial": True}, "commercial allows no image.*http://x/by"),
    "a bound on instances": ({"thresholds": ("instance_iou>=0.5",)}, "instance_iou>=0.5 needs outlines"),
    "a ranking by instances": ({"target_images": 2, "rank_by": "instance_iou"}, "rank_by instance_iou needs outlines"),
}


@pytest.mark.parametrize("begin", [run, forecast])
@pytest.mark.parametrize(("options", "said"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_could_only_fail_after_the_work_is_refused_before_it(inputs, tmp_path, begin, options, said):
    with pytest.raises(UsageError, match=said):
        begin(make_config(inputs, tmp_path / "out", **options))
    assert not (tmp_path / "out").exists()


def test_a_previous_release_that_is_torn_is_refused_before_any_image(inputs, done, tmp_path):
    config, _ = done
    earlier = tmp_path / "earlier"
    shutil.copytree(storage.join(config.out, RELEASE), earlier)
    annotations = earlier / "annotations/test.json"
    annotations.write_bytes(annotations.read_bytes()[:-9])
    with pytest.raises(ConfigError, match=r"test\.json"):
        run(make_config(inputs, tmp_path / "out", previous=str(earlier)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("begin", [run, forecast])
def test_a_taken_version_is_refused_before_any_image(own, begin, monkeypatch):
    inputs, config = own
    forbid_computing(monkeypatch)
    before = tree(config.out)
    with pytest.raises(ReleaseExistsError, match="policy"):
        begin(another(inputs, config, max_area=0.9))
    grown = make_collection(Path(config.out).parent / "more", COUNT + 1)
    with pytest.raises(ReleaseExistsError):
        begin(make_config(grown, config.out))
    assert tree(config.out) == before


def test_a_target_that_can_not_be_written_is_refused(inputs, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"file/out: nothing can be written there"):
        run(make_config(inputs, tmp_path / "file" / "out"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_changed_candidate_is_noticed_and_made_again_once_the_run_is_repaired(own, done, kind):
    _, config = own
    path = candidate(config.out, "000001", kind)
    content = storage.read(path)
    storage.publish(path, content[:600] + b"?" + content[601:])
    storage.remove_tree(storage.join(config.out, RELEASE))
    with pytest.raises(StorageError, match=rf"000001\.\w+\.{kind} has .*sod run verify RUN --repair"):
        run(config)
    repair_run(config.out)
    assert run(config).computed == 3
    assert result_of(config.out) == result_of(done[0].out)


def test_an_image_for_which_the_model_gives_no_prediction_fails_alone(inputs, tmp_path):
    report = run(make_config(inputs, tmp_path, model=f"fake:fail_at={make_key(ACCEPTED)}"))
    assert (report.accepted, report.failed) == (2, {"model_output": 1, "undecodable": 1})


def test_images_of_which_not_one_is_there_are_another_folder(inputs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CollectionError, match="empty"):
        run(make_config(inputs, tmp_path / "out", images=str(tmp_path / "empty")))
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_exist_is_refused_before_anything_is_written(inputs, tmp_path):
    for model in ("fake:no_such=1", str(tmp_path / "absent")):
        with pytest.raises(ConfigError, match=model):
            run(make_config(inputs, tmp_path / "out", model=model))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'"text"'])
def test_a_run_json_that_can_not_be_read_is_restored_by_the_runs_own_command(own, content, caplog):
    _, config = own
    url = storage.join(config.out, "run.json")
    whole = storage.read(url)
    storage.publish(url, content)
    run(config)
    assert storage.read(url) == whole
    assert "run.json does not hold a fingerprint" in caplog.text
    assert "restored run.json" in caplog.text


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null"])
def test_a_release_record_that_can_not_be_read_is_named(own, content):
    _, config = own
    storage.publish(storage.join(config.out, RELEASE, "release.json"), content)
    with pytest.raises(StorageError, match=r"release\.json can't be read"):
        run(config)


# Paths


def test_a_run_with_relative_paths_means_the_same_once_they_are_resolved(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    config = resolved(make_config(inputs, "out", images="images", annotations="a.json", model="weights"))
    assert config.out == str(tmp_path / "out")
    assert config.input.images == str(tmp_path / "images")
    assert config.input.annotations == str(tmp_path / "a.json")
    assert config.model.model == str(tmp_path / "weights")


@pytest.mark.parametrize("name", ["nano", "fake:sleep_s=1", "s3://bucket/weights"])
def test_models_that_are_no_folder_keep_their_name(inputs, name):
    assert resolved(make_config(inputs, "s3://bucket/out", model=name)).model.model == name


def test_urls_are_left_alone_when_paths_are_resolved(inputs):
    assert resolved(make_config(inputs, "s3://bucket/out")).out == "s3://bucket/out"
