"""The pipeline answers as other pipelines of diffusers do.

The names are those of the generic checks of diffusers' own test suite (`PipelineTesterMixin` and its companions in
`tests/pipelines/test_pipelines_common.py`), where these apply. Where they do not:

- cfg, callback_cfg, num_images_per_prompt, encode_prompt_works_in_isolation: there is no prompt and no guidance.
- ip_adapter, freeu, fused_qkv_projections, StableDiffusionMixin_component: for pictures made from text.
- save_load_optional_components, multi_vae: every component is needed, and there is one of each.
- xformers_attention: the kernels are torch's own; `SODDiffusionPipeline.attention` chooses among them.
- model, sequential and group offloading, accelerator_device_map: refused, since a prediction swaps in layers whose
  weights were merged on the networks' device; test_diffusion.py has the refusal.
- layerwise_casting_inference: weights are merged in the precision that they compute in.
- float16_inference, save_load_float16: here with bfloat16, for CPUs compute float16 slowly.
- karras_schedulers_shape: the scheduler is DDIM; others are refused, see test_diffusion.py.
- pyramid_attention_broadcast, faster_cache, first_block_cache, taylorseer_cache, mag_cache: they keep what transformer
  blocks computed a step before; this UNet has no such blocks, and its members share their context already.
- output_type "latent": maps are the only output; a callback sees the latents.
- tensors as images: refused with what to give, see test_images.py.
"""

import inspect
import json
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from model.config import EnsembleConfig
from model.diffusion import SODDiffusionPipeline
from model.outputs import SODPipelineOutput
from model.steps import StepWatch
from tests.model.conftest import build_tiny
from tests.model.make import BATCH_ATOL

CALL = {"num_inference_steps": 2, "ensemble_size": 2}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def image(image_of):
    return image_of(40, 56)


@pytest.fixture(scope="module")
def expected(tiny, image):
    """The saliency with the generator of seed 0."""
    return tiny(image, **CALL, generator=generator()).prediction


def load(folder, **options):
    """Load a pipeline as diffusers does."""
    loaded = SODDiffusionPipeline.from_pretrained(folder, **options)
    loaded.set_progress_bar_config(disable=True)
    return loaded


# Calls


def test_pipeline_call_signature():
    parameters = inspect.signature(SODDiffusionPipeline.__call__).parameters
    assert list(parameters)[1] == "image"
    optional = {"num_inference_steps", "generator", "latents", "output_type", "return_dict", "ensemble_size"}
    optional |= {"callback_on_step_end", "callback_on_step_end_tensor_inputs", "processing_resolution", "batch_size"}
    assert optional <= {name for name, parameter in parameters.items() if parameter.default is not parameter.empty}


@pytest.mark.parametrize("batch", [1, 2])
def test_inference_batch_consistent(tiny, image, batch):
    output = tiny([image] * batch, **CALL, generator=[generator(n) for n in range(batch)])
    assert isinstance(output, SODPipelineOutput)
    for maps in (output.prediction, output.variance, output.uncertainty):
        assert maps.shape == (batch, 40, 56, 1)
        assert maps.dtype == np.float32


def test_inference_batch_single_identical(tiny, image, image_of):
    images = [image, image_of(40, 56, 1), image_of(40, 56, 2)]
    together = tiny(images, **CALL, generator=[generator(n) for n in range(3)]).prediction
    for number, one in enumerate(images):
        alone = tiny(one, **CALL, generator=generator(number)).prediction
        np.testing.assert_allclose(together[number], alone[0], rtol=0, atol=BATCH_ATOL)


def test_dict_tuple_outputs_equivalent(tiny, image, expected):
    maps = tiny(image, **CALL, generator=generator(), return_dict=False)
    output = tiny(image, **CALL, generator=generator())
    assert np.array_equal(maps, [output.prediction, output.variance, output.uncertainty])
    assert np.array_equal(maps[0], expected)
    assert len(tiny(image, 1, 1, return_dict=False)) == 1  # one member has no variance


def test_pt_np_pil_outputs_equivalent(tiny, image, expected):
    tensor, pictures = (
        tiny(image, **CALL, generator=generator(), output_type=kind).prediction for kind in ("pt", "pil")
    )
    assert np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), expected)
    assert tensor.device == tiny.device
    assert np.array_equal(np.asarray(pictures[0]), np.rint(expected[0, :, :, 0] * 255))


def test_np_pil_inputs_equivalent(tiny, image, expected):
    assert np.array_equal(tiny(Image.fromarray(image), **CALL, generator=generator()).prediction, expected)


def test_images_of_several_sizes_give_a_list(tiny, image, image_of):
    for kind, shapes in (("np", [(40, 56, 1), (9, 7, 1)]), ("pt", [(1, 40, 56), (1, 9, 7)])):
        output = tiny([image, image_of(9, 7)], **CALL, generator=generator(), output_type=kind)
        assert [values.shape for values in output.prediction] == shapes
        assert [values.shape for values in output.variance] == shapes


def test_latents_input(tiny, image, expected):
    latents = torch.randn((2, 4, 8, 8), generator=generator())
    given = tiny(image, **CALL, latents=latents).prediction
    np.testing.assert_allclose(given, expected, atol=BATCH_ATOL)
    others = tiny(image, **CALL, latents=latents.flip(0) + 1).prediction
    assert np.abs(others - expected).max() > 100 * BATCH_ATOL


def test_a_generator_reproduces_and_without_one_torchs_own_seed_does(tiny, image, expected):
    assert np.array_equal(tiny(image, **CALL, generator=generator()).prediction, expected)
    with torch.random.fork_rng(devices=[]):
        one, other = (tiny(image, **CALL).prediction for _ in range(2))
        torch.manual_seed(0)
        seeded = tiny(image, **CALL).prediction
    assert np.array_equal(seeded, expected)
    assert not np.array_equal(one, other)


def test_a_generator_for_each_member_is_that_members_own(tiny, image, expected):
    members = [generator(5), generator(6)]
    swapped = [generator(6), generator(5)]
    one, other = (tiny(image, **CALL, generator=given).prediction for given in (members, swapped))
    np.testing.assert_allclose(one, other, atol=BATCH_ATOL)
    assert np.abs(one - expected).max() > 100 * BATCH_ATOL


# Callbacks and the bar


def test_callback_inputs(tiny, image):
    seen = []

    def watch(pipeline, step, timestep, tensors):
        assert pipeline is tiny
        assert set(tensors) <= set(pipeline._callback_tensor_inputs)
        seen.append((step, int(timestep), sorted(tensors)))
        is_last = step == pipeline.num_timesteps - 1
        return {"latents": torch.zeros_like(tensors["latents"])} if is_last and tensors else None

    options = CALL | {"generator": generator(), "callback_on_step_end": watch}
    tiny(image, **options, callback_on_step_end_tensor_inputs=[])
    zeroed = tiny(image, **options, callback_on_step_end_tensor_inputs=["latents"])
    assert seen == [(0, 999, []), (1, 499, []), (0, 999, ["latents"]), (1, 499, ["latents"])]
    assert not zeroed.variance.any()  # both members end with the latents that the callback gave


def test_a_callback_can_end_the_steps_and_the_next_call_takes_them_all(tiny, image, expected):
    steps = []

    def stop(pipeline, step, _timestep, _tensors):
        steps.append(step)
        pipeline._interrupt = True

    tiny(image, 5, 2, generator=generator(), callback_on_step_end=stop)
    assert steps == [0]
    assert np.array_equal(tiny(image, **CALL, generator=generator()).prediction, expected)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_call_that_a_callback_ends_leaves_later_predictions_as_they_were(tiny, image, error):
    settings = EnsembleConfig(ensemble_size=2, denoise_steps=2)
    before = tiny.predict([image], ["key"], settings)[0].saliency

    def stop(pipeline, *_):
        pipeline._interrupt = True
        if error:
            raise error

    with pytest.raises(error) if error else nullcontext():
        tiny(image, **CALL, generator=generator(), callback_on_step_end=stop)
    assert not tiny.interrupt
    bar = SimpleNamespace(update=lambda: None)
    after = tiny.predict([image], ["key"], settings, watch=StepWatch(pipeline=tiny, bar=bar))[0].saliency
    assert np.array_equal(after, before)


def test_only_a_callback_ends_the_steps():
    interrupted = SimpleNamespace(interrupt=True)
    assert not StepWatch(pipeline=interrupted, bar=None).is_interrupted
    assert StepWatch(pipeline=interrupted, bar=None, callback=print).is_interrupted


def test_latents_of_a_callback_may_be_of_another_precision(tiny, image, expected):
    def halve_nothing(_pipeline, _step, _timestep, tensors):
        return {"latents": tensors["latents"].double()}

    found = tiny(image, **CALL, generator=generator(), callback_on_step_end=halve_nothing).prediction
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (True, TypeError, "callback_on_step_end gave True; it must give None, or a dictionary with latents"),
        ({"latent": 0}, ValueError, "callback_on_step_end gave 'latent'; there is latents"),
        ({"latents": [0.5]}, TypeError, "callback_on_step_end gave latents of type list; give a tensor"),
        ({"latents": torch.zeros(1, 4, 8, 8)}, ValueError, r"\(1, 4, 8, 8\); they must keep \(2, 4, 8, 8\)"),
    ],
    ids=["bool", "unknown", "list", "shape"],
)
def test_what_a_callback_gives_is_refused_unless_one_can_go_on_with_it(tiny, image, answer, error, said):
    with pytest.raises(error, match=said):
        tiny(image, **CALL, generator=generator(), callback_on_step_end=lambda *_: answer)


@pytest.mark.parametrize(("options", "total"), [({}, 2), ({"batch_size": 1}, 4), ({"processing_resolution": 0}, 4)])
def test_the_bar_ends_at_its_total(own_tiny, image, image_of, monkeypatch, options, total):
    bars = []

    @contextmanager
    def progress_bar(*, total):
        bars.append([0, total])
        yield type("Bar", (), {"update": lambda _self: bars[-1].__setitem__(0, bars[-1][0] + 1)})()

    monkeypatch.setattr(own_tiny, "progress_bar", progress_bar)
    images = [image, image_of(70, 9)] if "processing_resolution" in options else image
    own_tiny(images, **CALL, **options)
    assert bars == [[total, total]]


# Components, files, devices, precision


def test_components_function(tiny):
    assert set(tiny.components) == {"vae", "unet", "scheduler", "conditioner", "mask_decoder"}


def test_save_load_local(tiny_folder, image, expected):
    loaded = load(tiny_folder)
    assert loaded.default_processing_res == 64
    assert np.array_equal(loaded(image, **CALL, generator=generator()).prediction, expected)


def test_a_saved_folder_says_of_which_class_it_is(tiny_folder):
    index = json.loads((tiny_folder / "model_index.json").read_text())
    assert index["_class_name"] == "SODDiffusionPipeline"
    assert index["conditioner"] == ["model.conditioner", "SaliencyConditioner"]


def test_from_pipe_consistent_forward_pass(tiny, image, expected):
    again = SODDiffusionPipeline.from_pipe(tiny)
    again.set_progress_bar_config(disable=True)
    assert np.array_equal(again(image, **CALL, generator=generator()).prediction, expected)


def test_serialization_with_variants_and_loading_with_them(tiny, tmp_path, image, expected):
    tiny.save_pretrained(tmp_path, variant="fp16")
    assert {path.parent.name for path in tmp_path.glob("*/*.fp16.safetensors")} == {"vae", "unet", "conditioner"}
    assert np.array_equal(load(tmp_path, variant="fp16")(image, **CALL, generator=generator()).prediction, expected)


def test_loading_with_incorrect_variants_raises_error(tiny_folder):
    with pytest.raises(ValueError, match="the model files of the `variant=fp16`"):
        load(tiny_folder, variant="fp16")


def test_dtype_dict_and_dtype_alias(tiny_folder, image, expected):
    half = load(tiny_folder, dtype=torch.bfloat16)
    assert {part.dtype for part in (half.vae, half.unet, half.conditioner)} == {torch.bfloat16}
    prediction = half(image, **CALL, generator=generator()).prediction
    assert prediction.dtype == np.float32
    mixed = load(tiny_folder, dtype={"unet": torch.bfloat16, "default": torch.float32})
    assert (mixed.unet.dtype, mixed.vae.dtype) == (torch.bfloat16, torch.float32)


def test_to_device_and_to_dtype(own_tiny, image, expected):
    assert own_tiny.to("cpu") is own_tiny
    half = own_tiny.to(dtype=torch.bfloat16)
    found = half(image, **CALL, generator=generator()).prediction
    assert np.isfinite(found).all()
    assert {part.dtype for part in (half.vae, half.unet, half.conditioner)} == {torch.bfloat16}


def test_attention_slicing_forward_pass(own_tiny, image, expected):
    own_tiny.enable_attention_slicing(1)
    found = own_tiny(image, **CALL, generator=generator()).prediction
    np.testing.assert_allclose(found, expected, atol=BATCH_ATOL)


def test_vae_slicing(own_tiny, image, expected):
    own_tiny.enable_vae_slicing()
    assert own_tiny.vae.use_slicing
    found = own_tiny(image, **CALL, generator=generator()).prediction
    np.testing.assert_allclose(found, expected, atol=BATCH_ATOL)
    own_tiny.disable_vae_slicing()
    assert not own_tiny.vae.use_slicing


def test_vae_tiling(own_tiny, image_of):
    asked = CALL | {"processing_resolution": 128}
    plain = own_tiny(image_of(90, 70), **asked, generator=generator()).prediction
    own_tiny.enable_vae_tiling()
    tiled = own_tiny(image_of(90, 70), **asked, generator=generator()).prediction
    assert 100 * BATCH_ATOL < np.abs(tiled - plain).max() < 0.5
    own_tiny.disable_vae_tiling()
    assert np.array_equal(own_tiny(image_of(90, 70), **asked, generator=generator()).prediction, plain)


def test_options_that_shape_a_map_are_taken_by_name(tiny, image_of):
    found = tiny(image_of(64, 64), **CALL, ensembling_kwargs={"reduction": "median", "stretch": True})
    assert (found.prediction.min(), found.prediction.max()) == (0, 1)


# Faults


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"output_type": "latent"}, ValueError, "output_type is 'latent'; it must be one of np, pt, pil"),
        ({"num_inference_steps": 0}, ValueError, "denoise_steps is 0; it must be from 1 to 999"),
        ({"ensemble_size": 2.0}, ValueError, "ensemble_size is 2.0; it must be a whole number"),
        (
            {"ensembling_kwargs": {"reducton": 1}},
            TypeError,
            "no field of ensembling_kwargs 'reducton'; did you mean 're",
        ),
        (
            {"ensembling_kwargs": {"reduction": "meen"}},
            ValueError,
            "is 'meen'; it must be one of mean, median. Did you",
        ),
        ({"ensembling_kwargs": {"seed": 3}}, TypeError, "no field of ensembling_kwargs 'seed'"),
        ({"generator": 3}, TypeError, "generator is of type int; give torch.Generator"),
        (
            {"generator": [torch.Generator()] * 3},
            ValueError,
            "generator has 3 generators; give one for each of the 1 im",
        ),
        ({"latents": torch.zeros(3, 4, 8, 8)}, ValueError, r"latents has the shape \(3, 4, 8, 8\); it must be \(2, 4"),
        (
            {"latents": torch.zeros(2, 4, 9, 8)},
            ValueError,
            r"latents has the shape \(2, 4, 9, 8\); .* \(4, 8, 8\) each",
        ),
        ({"latents": torch.zeros(2, 4, 8, 8), "generator": torch.Generator()}, ValueError, "are both given; give one"),
        ({"callback_on_step_end_tensor_inputs": ["tokens"]}, ValueError, "has 'tokens'; there is latents"),
        (
            {"callback_on_step_end_tensor_inputs": "latents"},
            TypeError,
            r"callback_on_step_end_tensor_inputs is 'latents'; give a list: \['latents'\]",
        ),
        ({"callback_on_step_end": "stop"}, TypeError, "callback_on_step_end is 'stop'; give a function"),
        (
            {"ensembling_kwargs": "median"},
            TypeError,
            "ensembling_kwargs is 'median'; give a dictionary, such as {'reduction': 'median'}",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_argument_that_is_wrong_is_refused_before_any_work(tiny, image, monkeypatch, options, error, said):
    monkeypatch.setattr(tiny.unet, "forward", None)
    unchecked = inspect.unwrap(SODDiffusionPipeline.__call__)  # by the tests' own check of types
    with pytest.raises(error, match=said):
        unchecked(tiny, image, **CALL | options)


def test_diffusers_own_door_says_that_the_class_is_needed(tiny_folder):
    with pytest.raises(AttributeError, match="SODDiffusionPipeline"):
        DiffusionPipeline.from_pretrained(tiny_folder)


def test_the_tiny_pipeline_is_not_changed_by_calls(tiny, image, expected):
    assert np.array_equal(build_tiny()(image, **CALL, generator=generator()).prediction, expected)
