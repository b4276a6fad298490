"""Saving, loading and running the real model behind the `SaliencyModel` protocol, and faults of its files."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model.config import EnsembleConfig, ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.loading import load_model
from model.prediction import SaliencyModel
from model.saliency import NETWORKS, DiffusionModel, load_diffusion_model, load_pipeline, resolve_device

WEIGHTS = "diffusion_pytorch_model.safetensors"
ENSEMBLE = EnsembleConfig(ensemble_size=2, denoise_steps=2)

each_network = pytest.mark.parametrize("network", NETWORKS)


class Unpickled:
    """Makes a file when it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.fixture
def own_folder(tiny_folder, tmp_path):
    """The saved tiny pipeline for one test alone, which may damage it."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "own"))


def make_model(folder, **overrides):
    return load_diffusion_model(ModelConfig(**{"model": str(folder), "device": "cpu", **overrides}), ENSEMBLE)


def change_weights(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


# Examples


def test_a_folder_is_loaded_by_name_as_a_saliency_model_that_predicts_as_the_saved_pipeline(
    tiny, tiny_folder, image_of
):
    model = load_model(ModelConfig(model=str(tiny_folder), device="cpu"), ENSEMBLE)
    assert isinstance(model, SaliencyModel)
    assert model.device_kind == "cpu"
    images, keys = [image_of(20, 30), image_of(5, 70, 1)], ["7", "8"]
    for own, expected in zip(model.predict(images, keys), tiny(images, keys, ENSEMBLE), strict=True):
        assert np.array_equal(own.members, expected.members)
        assert np.array_equal(own.saliency, expected.saliency)
        assert np.array_equal(own.variance, expected.variance)


def test_loading_and_saving_keeps_every_tensor_and_every_configuration(tiny_folder, tmp_path):
    load_pipeline(tiny_folder).save_pretrained(tmp_path)
    for name in NETWORKS:
        saved, again = (load_file(folder / name / WEIGHTS) for folder in (tiny_folder, tmp_path))
        assert saved.keys() == again.keys()
        assert all(torch.equal(saved[key], again[key]) for key in saved)
    for name in ("model_index.json", "scheduler/scheduler_config.json", "conditioner/config.json"):
        saved, again = (json.loads((folder / name).read_text()) for folder in (tiny_folder, tmp_path))
        assert {key: value for key, value in again.items() if key != "_name_or_path"} == saved


def test_a_loaded_pipeline_is_in_evaluation_mode_without_gradients(tiny_folder):
    pipeline = load_pipeline(tiny_folder)
    for name in NETWORKS:
        network = getattr(pipeline, name)
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_loaded_weights_do_not_change_with_the_file_they_came_from(own_folder):
    file = own_folder / "unet" / WEIGHTS
    expected = {name: value.clone() for name, value in load_file(file).items()}
    unet = load_pipeline(own_folder).unet
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        stream.write(bytes(file.stat().st_size // 2))
    assert all(torch.equal(value, expected[name]) for name, value in unet.state_dict().items())


def test_weights_are_taken_whatever_their_order_in_the_file(own_folder, tiny, image_of):
    file = own_folder / "conditioner" / WEIGHTS
    tensors = load_file(file)
    save_file(dict(reversed(tensors.items())), file, metadata={"a": "header of another length"})
    (own,) = make_model(own_folder).predict([image_of(20, 30)], ["7"])
    (expected,) = tiny([image_of(20, 30)], ["7"], ENSEMBLE)
    assert np.array_equal(own.members, expected.members)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_loaded_in_the_precision_asked_for(tiny_folder, image_of, dtype):
    model = make_model(tiny_folder, dtype=dtype)
    for name in NETWORKS:
        network = getattr(model.pipeline, name)
        tensors = [*network.parameters(), *network.buffers()]
        assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {getattr(torch, dtype)}
    (prediction,) = model.predict([image_of(20, 30)], ["7"])
    assert prediction.saliency.dtype == np.float32


@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_run_with_the_threads_asked_for_whatever_was_set_since(tiny, monkeypatch, threads):
    seen = []
    monkeypatch.setattr(SODDiffusionPipeline, "__call__", lambda *_: seen.append(torch.get_num_threads()) or [])
    model = DiffusionModel(tiny, ENSEMBLE, threads)
    try:
        torch.set_num_threads(3 - threads)
        model.predict([], [])
    finally:
        torch.set_num_threads(1)
    assert seen == [threads]


@pytest.mark.parametrize(
    ("device", "has_gpu", "resolved"),
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cuda", False, "cuda"),
        ("cuda:1", True, "cuda:1"),
    ],
)
def test_auto_is_the_gpu_where_torch_sees_one(monkeypatch, device, has_gpu, resolved):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert resolve_device(device) == resolved


# Faults


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent holds no model_index\.json"):
        make_model(tmp_path / "absent")


def test_a_folder_without_an_index_is_refused(own_folder):
    (own_folder / "model_index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"own holds no model_index\.json"):
        make_model(own_folder)


def test_an_index_that_is_no_json_is_refused(own_folder):
    (own_folder / "model_index.json").write_text("{")
    with pytest.raises(OSError, match=r"model_index\.json.*not a valid JSON"):
        make_model(own_folder)


@pytest.mark.parametrize("part", [*NETWORKS, "scheduler"])
def test_a_missing_part_is_refused(own_folder, part):
    shutil.rmtree(own_folder / part)
    with pytest.raises(OSError, match="no file named"):
        make_model(own_folder)


@each_network
@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, -1])
def test_a_truncated_file_of_weights_is_refused_with_its_name(own_folder, network, kept):
    file = own_folder / network / WEIGHTS
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(OSError, match=f"Unable to load weights .*{network}"):
        make_model(own_folder)


@each_network
def test_weights_that_lack_a_tensor_are_refused_not_filled_with_random_numbers(own_folder, network):
    lost = []
    change_weights(own_folder / network / WEIGHTS, lambda tensors: lost.append(tensors.popitem()[0]))
    with pytest.raises(ValueError, match=rf"{network} lack 1 tensors, {lost[0]} among them$"):
        make_model(own_folder)


@each_network
def test_weights_of_another_shape_are_refused(own_folder, network):
    def shorten(tensors):
        name = next(name for name, value in tensors.items() if value.ndim == 1)
        tensors[name] = tensors[name][:-1].clone()

    change_weights(own_folder / network / WEIGHTS, shorten)
    with pytest.raises(ValueError, match=rf"{network} do not fit its config\.json"):
        make_model(own_folder)


@each_network
def test_weights_as_a_sound_file_of_torch_are_refused_too(own_folder, network):
    file = own_folder / network / WEIGHTS
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(OSError, match=f"no file named {WEIGHTS}"):
        make_model(own_folder)


@each_network
@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "pytorch_model.bin", WEIGHTS])
def test_a_pickle_in_the_place_of_weights_is_refused_and_not_unpickled(own_folder, tmp_path, network, name):
    proof = tmp_path / "unpickled"
    payload = pickle.dumps(Unpickled(proof))
    (own_folder / network / WEIGHTS).unlink()
    (own_folder / network / name).write_bytes(payload)
    with pytest.raises(OSError, match=r"Unable to load weights|no file named"):
        make_model(own_folder)
    assert not proof.exists()
    pickle.loads(payload)
    assert proof.exists()  # it would have shown
