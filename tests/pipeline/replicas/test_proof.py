"""What a replica proves before it loads anything: one truth on every node."""

import pickle
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import EMBEDDED_MODEL, EnsembleConfig, ModelConfig
from pipeline.errors import NodeUnfitError
from pipeline.replicas import proof, setup
from pipeline.replicas.probes import take_probes
from pipeline.replicas.proof import Expected, prove
from pipeline.replicas.seat import Seat
from pipeline.replicas.setup import ReplicaSetup
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.weights import weights_of
from pipeline.run import setup_of
from pipeline.runs.fingerprint import code_sha256, fingerprint
from pipeline.runs.locking import locked
from pipeline.runs.machine import LIBRARIES
from pipeline.selection.policy import PolicyConfig
from tests.pipeline.make import make_collection, make_config, read_samples

SEAT = Seat(node="10.0.0.7")
TEXTS = st.text("abc0", min_size=1, max_size=4)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("in") / "in", 3)


@pytest.fixture
def weights(tmp_path):
    """A folder like that of a saved model."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def make_work(run, **overrides):
    return ShardWork(run=str(run), batch_images=2, max_image_bytes=1 << 20, max_image_pixels=1 << 20, **overrides)


def unfit(*arguments, **options):
    with pytest.raises(NodeUnfitError) as raised:
        prove(*arguments, **options)
    return raised.value


def test_the_machine_that_began_a_run_proves_what_it_is_made_with(inputs, tmp_path):
    config = make_config(inputs, tmp_path / "out", model=str(EMBEDDED_MODEL))
    made_with = fingerprint(config)
    samples = read_samples(inputs.annotations, inputs.images).samples
    (tmp_path / "out").mkdir()
    found = setup_of(config, samples, made_with)
    assert set(found.expected.fields) == {"code", *LIBRARIES}
    assert len(found.work.probes) == 3
    assert found.work.made_with
    assert found.weights.sha256 == made_with["weights"]
    prove(found.expected, found.work, SEAT)


@given(st.dictionaries(st.sampled_from(LIBRARIES), TEXTS), st.dictionaries(st.sampled_from(LIBRARIES), TEXTS))
def test_exactly_the_libraries_that_differ_are_named_with_both_versions(expected, others):
    here = {name: expected.get(name, "1") for name in LIBRARIES} | others
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "library_versions", lambda: here)
        named = proof.other_software(Expected.of(expected))
        assert proof.other_software(Expected.of(expected, accept_mixed=True)) == {}
    differing = {name for name in expected if here[name] != expected[name]}
    assert set(named) == {f"{name}: expected {expected[name]}, found {here[name]}" for name in differing}


def test_a_library_that_is_not_there_is_named(monkeypatch):
    def version(name):
        raise proof.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("pipeline.runs.machine._version", version)
    (lack,) = proof.other_software(Expected.of({"torch": "2"}))
    assert lack.endswith("found none")


def test_other_code_is_named(tmp_path):
    error = unfit(Expected(fields={"code": "ab" * 32}), make_work(tmp_path), SEAT)
    assert error.reason == f"code: expected {'ab' * 32}, found {code_sha256()}"
    prove(Expected(fields={"code": code_sha256()}), make_work(tmp_path), SEAT)


def test_nothing_is_loaded_before_everything_is_proven(weights, tmp_path, monkeypatch):
    """Other weights at the driver's path are not those of the run, and this node can have them nowhere else."""
    monkeypatch.setenv("SOD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(setup, "load_model", lambda *_: pytest.fail("a model was loaded"))
    model = ModelConfig(model=str(weights))
    known = weights_of(model)
    (weights / "model.safetensors").write_bytes(b"others")
    made = ReplicaSetup(
        model=model, ensemble=EnsembleConfig(), policy=PolicyConfig(), work=make_work(tmp_path), weights=known
    )
    found = weights_of(model).sha256
    with pytest.raises(NodeUnfitError, match=f"expected {known.sha256}, found {found} in {weights}") as raised:
        made.load(SEAT)
    assert str(raised.value).startswith("10.0.0.7 can't do the work of this run:\n  weights: ")
    with pytest.raises(NodeUnfitError, match="code: expected ab"):
        replace(made, expected=Expected(fields={"code": "ab"})).load(SEAT)


def test_the_drivers_own_process_proves_nothing_again(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "prove", lambda *_: pytest.fail("it was proven again"))
    work = make_work(tmp_path)
    model = ModelConfig(model="fake")
    ReplicaSetup(model=model, ensemble=EnsembleConfig(), policy=PolicyConfig(), work=work).load()


def test_images_that_are_not_there_are_refused(inputs, tmp_path):
    own = make_collection(tmp_path / "own", 3)
    probes = take_probes(read_samples(own.annotations, own.images).samples, 1 << 20)
    work = make_work(tmp_path, probes=probes)
    prove(Expected(), work, SEAT)
    for number in (1, 2, 3):
        own.file(number).unlink()
    assert "image 000000000001 is missing" in unfit(Expected(), work, SEAT).reason


def test_a_run_whose_folder_is_not_there_gets_none(tmp_path):
    work = make_work(tmp_path / "elsewhere")
    assert unfit(Expected(), work, SEAT).lacks == {f"{work.run}: there is no such folder": proof.REMEDY_OF_OUT}
    assert not (tmp_path / "elsewhere").exists()
    prove(Expected(), replace(work, run="memory://anywhere"), SEAT)


def test_a_folder_in_which_the_session_s_lock_is_not_seen_is_another_one(tmp_path):
    work = make_work(tmp_path, lock="lease/000001.json")
    expected = {f"{work.run}: it is not the folder that the driver writes to": proof.REMEDY_OF_OUT}
    assert unfit(Expected(), work, SEAT).lacks == expected
    with locked(str(tmp_path)) as lease:
        assert lease.file == work.lock
        prove(Expected(), work, SEAT)
    prove(Expected(), replace(work, run="memory://anywhere"), SEAT)


def test_what_the_caller_has_found_out_is_compared(tmp_path):
    expected = Expected.of({"witness": "ab", "seed": "1"}, further=("witness",))
    work = make_work(tmp_path)
    prove(expected, work, SEAT, further={"witness": "ab", "more": "1"})
    assert unfit(expected, work, SEAT, further={"witness": "cd"}).reason == "witness: expected ab, found cd"


def broken_torch(error):
    def ones(*_args, **_options):
        raise error

    return SimpleNamespace(ones=ones)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("CUDA error: uncorrectable ECC error encountered\nmore"), "uncorrectable ECC error"),
        (AssertionError("Torch not compiled with CUDA enabled"), "not compiled with CUDA"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_gpu_that_does_not_work_is_found_before_the_model_is_loaded(tmp_path, monkeypatch, error, said):
    monkeypatch.setitem(sys.modules, "torch", broken_torch(error))
    work = make_work(tmp_path)
    lacks = unfit(Expected(), work, SEAT, "cuda").reason
    assert said in lacks
    assert "\n" not in lacks
    prove(Expected(), work, SEAT, "cpu")


def test_a_gpu_that_computes_something_else_is_found(tmp_path, monkeypatch):
    wrong = SimpleNamespace(ones=lambda count, device: SimpleNamespace(sum=lambda: count - 1))
    monkeypatch.setitem(sys.modules, "torch", wrong)
    assert "wrong sum" in unfit(Expected(), make_work(tmp_path), SEAT, "cuda:1").reason


def test_what_a_node_lacks_reaches_the_driver_as_it_is():
    error = NodeUnfitError("n1", {"a: expected 1, found 2": "Do this", "b": "Do this"})
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.node, copied.lacks, str(copied)) == (error.node, error.lacks, str(error))
    assert str(error).splitlines()[1:] == ["  a: expected 1, found 2", "  b", "Do this"]
