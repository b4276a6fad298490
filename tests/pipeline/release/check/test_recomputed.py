"""Scores are measured again on the stored maps: true ones are never denied, and false ones are found."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from model.config import EnsembleConfig
from model.fake import FakeModel
from model.maps import quantise_saliency, quantise_variance
from model.prediction import Prediction
from model.rounds import variance_scale
from pipeline.release.check.recomputed import EXACT, not_recomputable, possible_scores, score_problems
from pipeline.release.check.verify import verify_release
from pipeline.selection.scores import SCORES, score
from tests.pipeline.make import Inputs, make_key, write_annotations
from tests.pipeline.release.editing import forge

SAMPLE = Path(__file__).resolve().parents[4] / "pipeline" / "sample" / "images"
OWN_SIZE = {"processing_res": "0", "weights": "ab" * 32, "ensemble_size": "5"}
LEVELS = st.sampled_from([0.0, 0.39, 0.4, 0.41, 0.499, 0.5, 0.501, 0.6, 1.0]) | st.floats(0, 1, width=32)


@st.composite
def predictions(draw):
    """Predictions at the image's own size, by as many members as the ensemble has or fewer."""
    members = draw(st.integers(2, 5))
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    values = draw(arrays(np.float32, (members, *shape), elements=LEVELS.map(np.float32)))
    scale = variance_scale(members, 5)
    return Prediction(
        saliency=values.mean(0),
        variance=(values.var(0) * np.float32(scale)).clip(0, np.float32(0.25)),
        uncertainty=values.std(0),
        members=values,
        variance_scale=scale,
    )


def stored(prediction):
    return quantise_saliency(prediction.saliency), quantise_variance(prediction.variance)


def smooth(seed, height=60, width=80):
    """Five members that agree on a blurred disc but for its radius."""
    draw = np.random.default_rng(seed)
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows - height * (0.4 + 0.2 * draw.random()), columns - width * (0.4 + 0.2 * draw.random()))
    radii = 12 + (2 + 4 * draw.random()) * np.linspace(0, 1, 5)
    members = np.stack([1 / (1 + np.exp((distance - radius) / 2)) for radius in radii]).astype(np.float32)
    return Prediction(
        saliency=members.mean(0), variance=members.var(0), uncertainty=members.std(0), members=members
    )  # fmt: skip


@given(predictions())
def test_true_scores_are_never_denied(prediction):
    row = {"members": len(prediction.members), **score(prediction)}
    assert list(score_problems(*stored(prediction), row, OWN_SIZE)) == []


@given(st.integers(0, 10**6), st.sampled_from(["up", "down"]))
def test_a_score_off_by_more_than_its_tolerance_is_found(seed, direction):
    prediction = smooth(seed)
    scores, sign = score(prediction), 1 if direction == "up" else -1
    pixels = prediction.saliency.size
    steps = {"area": 1 / pixels, "border": 1 / 276, "max_saliency": 0.004, "stability": 0.1}
    steps["ensemble_variance"] = 0.05 * scores["ensemble_variance"]
    steps["ensemble_variance_per_area"] = 0.1 * scores["ensemble_variance_per_area"]
    assert steps.keys() | {"pairwise_iou"} == set(SCORES)
    for name, step in steps.items():
        row = {"members": 5, **scores, name: scores[name] + sign * step}
        (said,) = score_problems(*stored(prediction), row, OWN_SIZE)
        assert said.startswith(f"{name} is ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("name", [name for name in SCORES if name != "pairwise_iou"])
def test_no_number_is_no_score(name, value):
    prediction = smooth(1)
    row = {"members": 5, **score(prediction), name: value}
    (said,) = score_problems(*stored(prediction), row, OWN_SIZE)
    assert said.startswith(f"{name} is {value!r}")


def test_area_and_border_are_compared_exactly():
    possible = possible_scores(*stored(smooth(2)), 5, OWN_SIZE)
    assert {name for name, between in possible.items() if between.low == between.high} == set(EXACT)


@pytest.mark.parametrize(
    ("made_with", "names"),
    [
        ({}, set()),
        ({"alignment": "none", "stretch": "False", "reduction": "mean"}, set()),
        ({"alignment": "affine"}, {"ensemble_variance", "ensemble_variance_per_area", "stability"}),
        ({"stretch": "True"}, {"ensemble_variance", "ensemble_variance_per_area", "stability"}),
        ({"reduction": "median"}, {"ensemble_variance_per_area", "stability"}),
    ],
)
def test_scores_of_members_that_were_changed_can_not_be_measured_again(made_with, names):
    assert not_recomputable(made_with).keys() == names
    measured = possible_scores(*stored(smooth(3)), 5, made_with).keys()
    assert measured == set(SCORES) - names - {"pairwise_iou"}


# In releases whose forger mended everything else


@pytest.fixture
def copy(released, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(released.folder, folder)
    return folder


def test_a_forger_who_changes_nothing_is_not_noticed(copy):
    forge(copy, lambda samples, rows: None)
    assert verify_release(str(copy)).problems == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("area", 0.2), ("border", 0.01), ("max_saliency", 0.9), ("ensemble_variance", 0.0), ("stability", 0.5)],
)
def test_a_false_score_is_found_though_everything_that_repeats_it_agrees(copy, name, value):
    forge(copy, lambda samples, rows: rows[make_key(2)].update({name: value}))
    (problem,) = verify_release(str(copy)).problems
    assert problem.where.endswith(".tar")
    assert f"{make_key(2)}: {name} is {value}; the stored maps give" in problem.what


@pytest.mark.parametrize("options", [{}, {"adaptive": "on"}, {"alignment": "affine"}], ids=str)
def test_scores_of_the_embedded_model_are_not_denied(release_of, tmp_path, options):
    images = tmp_path / "images"
    images.mkdir()
    sizes = [(240, 180), (64, 48), (20, 33)]  # the model works at 192 pixels
    for number, size in enumerate(sizes, 1):
        with Image.open(SAMPLE / f"{number:012d}.jpg") as photo:
            photo.resize(size).save(images / f"{number}.png")
    entries = [
        {"id": number, "file_name": f"{number}.png", "width": width, "height": height, "license": 1}
        for number, (width, height) in enumerate(sizes, 1)
    ]
    inputs = Inputs(images=images, annotations=tmp_path / "annotations.json", entries=entries)
    write_annotations(inputs)
    everything = {"max_variance": 0.25, "max_variance_per_area": 250.0, "min_area": 0.0, "max_area": 1.0}
    made = release_of(inputs, tmp_path / "out", model="nano", **everything, **options)
    check = verify_release(str(made.folder))
    assert (check.problems, check.accepted) == ((), 3)


def test_pairwise_iou_is_said_to_be_unknown(released):
    assert "pairwise_iou" in " ".join(verify_release(str(released.folder)).notes)


@settings(max_examples=20)
@given(st.integers(1, 200))
def test_the_stand_in_is_not_denied_either(number):
    height, width = 20 + number % 40, 20 + number % 37
    model = FakeModel.from_name("fake", EnsembleConfig(ensemble_size=3))
    (prediction,) = model.predict([np.zeros((height, width, 3), np.uint8)], [make_key(number)])
    row = {"members": 3, **score(prediction)}
    assert list(score_problems(*stored(prediction), row, {"weights": "fake", "ensemble_size": "3"})) == []


@pytest.mark.parametrize("said", ["", "x", "-1", "3.5", "²", "9" * 5000])
@pytest.mark.parametrize("name", ["ensemble_size", "processing_res"])
def test_a_fingerprint_that_states_no_number_is_taken_for_one_that_states_none(name, said):
    without = {key: value for key, value in OWN_SIZE.items() if key != name}
    assert possible_scores(*stored(smooth(3)), 5, without | {name: said}) == possible_scores(
        *stored(smooth(3)), 5, without
    )
