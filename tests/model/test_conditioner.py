"""The conditioner: against the reference's outputs, by properties, examples and faults."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional

from model.architectures import build_pipeline
from model.conditioner import SaliencyConditioner, position_code
from tests.golden.branch import GOLDEN, batch_statistics

few = settings(deadline=None, max_examples=15)


def make_conditioner(**overrides):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fields = {"backbone_name": "test_efficientnet", "feature_channels": 16, **overrides}
        return SaliencyConditioner(**fields).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def conditioner():
    return make_conditioner(position_code=True, context_repeats=3)


def images_of(count, height, width, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


# The reference


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "branch.safetensors")


@pytest.fixture(scope="module")
def golden_input():
    draw = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(11))
    return functional.interpolate(draw, size=(384, 384), mode="bilinear", align_corners=True).clamp(0, 1)


def relative_error(features, expected):
    return ((features[:, :, ::3, ::3] - expected).abs().max() / expected.std()).item()


@torch.no_grad()
def test_features_are_the_references_with_running_statistics(branch, golden, golden_input):
    assert relative_error(branch(golden_input).features, golden["features_running_stats"]) < 2e-3


@torch.no_grad()
def test_features_are_the_references_with_the_statistics_of_the_image(branch, golden, golden_input):
    with batch_statistics(branch):
        features = branch(golden_input).features
    assert relative_error(features, golden["features_batch_stats"]) < 2e-3


# Properties of the position code


@few
@given(st.sampled_from([4, 8, 64]), st.integers(1, 24), st.integers(1, 24))
def test_every_place_has_a_code_of_its_own(channels, height, width):
    places = position_code(channels, height, width)[0].flatten(1).T
    assert places.shape == (height * width, channels)
    distances = torch.cdist(places, places) + 10 * torch.eye(len(places))
    assert distances.min() > 1e-3


@few
@given(st.integers(1, 24), st.integers(1, 24))
def test_codes_are_sines_and_cosines_and_turn_over_with_the_axes(height, width):
    code = position_code(16, height, width)
    assert code.dtype == torch.float32
    assert code.abs().max() <= 1
    torch.testing.assert_close(code[:, :8] ** 2 + 0, 1 - code[:, [4, 5, 6, 7, 0, 1, 2, 3]] ** 2, rtol=0, atol=1e-6)
    assert torch.equal(code[:, :8], code[:, :8, :, :1].expand(-1, -1, -1, width))  # the first half tells the row
    turned = position_code(16, width, height).mT
    assert torch.equal(code, torch.cat([turned[:, 8:], turned[:, :8]], 1))


@few
@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([3, 5, 7]))
def test_the_code_of_a_place_is_the_same_at_every_resolution(height, width, times):
    coarse, fine = position_code(16, height, width), position_code(16, height * times, width * times)
    same_places = fine[:, :, times // 2 :: times, times // 2 :: times]  # the middle of each coarse cell
    torch.testing.assert_close(same_places, coarse, rtol=0, atol=1e-5)


@pytest.mark.parametrize("end", [0, -1])
def test_the_finer_the_map_the_nearer_its_ends_come_to_one_code(end):
    codes = [position_code(64, places, 1)[0, :, end, 0] for places in (512, 1024, 2048)]
    assert (codes[0] - codes[2]).abs().max() < 0.05
    assert (codes[1] - codes[2]).abs().max() < 0.02


# Properties of the conditioner


@few
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
@torch.no_grad()
def test_maps_stand_at_an_eighth_of_the_image_whatever_its_shape(conditioner, count, rows, columns):
    conditioning = conditioner(images_of(count, 32 * rows, 32 * columns))
    height, width = 4 * rows, 4 * columns
    assert conditioning.features.shape == (count, 16, height, width)
    assert conditioning.side_logits.shape == (count, 1, height, width)
    assert conditioning.context.shape == (count, height * width, 3 * 16)


@few
@given(st.integers(1, 5), st.randoms(use_true_random=False))
@torch.no_grad()
def test_other_images_of_a_batch_do_not_change_an_images_context(conditioner, count, random):
    images = images_of(count, 64, 64)
    order = list(range(count))
    random.shuffle(order)
    together = conditioner(images[order]).context
    for place, number in enumerate(order):
        alone = conditioner(images[number : number + 1]).context[0]
        # Convolutions of another batch size add up in another order: 1e-7 was seen.
        torch.testing.assert_close(together[place], alone, rtol=0, atol=2e-6)


@torch.no_grad()
def test_tokens_are_the_places_in_row_order_with_the_code_added_and_repeated(conditioner):
    conditioning = conditioner(images_of(2, 64, 96))
    coded = conditioning.features + position_code(16, 8, 12)
    for row, column in ((0, 0), (0, 11), (3, 5), (7, 11)):
        token = conditioning.context[:, row * 12 + column]
        assert torch.equal(token, coded[:, :, row, column].repeat(1, 3))


@torch.no_grad()
def test_without_a_position_code_the_tokens_are_the_features():
    conditioning = make_conditioner()(images_of(1, 32, 32))
    assert torch.equal(conditioning.context, conditioning.features.flatten(2).mT)


@torch.no_grad()
def test_images_are_standardised_by_mean_and_std_of_each_channel():
    mean, std = (0.1, 0.2, 0.3), (0.5, 2.0, 4.0)
    images = images_of(1, 64, 64)
    by_hand = (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    standardising = make_conditioner(image_mean=mean, image_std=std)
    assert torch.equal(standardising(images).features, make_conditioner()(by_hand).features)


@pytest.mark.parametrize("backbone_name", ["test_efficientnet", "test_mambaout"])
@pytest.mark.parametrize("normalise_features", [False, True])
@torch.no_grad()
def test_backbones_with_channels_first_and_last_fit_with_and_without_norms(backbone_name, normalise_features):
    conditioner = make_conditioner(backbone_name=backbone_name, normalise_features=normalise_features)
    features = conditioner(images_of(2, 64, 96)).features
    assert features.shape == (2, 16, 8, 12)
    assert features.isfinite().all()


@torch.no_grad()
def test_norms_standardise_the_channels_of_every_backbone_feature():
    conditioner = make_conditioner(backbone_name="test_mambaout", normalise_features=True)
    seen = []
    for encoder in conditioner.encoders:
        encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    conditioner(images_of(1, 64, 64))
    assert [tuple(x.shape) for x in seen] == [(1, 32, 8, 8), (1, 48, 4, 4), (1, 64, 2, 2)]
    for x in seen:
        torch.testing.assert_close(x.mean(1), torch.zeros(1, *x.shape[2:]), rtol=0, atol=1e-5)
        torch.testing.assert_close(x.var(1, correction=0), torch.ones(1, *x.shape[2:]), rtol=0, atol=1e-2)


@torch.no_grad()
def test_the_nano_conditioner_gives_576_tokens_of_64_channels():
    conditioning = build_pipeline("nano").conditioner.eval()(images_of(2, 192, 192))
    assert conditioning.features.shape == (2, 64, 24, 24)
    assert conditioning.side_logits.shape == (2, 1, 24, 24)
    assert conditioning.context.shape == (2, 576, 64)


# Faults


def test_a_backbone_without_strides_8_16_32_is_refused():
    with pytest.raises(ValueError, match=r"'test_vit' ends in feature maps at strides \(16, 16, 16\)"):
        make_conditioner(backbone_name="test_vit")


def test_an_unknown_backbone_is_refused():
    with pytest.raises(RuntimeError, match="no_such_model"):
        make_conditioner(backbone_name="no_such_model")
