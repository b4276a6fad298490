"""The pipeline in the real classes at tiny width: properties, examples and faults; see also test_golden_inference."""

import inspect
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, PNDMScheduler, UNet2DConditionModel
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model import outputs
from model.axial import ConvNorm
from model.diffusion import SODDiffusionPipeline
from model.noise import initial_latents
from model.prediction import ModelOutputError
from model.rounds import variance_scale
from model.saliency import load_pipeline
from model.seeds import member_seed
from tests.model.make import BATCH_ATOL, MAPS, assert_close, assert_equal, make_ensemble

few = settings(deadline=None, max_examples=6)
more = settings(deadline=None, max_examples=12)  # for what passes through no network


# Properties of a prediction


@few
@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=3), st.integers(2, 3))
@example([(1, 1), (1, 50), (50, 1)], 2)
@example([(10, 100), (100, 10), (200, 3)], 2)
def test_maps_have_the_size_of_their_image_and_values_in_range(tiny, image_of, sizes, members):
    images = [image_of(*size, number) for number, size in enumerate(sizes)]
    predictions = tiny.predict(
        images, [str(number) for number in range(len(images))], make_ensemble(ensemble_size=members)
    )
    assert len(predictions) == len(sizes)
    for prediction, size in zip(predictions, sizes, strict=True):
        assert prediction.saliency.shape == prediction.variance.shape == size
        assert prediction.uncertainty.shape == (64, 64)
        assert prediction.members.shape == (members, 64, 64)
        ranges = {"saliency": 1, "variance": 0.25, "uncertainty": 0.5, "members": 1}
        for values, bound in ((getattr(prediction, field), bound) for field, bound in ranges.items()):
            assert values.dtype == np.float32
            assert values.min() >= 0
            assert values.max() <= bound


@few
@given(st.integers(0, 2**63 - 1), st.text(max_size=12))
def test_the_same_arguments_give_the_same_bits(tiny, image_of, seed, key):
    arguments = [image_of(20, 30)], [key], make_ensemble(seed=seed)
    assert_equal(tiny.predict(*arguments)[0], tiny.predict(*arguments)[0])


@few
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
def test_an_images_result_depends_on_neither_its_batch_mates_nor_their_order(tiny, image_of, numbers):
    images = [image_of(10 + number, 40 - 3 * number, number) for number in numbers]
    together = tiny.predict(images, [str(number) for number in numbers], make_ensemble())
    for image, number, prediction in zip(images, numbers, together, strict=True):
        assert_close(tiny.predict([image], [str(number)], make_ensemble())[0], prediction)


@few
@given(st.integers(2, 4), st.integers(1, 3))
def test_a_larger_ensemble_begins_with_the_members_of_a_smaller_one(tiny, image_of, members, more):
    small, large = (
        tiny.predict([image_of(20, 30)], ["7"], make_ensemble(ensemble_size=size))[0].members
        for size in (members, members + more)
    )
    np.testing.assert_allclose(large[:members], small, rtol=0, atol=BATCH_ATOL)


@few
@given(st.integers(1, 3), st.integers(1, 3), st.data())
def test_the_number_of_members_at_once_changes_only_the_last_bits(tiny, image_of, count, members, data):
    images = [image_of(10 + number, 40 - 3 * number, number) for number in range(count)]
    keys = [str(number) for number in range(count)]
    batch_size = data.draw(st.integers(1, count * members), label="batch_size")
    in_parts = tiny.predict(images, keys, make_ensemble(ensemble_size=members, batch_size=batch_size))
    for part, whole in zip(in_parts, tiny.predict(images, keys, make_ensemble(ensemble_size=members)), strict=True):
        assert_close(part, whole)


@few
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 10), st.sampled_from([None, 0]))
@example(3, 3, 4, None)  # parts that hold members of two images
def test_no_network_sees_more_than_the_batch_size_and_each_sees_everything_once(
    tiny, image_of, count, members, batch_size, side
):
    images = [image_of(60 - number, 40 + number, number) for number in range(count)]
    asked = make_ensemble(ensemble_size=members, batch_size=batch_size, processing_res=side, denoise_steps=1)
    with counting(tiny) as seen:
        tiny.predict(images, [str(number) for number in range(count)], asked)
    assert max(max(parts) for parts in seen.values()) <= batch_size
    totals = {name: sum(parts) for name, parts in seen.items()}
    every = count * members
    assert totals == {"encoder": count, "conditioner": count, "unet": every, "decoder": every}


@contextmanager
def counting(pipeline):
    """Network → how many images or members it saw each time it was called."""
    seen = {"encoder": [], "conditioner": [], "unet": [], "decoder": []}
    modules = (pipeline.vae.encoder, pipeline.conditioner, pipeline.unet, pipeline.vae.decoder)
    hooks = [
        module.register_forward_hook(lambda _, inputs, __, parts=parts: parts.append(len(inputs[0])))
        for parts, module in zip(seen.values(), modules, strict=True)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("change", [{"seed": 1}, {"key": "8"}])
def test_another_seed_or_key_gives_other_members_throughout(tiny, image_of, change):
    fields = {"seed": 0, "key": "7", **change}
    one = tiny.predict([image_of(20, 30)], ["7"], make_ensemble())[0].members
    other = tiny.predict([image_of(20, 30)], [fields["key"]], make_ensemble(seed=fields["seed"]))[0].members
    members = [*one, *other]
    for first in range(4):
        for second in range(first):
            assert np.abs(members[first] - members[second]).mean() > 100 * BATCH_ATOL


def test_another_image_gives_other_members(tiny, image_of):
    one, other = (tiny.predict([image_of(64, 64, number)], ["7"], make_ensemble())[0].members for number in (0, 1))
    assert np.abs(one - other).max() > 100 * BATCH_ATOL


# Properties of its parts


@more
@given(st.integers(1, 1000))
@example(61)  # the first at which diffusers' trailing spacing gives a timestep too many, -1
@example(1000)
def test_trailing_spacing_has_as_many_timesteps_as_steps(tiny, steps):
    assert_timesteps(timesteps_of(tiny, steps), steps)
    assert timesteps_of(tiny, steps)[0] == 999


@more
@given(st.integers(1, 999))
@example(999)
def test_leading_spacing_has_as_many_timesteps_as_steps(steps):
    assert_timesteps(timesteps_of(leading_stub(), steps), steps)


@pytest.mark.parametrize(("steps", "expected"), [(1, [999]), (2, [999, 499]), (4, [999, 749, 499, 249])])
def test_with_trailing_spacing_few_steps_begin_at_the_noisiest_timestep(steps, expected):
    assert timesteps_of(leading_stub(), steps, "trailing") == expected
    assert timesteps_of(leading_stub(), steps)[0] < 999
    assert timesteps_of(leading_stub(), steps, "leading") == timesteps_of(leading_stub(), steps)


def test_the_spacing_is_taken_from_the_ensemble(tiny, image_of):
    arguments = [image_of(20, 30)], ["7"]
    (trained,), (trailing,), (leading,) = (
        tiny.predict(*arguments, make_ensemble(timestep_spacing=spacing))
        for spacing in ("trained", "trailing", "leading")
    )
    assert_equal(trained, trailing)  # as the tiny pipeline's scheduler has it
    assert np.abs(trained.members - leading.members).max() > 100 * BATCH_ATOL
    assert tiny.scheduler.config.timestep_spacing == "trailing"


def timesteps_of(pipeline, steps, *spacing):
    """The timesteps at which `denoise` calls the UNet, which is a stub."""
    asked = []

    def unet(latents, timestep, encoder_hidden_states):
        asked.append(int(timestep))
        return SimpleNamespace(sample=latents)

    zeros = torch.zeros(1, 4, 1, 1)
    SODDiffusionPipeline.denoise(with_unet(pipeline, unet), zeros, zeros, torch.zeros(1, 1, 2), steps, *spacing)
    return asked


def with_unet(pipeline, unet):
    """The parts of a pipeline that `denoise` needs, with a function in place of the UNet."""
    form = SimpleNamespace(for_images=lambda *_: nullcontext())
    return SimpleNamespace(scheduler=pipeline.scheduler, unet=unet, inference_form=form, attention="auto")


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


@more
@given(st.sampled_from([1, 2, 4, 5, 10, 20, 50]), st.integers(1, 3), st.integers(0, 99))
def test_a_unet_that_knows_the_answer_leads_every_member_to_it(tiny, steps, members, seed):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(2, 4, 3, 3, generator=generator)

    def unet(latents, timestep, encoder_hidden_states):
        alpha = tiny.scheduler.alphas_cumprod[timestep]
        answer = target.repeat_interleave(members, 0)
        noise = (latents - alpha.sqrt() * answer) / (1 - alpha).sqrt()
        return SimpleNamespace(sample=alpha.sqrt() * noise - (1 - alpha).sqrt() * answer)

    start = torch.randn(2 * members, 4, 3, 3, generator=generator)
    latents = SODDiffusionPipeline.denoise(with_unet(tiny, unet), start, target, torch.zeros(2, 5, 6), steps)
    torch.testing.assert_close(latents, target.repeat_interleave(members, 0), rtol=0, atol=1e-3)


# Properties of images that stop early


@few
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_an_image_stops_after_the_round_whose_members_are_enough_and_has_those_of_the_whole_ensemble(
    tiny, image_of, stops, data
):
    """Independently of its batch; `stops` are the rounds of (3, 2, 3) after which each image stops."""
    sizes = [3, 5, 8]
    images = [image_of(10 + number, 40 - 3 * number, number) for number in range(len(stops))]
    keys = [str(number) for number in range(len(stops))]
    batch_size = data.draw(st.integers(1, 32), label="batch_size")
    asked = make_ensemble(ensemble_size=8, denoise_steps=1, batch_size=batch_size)
    whole = tiny.predict(images, keys, asked)

    def enough(members):
        image = next(
            place for place, own in enumerate(whole) if np.abs(own.members[0] - members[0]).max() <= BATCH_ATOL
        )
        return len(members) >= sizes[stops[image] - 1]

    for stop, early, late in zip(stops, tiny.predict(images, keys, asked, enough), whole, strict=True):
        size = sizes[stop - 1]
        np.testing.assert_allclose(early.members, late.members[:size], rtol=0, atol=BATCH_ATOL)
        scale = variance_scale(size, 8)
        assert early.variance_scale == scale
        assert early.variance.mean() == pytest.approx(
            np.asarray(outputs.resize_map(torch.tensor(early.members.var(0)), early.variance.shape)).mean() * scale,
            abs=1e-5,
        )


def test_enough_is_called_after_every_round_but_the_last_with_the_images_own_members_unpadded(tiny, image_of):
    shown = []
    asked = make_ensemble(ensemble_size=8, denoise_steps=1, processing_res=0)
    tiny.predict([image_of(70, 40)], ["7"], asked, lambda members: shown.append(members) or False)
    (whole,) = tiny.predict([image_of(70, 40)], ["7"], asked)
    assert [members.shape for members in shown] == [(3, 70, 40), (5, 70, 40)]
    for members in shown:
        assert members.dtype == np.float32
        np.testing.assert_allclose(members, whole.members[: len(members)], rtol=0, atol=BATCH_ATOL)


def test_once_members_are_enough_no_further_work_is_done(tiny, image_of):
    with counting(tiny) as seen:
        tiny.predict(
            [image_of(9, 9), image_of(8, 8)],
            ["a", "b"],
            make_ensemble(ensemble_size=8, denoise_steps=2),
            lambda _: True,
        )
    assert seen == {"encoder": [2], "conditioner": [2], "unet": [6, 6], "decoder": [3, 3]}


# Examples


def test_at_processing_size_the_maps_are_mean_variance_and_deviation_of_the_members(tiny, image_of):
    (prediction,) = tiny.predict([image_of(64, 64)], ["7"], make_ensemble(ensemble_size=5))
    np.testing.assert_allclose(prediction.saliency, prediction.members.mean(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(prediction.variance, prediction.members.var(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(prediction.uncertainty, prediction.members.std(0), rtol=0, atol=1e-5)


def test_one_member_is_the_map_and_has_no_variance(tiny, image_of):
    (prediction,) = tiny.predict([image_of(64, 64)], ["7"], make_ensemble(ensemble_size=1))
    assert np.array_equal(prediction.saliency, prediction.members[0])
    assert not prediction.variance.any()
    assert not prediction.uncertainty.any()


def test_the_ensemble_sets_how_members_are_reduced_and_leaves_the_members_alone(tiny, image_of, monkeypatch):
    asked, reduce_members = [], outputs.reduce_members

    def watch(members, **options):
        asked.append(options)
        return reduce_members(members, **options)

    monkeypatch.setattr(outputs, "reduce_members", watch)
    options = {"reduction": "median", "alignment": "affine", "stretch": True}
    (plain,) = tiny.predict([image_of(64, 64)], ["7"], make_ensemble(ensemble_size=3))
    (reduced,) = tiny.predict([image_of(64, 64)], ["7"], make_ensemble(ensemble_size=3, **options))
    assert asked == [{"reduction": "mean", "alignment": "none", "stretch": False}, options]
    assert np.array_equal(reduced.members, plain.members)
    assert (reduced.saliency.min(), reduced.saliency.max()) == (0, 1)


@pytest.mark.parametrize("resize_filter", ["bilinear", "bicubic"])
def test_maps_are_resized_with_the_configured_filter_and_stay_in_range(own_tiny, image_of, monkeypatch, resize_filter):
    halves = torch.zeros(2, 64, 64)
    halves[:, :, 32:] = 1
    halves[0, :32] = 0  # the members differ in the upper right, where the variance is 0.25
    monkeypatch.setattr(own_tiny, "decode", lambda _latents: halves)
    (prediction,) = own_tiny.predict([image_of(200, 200)], ["7"], make_ensemble(resize_filter=resize_filter))
    for values, unclipped, bound in (
        (prediction.saliency, halves.mean(0), 1),
        (prediction.variance, halves.var(0, correction=0), 0.25),
    ):
        by_torch = outputs.resize_map(unclipped, (200, 200), resize_filter)
        assert bool(by_torch.max() > 1.01 * bound) is (resize_filter == "bicubic")
        np.testing.assert_allclose(values, by_torch.clamp(0, bound).numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_stats", [False, True])
def test_batch_stats_apply_during_the_prediction_only(tiny, image_of, batch_stats):
    layers = [layer for layer in tiny.conditioner.modules() if isinstance(layer, ConvNorm)]
    seen = set()
    hook = layers[0].register_forward_hook(lambda *_: seen.update(layer.image_statistics for layer in layers))
    (prediction,) = tiny.predict([image_of(20, 30)], ["7"], make_ensemble(batch_stats=batch_stats))
    hook.remove()
    assert seen == {batch_stats}
    assert not any(layer.image_statistics for layer in layers)
    (plain,) = tiny.predict([image_of(20, 30)], ["7"], make_ensemble())
    assert (np.abs(prediction.members - plain.members).max() > 100 * BATCH_ATOL) is np.bool_(batch_stats)


@pytest.mark.parametrize("batch_stats", [False, True])
@pytest.mark.parametrize(
    ("side", "latents"), [(8, 1), (16, 2), (31, 3), (32, 4), (33, 4), (48, 6), (64, 8), (96, 12), (100, 12)]
)
def test_another_processing_resolution_is_taken_from_the_ensemble_and_latents_have_an_eighth_rounded_down(
    tiny, image_of, side, latents, batch_stats
):
    wanted = batch_stats and side > 32
    (prediction,) = tiny.predict([image_of(20, 30)], ["7"], make_ensemble(processing_res=side, batch_stats=wanted))
    assert prediction.members.shape == (2, 8 * latents, 8 * latents)
    assert prediction.saliency.shape == prediction.variance.shape == (20, 30)
    assert np.isfinite(prediction.saliency).all()


def test_every_member_starts_from_the_noise_of_its_seed(own_tiny, image_of, monkeypatch):
    starts = []
    monkeypatch.setattr(own_tiny, "denoise", lambda latents, *_, **__: starts.append(latents) or latents)
    own_tiny.predict([image_of(9, 9), image_of(8, 8)], ["a", "b"], make_ensemble(seed=5))
    expected = [initial_latents(member_seed(5, key, member), (4, 8, 8)) for key in "ab" for member in (0, 1)]
    assert torch.equal(starts[0], torch.stack(expected))


def test_images_are_encoded_and_conditioned_once_whatever_the_size_of_the_ensemble(tiny, image_of):
    with counting(tiny) as seen:
        tiny.predict([image_of(9, 9), image_of(8, 8)], ["a", "b"], make_ensemble(ensemble_size=4))
    assert (seen["conditioner"], seen["encoder"]) == ([2], [2])


def test_members_of_all_images_are_denoised_together_and_decoded_image_by_image(tiny, image_of):
    with counting(tiny) as seen:
        tiny.predict([image_of(9, 9), image_of(8, 8)], ["a", "b"], make_ensemble(ensemble_size=4, denoise_steps=3))
    assert (seen["unet"], seen["decoder"]) == ([8, 8, 8], [4, 4])


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
def test_half_precision_changes_the_members_slightly(tiny, own_tiny, image_of, dtype):
    arguments = [image_of(20, 30)], ["7"], make_ensemble()
    half, single = own_tiny.to(dtype=dtype).predict(*arguments)[0], tiny.predict(*arguments)[0]
    for field in MAPS:
        assert getattr(half, field).dtype == np.float32
    assert 0 < np.abs(half.members - single.members).max() < 0.1


def test_a_pipeline_saved_and_loaded_predicts_the_same_bits(tiny, tiny_folder, image_of):
    loaded = load_pipeline(tiny_folder)
    arguments = [image_of(20, 30), image_of(64, 1, 1)], ["7", "8"], make_ensemble()
    assert loaded.default_processing_res == 64
    for one, other in zip(loaded.predict(*arguments), tiny.predict(*arguments), strict=True):
        assert_equal(one, other)


def test_a_pipeline_of_anothers_components_keeps_the_processing_size_and_predicts_the_same_bits(tiny, image_of):
    again = SODDiffusionPipeline(**tiny.components)
    assert again.default_processing_res == again.config.default_processing_res == 64
    arguments = [image_of(20, 30)], ["7"], make_ensemble()
    assert_equal(again.predict(*arguments)[0], tiny.predict(*arguments)[0])


def test_a_processing_size_that_was_set_goes_along_with_the_components_and_into_the_files(own_tiny, tmp_path):
    own_tiny.set_processing_res(96)
    assert SODDiffusionPipeline(**own_tiny.components).default_processing_res == 96
    own_tiny.save_pretrained(tmp_path)
    assert load_pipeline(tmp_path).default_processing_res == 96
    assert SODDiffusionPipeline.from_pipe(own_tiny).default_processing_res == 96


@pytest.mark.thorough
def test_a_unet_compiled_by_the_user_predicts_the_same_and_keeps_its_layers(tiny, own_tiny, image_of):
    layers = dict(own_tiny.unet.named_modules())
    own_tiny.unet = torch.compile(own_tiny.unet, backend="eager")
    arguments = [image_of(20, 30)], ["7"], make_ensemble()
    assert_close(own_tiny.predict(*arguments)[0], tiny.predict(*arguments)[0])
    assert dict(own_tiny.unet._orig_mod.named_modules()) == layers
    assert set(own_tiny.unet._modules) == {"_orig_mod"}


# Faults


@pytest.mark.parametrize("kind", [DDPMScheduler, EulerDiscreteScheduler, PNDMScheduler])
def test_another_scheduler_is_refused_by_name_when_given_and_when_put_in_later(own_tiny, image_of, kind):
    scheduler = kind.from_config(own_tiny.scheduler.config)
    said = f"scheduler is {kind.__name__}; it must be DDIMScheduler, .*: DDIMScheduler.from_config"
    unchecked = inspect.unwrap(SODDiffusionPipeline.__init__)  # by the tests' own check of types
    with pytest.raises(ValueError, match=said):
        unchecked(
            SODDiffusionPipeline.__new__(SODDiffusionPipeline),
            own_tiny.vae,
            own_tiny.unet,
            scheduler,
            own_tiny.conditioner,
        )
    own_tiny.scheduler = scheduler
    with pytest.raises(ValueError, match=said):
        own_tiny.predict([image_of(9, 9)], ["7"], make_ensemble())


@pytest.mark.parametrize(
    "offload", ["enable_model_cpu_offload", "enable_sequential_cpu_offload", "enable_group_offload"]
)
def test_offloading_is_neither_declared_nor_silently_wrong(tiny, offload):
    assert tiny.model_cpu_offload_seq is None
    with pytest.raises(NotImplementedError, match=r"can't be offloaded: .*bfloat16 or a smaller EnsembleConfig"):
        getattr(tiny, offload)()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 5, 3), np.float32), "values of type float32; it must be uint8, from 0 to 255"),
        (np.zeros((4, 5, 3), np.uint16), "values of type uint16; it must be uint8"),
        (np.zeros((4, 5), np.uint8), r"the shape \(4, 5\); it must be \(height, width, 3\)"),
        (np.zeros((4, 5, 4), np.uint8), r"the shape \(4, 5, 4\); it must be"),
        (np.zeros((0, 5, 3), np.uint8), r"the shape \(0, 5, 3\); it must be"),
        ([[0, 0, 0]], "of type list; give a path, a Pillow image, an array of uint8"),
    ],
    ids=["floats", "16 bits", "grey", "RGBA", "empty", "list"],
)
@pytest.mark.parametrize("side", [None, 0])
def test_an_image_that_is_not_rgb_of_8_bits_is_refused_by_its_key(tiny, image, said, side):
    unchecked = inspect.unwrap(SODDiffusionPipeline.predict)  # by the tests' own check of types
    with pytest.raises((TypeError, ValueError), match=f"^image 7 (is|has) {said}"):
        unchecked(tiny, [image], ["7"], make_ensemble(processing_res=side))


@pytest.mark.parametrize("keys", [[], ["7"], ["7", "8", "9"]])
def test_each_image_needs_a_key(tiny, image_of, keys):
    with pytest.raises(ValueError, match=f"^2 images and {len(keys)} keys; each image needs a key$"):
        tiny.predict([image_of(9, 9), image_of(8, 8)], keys, make_ensemble())


def test_a_failure_in_the_middle_leaves_no_batch_statistics_behind(own_tiny, image_of, monkeypatch):
    def fail(*_inputs):
        raise RuntimeError("no more")

    monkeypatch.setattr(own_tiny.conditioner.decoder, "forward", fail)
    with pytest.raises(RuntimeError, match="no more"):
        own_tiny.predict([image_of(20, 30)], ["7"], make_ensemble(batch_stats=True))
    layers = [layer for layer in own_tiny.conditioner.modules() if isinstance(layer, ConvNorm)]
    assert not any(layer.image_statistics for layer in layers)


def test_weights_that_make_nan_are_a_model_output_error(own_tiny, image_of):
    own_tiny.unet.conv_out.bias[0] = torch.nan
    with pytest.raises(ModelOutputError, match="nan"):
        own_tiny.predict([image_of(20, 30)], ["7"], make_ensemble())


def test_a_unet_without_room_for_both_latents_is_refused(tiny):
    unet = UNet2DConditionModel(
        in_channels=4,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
        norm_num_groups=4,
    )
    with pytest.raises(ValueError, match="unet has 4 input channels; image and saliency latents together have 8"):
        SODDiffusionPipeline(tiny.vae, unet, tiny.scheduler, tiny.conditioner)
