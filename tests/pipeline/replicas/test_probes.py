"""Probes: images that the driver could read, by which a missing image is told from a machine that sees none."""

import re
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import NodeUnfitError, SampleError, StorageUnavailableError
from pipeline.replicas import probes as module
from pipeline.replicas.probes import problems, refuse_machine, take_probes
from pipeline.replicas.reading import read_image
from pipeline.replicas.shard_work import ShardWork
from tests.pipeline.make import make_collection, make_key, make_sample, read_samples

COUNT = 7
MOST_BYTES = 1 << 20


@pytest.fixture
def inputs(tmp_path):
    return make_collection(tmp_path / "in", COUNT)


def samples_of(inputs):
    return read_samples(inputs.annotations, inputs.images).samples


def make_work(run, **overrides):
    return ShardWork(run=str(run), batch_images=2, max_image_bytes=MOST_BYTES, max_image_pixels=1 << 20, **overrides)


@given(st.lists(st.booleans(), max_size=60))
def test_the_first_the_middle_and_the_last_image_that_can_be_read_are_probes(readable):
    samples = [make_sample(key=make_key(number), image_id=number) for number in range(len(readable))]

    def read(sample, **_limit):
        if not readable[sample.image_id]:
            raise SampleError("missing", sample.key)
        return sample.key.encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_bytes", read)
        taken = [probe.sample.image_id for probe in take_probes(samples, MOST_BYTES)]
        assert list(problems(take_probes(samples, MOST_BYTES))) == []
    there = [number for number, is_there in enumerate(readable) if is_there]
    assert len(taken) == len(set(taken)) <= 3
    assert set(taken) <= set(there)
    if there and there[0] < module._TRIED:
        assert taken[0] == there[0]
    if there and len(readable) - there[-1] <= module._TRIED:
        assert taken[-1] == there[-1]


def test_an_image_that_is_gone_while_others_are_there_is_a_failed_image(inputs, tmp_path):
    samples = samples_of(inputs)
    work = make_work(tmp_path, probes=take_probes(samples, MOST_BYTES))
    inputs.file(3).unlink()
    assert read_image(samples[2], work).problem.reason == "missing"
    inputs.file(1).unlink()  # a probe, one of three
    assert read_image(samples[2], work).problem.reason == "missing"


def test_an_image_that_is_gone_with_all_the_others_is_the_machines_fault(inputs, tmp_path):
    samples = samples_of(inputs)
    work = make_work(tmp_path, probes=take_probes(samples, MOST_BYTES))
    shutil.rmtree(inputs.images)
    inputs.images.mkdir()  # what a disk that is not mounted leaves
    with pytest.raises(NodeUnfitError, match=r"image 000000000003 is missing.* of 3 images .* none") as raised:
        read_image(samples[2], work)
    assert raised.value.lacks.popitem()[1] == module.REMEDY


def test_what_the_driver_has_not_found_either_is_no_question_of_machines(inputs, tmp_path):
    known = make_sample(problem="missing", problem_detail="it is not listed", location=None)
    probes = take_probes(samples_of(inputs), MOST_BYTES)
    shutil.rmtree(inputs.images)
    refuse_machine(SampleError("missing", "x"), known, probes)
    refuse_machine(SampleError("undecodable", "x"), make_sample(), probes)
    refuse_machine(SampleError("missing", "x"), make_sample(), ())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"image 000000000001 is missing: .*disappeared"),
        (b"other", r"image 000000000001 has the SHA-256 d9298a10d1b0\w*, expected \w{64}"),
    ],
)
def test_a_probe_that_is_not_what_the_driver_has_read_is_a_problem(inputs, content, said):
    probes = take_probes(samples_of(inputs), MOST_BYTES)
    inputs.file(1).unlink()
    if content is not None:
        inputs.file(1).write_bytes(content)
    (found,) = problems(probes)
    assert re.match(said, found)


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), StorageUnavailableError("away"), TimeoutError("late")])
def test_storage_that_is_away_is_nobodys_fault(inputs, monkeypatch, error):
    probes = take_probes(samples_of(inputs), MOST_BYTES)

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(module, "read_bytes", fail)
    with pytest.raises(type(error)):
        list(problems(probes))


def test_a_folder_that_is_not_there_at_all_is_a_problem(inputs):
    probes = take_probes(samples_of(inputs), MOST_BYTES)
    shutil.rmtree(inputs.images)
    assert all("can't be read (FileNotFoundError" in found for found in problems(probes))
    assert len(list(problems(probes))) == 3
