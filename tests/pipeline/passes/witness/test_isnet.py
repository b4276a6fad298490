"""A real network as a witness: IS-Net on photographs of the sample. `make witness` fetches it; skipped without it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.networks.onnx_files import onnx_digests
from pipeline.networks.onnx_network import OnnxNetwork
from pipeline.networks.presets import PRESETS
from pipeline.passes.agreement import iou

ROOT = Path(__file__).resolve().parents[4]
IS_NET = ROOT / "out/witness/is-net.onnx"
SHA256 = "b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb"
SAMPLE = ROOT / "pipeline/sample"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_NET.exists(), reason="`make witness` fetches out/witness/is-net.onnx"),
]


def test_the_file_is_the_one_that_was_measured():
    assert onnx_digests(IS_NET) == {"": SHA256}


def test_its_preset_finds_what_people_have_drawn():
    network = OnnxNetwork(IS_NET, PRESETS["isnet"].signature, device="cpu", threads=1)
    pixels = np.asarray(Image.open(SAMPLE / "images/000000000014.jpg").convert("RGB"))
    drawn = np.asarray(Image.open(SAMPLE / "masks/000000000014.png").convert("L")) >= 128
    assert iou(network.saliency_of(pixels) >= 0.5, drawn) > 0.95
