"""Nothing lost, nothing twice, whatever dies: `make chaos N=…` injects N faults, the suite a few."""

import os

import pytest

from pipeline.runs.check import verify_run
from tests.end_to_end.chaos import DEADLY, IMAGES, OPTIONS, SHARD_SIZE, UNDECODABLE, Chaos, result_of
from tests.end_to_end.submitting import run_inline
from tests.pipeline.make import make_collection, make_key
from tests.pipeline.s3_server import s3_server

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(0)]

FAULTS = int(os.environ.get("CHAOS_FAULTS", "3"))
FAULTS_OF_A_RUN = 12
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two hundred images, two of which nobody can decode."""
    inputs = make_collection(tmp_path_factory.mktemp("chaos") / "in", IMAGES)
    for number in UNDECODABLE:
        inputs.file(number).write_bytes(inputs.file(number).read_bytes()[:200])
    return inputs


@pytest.fixture(scope="module")
def quiet(inputs, tmp_path_factory):
    """What a run in one process gives, to which nothing happens."""
    out = tmp_path_factory.mktemp("quiet")
    given = ("--images", str(inputs.images), "--annotations", str(inputs.annotations))
    done = run_inline(out, "--model", "fake", *OPTIONS, *given)
    assert done.returncode == 0, done.stderr
    return result_of(str(out))


@pytest.fixture
def chaos(inputs, tmp_path):
    """On a real object store, with Ray's workers writing to it."""
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as s3:
        chaos = Chaos(inputs=inputs, s3=s3, tally=tmp_path / "tally", seed=SEED)
        yield chaos
        chaos.close()


def test_whatever_dies_no_image_is_lost_none_is_twice_and_all_are_what_they_are_in_quiet(chaos, quiet, capsys):
    runs, lost, twice, different = 0, 0, 0, 0
    deadly, poison = set(map(make_key, DEADLY)), set(map(make_key, (*DEADLY, *UNDECODABLE)))
    while sum(chaos.injected.values()) < FAULTS:
        out = f"s3://{chaos.s3.bucket}/run-{runs}"
        chaos.carry_out(out, min(FAULTS_OF_A_RUN, FAULTS - sum(chaos.injected.values())))
        runs += 1
        found = result_of(out)
        lost += len(quiet.rows.keys() - found.rows.keys())
        twice += sum(count - 1 for count in found.rows.values())
        calm = quiet.contents.keys() - deadly
        different += sum(found.contents.get(key) != quiet.contents[key] for key in calm)
        assert found.reasons == {key: "kills_replica" if key in deadly else "undecodable" for key in poison}
        touched = {f"{(number - 1) // SHARD_SIZE:06d}" for number in DEADLY}
        assert {name for name, digests in found.shards.items() if digests != quiet.shards[name]} == touched
        check = verify_run(out)
        assert (check.problems, check.left, check.failed) == ((), 0, len(poison))
    asked = chaos.tally.read_text().split()
    computed = [key for key in asked if key not in poison]
    needed = runs * (IMAGES - len(poison))
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(chaos.injected.items()))
    with capsys.disabled():
        print(
            f"\nchaos: {sum(chaos.injected.values())} faults ({faults}) in {runs} runs of {IMAGES} images, "
            f"{chaos.sessions} sessions; lost {lost}, twice {twice}, different {different}, "
            f"computed again {len(computed) / needed - 1:.1%}"
        )
    assert (lost, twice, different) == (0, 0, 0)
    assert len(computed) >= needed
