"""A dry run: what it says is what the run then does, and nothing is left behind."""

from pathlib import Path

import pytest

from pipeline.errors import CollectionError, ConfigError, RunMismatchError
from pipeline.files import storage
from pipeline.forecast import forecast, temporary_folder
from pipeline.run import process, run
from tests.pipeline.make import make_collection, make_config, tree, write_annotations

pytestmark = pytest.mark.usefixtures("small_pages")

COUNT = 9


@pytest.fixture
def inputs(tmp_path):
    return make_collection(tmp_path / "in", COUNT)


def test_before_a_run_everything_is_left_and_nothing_is_written(inputs, tmp_path):
    found = forecast(make_config(inputs, tmp_path / "run", pilot_images=4))
    assert (found.images, found.shards, found.committed, found.left, found.added) == (COUNT, 3, 0, COUNT, 0)
    assert found.pilot_images == 4
    assert found.replica_s_per_image > 0
    assert found.bytes_per_image > 100
    assert found.replica_hours == pytest.approx(COUNT * found.replica_s_per_image / 3600)
    assert not (tmp_path / "run").exists()


def test_a_run_that_rests_is_left_as_it_is_and_its_own_shards_say_what_it_stores(inputs, tmp_path):
    config = make_config(inputs, tmp_path / "run")
    run(config)
    (tmp_path / "run/commits/000001.json").unlink()
    before = tree(config.out)
    found = forecast(make_config(inputs, tmp_path / "run"))
    assert (found.committed, found.left, found.pilot_images) == (6, 3, 3)
    assert tree(config.out) == before
    stored = sum(
        len(content) for name, content in before.items() if name[:18] in ("candidates/000000.", "candidates/000002.")
    )
    assert found.candidate_bytes == pytest.approx(COUNT * stored / 6)


def test_what_is_done_and_failed_is_counted_and_needs_no_pilot(inputs, tmp_path):
    inputs.file(2).write_bytes(b"no image")
    config = make_config(inputs, tmp_path / "run")
    run(config)
    found = forecast(config, work=None)
    assert (found.committed, found.failed, found.left, found.pilot_images, found.replica_hours) == (COUNT, 1, 0, 0, 0)


def test_without_a_pilot_there_are_no_times(inputs, tmp_path):
    found = forecast(make_config(inputs, tmp_path / "run", pilot_images=0), work=None)
    assert (found.pilot_images, found.replica_s_per_image, found.bytes_per_image) == (0, 0, 0)


@pytest.mark.parametrize(
    "cluster", [{"replicas": 7}, {"max_replicas": 2}, {"min_replicas": 2}, {"min_replicas": 2, "max_replicas": 3}]
)
def test_the_pilot_takes_its_images_from_everywhere_and_one_replica(inputs, tmp_path, cluster):
    asked = []

    def work(specs, config, progress):
        asked.append(([[int(sample.key) for sample in spec.samples] for spec in specs], config.cluster.replicas))
        process(specs, config, progress)

    forecast(make_config(inputs, tmp_path / "run", pilot_images=4, **cluster), work)
    assert asked == [([[1, 3], [5, 7]], 1)]


def test_a_single_image_is_a_pilot(tmp_path):
    inputs = make_collection(tmp_path / "in", 1)
    assert forecast(make_config(inputs, tmp_path / "run")).pilot_images == 1


def test_images_that_are_new_to_the_run_are_counted(inputs, tmp_path):
    write_annotations(inputs, inputs.entries[:6])
    run(make_config(inputs, tmp_path / "run"))
    before = tree(tmp_path / "run")
    write_annotations(inputs, inputs.entries)
    found = forecast(make_config(inputs, tmp_path / "run", version="2.0.0"))
    assert (found.images, found.committed, found.added, found.left) == (COUNT, 6, 3, 3)
    assert tree(tmp_path / "run") == before


def test_failed_images_are_left_if_they_are_to_be_tried_again(inputs, tmp_path):
    inputs.file(2).write_bytes(b"no image")
    run(make_config(inputs, tmp_path / "run"))
    found = forecast(make_config(inputs, tmp_path / "run", retry_failed=True, version="2.0.0"), work=None)
    assert (found.committed, found.failed, found.retried, found.left) == (COUNT, 1, 1, 1)


def test_a_run_that_is_begun_during_the_pilot_is_not_removed_with_it(inputs, tmp_path):
    def work(specs, config, progress):
        run(make_config(inputs, tmp_path / "run"))
        process(specs, config, progress)

    forecast(make_config(inputs, tmp_path / "run"), work)
    assert run(make_config(inputs, tmp_path / "run")).computed == 0


def test_a_folder_without_one_of_the_images_is_refused_as_by_the_run(inputs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CollectionError, match="has none of the 9 images"):
        forecast(make_config(inputs, tmp_path / "run", images=str(tmp_path / "empty")), work=None)


def test_a_pilot_that_fails_leaves_nothing(inputs, tmp_path):
    with pytest.raises(RuntimeError, match="told to raise"):
        forecast(make_config(inputs, tmp_path / "run", model="fake:raise_at=000000000001"))
    assert not (tmp_path / "run").exists()


def test_what_the_run_would_refuse_is_refused(inputs, tmp_path):
    config = make_config(inputs, tmp_path / "run")
    run(config)
    with pytest.raises(RunMismatchError, match="seed: made with 0, requested 1"):
        forecast(make_config(inputs, tmp_path / "run", seed=1))
    with pytest.raises(ConfigError):
        forecast(make_config(inputs, tmp_path / "other", model=str(tmp_path / "nowhere")))


def test_an_object_store_is_left_as_it_is_too(inputs):
    found = forecast(make_config(inputs, "memory://forecast/run", pilot_images=2))
    assert found.pilot_images == 2
    assert storage.list_names("memory://forecast/run") == []
    assert not Path("pilot").exists()


def test_a_temporary_folder_is_new_and_goes_with_what_was_made_for_it(tmp_path):
    folder = str(tmp_path)
    storage.publish(storage.join(folder, "mine", "file"), b"old")
    for above in (storage.join(folder, "mine"), storage.join(folder, "not", "there")):
        with temporary_folder(above) as place:
            assert storage.list_names(place) == []
            storage.publish(storage.join(place, "file"), b"new")
    assert storage.list_names(folder, hidden=True) == ["mine"]
    assert storage.list_names(storage.join(folder, "mine"), hidden=True) == ["file"]


@pytest.mark.parametrize("name", ["pilot", "pilot.tmp", ".pilot", ".pilot.tmp"])
def test_whatever_lies_in_the_folder_stays(inputs, tmp_path, name):
    """A run of any name, an empty folder too."""
    run(make_config(inputs, tmp_path / "runs" / name))
    (tmp_path / "runs" / "empty").mkdir()
    before = tree(tmp_path / "runs")
    forecast(make_config(inputs, tmp_path / "runs"))
    assert tree(tmp_path / "runs") == before
    assert (tmp_path / "runs" / "empty").is_dir()
    forecast(make_config(inputs, tmp_path / "runs" / "empty"))
    assert (tmp_path / "runs" / "empty").is_dir()


def test_a_pilot_that_fails_removes_its_own_folder_only(inputs, tmp_path):
    (tmp_path / "runs" / "pilot").mkdir(parents=True)

    def fail(*_):
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        forecast(make_config(inputs, tmp_path / "runs"), fail)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["pilot"]
