"""The pass `flip`: its scores for a model whose answers are known, and what it takes over from the run."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model.config import EnsembleConfig, ModelConfig
from model.maps import encode_png
from model.prediction import Prediction
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError
from pipeline.passes import flip as flip_module
from pipeline.passes.config import PassConfig
from pipeline.passes.flip import Flip, ensemble_of, mean_variance
from pipeline.passes.known import PassSpec
from pipeline.passes.loading import load_pass
from pipeline.passes.options import FlipOptions
from pipeline.passes.score import score_run
from pipeline.passes.score_pass import Candidate, Item, PassContext
from pipeline.run import run
from tests.pipeline.make import make_collection, make_config, make_row, make_sample, tree

ALL_VIEWS = ("mirror", "smaller", "larger", "colours")
SIZES = st.tuples(st.integers(1, 30), st.integers(1, 30))


class Equivariant:
    """Says of each pixel what its red says."""

    device_kind = "cpu"

    def __init__(self):
        self.calls = []

    def predict(self, images, keys):
        self.calls.append(list(keys))
        return [self._of(image[:, :, 0].astype(np.float32) / 255) for image in images]

    @staticmethod
    def _of(saliency):
        return Prediction(saliency=saliency, variance=saliency, uncertainty=saliency, members=saliency[None])


def make_context(**overrides):
    fields = {"name": "flip", "run": "run", "made_with": {"weights": "fake"}, "model": ModelConfig(model="fake")}
    return PassContext(**{**fields, **overrides})


def make_item(image, saliency, key="000000000007"):
    """An image with the candidate whose map this is, 0 to 255."""
    candidate = Candidate(row=make_row(key=key), files={"saliency.png": encode_png(saliency)})
    return Item(sample=make_sample(key=key), image=image, candidate=candidate)


def scored(items, model, **options):
    """Values of each item, as a pass gives them that asks this model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flip_module, "load_model", lambda *_: model)
        return Flip(FlipOptions(**options), make_context()).score_all(items)


# Properties


@given(st.data(), SIZES, st.sampled_from([("mirror",), ("smaller",), ("larger",), ("mirror", "smaller", "larger")]))
def test_a_model_that_follows_every_view_agrees_with_itself(data, size, views):
    image = np.repeat(data.draw(arrays.arrays(np.uint8, (*size, 1))), 3, axis=2)
    (values,) = scored([make_item(image, image[:, :, 0])], Equivariant(), views=views)
    assert values["flip_iou"] == values["flip_dice"] == 1
    assert values["flip_variance"] == pytest.approx(0, abs=1e-12)


@given(st.data(), SIZES, st.lists(st.sampled_from(ALL_VIEWS), min_size=1, unique=True))
def test_scores_are_in_their_ranges_and_the_mean_is_no_less_than_the_least(data, size, views):
    image, saliency = data.draw(arrays.arrays(np.uint8, (*size, 3))), data.draw(arrays.arrays(np.uint8, size))
    (values,) = scored([make_item(image, saliency)], Equivariant(), views=tuple(views))
    columns = Flip(FlipOptions(views=tuple(views)), make_context()).columns
    assert values.keys() == {column.name for column in columns}
    assert all(column.lowest <= values[column.name] <= column.highest for column in columns)
    assert values["flip_iou"] <= values["flip_dice"] + 1e-12
    assert values.get("flip_least_iou", 0) <= values["flip_iou"] + 1e-12
    assert ("flip_least_iou" in values) == (len(views) > 1)


@given(st.data(), SIZES)
def test_the_variance_is_that_over_the_maps_that_show_a_pixel(data, size):
    unit = st.floats(0, 1, width=32)
    own, mirror, colours = (data.draw(arrays.arrays(np.float32, size, elements=unit)) for _ in range(3))
    found = mean_variance(own, {"mirror": mirror, "colours": colours})
    assert found == pytest.approx(np.stack([own, mirror, colours]).astype(np.float64).var(0).mean(), abs=1e-6)
    assert found == pytest.approx(mean_variance(own, {"colours": colours, "mirror": mirror}), abs=1e-7)
    height, width = size
    rows, columns = slice(height // 10, height - height // 10), slice(width // 10, width - width // 10)
    expected = np.stack([own, mirror]).astype(np.float64).var(0)
    expected[rows, columns] = np.stack([own, mirror, colours]).astype(np.float64).var(0)[rows, columns]
    found = mean_variance(own, {"mirror": mirror, "larger": colours[rows, columns]})
    assert found == pytest.approx(expected.mean(), abs=1e-6)


FIELDS = {
    "processing_res": st.none() | st.just(0) | st.integers(33, 500),
    "seed": st.integers(0, 2**63 - 1),
    "alignment": st.sampled_from(["none", "affine", "reference"]),
    "reduction": st.sampled_from(["mean", "median"]),
    "stretch": st.booleans(),
    "batch_stats": st.booleans(),
    "resize_filter": st.sampled_from(["bilinear", "bicubic"]),
}


@given(st.fixed_dictionaries(FIELDS), st.integers(1, 9), st.integers(1, 999))
def test_views_are_predicted_as_the_run_was_but_for_members_and_steps(fields, members, steps):
    of_run = EnsembleConfig(ensemble_size=10, denoise_steps=50, batch_size=3, **fields)
    made_with = {name: str(value) for name, value in dataclasses.asdict(of_run).items()}
    found = ensemble_of(FlipOptions(view_members=members, view_steps=steps), made_with)
    expected = EnsembleConfig(ensemble_size=members, denoise_steps=steps, timestep_spacing="trailing", **fields)
    assert found == expected


# Examples


def test_a_mask_that_the_mirror_does_not_know_is_doubtful():
    image = np.zeros((4, 6, 3), np.uint8)
    own = np.zeros((4, 6), np.uint8)
    own[:, :3] = 255
    image[:, :2] = 255  # the model finds less than the candidate has
    (values,) = scored([make_item(image, own)], Equivariant())
    assert values == {"flip_iou": 2 / 3, "flip_dice": 0.8, "flip_variance": pytest.approx(0.25 / 6)}


def test_several_views_are_averaged_and_the_least_is_kept():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, :1] = 255  # on the border: the larger view does not show it
    own = np.zeros((10, 10), np.uint8)
    own[:, :2] = 255
    (values,) = scored([make_item(image, own)], Equivariant(), views=("mirror", "larger"))
    assert values["flip_iou"] == pytest.approx((0.5 + 0) / 2)
    assert values["flip_least_iou"] == 0


def test_all_views_of_a_batch_are_predicted_together_under_their_images_key():
    image = np.full((5, 7, 3), 200, np.uint8)
    model = Equivariant()
    items = [make_item(image, image[:, :, 0], key) for key in ("000000000001", "000000000002")]
    assert len(scored(items, model, views=ALL_VIEWS)) == 2
    assert model.calls == [["000000000001"] * 4 + ["000000000002"] * 4]


def test_columns_are_called_after_the_pass_and_say_which_views():
    columns = Flip(FlipOptions(views=("mirror", "colours")), make_context(name="other")).columns
    assert [column.name for column in columns] == ["other_iou", "other_least_iou", "other_dice", "other_variance"]
    assert all("(mirror, colours)" in column.meaning for column in columns)


def test_the_card_says_what_predicted_the_views_and_other_weights_are_warned_of(caplog):
    (said,) = Flip.about(FlipOptions(views=("mirror", "larger")), make_context()).values()
    assert "by the run's own weights: mirrored; the middle 4/5" in said
    assert not caplog.records
    (said,) = Flip.about(FlipOptions(), make_context(made_with={"weights": "ab" * 32})).values()
    assert f"by other weights than the run's (fake; the run's are {'ab' * 32})" in said
    assert "the weights fake, the run's candidates with abababababab" in caplog.text


def test_a_run_is_scored_with_what_the_model_says_of_the_mirror(tmp_path):
    inputs = make_collection(tmp_path / "in", 4)
    run(make_config(inputs, tmp_path / "run"))
    before = tree(tmp_path / "run")
    options = {"run": str(tmp_path / "run"), "kind": "flip", "model": ModelConfig(model="fake")}
    config = PassConfig(**options, cluster=ClusterConfig(engine="inline"))
    report = score_run(config, FlipOptions())
    assert (report.scored, report.failed) == (4, 0)
    assert report.columns == ("flip_iou", "flip_dice", "flip_variance")
    after = tree(tmp_path / "run")
    assert {name: content for name, content in after.items() if not name.startswith("passes/")} == before


# Faults


def test_a_model_is_loaded_in_replicas_only(monkeypatch):
    def load_model(*_):
        raise AssertionError("loaded")

    monkeypatch.setattr(flip_module, "load_model", load_model)
    scorer = load_pass(PassSpec(kind="flip", options=FlipOptions()), make_context())
    with pytest.raises(AssertionError, match="loaded"):
        _ = scorer.device_kind


@pytest.mark.parametrize(
    ("options", "context", "said"),
    [
        ({}, {"model": ModelConfig(model="fake:no_such=1")}, "--model fake:no_such=1: the fake model has no option"),
        ({"view_steps": 1000}, {}, "denoise_steps is 1000; it must be from 1 to 999"),
    ],
)
def test_what_can_not_work_is_refused_when_the_pass_is_made(options, context, said):
    with pytest.raises(ConfigError, match=said):
        load_pass(PassSpec(kind="flip", options=FlipOptions(**options)), make_context(**context))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"views": ()}, r"views is \(\); give one view or more"),
        ({"views": ("mirror", "mirror")}, "each once"),
        ({"view_members": 0}, "view_members is 0"),
        ({"view_steps": 0}, "view_steps is 0"),
    ],
)
def test_nonsense_is_refused_by_name(options, said):
    with pytest.raises(ValueError, match=said):
        FlipOptions(**options)


def test_weights_that_can_not_be_loaded_are_named(monkeypatch):
    def load_model(*_):
        raise ValueError("it holds no model_index.json")

    monkeypatch.setattr(flip_module, "load_model", load_model)
    flip = Flip(FlipOptions(), make_context(model=ModelConfig(model="folder")))
    with pytest.raises(ConfigError, match=r"--model folder: it holds no model_index\.json"):
        _ = flip.device_kind
