"""Published figures are read strictly, and each difference is ours minus the published one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.evaluation.config import DATASET_NAMES
from pipeline.evaluation.datasets import DATASETS
from pipeline.evaluation.published_figures import Published, beside_published, read_published
from pipeline.evaluation.summary import SCALARS

MODEL = '[[models]]\nname = "A"\nsource = "a paper"\n[models.figures]\n'
VALUES = st.floats(0, 1, allow_nan=False)


def published(figures, dataset="ECSSD", name="A"):
    return Published(name=name, source="a paper", figures={dataset: figures})


@given(
    ours=st.fixed_dictionaries(dict.fromkeys(SCALARS, VALUES)),
    theirs=st.dictionaries(st.sampled_from(SCALARS), VALUES, min_size=1),
)
def test_a_difference_and_the_published_figure_add_up_to_ours(ours, theirs):
    found = beside_published("ECSSD", ours, 7, (published(theirs),))
    (model,) = found["models"]
    assert model["figures"].keys() == theirs.keys()
    for name, figure in model["figures"].items():
        assert (figure["ours"], figure["published"]) == (ours[name], theirs[name])
        assert figure["published"] + figure["difference"] == pytest.approx(ours[name])
    assert (found["images"], found["images_of_the_dataset"]) == (7, 1000)


def test_only_models_with_figures_of_the_dataset_are_beside_it():
    models = (published({"mae": 0.1}, "ECSSD", "A"), published({"mae": 0.2}, "HKU-IS", "B"))
    ours = dict.fromkeys(SCALARS, 0.5)
    assert [model["name"] for model in beside_published("HKU-IS", ours, 1, models)["models"]] == ["B"]
    assert beside_published("DUTS-TE", ours, 1, models) is None
    assert beside_published("maps on masks", ours, 1, models) is None


def test_the_table_has_each_dataset_with_a_source_for_each_model():
    models = read_published()
    assert {dataset for model in models for dataset in model.figures} == set(DATASET_NAMES) == set(DATASETS)
    assert all("arXiv:" in model.source or "doi:" in model.source for model in models)
    best = next(model for model in models if model.name == "DualGazeNet-L")
    assert best.figures["DUT-OMRON"] == {
        **{"mae": 0.037, "mean_of_max_f": 0.896, "weighted_f": 0.826},
        **{"s_measure": 0.887, "mean_e": 0.909, "max_e": 0.916},
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("models = 3", "is malformed"),
        ("[[models", "is malformed"),
        ('[[models]]\nname = "A"\n[models.figures]\nECSSD = { mae = 0.1 }', "is malformed .KeyError: 'source'"),
        (MODEL.replace("a paper", "") + "ECSSD = { mae = 0.1 }", "has no name or no source"),
        (MODEL.replace("name", "link = 'x'\nname") + "ECSSD = { mae = 0.1 }", "unknown field link"),
        (MODEL + "ECSD = { mae = 0.1 }", "A has figures of ECSD; datasets are DUTS-TE"),
        (MODEL + "ECSSD = { MAE = 0.1 }", "A on ECSSD: there is no figure MAE"),
        (MODEL + "ECSSD = { mae = 1.9 }", "A on ECSSD: mae is 1.9; it must be a number from 0 to 1"),
        (MODEL + "ECSSD = { mae = nan }", "mae is nan|is malformed"),
        (MODEL + 'ECSSD = { mae = "0.1" }', "mae is '0.1'"),
        (MODEL + "ECSSD = 0.1", "is malformed"),
        ((MODEL + "ECSSD = { mae = 0.1 }\n") * 2, "has A of a paper twice"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_name(content, said):
    with pytest.raises(ConfigError, match=said):
        read_published(content.encode())
