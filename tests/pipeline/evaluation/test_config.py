"""Options that may be given together, and those that are refused with both named."""

import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.options import from_options


def make_config(**options):
    config: EvaluationConfig = from_options(EvaluationConfig, {"out": "out"} | options, missing=None)
    return config


@pytest.mark.parametrize(
    "options",
    [
        {"predictions": "p", "masks": "m"},
        {"images": "i", "masks": "m", "ensemble_size": 1},
        {"dataset": ("ECSSD",), "root": "r"},
        {"dataset": ("ECSSD", "HKU-IS"), "root": "r", "predictions": "p"},
        {"predictions": "p", "masks": "m", "count": 7, "normalize": False},
        {"dataset": ("ECSSD",), "root": "r", "count": 900},
    ],
)
def test_options_that_go_together(options):
    make_config(**options).check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give either --masks, or --dataset and --root"),
        ({"masks": "m", "dataset": ("ECSSD",), "root": "r"}, "give either --masks, or --dataset and"),
        ({"masks": "m"}, "give --predictions, or --images"),
        ({"masks": "m", "predictions": "p", "images": "i"}, "--predictions (existing maps) or --images"),
        ({"masks": "m", "predictions": "p", "root": "r"}, "give --dataset and --root together"),
        ({"dataset": ("ECSSD",)}, "give --dataset and --root together"),
        ({"dataset": ("ECSSD", "ECSSD"), "root": "r"}, "--dataset has a duplicate: ECSSD ECSSD"),
        ({"dataset": ("ECSSD",), "root": "r", "images": "i"}, "leave out --images i"),
        ({"masks": "m", "predictions": "p", "ensemble_size": 3}, "leave out the options of model and ensemble"),
        ({"masks": "m", "predictions": "p", "model": "fake"}, "leave out the options of model and ensemble"),
        ({"masks": "m", "predictions": "p", "count": 0}, "--count is 0"),
        ({"dataset": ("ECSSD", "HKU-IS"), "root": "r", "count": 5}, "for a single folder or dataset"),
        ({"masks": "m", "images": "i", "shard_size": 0}, "--shard-size is 0"),
    ],
)
def test_options_that_contradict_are_refused(options, said):
    with pytest.raises(ConfigError) as caught:
        make_config(**options).check()
    assert said in str(caught.value)
