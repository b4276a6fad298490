"""Properties, examples and faults of the stand-in for the real model."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import EnsembleConfig, ModelConfig
from model.fake import FakeModel
from model.loading import load_model
from model.prediction import ModelOutputError, SaliencyModel

ROOT = Path(__file__).parents[2]
ENSEMBLE = EnsembleConfig(ensemble_size=4, denoise_steps=10)

keys = st.integers(0, 10**12 - 1).map("{:012d}".format)
sides = st.integers(1, 80)


def make_fake(options="", ensemble=ENSEMBLE):
    return FakeModel.from_name(f"fake:{options}", ensemble)


def image_of(height, width):
    return np.zeros((height, width, 3), np.uint8)


def predict(fake, *keys, height_width=(20, 30)):
    return fake.predict([image_of(*height_width) for _ in keys], keys)


def run_predict(options, *keys):
    """The exit code of a process of its own that predicts these keys; it prints each one that is done."""
    script = f"""
import numpy as np
from model.config import EnsembleConfig
from model.fake import FakeModel
fake = FakeModel.from_name({f"fake:{options}"!r}, EnsembleConfig(ensemble_size=2))
for key in {keys!r}:
    fake.predict([np.zeros((2, 2, 3), np.uint8)], [key])
    print(key, flush=True)
"""
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)


# Properties


@settings(deadline=None, max_examples=50)
@given(sides, sides, keys, st.integers(2, 12))
def test_a_prediction_has_the_shapes_and_ranges_of_a_real_one(height, width, key, size):
    fake = make_fake(ensemble=EnsembleConfig(ensemble_size=size))
    (prediction,) = predict(fake, key, height_width=(height, width))
    assert prediction.saliency.shape == prediction.variance.shape == (height, width)
    assert prediction.members.shape == (size, 32, 32)
    for values, bound in ((prediction.saliency, 1), (prediction.variance, 0.25), (prediction.members, 1)):
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= bound


@settings(deadline=None, max_examples=50)
@given(st.lists(keys, min_size=1, max_size=5, unique=True), st.randoms(use_true_random=False), st.integers(0, 99))
def test_a_prediction_depends_on_key_and_seed_alone(many, random, seed):
    fake = make_fake(ensemble=EnsembleConfig(ensemble_size=3, seed=seed))
    together = dict(zip(many, predict(fake, *many), strict=True))
    random.shuffle(many)
    for key in many:
        (alone,) = make_fake(ensemble=EnsembleConfig(ensemble_size=3, seed=seed)).predict(
            [np.full((20, 30, 3), 200, np.uint8)], [key]
        )
        assert np.array_equal(alone.members, together[key].members)
        assert np.array_equal(alone.saliency, together[key].saliency)
        assert np.array_equal(alone.variance, together[key].variance)


@settings(deadline=None, max_examples=50)
@given(keys)
def test_mean_and_variance_are_those_of_the_members(key):
    (prediction,) = predict(make_fake(), key, height_width=(32, 32))
    np.testing.assert_allclose(prediction.saliency, prediction.members.mean(0), atol=1e-6)
    np.testing.assert_allclose(prediction.variance, prediction.members.var(0), atol=1e-6)


# Examples


def test_odd_keys_scatter_and_even_ones_agree():
    keys = [f"{number:012d}" for number in range(20)]
    spread = [prediction.variance.mean() for prediction in predict(make_fake(), *keys)]
    assert max(spread[::2]) < min(spread[1::2])


def test_another_seed_gives_other_members():
    one, other = (
        predict(make_fake(ensemble=EnsembleConfig(ensemble_size=10, seed=seed)), "000000000001")[0].members
        for seed in (0, 1)
    )
    assert not np.array_equal(one, other)


def test_every_option_is_read_from_the_name():
    fake = make_fake("sleep_s=0.5,fail_at=1,raise_at=2,die_at=3,once=/tmp/x")
    assert fake == FakeModel(ensemble=ENSEMBLE, sleep_s=0.5, fail_at="1", raise_at="2", die_at="3", once="/tmp/x")


@pytest.mark.parametrize("name", ["fake", "fake:", "fake:,"])
def test_no_options_is_the_well_behaved_fake(name):
    assert FakeModel.from_name(name, ENSEMBLE) == FakeModel(ensemble=ENSEMBLE)


def test_the_fake_is_loaded_by_name_and_is_a_saliency_model():
    fake = load_model(ModelConfig(model="fake:fail_at=7"), ENSEMBLE)
    assert isinstance(fake, SaliencyModel)
    assert fake == FakeModel(ensemble=ENSEMBLE, fail_at="7")
    assert fake.device_kind == "cpu"


def test_it_sleeps_for_every_image():
    start = time.monotonic()
    predict(make_fake("sleep_s=0.05"), "1", "2", "3")
    assert time.monotonic() - start >= 0.15


# Faults


@pytest.mark.parametrize("option", ["sleep=1", "ensemble=3", "Fail_at=1", "die_at =1"])
def test_an_unknown_option_is_refused_with_the_known_ones(option):
    with pytest.raises(
        ValueError,
        match=r"has no option '.*'; it has sleep_s, fail_at, raise_at, die_at, hang_at, broken_if, once, tally$",
    ):
        make_fake(option)


def test_a_sleep_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="soon"):
        make_fake("sleep_s=soon")


@pytest.mark.parametrize(("option", "error"), [("fail_at", ModelOutputError), ("raise_at", RuntimeError)])
def test_it_raises_at_the_named_key_and_at_no_other(option, error):
    fake = make_fake(f"{option}=000000000002")
    predict(fake, "000000000001", "000000000022")
    with pytest.raises(error, match=r"at 000000000002$"):
        predict(fake, "000000000001", "000000000002")


def test_it_is_broken_while_a_file_is_there(tmp_path):
    place = tmp_path / "broken"
    fake = make_fake(f"broken_if={place}")
    predict(fake, "000000000001")
    place.touch()
    with pytest.raises(RuntimeError, match="uncorrectable ECC error"):
        predict(fake, "000000000001")
    with pytest.raises(RuntimeError, match=f"told so by {place}"):
        make_fake(f"broken_if={place}")
    place.unlink()
    predict(fake, "000000000001")


def test_it_ends_the_process_silently_at_the_named_key():
    died = run_predict("die_at=2", "1", "2", "3")
    assert (died.returncode, died.stdout, died.stderr) == (17, "1\n", "")


def test_it_dies_only_once_if_a_file_is_named(tmp_path):
    options = f"die_at=2,once={tmp_path / 'died'}"
    assert [run_predict(options, "1", "2", "3").returncode for _ in range(2)] == [17, 0]


def test_each_image_needs_a_key():
    with pytest.raises(ValueError, match="zip"):
        make_fake().predict([image_of(2, 2)], ["1", "2"])


def test_a_tally_has_the_key_of_every_image_that_was_asked_for(tmp_path):
    model = make_fake(f"tally={tmp_path / 'tally'}")
    for keys in (["000000000001", "000000000002"], ["000000000001"]):
        model.predict([np.zeros((4, 5, 3), np.uint8)] * len(keys), keys)
    assert (tmp_path / "tally").read_text().split() == ["000000000001", "000000000002", "000000000001"]
