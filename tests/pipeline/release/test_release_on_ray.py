"""A release assembled by tasks on a Ray cluster has the same bytes as one made in this process."""

import pytest

from pipeline.config import ClusterConfig
from pipeline.errors import StorageError
from pipeline.release import survey
from pipeline.replicas.tasks import spread, workers
from tests.pipeline.make import make_collection, make_instances, make_key, tree, write_annotations

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("on_cluster"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def run_of_30(tmp_path_factory, release_of):
    folder = tmp_path_factory.mktemp("run")
    inputs = make_collection(folder / "in", 30)
    write_annotations(inputs, **make_instances(inputs.entries))
    release_of(inputs, folder / "out")
    return inputs, folder / "out"


def test_tasks_on_ray_and_this_process_give_the_same_bytes(run_of_30, release_of, monkeypatch):
    inputs, out = run_of_30
    monkeypatch.setattr(survey, "SHEETS_PER_TASK", 1)  # 30 images make two sheets, so two tasks
    options = {"tar_bytes": 12_000, "version": "2.0.0"}
    inline = release_of(inputs, out, **options)
    expected = tree(inline.folder)
    inline.folder.rename(inline.folder.with_name("made in this process"))
    spread_over = release_of(inputs, out, **options, engine="ray")
    assert len(spread_over.tars()) > 2
    assert tree(spread_over.folder) == expected


def test_an_error_of_a_task_is_raised_unchanged(run_of_30, release_of, monkeypatch):
    inputs, out = run_of_30
    monkeypatch.setattr(survey, "SHEETS_PER_TASK", 1)
    content = inputs.file(30).read_bytes()
    inputs.file(30).write_bytes(b"another")
    try:
        with pytest.raises(StorageError, match=f"{make_key(30)}.*has changed since it was predicted"):
            release_of(inputs, out, version="3.0.0", tar_bytes=12_000, engine="ray")
    finally:
        inputs.file(30).write_bytes(content)


def test_a_single_task_needs_no_cluster():
    with workers(ClusterConfig(), 1) as alone, workers(ClusterConfig(), 2) as many:
        assert (alone.engine, many.engine) == ("inline", "ray")
    assert spread(str, [1, 2], ClusterConfig(engine="inline")) == ["1", "2"]
