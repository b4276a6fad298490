"""Load the embedded model once for all of these tests."""

import pytest

from pipeline.photos import predict
from tests.pipeline.photos.make import load_quickly


@pytest.fixture(autouse=True)
def _quick_model(monkeypatch):
    monkeypatch.setattr(predict, "load_diffusion_model", load_quickly)
