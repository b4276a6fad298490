"""A release of five images, and predictions of it."""

import pytest

from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.job import evaluate
from pipeline.evaluation.tasks import find_tasks
from pipeline.files.maps import decode_png
from pipeline.options import from_options
from tests.pipeline.evaluation.make import saliency, save
from tests.pipeline.release.conftest import permuted, release_of, released, renumbered  # noqa: F401 (fixtures)

KEYS = [f"{number:012d}" for number in (2, 4, 6, 8, 10)]


@pytest.fixture(scope="session")
def masks(released):  # noqa: F811
    """Key → mask of its tar."""
    return {key: decode_png(members["mask.png"]) > 0 for key, members in released.samples().items()}


@pytest.fixture
def maps(masks, tmp_path):
    """A folder with a map of each image, named by its key."""
    for number, (key, mask) in enumerate(masks.items()):
        save(tmp_path / "maps" / f"{key}.png", saliency(number, *mask.shape))
    return tmp_path / "maps"


@pytest.fixture
def evaluated(released, tmp_path):  # noqa: F811
    """A function that evaluates predictions on the release, and gives the content of `evaluation.json`."""

    def evaluate_here(predictions, out="out", **options):
        given = {"out": str(tmp_path / out), "engine": "inline", "release": str(released.folder)}
        given |= {"predictions": str(predictions), **options}
        config = from_options(EvaluationConfig, given, missing=None)
        (document,) = evaluate(find_tasks(config), config)
        return document

    return evaluate_here
