"""The mask decoder: any size of latents, within its arithmetic, saved and loaded, and chosen by what it measured."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from model.architectures import build_pipeline
from model.checkpoint_files import CheckpointError
from model.config import EnsembleConfig, ModelConfig
from model.decoder_choice import LEAST_IOU, MASK_DECODER, Agreement, decoder_of
from model.diffusion import SODDiffusionPipeline
from model.loading import load_model
from model.mask_decoder import MaskDecoder, build_mask_decoder, size_for
from model.saliency import load_pipeline, ready
from model.vae_digest import digest_of_folder
from model.weights import weights_sha256
from tests.model.conftest import TINY_PX

GFLOP = 1e9
CLOSE = Agreement(side_px=TINY_PX, iou=LEAST_IOU, mae=0.001, s_measure=0.99, maps=8)
FAR = replace(CLOSE, iou=float(np.nextafter(LEAST_IOU, 0)))
WIDELY_CLOSE = (replace(CLOSE, side_px=40), CLOSE, replace(CLOSE, side_px=88))
OTHER_VAE = "ab" * 32
QUICK = EnsembleConfig(ensemble_size=1, denoise_steps=1)
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


def make_decoder(*agreement, distilled_from=None, **overrides):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        fields = {"channels": (8, 8, 8), "blocks": (1, 1, 1), "norm_num_groups": 4}
        decoder = MaskDecoder(**fields | overrides).eval()
    decoder.state(agreement, distilled_from)
    return decoder


def gflop_of(work):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops() / GFLOP


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of a saved model with a mask decoder that states what it is given."""

    def made(*agreement, dtype=torch.float32, distilled_from="own"):
        copied = tmp_path / "model"
        shutil.copytree(tiny_folder, copied)
        known = digest_of_folder(copied / "vae") if distilled_from == "own" else distilled_from
        decoder = make_decoder(*agreement, distilled_from=known)
        decoder.to(dtype=dtype).save_pretrained(copied / MASK_DECODER)
        return copied

    return made


@pytest.fixture
def told(caplog):
    """Gives what the choice of a decoder has logged so far; diffusers logs more."""

    def messages():
        return [record.getMessage() for record in caplog.records if record.name == "model.chosen_decoder"]

    return messages


def named(folder, decoder="auto", **options):
    return ModelConfig(model=str(folder), decoder=decoder, **options)


# What it computes


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4, 16]))
@settings(max_examples=25, deadline=None)
def test_it_paints_one_channel_of_eight_times_the_height_and_width_whatever_these_are(count, height, width, channels):
    decoder = make_decoder(latent_channels=channels)
    with torch.no_grad():
        painted = decoder(torch.randn(count, channels, height, width))
    assert painted.shape == (count, 1, 8 * height, 8 * width)


@given(st.integers(2, 5), st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_a_member_does_not_depend_on_those_beside_it(count, seed):
    decoder = make_decoder()
    latents = torch.randn(count, 4, 3, 5, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        together, alone = decoder(latents), torch.cat([decoder(one[None]) for one in latents])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_full_decoder_takes_at_most_80_gflop_at_384_px_and_a_small_one_half_of_its_vaes_decoder():
    with torch.device("meta"):
        full, small = build_mask_decoder("full"), build_mask_decoder("small")
        vae = build_pipeline("nano").vae
        large, little = torch.empty(1, 4, 48, 48), torch.empty(1, 4, 24, 24)
    assert 40 < gflop_of(lambda: full(large)) <= 80
    assert gflop_of(lambda: small(little)) < gflop_of(lambda: vae.decode(little)) / 2


def test_the_size_follows_from_the_vae():
    with torch.device("meta"):
        assert size_for(build_pipeline("nano").vae) == "small"
        assert size_for(build_pipeline("full").vae) == "full"


@pytest.mark.parametrize(
    "fields",
    [{"channels": (8, 8)}, {"blocks": (1, 1, 1, 1)}, {"agreement": [{"iou": 1.0}]}, {"distilled_from": "me"}],
)
def test_a_description_of_something_else_is_refused(fields):
    said = r"channels and blocks must have 3|agreement must have exactly the fields|distilled_from is 'me'"
    with pytest.raises(ValueError, match=said):
        MaskDecoder(**fields)


# In a model folder


@pytest.mark.parametrize(
    ("agreement", "wanted", "used"),
    [
        ((CLOSE,), "auto", "mask"),
        ((FAR,), "auto", "vae"),
        ((), "auto", "vae"),
        ((FAR,), "mask", "mask"),
        ((), "mask", "mask"),
        ((CLOSE,), "vae", "vae"),
    ],
)
def test_the_folder_and_the_loaded_model_choose_alike(folder, agreement, wanted, used, told):
    config = named(folder(*agreement), wanted)
    assert decoder_of(config) == used
    assert load_model(config, QUICK).pipeline.decoder == used
    assert told() == []


@pytest.mark.parametrize(
    ("side_px", "used"),
    [(None, "mask"), (40, "mask"), (71, "mask"), (95, "mask"), (39, "vae"), (96, "vae"), (0, "vae")],
)
def test_auto_takes_it_at_the_sides_between_which_it_is_close(folder, side_px, used, told):
    config = named(folder(*WIDELY_CLOSE))
    assert decoder_of(config, side_px) == used
    assert load_model(config, replace(QUICK, processing_res=side_px)).pipeline.decoder == used
    assert [message.partition(";")[2] for message in told()] == [" the VAE decodes instead"] * (used == "vae")


def call(pipeline, side_px):
    pipeline(PHOTO, num_inference_steps=1, ensemble_size=1, processing_resolution=side_px)


def predict(pipeline, side_px):
    pipeline.predict([PHOTO], ["1"], replace(QUICK, processing_res=side_px))


@pytest.mark.parametrize("predicts", [call, predict])
def test_a_prediction_at_another_size_chooses_once_more_where_auto_may(folder, told, predicts):
    pipeline = load_pipeline(folder(*WIDELY_CLOSE))

    def decoder_at(side_px):
        predicts(pipeline, side_px)
        return pipeline.decoder

    assert [decoder_at(side_px) for side_px in (32, 32, None)] == ["vae", "vae", "mask"]
    assert len(told()) == 1
    assert "at 32 px is not known: measured at 40, 64, 88 px" in told()[0]
    pipeline.decode_with("mask")
    assert decoder_at(32) == "mask"
    assert len(told()) == 1


# Beside another VAE


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_decoder_of_another_vae_is_refused_if_it_is_wanted_and_passed_over_if_it_is_not(folder, told, dtype):
    made = folder(CLOSE, distilled_from=OTHER_VAE)
    own = digest_of_folder(made / "vae")[:12]
    for settle in (decoder_of, lambda config: load_model(config, QUICK)):
        with pytest.raises(ValueError, match=rf"another VAE \(abababababab…\) .*{own}….*--decoder vae, or distil one"):
            settle(named(made, "mask", dtype=dtype))
    assert told() == []
    for wanted, messages in (("vae", 0), ("auto", 1)):
        config = named(made, wanted, dtype=dtype)
        assert decoder_of(config) == load_model(config, QUICK).pipeline.decoder == "vae"
        assert len(told()) == messages
    assert "was distilled from another VAE" in told()[0]
    assert told()[0].endswith("the VAE decodes instead")


def test_one_that_does_not_say_whose_it_is_is_taken_only_if_it_is_wanted_with_a_warning(folder, told):
    made = folder(CLOSE, distilled_from=None)
    for number, (wanted, used) in enumerate((("auto", "vae"), ("mask", "mask"))):
        config = named(made, wanted)
        assert decoder_of(config) == load_model(config, QUICK).pipeline.decoder == used
        assert len(told()) == number + 1
        assert "does not say which VAE it was distilled from" in told()[number]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_model_that_is_saved_in_float16_and_loaded_in_any_precision_keeps_its_decoder(folder, tmp_path, dtype):
    load_pipeline(folder(CLOSE)).to(dtype=torch.float16).save_pretrained(tmp_path / "half")
    config = named(tmp_path / "half", "mask", dtype=dtype)
    assert decoder_of(config) == "mask"
    pipeline = load_model(config, QUICK).pipeline
    assert (pipeline.decoder, pipeline.dtype) == ("mask", getattr(torch, dtype))
    pipeline.decode_with("auto")
    assert pipeline.decoder == "mask"


def test_what_bfloat16_has_rounded_can_not_be_told_apart(folder, told, tmp_path):
    load_pipeline(folder(CLOSE)).save_pretrained(tmp_path / "saved")
    pipeline = SODDiffusionPipeline.from_pretrained(tmp_path / "saved", dtype=torch.bfloat16)
    assert pipeline.decoder == "vae"
    pipeline.decode_with("mask")
    assert pipeline.decoder == "mask"
    assert "is in bfloat16, which does not tell" in told()[-1]


@pytest.mark.parametrize("wanted", ["auto", "vae"])
def test_a_model_without_one_decodes_with_its_vae(tiny_folder, wanted):
    assert decoder_of(named(tiny_folder, wanted)) == "vae"
    pipeline = load_pipeline(tiny_folder)
    assert (pipeline.mask_decoder, pipeline.decoder) == (None, "vae")


def test_one_that_is_wanted_and_missing_is_refused_with_what_makes_one(tiny_folder, tiny):
    with pytest.raises(ValueError, match=r"decoder is 'mask', and .* holds no mask_decoder: .*sod distil") as refused:
        decoder_of(named(tiny_folder, "mask"))
    assert str(tiny_folder) in str(refused.value)
    with pytest.raises(ValueError, match="holds no mask_decoder"):
        load_model(named(tiny_folder, "mask"), EnsembleConfig())
    with pytest.raises(ValueError, match="fake holds no mask_decoder"):
        decoder_of(ModelConfig(model="fake", decoder="mask"))
    assert tiny.decoder == "vae"


def test_a_model_keeps_it_when_it_is_saved_again_here_or_by_diffusers(folder, tmp_path):
    loaded = load_pipeline(folder(CLOSE))
    loaded.save_pretrained(tmp_path / "again")
    for one in (load_pipeline(tmp_path / "again"), SODDiffusionPipeline.from_pretrained(tmp_path / "again")):
        own, expected = one.mask_decoder.state_dict(), loaded.mask_decoder.state_dict()
        assert own.keys() == expected.keys()
        assert all(torch.equal(own[name], expected[name]) for name in expected)
        assert (one.mask_decoder.stated, one.decoder) == (loaded.mask_decoder.stated, "mask")
    assert loaded.mask_decoder.stated.agreement == (CLOSE,)


def test_a_model_without_one_is_saved_and_loaded_as_before(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / MASK_DECODER).exists()
    assert SODDiffusionPipeline.from_pretrained(tmp_path / "saved").mask_decoder is None
    index = tmp_path / "saved/model_index.json"
    fields = json.loads(index.read_bytes())
    del fields[MASK_DECODER]  # as earlier versions wrote it
    index.write_text(json.dumps(fields))
    for one in (load_pipeline(tmp_path / "saved"), SODDiffusionPipeline.from_pretrained(tmp_path / "saved")):
        assert (one.mask_decoder, one.decoder) == (None, "vae")


def test_the_digest_of_the_weights_covers_it(folder, tiny_folder):
    assert weights_sha256(folder(CLOSE)) != weights_sha256(tiny_folder)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_its_maps_are_those_that_the_model_predicts(folder, dtype, memory_format):
    config = named(folder(CLOSE, dtype=torch.float16), dtype=dtype, memory_format=memory_format)
    model = load_model(config, EnsembleConfig(ensemble_size=2, denoise_steps=1, batch_size=0))
    assert model.pipeline.mask_decoder.dtype == model.pipeline.unet.dtype
    (masked,) = model.predict([PHOTO], ["a"])
    model.pipeline.decode_with("vae")
    (plain,) = model.predict([PHOTO], ["a"])
    assert masked.saliency.shape == plain.saliency.shape == PHOTO.shape[:2]
    assert 0 <= masked.members.min() <= masked.members.max() <= 1
    assert not np.array_equal(masked.saliency, plain.saliency)


def test_with_the_vae_every_bit_is_as_without_a_mask_decoder(folder, tiny_folder):
    ensemble = EnsembleConfig(ensemble_size=2, denoise_steps=1)
    first, second = (
        load_model(config, ensemble).predict([PHOTO], ["a"])[0]
        for config in (named(tiny_folder), named(folder(CLOSE), "vae"))
    )
    assert np.array_equal(first.members, second.members)


def test_what_it_saves_in_memory_is_counted(folder):
    ensemble = EnsembleConfig(ensemble_size=1, denoise_steps=1)
    pipeline = load_pipeline(folder(CLOSE))
    needed = {name: ready(pipeline, ModelConfig(decoder=name), ensemble)._bytes_per_pixel for name in ("mask", "vae")}
    assert 0 < needed["mask"] < needed["vae"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agreement": [{"iou": 2}]}, "agreement must have exactly the fields"),
        ({"distilled_from": "A" * 64}, "distilled_from is"),
        ({"channels": [10**6, 8, 8]}, "channels is 1000000; it may be at most 8192"),
        ({"blocks": [65, 1, 1]}, "blocks is 65; it may be at most 64"),
        ({"_class_name": "AutoencoderKL"}, "describes AutoencoderKL, not MaskDecoder"),
    ],
)
def test_a_hostile_or_foreign_decoder_is_refused(folder, change, said):
    place = folder(CLOSE) / MASK_DECODER / "config.json"
    place.write_text(json.dumps(json.loads(place.read_bytes()) | change))
    with pytest.raises(CheckpointError) as refused:
        load_pipeline(place.parents[1])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"agreement": 1}', '{"agreement": [{"iou": 2}]}', '{"distilled_from": 1}']
)
def test_a_configuration_that_can_not_be_read_is_refused_before_the_weights_are(folder, content):
    place = folder(CLOSE) / MASK_DECODER / "config.json"
    place.write_text(content)
    with pytest.raises(ValueError, match=r"mask_decoder/config\.json: "):
        decoder_of(named(place.parents[1]))


def test_one_for_another_number_of_latent_channels_is_refused(own_tiny):
    decoder = make_decoder(latent_channels=16)
    with pytest.raises(ValueError, match="distilled from another VAE, which has not 4 latent channels"):
        SODDiffusionPipeline(**own_tiny.components | {"mask_decoder": decoder})
