"""The reference's whole inference, with formula-made weights: members, saliency and uncertainty, in both of its modes.

`pytest tests/model/test_golden_inference.py -rP` prints the errors; model/README.md has them in a table.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from model.config import REFERENCE_PRESET, EnsembleConfig
from model.diffusion import SODDiffusionPipeline
from tests.golden.branch import GOLDEN
from tests.golden.official_files import small_unet, small_vae, stable_diffusion_scheduler

MEMBERS_ATOL = 2e-3
MAPS_ATOL = 1e-2
MODES = {
    "evaluation": ("pipeline_eval.safetensors", False),
    "batch statistics": ("pipeline_batchstat.safetensors", True),
}


@pytest.fixture(scope="module")
def reference_pipeline(branch):
    """The networks of the golden files: the full branch, a small UNet and VAE."""
    unet, vae = small_unet().eval(), small_vae().eval()
    return SODDiffusionPipeline(vae, unet, stable_diffusion_scheduler(timestep_spacing="leading"), branch)


@pytest.fixture(scope="module", params=MODES)
def inference(request, reference_pipeline):
    """What the reference gave in one of its modes, and what we give from the same latents with its preset."""
    file_name, batch_stats = MODES[request.param]
    golden = load_file(GOLDEN / file_name)
    preset = {name: option.value for name, option in REFERENCE_PRESET.items()}
    ensemble = EnsembleConfig(**preset | {"batch_stats": batch_stats, "ensemble_size": 3, "denoise_steps": 4})
    with Image.open(GOLDEN / "pipeline_input.png") as file:
        image = np.asarray(file.convert("RGB"))
    with pytest.MonkeyPatch.context() as patched:  # our seeds give other noise than the reference's one global seed
        patched.setattr(reference_pipeline, "_member_latents", lambda *_: golden["initial_latents"])
        (prediction,) = reference_pipeline.predict([image], ["any"], ensemble)
    return SimpleNamespace(golden=golden, prediction=prediction, mode=request.param)


@pytest.mark.parametrize(
    ("field", "stride", "atol"),
    [("members", 4, MEMBERS_ATOL), ("saliency", 2, MAPS_ATOL), ("uncertainty", 4, MAPS_ATOL)],
)
def test_the_whole_inference_is_the_references(inference, field, stride, atol):
    ours = getattr(inference.prediction, field)[..., ::stride, ::stride]
    expected = inference.golden[field].numpy()
    assert ours.shape == expected.shape
    error = np.abs(ours - expected).max()
    print(f"{inference.mode}, {field}: largest error {error:.1e}, allowed {atol}")
    assert error <= atol


def test_the_modes_differ_by_more_than_the_tolerance():
    members = [load_file(GOLDEN / file_name)["members"] for file_name, _ in MODES.values()]
    assert (members[0] - members[1]).abs().max() > 10 * MEMBERS_ATOL


def test_the_preset_has_the_references_behaviours_and_the_defaults_have_none():
    ours, references = EnsembleConfig(), {name: option.value for name, option in REFERENCE_PRESET.items()}
    assert all(getattr(ours, name) != value for name, value in references.items())
    assert references == {
        "ensemble_size": 10,
        "denoise_steps": 10,
        "alignment": "reference",
        "reduction": "median",
        "stretch": True,
        "batch_stats": True,
        "resize_filter": "bicubic",
    }
