"""Saving, loading and running the real model behind the `SaliencyModel` protocol, and faults of its files."""

import json
import pickle
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model import memory, saliency
from model.checkpoint_files import CheckpointError
from model.config import ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.loading import load_model
from model.memory import FREE_SHARE, MOST_AT_ONCE, LiveTensors
from model.prediction import ModelMemoryError, SaliencyModel
from model.saliency import (
    NETWORKS,
    DiffusionModel,
    load_diffusion_model,
    load_pipeline,
    on_device,
    ready,
    resolve_device,
)
from tests.model.make import assert_close, assert_equal, make_ensemble

WEIGHTS = "diffusion_pytorch_model.safetensors"
ENSEMBLE = make_ensemble()

each_network = pytest.mark.parametrize("network", NETWORKS)


class Unpickled:
    """Makes a file when it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.fixture
def own_folder(tiny_folder, tmp_path):
    """The saved tiny pipeline for one test, which may damage it."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "own"))


def make_model(folder, **overrides):
    as_saved = {"model": str(folder), "device": "cpu", "memory_format": "contiguous"}  # bit for bit what `tiny` gives
    return load_diffusion_model(ModelConfig(**{**as_saved, **overrides}), ENSEMBLE)


def change_weights(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


# Examples


def test_a_folder_is_loaded_by_name_as_a_saliency_model_that_predicts_as_the_saved_pipeline(
    tiny, tiny_folder, image_of
):
    model = load_model(ModelConfig(model=str(tiny_folder), device="cpu", memory_format="contiguous"), ENSEMBLE)
    assert isinstance(model, SaliencyModel)
    assert model.device_kind == "cpu"
    images, keys = [image_of(20, 30), image_of(5, 70, 1)], ["7", "8"]
    for own, expected in zip(model.predict(images, keys), tiny.predict(images, keys, ENSEMBLE), strict=True):
        assert_equal(own, expected)


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
    (expected,) = tiny.predict([image_of(20, 30)], ["7"], ENSEMBLE)
    assert np.array_equal(own.members, expected.members)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_loaded_in_the_requested_precision(tiny_folder, image_of, dtype):
    model = make_model(tiny_folder, dtype=dtype)
    for name in NETWORKS:
        network = getattr(model.pipeline, name)
        tensors = [*network.parameters(), *network.buffers()]
        assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {getattr(torch, dtype)}
    (prediction,) = model.predict([image_of(20, 30)], ["7"])
    assert prediction.saliency.dtype == np.float32


@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_run_with_the_configured_threads_whatever_was_set_since(tiny, monkeypatch, threads):
    seen = []
    monkeypatch.setattr(SODDiffusionPipeline, "predict", lambda *_: seen.append(torch.get_num_threads()) or [])
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


def test_no_images_give_no_predictions(tiny):
    assert DiffusionModel(tiny, ENSEMBLE, threads=1).predict([], []) == []


@pytest.mark.parametrize(("asked", "side_px"), [(None, 64), (0, 0), (96, 96)])
def test_the_processing_resolution_is_the_configured_one_or_the_weights_own(tiny, asked, side_px):
    assert DiffusionModel(tiny, make_ensemble(processing_res=asked), threads=1).processing_side_px == side_px


# Members at once


@contextmanager
def unet_parts(pipeline, holds=1000):
    """Collect the number of members at each call of the UNet, which runs out of memory above `holds`."""
    parts = []

    def watch(_unet, inputs):
        parts.append(len(inputs[0]))
        if len(inputs[0]) > holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = pipeline.unet.register_forward_pre_hook(watch)
    try:
        yield parts
    finally:
        hook.remove()


def leave_free(monkeypatch, free_bytes):
    for module in (memory, saliency):
        monkeypatch.setattr(module, "free_bytes", lambda _device: int(free_bytes))


def room_for(model, members, height=64, width=64):
    """Free bytes that fit so many members of a padded size."""
    return (members + 0.5) * model._bytes_per_pixel * height * width / FREE_SHARE


@pytest.fixture
def photos(image_of):
    """Two images and their keys: with an ensemble of 4, 8 members."""
    return [image_of(20, 30), image_of(64, 40, 1)], ["7", "8"]


@pytest.mark.parametrize("holds", [1, 3, 4])
def test_after_memory_ran_out_the_result_is_that_of_the_smaller_batch_size_and_later_work_starts_from_it(
    tiny, photos, holds
):
    fitting = {1: 1, 3: 2, 4: 4}[holds]
    model = DiffusionModel(tiny, make_ensemble(ensemble_size=4), threads=1)
    expected = tiny.predict(*photos, make_ensemble(ensemble_size=4, batch_size=fitting))
    with unet_parts(tiny, holds) as parts:
        for prediction, in_parts in zip(model.predict(*photos), expected, strict=True):
            assert_equal(prediction, in_parts)
            assert (prediction.fewer_at_once, in_parts.fewer_at_once) == (fitting, 0)
    assert parts[0] == 8  # all of them were tried
    with unet_parts(tiny) as parts:
        later = model.predict(*photos)
        alone = model.predict(photos[0][:1], photos[1][:1])
    assert set(parts) == {fitting}
    assert [prediction.fewer_at_once for prediction in (*later, *alone)] == [fitting, fitting, fitting % 4]


def test_memory_that_runs_out_with_one_member_is_an_error_and_the_next_image_is_tried_as_ever(tiny, photos):
    model = DiffusionModel(tiny, make_ensemble(ensemble_size=4), threads=1)
    with (
        unet_parts(tiny, holds=0) as parts,
        pytest.raises(ModelMemoryError, match="one ensemble member at a time: CUDA"),
    ):
        model.predict(*photos)
    assert parts == [8, 4, 2, 1]
    with unet_parts(tiny) as parts:
        model.predict(*photos)
    assert set(parts) == {8}


def test_a_small_batch_that_fitted_sets_no_limit_to_a_larger_one(tiny, photos):
    model = DiffusionModel(tiny, make_ensemble(ensemble_size=4), threads=1)
    with unet_parts(tiny) as parts:
        model.predict(photos[0][:1], photos[1][:1])
        model.predict(*photos)
    assert parts == [4, 4, 8, 8]


@pytest.mark.parametrize(("batch_size", "parts"), [(None, {8}), (3, {2}), (100, {8})])
def test_the_configured_number_of_members_passes_at_once_whatever_memory_is_free(
    tiny, photos, monkeypatch, batch_size, parts
):
    leave_free(monkeypatch, 0)  # ignored: running out of memory raises an error
    with unet_parts(tiny) as seen:
        DiffusionModel(tiny, make_ensemble(ensemble_size=4, batch_size=batch_size), threads=1).predict(*photos)
    assert set(seen) == parts


@pytest.mark.parametrize(("fitting", "most"), [(1, 1), (3, 2), (8, 8), (50, 8)])
def test_with_batch_size_0_as_many_members_as_fit_the_free_memory_in_equal_parts(
    tiny, photos, monkeypatch, fitting, most
):
    model = DiffusionModel(tiny, make_ensemble(ensemble_size=4, batch_size=0), threads=1)
    leave_free(monkeypatch, room_for(model, fitting))
    with unet_parts(tiny) as parts:
        predictions = model.predict(*photos)
    assert max(parts) == most
    expected = tiny.predict(*photos, make_ensemble(ensemble_size=4, batch_size=min(fitting, 8)))
    for prediction, in_parts in zip(predictions, expected, strict=True):
        assert_equal(prediction, in_parts)


def test_with_batch_size_0_members_at_once_stay_within_the_useful_number(tiny, image_of, monkeypatch):
    most = MOST_AT_ONCE["cpu"]
    model = DiffusionModel(tiny, make_ensemble(ensemble_size=most + 1, denoise_steps=1, batch_size=0), threads=1)
    leave_free(monkeypatch, 1 << 60)
    with unet_parts(tiny) as parts:
        model.predict([image_of(9, 9)], ["7"])
    assert parts == [1, most // 2 + 1, most // 2]  # a trial first, to see what one takes


@pytest.mark.parametrize(("batch_size", "parts"), [(None, {2, 1}), (0, {2, 1}), (3, {3})])
def test_at_own_sizes_the_largest_image_decides_how_many_members_fit_unless_configured(
    tiny, image_of, monkeypatch, batch_size, parts
):
    ensemble = make_ensemble(ensemble_size=3, processing_res=0, batch_size=batch_size)
    model = DiffusionModel(tiny, ensemble, threads=1)
    leave_free(monkeypatch, room_for(model, 2, height=64, width=192))
    with unet_parts(tiny) as seen:
        model.predict([image_of(30, 30), image_of(10, 130, 1), image_of(70, 64, 2)], ["7", "8", "9"])
    assert set(seen) == parts


@pytest.mark.parametrize(
    ("processing_res", "batch_size", "said"), [(64, 0, "64 x 64 px"), (0, None, "192 x 64 px"), (0, 5, "192 x 64 px")]
)
def test_a_member_that_does_not_fit_is_refused_with_its_size_before_any_work(
    tiny, image_of, monkeypatch, processing_res, batch_size, said
):
    model = DiffusionModel(tiny, make_ensemble(processing_res=processing_res, batch_size=batch_size), threads=1)
    leave_free(monkeypatch, room_for(model, 0, height=64, width=64))
    with unet_parts(tiny) as parts, pytest.raises(ModelMemoryError) as refused:
        model.predict([image_of(30, 30), image_of(10, 130, 1)], ["7", "8"])
    assert f"one ensemble member of {said} takes about 0.0 GiB, 0.0 GiB are free" in str(refused.value)
    assert "smaller --processing-res" in str(refused.value)
    assert parts == []


def test_memory_per_member_is_measured_once_and_suffices_for_each_of_many(tiny, image_of):
    model = DiffusionModel(tiny, make_ensemble(ensemble_size=4, processing_res=0), threads=1)
    with unet_parts(tiny) as parts, LiveTensors() as tensors:
        model.predict([image_of(128, 192)], ["7"])
    assert parts == [1, 4, 4]  # a trial with one member, then two steps
    assert 0.8 < tensors.peak_bytes / (4 * 128 * 192 * model._bytes_per_pixel) <= 1
    with unet_parts(tiny) as parts:
        model.predict([image_of(128, 192)], ["7"])
    assert parts == [4, 4]


def test_fewer_members_at_once_change_only_the_last_bits(tiny, photos):
    model = DiffusionModel(tiny, make_ensemble(ensemble_size=4), threads=1)
    undisturbed = model.predict(*photos)
    with unet_parts(tiny, holds=2):
        for prediction, whole in zip(model.predict(*photos), undisturbed, strict=True):
            assert_close(prediction, whole)


# Faults


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent holds no model_index\.json"):
        make_model(tmp_path / "absent")


def test_a_folder_without_an_index_is_refused(own_folder):
    (own_folder / "model_index.json").unlink()
    with pytest.raises(CheckpointError, match=r"own holds no model_index\.json"):
        make_model(own_folder)


def test_an_index_that_is_no_json_is_refused(own_folder):
    (own_folder / "model_index.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"model_index\.json \(1 bytes\) is not JSON that is read here"):
        make_model(own_folder)


@pytest.mark.parametrize("part", [*NETWORKS, "scheduler"])
def test_a_missing_part_is_refused(own_folder, part):
    shutil.rmtree(own_folder / part)
    with pytest.raises(CheckpointError, match=rf"own holds no {part}/config\.json|own/scheduler can't be loaded"):
        make_model(own_folder)


@each_network
@pytest.mark.parametrize("kept", [0, 0.5, -1])
def test_a_truncated_file_of_weights_is_refused_with_its_name(own_folder, network, kept):
    file = own_folder / network / WEIGHTS
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=rf"{network}/{WEIGHTS} \(.* bytes\) is (torn|empty)"):
        make_model(own_folder)


@each_network
def test_weights_that_lack_a_tensor_are_refused_not_filled_with_random_numbers(own_folder, network):
    lost = []
    change_weights(own_folder / network / WEIGHTS, lambda tensors: lost.append(tensors.popitem()[0]))
    with pytest.raises(
        CheckpointError, match=rf"{network}/{WEIGHTS} does not hold the expected tensors: 1 missing \({lost[0]} "
    ):
        make_model(own_folder)


@each_network
def test_weights_of_another_shape_are_refused(own_folder, network):
    def shorten(tensors):
        name = next(name for name, value in tensors.items() if value.ndim == 1)
        tensors[name] = tensors[name][:-1].clone()

    change_weights(own_folder / network / WEIGHTS, shorten)
    with pytest.raises(
        CheckpointError, match=rf"{network}/{WEIGHTS} does not hold the expected tensors: 1 of another form"
    ):
        make_model(own_folder)


@each_network
def test_weights_as_a_sound_file_of_torch_are_refused_too(own_folder, network):
    file = own_folder / network / WEIGHTS
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(CheckpointError, match=f"{network} holds no {WEIGHTS}; it holds"):
        make_model(own_folder)


@each_network
@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "pytorch_model.bin", WEIGHTS])
def test_a_pickle_in_the_place_of_weights_is_refused_and_not_unpickled(own_folder, tmp_path, network, name):
    proof = tmp_path / "unpickled"
    payload = pickle.dumps(Unpickled(proof))
    (own_folder / network / WEIGHTS).unlink()
    (own_folder / network / name).write_bytes(payload)
    with pytest.raises(CheckpointError, match=rf"{network} holds no {WEIGHTS}|{WEIGHTS} .* is torn"):
        make_model(own_folder)
    assert not proof.exists()
    pickle.loads(payload)
    assert proof.exists()  # it would have shown


@pytest.mark.parametrize(("own_px", "batch_stats", "least"), [(7, False, 8), (32, True, 33)])
def test_weights_for_images_that_are_too_small_are_refused_unless_another_size_is_asked_for(
    own_tiny, own_px, batch_stats, least
):
    own_tiny.set_processing_res(own_px)
    with pytest.raises(ValueError, match=f"^processing_res of the weights is {own_px}; it must be at least {least} px"):
        ready(own_tiny, ModelConfig(), make_ensemble(batch_stats=batch_stats))
    ready(own_tiny, ModelConfig(), make_ensemble(batch_stats=batch_stats, processing_res=64))


def test_an_unknown_device_is_refused_by_name(own_tiny):
    with pytest.raises(ValueError, match=r"^device nonsense can't be used: Expected one of cpu, cuda"):
        on_device(own_tiny, "nonsense")


@pytest.mark.parametrize("error", [AssertionError("Torch not compiled with CUDA"), RuntimeError("no driver\nat all")])
def test_a_device_that_torch_was_not_built_for_is_refused_in_one_line(own_tiny, monkeypatch, error):
    def to(_device):
        raise error

    monkeypatch.setattr(own_tiny, "to", to)
    with pytest.raises(ValueError, match=rf"^device cuda can't be used: {str(error).splitlines()[0]}$"):
        on_device(own_tiny, "cuda")
