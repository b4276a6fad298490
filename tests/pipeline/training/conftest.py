"""A saved tiny pipeline, four pairs, one thread; no test waits for the disk."""

import os

import pytest
import torch

from pipeline.training import watch
from tests.model.conftest import build_tiny
from tests.pipeline.training.make import make_pairs


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def every_step(monkeypatch):
    """Write a row of metrics, and so a report, for each step."""
    monkeypatch.setattr(watch, "LOG_EVERY_STEPS", 1)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """Folder of the tiny pipeline; tests must not change it."""
    folder = tmp_path_factory.mktemp("tiny")
    build_tiny().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory):
    """Four pairs of 64 x 64 px; tests must not change them."""
    return make_pairs(tmp_path_factory.mktemp("pairs"), 4)
