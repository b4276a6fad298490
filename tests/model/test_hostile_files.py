"""Files of weights and configurations that were made to take memory or to reach out: refused before they do."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checkpoint_files import CheckpointError, load_network, load_scheduler, read_tensors
from model.conditioner import SaliencyConditioner
from model.config import EMBEDDED_MODEL
from model.network_config import BACKBONE_ARGUMENTS, require_backbone
from model.saliency import load_pipeline

ROOT = Path(__file__).resolve().parents[2]
MOST_MEMORY_BYTES = 3 << 30

READ = """
import resource, sys
from pathlib import Path
from model.checkpoint_files import CheckpointError, read_tensors
for name in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read_tensors(Path(name))
    except CheckpointError as error:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, str(error))
"""
STORAGE = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\x00\x00\x00\x70NtQ"
OLD_FORM = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
A_TENSOR = STORAGE + b"K\x00K\x01\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
HOSTILE = {
    "bytes by number": b"\x80\x02cbuiltins\nbytearray\nI5000000000\n\x85R.",
    "bytes by the other name": b"\x80\x02c__builtin__\nbytearray\nI5000000000\n\x85R.",
    "bytes by a remembered name": b"\x80\x04\x8c\x08builtins\x94\x8c\x09bytearray\x94\x93I5000000000\n\x85R.",
    "a tensor by number": b"\x80\x02ctorch\nTensor\nI2000000000\n\x85R.",
    "a string that claims a length": b"\x80\x02X\xff\xff\xff\x7f.",
    "bytes that claim a length": b"\x80\x04\x8e\x00\x00\x00\x00\x02\x00\x00\x00.",
    "a number that claims a length": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a storage that claims a length": OLD_FORM
    + b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n" + A_TENSOR + b"s.\x80\x02].",
}  # fmt: skip


@pytest.fixture(params=["vae", "unet", "conditioner"])
def part(request):
    return request.param


@pytest.fixture
def nano(tmp_path):
    return Path(shutil.copytree(EMBEDDED_MODEL, tmp_path / "nano"))


def change(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_few_bytes_of_pickle_take_no_memory(tmp_path):
    files = [tmp_path / f"{kind}.pth" for kind in HOSTILE]
    for file in files:
        file.write_bytes(HOSTILE[file.stem])
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))}
    command = [sys.executable, "-c", READ, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **limit)
    said = done.stdout.splitlines()
    assert len(said) == len(files), done.stderr
    for file, line in zip(files, said, strict=True):
        taken_kb, _, message = line.partition(" ")
        assert int(taken_kb) < 100_000, message
        assert str(file) in message
        assert "memory" not in message.lower()


def test_a_tensor_that_repeats_a_few_bytes_is_no_weight(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**9)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds more than names and tensors"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "fields",
    [
        {"layers_per_block": 10**6},
        {"layers_per_block": [10**6] * 4},
        {"block_out_channels": [10**7] * 4},
        {"block_out_channels": [16] * 10**5},
        {"block_out_channels": [8192] * 4},
        {"sample_size": 10**9},
        {"norm_num_groups": -7},
        {"latent_channels": 10**5},
        {"act_fn": "x" * 10**5},
        {"down_block_types": ["DownEncoderBlock2D"] * 1000},
        {"scaling_factor": 1e308},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"auto_map": {"AutoModel": "evil.py"}},
        {"no_such_field": 1},
        {"block_out_channels": [[[[16]]]]},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_a_vae_that_describes_itself_out_of_bounds_is_refused_before_it_is_built(nano, fields, monkeypatch):
    change(nano / "vae" / "config.json", **fields)
    monkeypatch.setattr(AutoencoderKL, "from_pretrained", None)  # nothing may get as far
    with pytest.raises(CheckpointError, match=r"vae can't be loaded as AutoencoderKL: \w+") as refused:
        load_network(AutoencoderKL, nano / "vae")
    assert "NoneType" not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"layers_per_block": ' + b"1" * 5000 + b"}",
        b" " * (2 << 20),
        b'"x"',
        b"\xff",
    ],
    ids=["deep list", "deep object", "long number", "large", "text", "no text"],
)
@pytest.mark.parametrize("name", ["vae/config.json", "scheduler/scheduler_config.json", "model_index.json"])
def test_a_configuration_beyond_all_bounds_is_refused_and_no_other_error_is_raised(nano, name, content):
    (nano / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"can't be loaded|is not JSON|describes|does not describe"):
        load_pipeline(nano)


@pytest.mark.parametrize(
    "fields", [{"num_train_timesteps": 10**10}, {"trained_betas": [0.1] * 150_000}, {"x": {"y": 1}}]
)
def test_a_scheduler_out_of_bounds_is_refused(nano, fields):
    change(nano / "scheduler" / "scheduler_config.json", **fields)
    with pytest.raises(CheckpointError, match="scheduler can't be loaded as DDIMScheduler"):
        load_scheduler(nano / "scheduler")


@pytest.mark.parametrize("side_px", [0, -1, 10**6, "x", None, 1.5, True])
def test_a_pipeline_of_an_impossible_size_is_refused(nano, side_px):
    change(nano / "model_index.json", default_processing_res=side_px)
    with pytest.raises(CheckpointError, match="default_processing_res"):
        load_pipeline(nano)


# What could reach out


@pytest.mark.parametrize(
    "name",
    [
        "hf-hub:evil/model", "hf_hub:evil/model", "local-dir:/tmp/x", "https://host/x", "../x", "/etc/passwd", "a:b",
        "timm/x", "", None, 5, "resnet18\n", "resnet18 ", "a.b.c",
    ],
)  # fmt: skip
def test_a_backbone_that_is_an_address_is_refused(nano, name):
    change(nano / "conditioner" / "config.json", backbone_name=name)
    with pytest.raises(CheckpointError, match="no name of a timm model"):
        load_network(SaliencyConditioner, nano / "conditioner")
    with pytest.raises(ValueError, match="no name of a timm model"):
        require_backbone(name, {})


@pytest.mark.parametrize(
    "argument",
    ["checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "scriptable",
     "features_only", "out_indices", "pretrained_strict", "feature_cfg", "act_layer", "norm_layer", "num_classes"],
)  # fmt: skip
def test_an_argument_of_a_backbone_that_does_not_shape_it_is_refused(nano, argument):
    change(nano / "conditioner" / "config.json", backbone_args={argument: "/etc/passwd"})
    with pytest.raises(CheckpointError, match=f"backbone_args has '{argument}'"):
        load_network(SaliencyConditioner, nano / "conditioner")


@given(st.text(max_size=20), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3))
@settings(max_examples=4 * settings().max_examples)
def test_no_other_argument_of_a_backbone_is_accepted(argument, value):
    if argument not in BACKBONE_ARGUMENTS:
        with pytest.raises(ValueError, match="backbone_args has "):
            require_backbone("resnet18", {argument: value})


def test_the_embedded_model_is_within_all_bounds(nano):
    assert load_pipeline(nano).default_processing_res == 192
