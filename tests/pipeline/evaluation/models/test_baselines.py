"""Saliency without learning: each baseline sees a bright square on grey, and survives photos without any contrast."""

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.models import baselines
from pipeline.evaluation.models.predictors import to_map

needs_contrib = pytest.mark.skipif(not hasattr(cv2, "saliency"), reason="OpenCV without its contributed modules")
NAMES = [
    "centre_prior",
    "grabcut",
    pytest.param("spectral_residual", marks=needs_contrib),
    pytest.param("fine_grained", marks=needs_contrib),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_square_in_the_middle_is_found(name):
    photo = np.random.default_rng(1).integers(90, 110, (96, 120, 3)).astype(np.uint8)
    photo[36:60, 48:72] = (230, 40, 40)
    found = to_map(getattr(baselines, name)(photo), name).astype(float)
    assert found.shape == (96, 120)
    assert found[36:60, 48:72].mean() > 2 * found[:20].mean() + 10
    again = to_map(getattr(baselines, name)(photo), name)
    assert (found == again).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 40, 3), (30, 30, 3)])
def test_a_photo_of_one_colour_or_of_few_pixels_gives_a_map_too(name, shape):
    found = to_map(getattr(baselines, name)(np.full(shape, 77, dtype=np.uint8)), name)
    assert found.shape == shape[:2]


def test_an_opencv_without_saliency_says_what_to_install(monkeypatch):
    monkeypatch.delattr(cv2, "saliency", raising=False)
    baselines._saliency.cache_clear()
    with pytest.raises(ConfigError, match="opencv-contrib-python-headless"):
        baselines.spectral_residual(np.zeros((4, 4, 3), dtype=np.uint8))
