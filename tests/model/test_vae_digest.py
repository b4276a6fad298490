"""The digest of a VAE: one for a folder and a network, whatever the precision, the names and the order of tensors."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from safetensors.torch import load_file, save_file

from model.checkpoint_files import SAFETENSORS, load_network
from model.vae_digest import _digest, digest_of_folder, digest_of_network, remember_digest
from tests.model.conftest import build_tiny

ARRAYS = st.lists(
    st_np.arrays(np.float32, st.sampled_from([(2,), (3, 2), (1,)]), elements=st.floats(width=32, allow_nan=False)),
    min_size=1,
    max_size=4,
)
quick = settings(max_examples=50, deadline=None)


@pytest.fixture
def saved(own_tiny, tmp_path):
    """A folder of a VAE of which hardly a weight is exact in float16."""
    vae = own_tiny.vae
    for weight in vae.parameters():
        weight.data += 1e-5
    vae.save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def load(folder, dtype=torch.float32):
    return load_network(type(build_tiny().vae), folder, dtype)


@quick
@given(ARRAYS, st.randoms())
def test_rounding_to_float16_and_the_order_do_not_change_it(arrays, random):
    with np.errstate(over="ignore"):
        halves = [array.astype(np.float16) for array in arrays]
    expected = _digest(arrays, 0.5)
    random.shuffle(halves)
    assert _digest(halves, 0.5) == expected
    assert _digest([half.astype(np.float32) for half in halves], 0.5) == expected
    assert _digest([torch.from_numpy(array).half().numpy() for array in arrays], 0.5) == expected  # torch rounds alike


@quick
@given(ARRAYS, st.data())
def test_another_value_or_shape_or_factor_changes_it(arrays, data):
    expected, place = _digest(arrays, 0.5), data.draw(st.integers(0, len(arrays) - 1))
    changed = [array.copy() for array in arrays]
    changed[place].flat[-1] = 2 if changed[place].flat[-1] < 1.5 else 1
    assert _digest(changed, 0.5) != expected
    assert _digest([*arrays[:place], arrays[place][None], *arrays[place + 1 :]], 0.5) != expected
    assert _digest(arrays[:-1], 0.5) != expected
    assert _digest(arrays, 0.25) != expected


def test_folder_and_network_have_the_same_in_either_precision(saved, tmp_path):
    expected = digest_of_folder(saved)
    assert digest_of_network(load(saved)) == digest_of_network(load(saved, torch.float16)) == expected
    assert digest_of_network(load(saved).to(memory_format=torch.channels_last)) == expected
    load(saved).to(torch.float16).save_pretrained(tmp_path / "half")
    assert digest_of_folder(tmp_path / "half") == digest_of_network(load(tmp_path / "half")) == expected
    load(saved).to(torch.float64).save_pretrained(tmp_path / "double")
    assert digest_of_folder(tmp_path / "double") == digest_of_network(load(tmp_path / "double")) == expected


def test_names_that_diffusers_changes_when_it_loads_do_not_count(saved):
    expected, file = digest_of_folder(saved), saved / SAFETENSORS
    tensors = load_file(file)
    old = {name.replace("to_q", "query").replace("to_out.0", "proj_attn"): value for name, value in tensors.items()}
    assert old.keys() != tensors.keys()
    save_file(old, file)
    assert digest_of_folder(saved) == expected
    assert digest_of_network(load(saved)) == expected


def test_a_factor_that_is_not_stated_is_that_of_diffusers(saved):
    config = saved / "config.json"
    fields = json.loads(config.read_bytes()) | {"scaling_factor": 0.5}
    config.write_text(json.dumps(fields))
    other = digest_of_folder(saved)
    del fields["scaling_factor"]
    config.write_text(json.dumps(fields))
    assert digest_of_folder(saved) == digest_of_network(load(saved)) != other


def test_bfloat16_tells_nothing_unless_the_files_did(saved, tmp_path):
    vae = load(saved, torch.bfloat16)
    assert digest_of_network(vae) is None
    remember_digest(vae, saved)
    assert digest_of_network(vae) == digest_of_folder(saved)
    load(saved).to(torch.bfloat16).save_pretrained(tmp_path / "rounded")
    assert digest_of_folder(tmp_path / "rounded") is None


def test_weights_that_were_widened_after_they_were_rounded_are_those_of_the_files(saved):
    vae = load(saved, torch.bfloat16)
    remember_digest(vae, saved)
    assert digest_of_network(vae.to(torch.float32)) == digest_of_folder(saved)
    next(vae.parameters()).data.mul_(1.001)
    assert digest_of_network(vae) != digest_of_folder(saved)


def test_what_was_changed_in_memory_has_another(saved):
    vae = load(saved)
    remember_digest(vae, saved)
    next(vae.parameters()).data += 1
    assert digest_of_network(vae) != digest_of_folder(saved)


@pytest.mark.parametrize("factor", [None, "0.5", True, []])
def test_a_factor_that_is_no_number_is_refused(saved, factor):
    config = saved / "config.json"
    config.write_text(json.dumps(json.loads(config.read_bytes()) | {"scaling_factor": factor}))
    with pytest.raises(ValueError, match="scaling_factor must be a number"):
        digest_of_folder(saved)


def test_torn_weights_are_refused_by_name_and_missing_ones_too(saved):
    file = saved / SAFETENSORS
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match=rf"{SAFETENSORS} is torn or not a file of tensors"):
        digest_of_folder(saved)
    shutil.rmtree(saved)
    with pytest.raises(FileNotFoundError):
        digest_of_folder(saved)
