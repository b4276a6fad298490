"""A run whose URLs have passwords and signatures: it works, and none of its files, messages and cards shows them."""

import json
import logging

import fsspec
import pytest

from jobs import publish_release
from jobs.command_line import DONE, USAGE
from pipeline.errors import PipelineError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.run import run
from pipeline.shown import HIDDEN
from tests.jobs.conftest import run_here
from tests.pipeline.make import make_collection, make_config

__all__ = ["run_here"]
SECRET = "hunter2Zq"
OUT = f"memory://user:{SECRET}@secrets/run"


@pytest.fixture(scope="module")
def memory():
    """fsspec's own file system in memory, in which user and signature are parts of names."""
    return fsspec.filesystem("memory")


@pytest.fixture(scope="module")
def made(memory, tmp_path_factory):
    """A run and its release at such URLs, and what was logged meanwhile."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs"), 6)
    place = f"memory://user:{SECRET}@secrets/in"
    annotations = f"{place}/annotations.json?X-Amz-Signature={SECRET}&page=1"
    document = json.loads(inputs.annotations.read_text())
    for entry in document["images"]:
        if entry["id"] > 1:  # a table tells of the first
            entry["coco_url"] = f"https://host/{entry['id']}.jpg?sig={SECRET}"
        else:
            del entry["license"]
        memory.pipe_file(f"/user:{SECRET}@secrets/in/{entry['file_name']}", inputs.file(entry["id"]).read_bytes())
    document["licenses"][0]["url"] = f"https://u:{SECRET}@host/by"
    memory.pipe_file(annotations.removeprefix("memory:/"), json.dumps(document).encode())
    metadata = f"{place}/told.csv?sig={SECRET}"
    told = f"name,license,source\n1.jpg,https://host/by?token={SECRET},https://host/1?sig={SECRET}\n"
    memory.pipe_file(metadata.removeprefix("memory:/"), told.encode())
    config = make_config(inputs, OUT, images=place, annotations=annotations, metadata=metadata)
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    report = run(config)
    logging.getLogger().removeHandler(handler)
    return report, records


def test_no_file_of_a_run_or_release_has_a_secret(memory, made):
    files = memory.find(f"/user:{SECRET}@secrets/run")
    assert {"run.json", "inputs.json", "README.md", "licenses.csv"} <= {file.rpartition("/")[2] for file in files}
    assert [file for file in files if SECRET.encode() in memory.cat_file(file)] == []
    plan = json.loads(memory.cat_file(f"/user:{SECRET}@secrets/run/plan/inputs.json"))
    assert plan["annotations"] == f"memory://{HIDDEN}@secrets/in/annotations.json?X-Amz-Signature={HIDDEN}&page=1"
    assert plan["metadata"] == f"memory://{HIDDEN}@secrets/in/told.csv?sig={HIDDEN}"


def test_what_the_job_prints_shows_no_secret_and_asks_for_what_was_not_stored(made, run_here):
    report, _ = made
    assert report.images == 6
    build = ["x", "build", OUT, "--engine", "inline", "--version", "1.0.0"]
    code, out, err = run_here(publish_release.main, *build)
    assert code == USAGE
    assert SECRET not in out + err
    assert "give --annotations again" in err
    place = f"memory://user:{SECRET}@secrets/in"
    again = ["--annotations", f"{place}/annotations.json?X-Amz-Signature={SECRET}&page=1", "--images", place]
    code, out, err = run_here(publish_release.main, *build, *again)
    assert (code, "give --metadata again" in err) == (USAGE, True)
    code, out, err = run_here(publish_release.main, *build, *again, "--metadata", f"{place}/told.csv?sig={SECRET}")
    assert code == DONE, err
    assert SECRET not in out + err
    assert json.loads(out)["release"] == f"memory://{HIDDEN}@secrets/run/release/sod-benchmark-1.0.0"


@pytest.mark.parametrize(
    "url", [f"s3://k:{SECRET}@bucket/x", f"https://host/x?sig={SECRET}", f"x::https://h?token={SECRET}"]
)
@pytest.mark.parametrize("kind", [PipelineError, StorageError, StorageUnavailableError])
def test_no_error_of_ours_shows_a_secret_however_it_was_made(url, kind):
    assert SECRET not in str(kind(f"{url} is missing"))
    assert SECRET not in f"{kind(url)}"


def test_a_missing_file_is_told_without_the_secret_of_its_url(memory):
    with pytest.raises(StorageError, match="is missing") as refused:
        storage.read(f"{OUT}/absent")
    assert SECRET not in str(refused.value)
