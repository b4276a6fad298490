"""Starting weights of a training: a UNet with a wider input, a backbone's weights; faults of both."""

import json
import re
import shutil

import pytest
import timm
import torch
from safetensors.torch import save_file

from model import training_start
from model.checkpoints import CheckpointError, load_branch
from model.saliency import NETWORKS, load_pipeline
from model.training_start import (
    double_input,
    is_stable_diffusion,
    load_backbone,
    load_branch_or_backbone,
    load_start,
    start_from_stable_diffusion,
    write_start,
)
from tests.golden.fill import fill_
from tests.golden.official_files import (
    small_unet,
    small_vae,
    tiny_branch_state,
    tiny_conditioner,
    write_stable_diffusion,
)


@pytest.fixture(autouse=True)
def _tiny_branch(monkeypatch):
    monkeypatch.setattr(training_start, "swin_b_conditioner", tiny_conditioner)


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    """Stable Diffusion's folders; tests must not change them."""
    folder = tmp_path_factory.mktemp("sd2")
    write_stable_diffusion(folder)
    return folder


@pytest.fixture(scope="module")
def classifier():
    """The tiny backbone's tensors in timm's whole classifier of 10 classes, by formula."""
    config = tiny_conditioner().config
    return fill_(timm.create_model(config.backbone_name, num_classes=10, **config.backbone_args).state_dict())


def microsofts(classifier):
    """The classifier as in Microsoft's files: tables stored, downsampling after a stage, under a key."""
    names = {
        name: re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name)
        for name in classifier
    }
    tensors = {names[name].replace("head.fc.", "head."): value for name, value in classifier.items()}
    tables = {
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(4, 4, dtype=torch.int64),
        "layers.0.blocks.0.attn_mask": torch.zeros(64, 4, 4),
    }
    return {"model": tensors | tables}


def assert_has_weights(conditioner, classifier):
    """Compare features: names are what is being tested."""
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    config = conditioner.config
    whole = timm.create_model(config.backbone_name, num_classes=10, **config.backbone_args).eval()
    whole.load_state_dict(classifier)
    with torch.no_grad():
        _, features = whole.forward_intermediates(images, indices=3)
        for own, expected in zip(conditioner.backbone.eval()(images), features, strict=True):
            torch.testing.assert_close(own.permute(0, 3, 1, 2), expected)


def state_of(conditioner):
    return {name: value.clone() for name, value in conditioner.state_dict().items()}


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


# The UNet's input


@torch.no_grad()
def test_a_doubled_input_makes_of_two_equal_halves_what_it_made_of_one():
    narrow, wide = small_unet(in_channels=4), small_unet(in_channels=4)
    double_input(wide)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    context = torch.randn(2, 3, 1024, generator=torch.Generator().manual_seed(1))
    own = wide(torch.cat([latents, latents], 1), 7, encoder_hidden_states=context).sample
    torch.testing.assert_close(own, narrow(latents, 7, encoder_hidden_states=context).sample)
    assert wide.config.in_channels == 8


@torch.no_grad()
def test_both_halves_of_a_doubled_input_count_alike():
    wide = small_unet(in_channels=4)
    double_input(wide)
    one, other = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(wide.conv_in(torch.cat([one, other], 1)), wide.conv_in(torch.cat([other, one], 1)))


# The start


def test_all_but_the_input_is_stable_diffusions_and_the_folder_is_a_pipeline_to_train(repo, tmp_path):
    write_start(repo, None, tmp_path / "out", seed=3)
    pipeline = load_pipeline(tmp_path / "out")
    for name, original in (("unet", small_unet(in_channels=4)), ("vae", small_vae())):
        own = getattr(pipeline, name).state_dict()
        assert equal({key: v for key, v in original.state_dict().items() if key != "conv_in.weight"}, own)
    unet = pipeline.unet
    assert (unet.config.in_channels, unet.config.sample_size, unet.conv_in.in_channels) == (8, 48, 8)
    assert equal(
        pipeline.conditioner.state_dict(), start_from_stable_diffusion(repo, None, seed=3).conditioner.state_dict()
    )


def test_everything_can_be_trained(repo):
    pipeline = start_from_stable_diffusion(repo, None)
    for name in NETWORKS:
        assert all(parameter.requires_grad for parameter in getattr(pipeline, name).parameters())


def test_the_seed_alone_decides_the_random_weights(repo):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = state_of(start_from_stable_diffusion(repo, None, seed=3).conditioner)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert equal(one, state_of(start_from_stable_diffusion(repo, None, seed=3).conditioner))
    other = state_of(start_from_stable_diffusion(repo, None, seed=4).conditioner)
    assert not torch.equal(one["encoders.0.point.conv.weight"], other["encoders.0.point.conv.weight"])
    assert not torch.equal(one["backbone.patch_embed.proj.weight"], other["backbone.patch_embed.proj.weight"])


def test_equal_starts_have_the_backbones_weights_and_equal_bytes_and_name_their_origin(repo, classifier, tmp_path):
    save_file(classifier, tmp_path / "swin.safetensors")
    for name in ("one", "two"):
        write_start(repo, tmp_path / "swin.safetensors", tmp_path / name, seed=3, dtype=torch.bfloat16)
    sums = [(tmp_path / name / "SHA256SUMS").read_text() for name in ("one", "two")]
    assert sums[0] == sums[1]
    first = load_pipeline(tmp_path / "one", torch.bfloat16).conditioner.backbone.patch_embed.proj
    assert torch.equal(first.weight, classifier["patch_embed.proj.weight"].bfloat16())
    origin = json.loads((tmp_path / "one/origin.json").read_text())
    assert (origin["seed"], origin["dtype"]) == (3, "bfloat16")
    assert {part: sorted(files) for part, files in origin["files"].items()} == {
        "unet": ["config.json", "diffusion_pytorch_model.safetensors"],
        "vae": ["config.json", "diffusion_pytorch_model.safetensors"],
        "scheduler": ["scheduler_config.json"],
        "backbone": ["swin.safetensors"],
    }


def test_the_origin_names_a_random_backbone(repo, tmp_path):
    write_start(repo, None, tmp_path / "out")
    assert json.loads((tmp_path / "out/origin.json").read_text())["backbone"] == "random"


@pytest.mark.parametrize(
    ("unet", "said"),
    [({}, "in_channels is 8, expected 4"), ({"in_channels": 4, "cross_attention_dim": 768}, "is 768, expected 1024")],
)
def test_another_unet_than_stable_diffusions_is_refused(repo, tmp_path, unet, said):
    write_stable_diffusion(tmp_path)
    small_unet(**unet).save_pretrained(tmp_path / "unet")
    with pytest.raises(CheckpointError, match=rf"unet/config\.json: .*{said}$"):
        start_from_stable_diffusion(tmp_path, None)


def test_a_folder_that_holds_something_is_refused_first(tmp_path):
    (tmp_path / "kept").touch()
    with pytest.raises(CheckpointError, match="already exists"):
        write_start(tmp_path / "nowhere", None, tmp_path)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(repo, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(training_start, "start_from_stable_diffusion", None)
    with pytest.raises(CheckpointError, match="nothing can be written there"):
        write_start(repo, None, tmp_path / "file/out")


@pytest.mark.parametrize(("part", "backbone"), [("scheduler", None), (None, "swin_tiny_patch4_window7_224.none")])
def test_missing_parts_and_backbones_are_refused_before_the_unet_is_loaded(repo, tmp_path, monkeypatch, part, backbone):
    monkeypatch.setattr(training_start, "load_network", None)
    folder = shutil.copytree(repo, tmp_path / "sd2")
    if part:
        shutil.rmtree(folder / part)
    with pytest.raises(CheckpointError, match=r"no file .*scheduler_config|is neither a file nor"):
        start_from_stable_diffusion(folder, backbone)


# The backbone


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_with_timms_names_is_taken(classifier, tmp_path, suffix):
    file = tmp_path / f"swin{suffix}"
    save_file(classifier, file) if suffix == ".safetensors" else torch.save(classifier, file)
    conditioner = tiny_conditioner()
    axial = {name: value for name, value in state_of(conditioner).items() if not name.startswith("backbone.")}
    load_backbone(conditioner, file)
    assert_has_weights(conditioner, classifier)
    assert equal(axial, conditioner.state_dict())


def test_a_file_with_microsofts_names_is_taken(classifier, tmp_path):
    torch.save(microsofts(classifier), tmp_path / "swin.pth")
    conditioner = tiny_conditioner()
    load_backbone(conditioner, str(tmp_path / "swin.pth"))
    assert_has_weights(conditioner, classifier)


def test_head_and_last_norm_may_be_missing(classifier, tmp_path):
    kept = {name: value for name, value in classifier.items() if not name.startswith(("head.", "norm."))}
    assert len(kept) == len(classifier) - 4
    torch.save(kept, tmp_path / "swin.pth")
    conditioner = tiny_conditioner()
    load_backbone(conditioner, tmp_path / "swin.pth")
    assert_has_weights(conditioner, classifier)


@pytest.mark.parametrize("layout", [dict, microsofts])
@pytest.mark.parametrize(
    "name",
    ["patch_embed.proj.weight", "layers.2.downsample.norm.bias", "layers.3.blocks.0.attn.relative_position_bias_table"],
)
def test_a_file_that_lacks_a_tensor_is_refused_and_changes_nothing(classifier, tmp_path, layout, name):
    torch.save(layout({key: value for key, value in classifier.items() if key != name}), tmp_path / "swin.pth")
    conditioner = tiny_conditioner()
    before = state_of(conditioner)
    with pytest.raises(
        CheckpointError, match=re.escape(f"swin.pth does not hold the expected tensors: 1 missing ({name} ")
    ):
        load_backbone(conditioner, tmp_path / "swin.pth")
    assert equal(before, conditioner.state_dict())


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ({"norm.other": torch.ones(1)}, r"1 unknown \(norm\.other float32 \[1\]\)"),
        ({"layers.0.blocks.0.norm1.bias": torch.ones(3)}, r"norm1\.bias is float32 \[3\], expected float32 \[16\]"),
        ({"layers.9.blocks.0.attn.relative_position_bias_table": torch.ones(9, 1)}, "holds no swin_tiny"),
    ],
)
def test_a_file_of_another_network_is_refused(classifier, tmp_path, added, said):
    torch.save(classifier | added, tmp_path / "swin.pth")
    with pytest.raises(CheckpointError, match=said):
        load_backbone(tiny_conditioner(), tmp_path / "swin.pth")


def test_neither_a_file_nor_a_known_name_is_refused_with_the_known_names(tmp_path):
    for wrong in (tmp_path / "absent.pth", "swin_tiny_patch4_window7_224.no_such", "resnet18.a1_in1k"):
        with pytest.raises(CheckpointError, match=r"is neither a file .*: swin_tiny_patch4_window7_224\.ms_in1k"):
            load_backbone(tiny_conditioner(), wrong)


def test_timm_downloads_a_name_and_all_tensors_are_required(classifier, monkeypatch):
    asked = []

    def create_model(name, **arguments):
        asked.append((name, arguments))
        model = make_model(name.partition(".")[0], **{**arguments, "pretrained": False, "num_classes": 10})
        model.load_state_dict(classifier)
        return model

    make_model, conditioner = timm.create_model, tiny_conditioner()
    monkeypatch.setattr(timm, "create_model", create_model)
    load_backbone(conditioner, "swin_tiny_patch4_window7_224.ms_in1k")
    monkeypatch.undo()
    assert_has_weights(conditioner, classifier)
    arguments = dict(conditioner.config.backbone_args)
    assert asked == [("swin_tiny_patch4_window7_224.ms_in1k", {"pretrained": True, **arguments})]


def test_without_a_network_a_name_is_refused_with_advice(monkeypatch):
    def create_model(*_, **__):
        raise ConnectionError("no route to host")

    conditioner = tiny_conditioner()
    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(CheckpointError, match=r"can't download .*ms_in1k; give a file.*ConnectionError: no route"):
        load_backbone(conditioner, "swin_tiny_patch4_window7_224.ms_in1k")


# Whatever a user has


def test_both_stable_diffusions_folder_and_a_model_folder_can_start_a_training(repo, tmp_path):
    begun = load_start(repo, seed=3)
    assert is_stable_diffusion(repo)
    assert begun.unet.config.in_channels == 8
    begun.save_pretrained(tmp_path / "ours")
    assert not is_stable_diffusion(tmp_path / "ours")
    again = load_start(tmp_path / "ours", seed=4)
    for name in NETWORKS:
        assert_equal_states(getattr(again, name), getattr(begun, name))


def test_a_released_branch_is_told_from_a_classifier_by_its_names(tmp_path, classifier):
    torch.save(tiny_branch_state(), tmp_path / "branch.pth")
    save_file(classifier, tmp_path / "classifier.safetensors")
    branch, backbone = tiny_conditioner(), tiny_conditioner()
    load_branch_or_backbone(branch, tmp_path / "branch.pth")
    load_branch_or_backbone(backbone, tmp_path / "classifier.safetensors")
    expected = tiny_conditioner()
    load_branch(expected, tmp_path / "branch.pth")
    assert_equal_states(branch, expected)
    assert_has_weights(backbone, classifier)


def test_a_missing_file_is_not_looked_for_elsewhere(tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        load_branch_or_backbone(tiny_conditioner(), tmp_path / "swin_base_patch4_window12_384.ms_in1k")


def assert_equal_states(network, expected):
    found, wanted = network.state_dict(), expected.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
