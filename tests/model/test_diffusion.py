"""The pipeline in the real classes at tiny width: properties, the reference's outputs, examples and faults."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from model.config import EnsembleConfig
from model.diffusion import SODDiffusionPipeline, initial_latents, preprocess, resize_map
from model.prediction import ModelOutputError
from model.saliency import load_pipeline
from model.seeds import member_seed
from tests.golden.branch import GOLDEN
from tests.golden.fill import fill_

# One image's result moves by the last bits with the batch that it is in: sums of other lengths, added in another order.
# Over 200 random batches of 2 to 4 images no value of a member moved by more than 2e-6.
BATCH_ATOL = 2e-5

few = settings(deadline=None, max_examples=12)


def make_ensemble(**overrides):
    return EnsembleConfig(**{"ensemble_size": 2, "denoise_steps": 2, **overrides})


def assert_equal(one, other):
    for field in ("saliency", "variance", "members"):
        assert np.array_equal(getattr(one, field), getattr(other, field))


def assert_close(one, other):
    for field in ("saliency", "variance", "members"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=0, atol=BATCH_ATOL)


# Properties of a prediction


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=3), st.integers(2, 3))
@example([(1, 1), (1, 50), (50, 1)], 2)
@example([(10, 100), (100, 10), (200, 3)], 2)
def test_maps_have_the_size_of_their_image_and_values_in_range(tiny, image_of, sizes, members):
    images = [image_of(*size, number) for number, size in enumerate(sizes)]
    predictions = tiny(images, [str(number) for number in range(len(images))], make_ensemble(ensemble_size=members))
    assert len(predictions) == len(sizes)
    for prediction, size in zip(predictions, sizes, strict=True):
        assert prediction.saliency.shape == prediction.variance.shape == size
        assert prediction.members.shape == (members, 64, 64)
        for values, bound in ((prediction.saliency, 1), (prediction.variance, 0.25), (prediction.members, 1)):
            assert values.dtype == np.float32
            assert values.min() >= 0
            assert values.max() <= bound


@few
@given(st.integers(0, 2**63 - 1), st.text(max_size=12))
def test_the_same_arguments_give_the_same_bits(tiny, image_of, seed, key):
    arguments = [image_of(20, 30)], [key], make_ensemble(seed=seed)
    assert_equal(tiny(*arguments)[0], tiny(*arguments)[0])


@few
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
def test_an_images_result_depends_on_neither_its_batch_mates_nor_their_order(tiny, image_of, numbers):
    images = [image_of(10 + number, 40 - 3 * number, number) for number in numbers]
    together = tiny(images, [str(number) for number in numbers], make_ensemble())
    for image, number, prediction in zip(images, numbers, together, strict=True):
        assert_close(tiny([image], [str(number)], make_ensemble())[0], prediction)


@few
@given(st.integers(2, 4), st.integers(1, 3))
def test_a_larger_ensemble_begins_with_the_members_of_a_smaller_one(tiny, image_of, members, more):
    small, large = (
        tiny([image_of(20, 30)], ["7"], make_ensemble(ensemble_size=size))[0].members
        for size in (members, members + more)
    )
    np.testing.assert_allclose(large[:members], small, rtol=0, atol=BATCH_ATOL)


@pytest.mark.parametrize("change", [{"seed": 1}, {"key": "8"}])
def test_another_seed_or_key_gives_other_members_throughout(tiny, image_of, change):
    fields = {"seed": 0, "key": "7", **change}
    one = tiny([image_of(20, 30)], ["7"], make_ensemble())[0].members
    other = tiny([image_of(20, 30)], [fields["key"]], make_ensemble(seed=fields["seed"]))[0].members
    members = [*one, *other]
    for first in range(4):
        for second in range(first):
            assert np.abs(members[first] - members[second]).mean() > 100 * BATCH_ATOL


def test_another_image_gives_other_members(tiny, image_of):
    one, other = (tiny([image_of(64, 64, number)], ["7"], make_ensemble())[0].members for number in (0, 1))
    assert np.abs(one - other).max() > 100 * BATCH_ATOL


# Properties of its parts


@few
@given(st.integers(1, 1000))
@example(61)  # the first at which diffusers' trailing spacing gives a timestep too many, -1
@example(1000)
def test_the_unet_is_asked_at_as_many_timesteps_as_steps_with_trailing_spacing(tiny, steps):
    assert_timesteps(timesteps_of(tiny, steps), steps)
    assert timesteps_of(tiny, steps)[0] == 999


@few
@given(st.integers(1, 999))
@example(999)
def test_the_unet_is_asked_at_as_many_timesteps_as_steps_with_leading_spacing(steps):
    assert_timesteps(timesteps_of(leading_stub(), steps), steps)


def timesteps_of(pipeline, steps):
    """The timesteps at which `denoise` asks the UNet, which is put out of the way."""
    asked = []

    def unet(model_input, timestep, encoder_hidden_states):
        asked.append(int(timestep))
        return SimpleNamespace(sample=model_input[:, 4:])

    zeros = torch.zeros(1, 4, 1, 1)
    stub = SimpleNamespace(scheduler=pipeline.scheduler, unet=unet)
    SODDiffusionPipeline.denoise(stub, zeros, zeros, torch.zeros(1, 1, 2), steps)
    return asked


def leading_stub():
    return SimpleNamespace(scheduler=make_scheduler(timestep_spacing="leading", steps_offset=1))


def make_scheduler(**overrides):
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        **{"set_alpha_to_one": False, **overrides},
    )


def assert_timesteps(asked, steps):
    assert len(asked) == steps
    assert min(asked) >= 0
    assert max(asked) <= 999
    assert all(later < earlier for earlier, later in pairwise(asked))


@few
@given(st.sampled_from([1, 2, 4, 5, 10, 20, 50]), st.integers(1, 3), st.integers(0, 99))
def test_a_unet_that_knows_the_answer_leads_every_member_to_it(tiny, steps, members, seed):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(2, 4, 3, 3, generator=generator)
    image_latents = torch.randn(2, 4, 3, 3, generator=generator)
    context = torch.randn(2, 5, 6, generator=generator)

    def unet(model_input, timestep, encoder_hidden_states):
        # Members of an image stand together and see their own image and its context.
        assert torch.equal(model_input[:, :4], image_latents.repeat_interleave(members, 0))
        assert torch.equal(encoder_hidden_states, context.repeat_interleave(members, 0))
        alpha = tiny.scheduler.alphas_cumprod[timestep]
        answer = target.repeat_interleave(members, 0)
        noise = (model_input[:, 4:] - alpha.sqrt() * answer) / (1 - alpha).sqrt()
        return SimpleNamespace(sample=alpha.sqrt() * noise - (1 - alpha).sqrt() * answer)

    stub = SimpleNamespace(scheduler=tiny.scheduler, unet=unet)
    start = torch.randn(2 * members, 4, 3, 3, generator=generator)
    latents = SODDiffusionPipeline.denoise(stub, start, image_latents, context, steps)
    torch.testing.assert_close(latents, target.repeat_interleave(members, 0), rtol=0, atol=1e-3)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1, width=32))
@settings(deadline=None, max_examples=60)
def test_a_resized_map_has_the_asked_size_and_no_new_extremes(height, width, new_height, new_width, constant):
    values = torch.rand(height, width, generator=torch.Generator().manual_seed(height * 41 + width))
    resized = resize_map(values, (new_height, new_width))
    assert resized.shape == (new_height, new_width)
    assert resized.min() >= values.min() - 1e-6
    assert resized.max() <= values.max() + 1e-6
    flat = resize_map(torch.full((height, width), constant), (new_height, new_width))
    torch.testing.assert_close(flat, torch.full((new_height, new_width), constant), rtol=0, atol=1e-6)


@given(st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, max_examples=20)
def test_a_map_of_the_asked_size_is_left_as_it_is(height, width):
    values = torch.rand(height, width)
    assert torch.equal(resize_map(values, (height, width)), values)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 255), st.sampled_from([32, 64, 96]))
@settings(deadline=None, max_examples=30)
def test_preprocessing_makes_squares_in_0_to_1_and_keeps_a_plain_colour(height, width, level, side_px):
    plain = np.full((height, width, 3), level, np.uint8)
    noise = np.random.default_rng(level).integers(0, 256, (width, height, 3), dtype=np.uint8)
    pixels = preprocess([plain, noise], side_px)
    assert pixels.shape == (2, 3, side_px, side_px)
    assert pixels.dtype == torch.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert torch.equal(pixels[0], torch.full((3, side_px, side_px), level) / 255)


# The reference


@pytest.fixture(scope="module")
def reference_pipeline(branch):
    """The networks of the golden pipeline file: the full branch, a small UNet and VAE, all by formula."""
    unet = UNet2DConditionModel(
        sample_size=48,
        in_channels=8,
        out_channels=4,
        block_out_channels=(32, 64, 64, 64),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        attention_head_dim=(2, 4, 4, 4),
        norm_num_groups=8,
        cross_attention_dim=1024,
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
    )
    for network in (unet, vae):
        fill_(network.state_dict())
        network.eval()
    scheduler = make_scheduler(timestep_spacing="leading", steps_offset=1)
    return SODDiffusionPipeline(vae, unet, scheduler, branch)


@torch.inference_mode()
def test_members_are_the_references(reference_pipeline):
    golden = load_file(GOLDEN / "pipeline_eval.safetensors")
    with Image.open(GOLDEN / "pipeline_input.png") as file:
        pixels = preprocess([np.asarray(file.convert("RGB"))], 384)
    image_latents, context = reference_pipeline.encode(pixels), reference_pipeline.conditioner(pixels).context
    latents = reference_pipeline.denoise(golden["initial_latents"], image_latents, context, steps=4)
    members = reference_pipeline.decode(latents)[:, ::4, ::4]
    torch.testing.assert_close(members, golden["members"], rtol=0, atol=2e-3)


# Examples


def test_at_processing_size_the_maps_are_mean_and_variance_of_the_members(tiny, image_of):
    (prediction,) = tiny([image_of(64, 64)], ["7"], make_ensemble(ensemble_size=5))
    np.testing.assert_allclose(prediction.saliency, prediction.members.mean(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(prediction.variance, prediction.members.var(0), rtol=0, atol=1e-6)


def test_another_processing_resolution_is_taken_from_the_ensemble(tiny, image_of):
    (prediction,) = tiny([image_of(20, 30)], ["7"], make_ensemble(processing_res=96))
    assert prediction.members.shape == (2, 96, 96)
    assert prediction.saliency.shape == (20, 30)


def test_every_member_starts_from_the_noise_of_its_seed(own_tiny, image_of, monkeypatch):
    starts = []
    monkeypatch.setattr(own_tiny, "denoise", lambda latents, *_: starts.append(latents) or latents)
    own_tiny([image_of(9, 9), image_of(8, 8)], ["a", "b"], make_ensemble(seed=5))
    expected = [initial_latents(member_seed(5, key, member), (4, 8, 8)) for key in "ab" for member in (0, 1)]
    assert torch.equal(starts[0], torch.stack(expected))


def test_images_are_encoded_and_conditioned_once_whatever_the_size_of_the_ensemble(own_tiny, image_of):
    batches = {}
    for name, module in (("conditioner", own_tiny.conditioner), ("vae", own_tiny.vae.encoder)):
        module.register_forward_hook(
            lambda _, inputs, __, name=name: batches.setdefault(name, []).append(len(inputs[0]))
        )
    own_tiny([image_of(9, 9), image_of(8, 8)], ["a", "b"], make_ensemble(ensemble_size=4))
    assert batches == {"conditioner": [2], "vae": [2]}


def test_initial_latents_differ_with_every_bit_that_torchs_generator_takes():
    # torch's generator on the CPU takes the lower 32 bits of a seed and drops the others.
    draws = {tuple(initial_latents(1 << bit, (1, 1, 2)).flatten().tolist()) for bit in range(32)}
    assert len(draws) == 32


def test_initial_latents_are_standard_normal():
    latents = initial_latents(3, (4, 100, 100))
    assert latents.dtype == torch.float32
    assert abs(latents.mean().item()) < 0.02
    assert abs(latents.std().item() - 1) < 0.02


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_moves_the_members_a_little(tiny, own_tiny, image_of, dtype):
    arguments = [image_of(20, 30)], ["7"], make_ensemble()
    half, single = own_tiny.to(dtype=dtype)(*arguments)[0], tiny(*arguments)[0]
    assert half.members.dtype == half.saliency.dtype == half.variance.dtype == np.float32
    assert 0 < np.abs(half.members - single.members).max() < 0.1


def test_a_pipeline_saved_and_loaded_predicts_the_same_bits(tiny, tiny_folder, image_of):
    loaded = load_pipeline(tiny_folder)
    arguments = [image_of(20, 30), image_of(64, 1, 1)], ["7", "8"], make_ensemble()
    assert loaded.default_processing_res == 64
    for one, other in zip(loaded(*arguments), tiny(*arguments), strict=True):
        assert_equal(one, other)


# Faults


@pytest.mark.parametrize("keys", [[], ["7"], ["7", "8", "9"]])
def test_as_many_keys_as_images_are_needed(tiny, image_of, keys):
    with pytest.raises((ValueError, RuntimeError)):
        tiny([image_of(9, 9), image_of(8, 8)], keys, make_ensemble())


def test_weights_that_make_nan_are_a_model_output_error(own_tiny, image_of):
    own_tiny.unet.conv_out.bias[0] = torch.nan
    with pytest.raises(ModelOutputError, match="nan"):
        own_tiny([image_of(20, 30)], ["7"], make_ensemble())


@pytest.mark.parametrize("side_px", [-32, 0, 1, 33, 100])
def test_a_resolution_that_is_no_multiple_of_32_is_refused(side_px, image_of):
    with pytest.raises(ValueError, match=f"^processing resolution is {side_px} px"):
        preprocess([image_of(9, 9)], side_px)


def test_a_unet_without_room_for_both_latents_is_refused(tiny):
    unet = UNet2DConditionModel(
        in_channels=4,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
        norm_num_groups=4,
    )
    with pytest.raises(ValueError, match="unet takes 4 channels; image and saliency latents together have 8"):
        SODDiffusionPipeline(tiny.vae, unet, tiny.scheduler, tiny.conditioner)
