"""Loading diffusers' networks from other people's folders: exactly the tensors that their configuration needs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from model.checkpoint_files import WEIGHTS, CheckpointError, load_network
from tests.golden.official_files import Unpickled, small_vae

SAFE, BIN = WEIGHTS
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Names of the VAE's attention layers, and those in Stable Diffusion 2's files."""


@pytest.fixture(scope="module")
def saved_vae(tmp_path_factory):
    """A small VAE's folder; tests must not change it."""
    folder = tmp_path_factory.mktemp("vae")
    small_vae().save_pretrained(folder)
    return folder


@pytest.fixture
def vae_folder(saved_vae, tmp_path):
    """A small VAE's folder for one test, which may damage it."""
    return Path(shutil.copytree(saved_vae, tmp_path / "vae"))


def change_weights(folder, change):
    tensors = load_file(folder / SAFE)
    change(tensors)
    save_file(tensors, folder / SAFE)


def change_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def as_torch_file(folder, tensors=None):
    """Replace the folder's weights by a torch file."""
    torch.save(load_file(folder / SAFE) if tensors is None else tensors, folder / BIN)
    (folder / SAFE).unlink()


def assert_holds(network, tensors):
    state = network.state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], value) for name, value in tensors.items())


def old_name(name):
    if ".attentions." not in name:
        return name
    for new, old in OLD_ATTENTION.items():
        name = name.replace(f".{new}.", f".{old}.")
    return name


# What is loaded


def test_a_network_is_loaded_in_evaluation_mode_as_it_was_saved_and_without_the_path(saved_vae):
    vae = load_network(AutoencoderKL, saved_vae)
    assert_holds(vae, load_file(saved_vae / SAFE))
    assert not any(module.training for module in vae.modules())
    assert str(saved_vae) not in vae.to_json_string()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_loaded_as_float32(vae_folder, dtype):
    change_weights(vae_folder, lambda tensors: tensors.update({k: v.to(dtype) for k, v in tensors.items()}))
    assert_holds(
        load_network(AutoencoderKL, vae_folder), {k: v.float() for k, v in load_file(vae_folder / SAFE).items()}
    )


def test_weights_in_a_file_of_torch_are_taken_where_there_is_no_other(vae_folder):
    tensors = load_file(vae_folder / SAFE)
    as_torch_file(vae_folder)
    assert_holds(load_network(AutoencoderKL, vae_folder), tensors)


def test_of_two_files_the_safe_one_is_taken(vae_folder):
    tensors = load_file(vae_folder / SAFE)
    torch.save({name: value + 1 for name, value in tensors.items()}, vae_folder / BIN)
    assert_holds(load_network(AutoencoderKL, vae_folder), tensors)


@pytest.mark.parametrize("by_torch", [False, True])
def test_attention_layers_may_have_the_names_of_stable_diffusions_time(vae_folder, by_torch):
    tensors = load_file(vae_folder / SAFE)
    renamed = {old_name(name): value for name, value in tensors.items()}
    assert sum(name not in tensors for name in renamed) == 16
    if by_torch:
        as_torch_file(vae_folder, renamed)
    else:
        save_file(renamed, vae_folder / SAFE)
    assert_holds(load_network(AutoencoderKL, vae_folder), tensors)


@pytest.mark.parametrize("name", WEIGHTS)
def test_loaded_weights_do_not_change_with_the_file_they_came_from(vae_folder, name):
    tensors = load_file(vae_folder / SAFE)
    expected = {key: value.clone() for key, value in tensors.items()}
    if name == BIN:
        as_torch_file(vae_folder)
    vae, file = load_network(AutoencoderKL, vae_folder), vae_folder / name
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 4)
        stream.write(bytes(file.stat().st_size // 2))
    assert_holds(vae, expected)


# What is refused


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_a_lost_a_foreign_and_a_reshaped_tensor_are_named_with_their_forms(saved_vae, tmp_path_factory, data):
    tensors = load_file(saved_vae / SAFE)
    lost, reshaped = data.draw(st.lists(st.sampled_from(sorted(tensors)), min_size=2, max_size=2, unique=True))
    shapes = {name: list(tensors[name].shape) for name in (lost, reshaped)}
    del tensors[lost]
    tensors[reshaped] = tensors[reshaped][None].clone()
    tensors["foreign.weight"] = torch.ones(3)
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copy(saved_vae / "config.json", folder)
    save_file(tensors, folder / SAFE)
    with pytest.raises(CheckpointError) as raised:
        load_network(AutoencoderKL, folder)
    message = str(raised.value)
    assert message.startswith(str(folder / SAFE))
    assert f"1 missing ({lost} float32 {shapes[lost]})" in message
    assert "1 unknown (foreign.weight)" in message
    assert f"1 of another form ({reshaped} is {[1, *shapes[reshaped]]}, expected {shapes[reshaped]})" in message


def test_whole_numbers_in_the_place_of_weights_are_refused(vae_folder):
    change_weights(vae_folder, lambda tensors: tensors.update({"decoder.conv_in.bias": torch.arange(32)}))
    with pytest.raises(CheckpointError, match=r"decoder\.conv_in\.bias is int64 \[32\], expected floats"):
        load_network(AutoencoderKL, vae_folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"^there is no folder .*/absent$"):
        load_network(AutoencoderKL, tmp_path / "absent")


def test_a_folder_without_a_configuration_is_refused_with_what_it_holds(vae_folder):
    (vae_folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=rf"holds no config\.json.*; it holds {SAFE}$"):
        load_network(AutoencoderKL, vae_folder)


def test_a_folder_without_weights_is_refused_with_what_it_holds(vae_folder):
    (vae_folder / SAFE).rename(vae_folder / "diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(CheckpointError, match=rf"holds no {SAFE} and no {BIN}; it holds config\.json, .*fp16"):
        load_network(AutoencoderKL, vae_folder)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_in_several_files_are_refused(vae_folder, name):
    (vae_folder / f"{name}.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"the weights in .*vae are split"):
        load_network(AutoencoderKL, vae_folder)


def test_the_folder_of_another_network_is_refused(vae_folder):
    with pytest.raises(CheckpointError, match=r"config\.json describes AutoencoderKL, not UNet2DConditionModel"):
        load_network(UNet2DConditionModel, vae_folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("version https://git-lfs.github.com/spec/v1", "is not JSON"),
        ("[]", "describes list, not AutoencoderKL"),
        ("{}", "describes None, not AutoencoderKL"),
    ],
)
def test_a_configuration_that_is_none_is_refused(vae_folder, content, said):
    (vae_folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=rf"config\.json .*{said}|config\.json {said}"):
        load_network(AutoencoderKL, vae_folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"norm_num_groups": 0},
        {"block_out_channels": "many"},
        {"layers_per_block": None},
        {"down_block_types": ["None"]},
    ],
)
def test_a_configuration_of_nonsense_is_refused(vae_folder, fields):
    change_config(vae_folder, **fields)
    with pytest.raises(CheckpointError, match=r"vae can't be loaded as AutoencoderKL: \w+: \S+"):
        load_network(AutoencoderKL, vae_folder)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("kept", [0, 7, 0.5, -1])
def test_a_cut_file_of_weights_is_refused(vae_folder, name, kept):
    if name == BIN:
        as_torch_file(vae_folder)
    content = (vae_folder / name).read_bytes()
    (vae_folder / name).write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=rf"{name} \([\d,]+ bytes\) is "):
        load_network(AutoencoderKL, vae_folder)


def test_code_in_a_file_of_weights_is_refused_and_not_run(vae_folder, tmp_path):
    proof = tmp_path / "unpickled"
    as_torch_file(vae_folder, {"decoder.conv_in.bias": Unpickled(proof)})
    with pytest.raises(CheckpointError, match=f"{BIN} .*Unsupported global"):
        load_network(AutoencoderKL, vae_folder)
    assert not proof.exists()
    torch.load(vae_folder / BIN, weights_only=False)
    assert proof.exists()  # it would have shown
