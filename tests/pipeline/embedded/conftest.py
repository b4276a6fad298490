"""Material made by formula, for the tests of everything that draws from material."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.embedded.composites import make_composite
from pipeline.embedded.material import Group, Material, Source
from tests.model.conftest import build_tiny
from tests.one_thread import one_thread  # noqa: F401 (its tests have it by this)


def _make_source(**overrides):
    fields = {
        "name": "things", "registry": "npm", "package": "@some/things", "version": "1.0.0", "kind": "cutout",
        "taken": "all", "files": r"\.png$", "licence": "CC0-1.0", "permissive": True,
    }  # fmt: skip
    return Source(**(fields | overrides))


def _make_group(kind, *pictures, **overrides):
    source = _make_source(name=kind, kind=kind, **overrides)
    return Group(source=source, archive="a.zip", sha256="0" * 64, pictures=pictures)


def _make_disc(side=96, colour=(200, 40, 40)):
    y, x = np.mgrid[:side, :side]
    inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 2.1) ** 2
    return np.dstack([np.full((side, side, 3), colour, np.uint8), np.where(inside, 255, 0).astype(np.uint8)])


def _make_material(*kinds):
    noise = np.random.default_rng(1).integers(0, 256, (120, 150, 4), dtype=np.uint8)
    pictures = {"cutout": _make_disc(), "photo": noise[..., :3], "texture": noise[:100, :100, :3], "skyline": noise}
    return Material(groups=tuple(_make_group(kind, pictures[kind]) for kind in ("cutout", *kinds)))


class Malice:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(scope="session")
def malice():
    """What must never be unpickled: it touches the given file then."""
    return Malice


def _tiny_pipeline(seed):
    pipeline = build_tiny()
    generator = torch.Generator().manual_seed(seed)
    for network in (pipeline.unet, pipeline.vae, pipeline.conditioner):
        network.requires_grad_(True)
        for weight in network.parameters():
            weight.data += 1e-3 * torch.randn(weight.shape, generator=generator)
    return pipeline


@pytest.fixture(scope="session")
def tiny_pipeline():
    """The real classes at tiny width, to be trained: weights follow from a seed, as in `new_pipeline`."""
    return _tiny_pipeline


@pytest.fixture(scope="session")
def make_source():
    """A source; fields can be overridden."""
    return _make_source


@pytest.fixture(scope="session")
def make_group():
    """A group of a kind with the given pictures; fields of its source can be overridden."""
    return _make_group


@pytest.fixture(scope="session")
def make_disc():
    """A cut-out: a disc of one colour."""
    return _make_disc


@pytest.fixture(scope="session")
def make_material():
    """Material of cut-outs and of the given kinds, one picture each."""
    return _make_material


@pytest.fixture(scope="session")
def material():
    """Material of all kinds, one picture each."""
    return _make_material("photo", "texture", "skyline")


@pytest.fixture(scope="session")
def composites_folder(material, tmp_path_factory):
    """A finished folder of eight composites of 64 px in two parts."""
    folder = tmp_path_factory.mktemp("composites")
    for number, indices in enumerate([range(5), range(5, 8)]):
        images, masks = zip(*(make_composite(material, 0, index, 64) for index in indices), strict=True)
        np.save(folder / f"part-{number:05d}.images.npy", np.stack(images), allow_pickle=False)
        np.save(folder / f"part-{number:05d}.masks.npy", np.stack(masks), allow_pickle=False)
    (folder / "recipe.json").write_text(json.dumps({"count": 8}))
    return folder
