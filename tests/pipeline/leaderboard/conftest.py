"""A small release, three models' maps of it, and a leaderboard with two of them."""

import warnings

import numpy as np
import pytest
from PIL import Image

from pipeline.config import ClusterConfig
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.job import evaluate
from pipeline.evaluation.tasks import find_tasks
from pipeline.leaderboard.add import add_result
from tests.pipeline.release.conftest import release_of, released

__all__ = ["release_of", "released"]


def evaluate_quietly(config):
    """Evaluate without the warning of pycocotools, which does not know numpy 2's `__array__`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        evaluate(find_tasks(config), config)


@pytest.fixture(scope="session")
def evaluated(released, tmp_path_factory):
    """A function that evaluates a model: its maps are the masks with some noise; keys in `lacks` have none."""
    root = tmp_path_factory.mktemp("evaluated")

    def make(name, noise, lacks=(), **options):
        if not (root / name / "evaluation.json").is_file():
            maps = root / f"maps-{name}"
            maps.mkdir()
            for place, (key, members) in enumerate(sorted(released.samples().items())):
                if key not in lacks:
                    (maps / f"{key}.png").write_bytes(members["mask.png"])
                    mask = np.asarray(Image.open(maps / f"{key}.png")).astype(float)
                    wrong = np.random.default_rng(place).uniform(-255, 255, mask.shape) * noise
                    Image.fromarray((mask + wrong).clip(0, 255).astype(np.uint8)).save(maps / f"{key}.png")
            config = EvaluationConfig(
                out=str(root / name),
                release=str(released.folder),
                predictions=str(maps),
                cluster=ClusterConfig(engine="inline"),
                **options,
            )
            evaluate_quietly(config)
        return root / name

    return make


@pytest.fixture(scope="session")
def good(evaluated):
    """The result of a model with little noise."""
    return evaluated("good", 0.1)


@pytest.fixture(scope="session")
def poor(evaluated):
    """The result of a model with much noise, which lacks one image."""
    return evaluated("poor", 0.9, lacks=("000000000004",))


@pytest.fixture
def board(good, poor, tmp_path):
    """A board with both."""
    add_result(poor, tmp_path / "board", name="Poor model", trained_on="COCO train2017", collection="COCO")
    add_result(good, tmp_path / "board", name="Good & fast", link="https://example.org/(good)", collection="COCO")
    return tmp_path / "board"
