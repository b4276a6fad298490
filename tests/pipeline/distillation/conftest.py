"""A distillation from the tiny pipeline's VAE, whose weights are random: whatever it paints is to be painted alike."""

import shutil
from dataclasses import replace

import pytest
import torch

from pipeline.distillation import examples
from pipeline.distillation.config import DistillationConfig
from pipeline.distillation.distil import distil
from pipeline.distillation.folder import require_folder
from tests.model.conftest import build_tiny
from tests.one_thread import one_thread  # noqa: F401 (its tests have it by this)


@pytest.fixture(scope="session", autouse=True)
def _small_parts():
    """Two parts of examples instead of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples, "_PART", 6)
        yield


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A saved model in half precision, as the embedded one is; tests must not change it."""
    folder = tmp_path_factory.mktemp("source")
    build_tiny().to(dtype=torch.float16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def request_for(source):
    """Makes a small request."""
    small = DistillationConfig(
        out=source, model=str(source), examples=12, steps=12, batch=2, held_out=6, checkpoint_every=4
    )

    def make(out, **overrides):
        return replace(small, out=out, **overrides)

    return make


@pytest.fixture
def trained(finished, tmp_path):
    """The folder of a distillation that nothing interrupted, to go on with: no step of it is taken again."""
    return shutil.copytree(finished[0].out, tmp_path / "out")


@pytest.fixture(scope="session")
def finished(request_for, tmp_path_factory):
    """The request and the result of a distillation that nothing interrupted."""
    config = request_for(tmp_path_factory.mktemp("finished") / "out")
    require_folder(config)
    return config, distil(config)
