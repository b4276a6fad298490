"""A loaded model as a function: one image, one result; several, a list. Most tests use the stand-in."""

import inspect
import io
import itertools
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import model
from model.api.bar import StepsOfBatch
from model.api.segmenter import Segmenter
from model.config import EnsembleConfig, ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.fake import FakeModel
from model.memory import MOST_AT_ONCE
from model.prediction import ModelOutputError
from model.saliency import DiffusionModel

RGB = np.full((6, 9, 3), 100, np.uint8)


@pytest.fixture
def fake():
    """The instant stand-in."""
    return model.load("fake", ensemble_size=3)


@pytest.fixture(scope="module")
def real(tiny_folder):
    """The tiny model."""
    return model.load(tiny_folder, ensemble_size=2, denoise_steps=3, threads=1)


@pytest.fixture
def photos(tmp_path):
    """Five photos, `0.png` to `4.png`."""
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.fromarray(RGB + np.uint8(number)).save(path)
    return paths


def test_one_image_gives_one_result_and_several_a_list_in_their_order(fake, photos):
    assert fake(photos[0]).name == "0"
    assert [result.name for result in fake(photos)] == ["0", "1", "2", "3", "4"]
    assert [result.name for result in fake(path for path in photos[:1])] == ["0"]
    assert fake([]) == []


def test_a_photo_gets_the_same_map_as_a_path_a_picture_and_with_its_name_as_an_array(real, photos):
    by_path = real(photos[3])
    with Image.open(photos[3]) as picture:
        by_picture = real(picture)
    (by_array,) = real([np.asarray(Image.open(photos[3]))], names=["3"])
    for other in (by_picture, by_array):
        assert np.array_equal(other.saliency, by_path.saliency)
        assert np.array_equal(other.image, by_path.image)
    assert not np.array_equal(real(RGB + np.uint8(3)).saliency, by_path.saliency)


def test_photos_go_through_the_networks_in_batches_and_are_decoded_batch_by_batch(fake, photos, monkeypatch):
    monkeypatch.setitem(MOST_AT_ONCE, "cpu", 6)
    stream = fake.stream(photos)
    assert next(stream).name == "0"
    photos[1].unlink()  # in the first batch, so it has been read
    assert next(stream).name == "1"
    photos[2].unlink()
    with pytest.raises(FileNotFoundError):
        next(stream)


def test_all_images_are_looked_at_before_the_first_is_segmented(tmp_path):
    tally = tmp_path / "tally"
    fake = model.load(f"fake:tally={tally}")
    with pytest.raises(TypeError, match=r"images\[1\] is None"):
        fake([RGB, None])
    with pytest.raises(TypeError, match=r"images\[1\] is None"):
        fake.stream([RGB, None])
    with pytest.raises(ValueError, match="names has 1 names for 2 images; give one for each"):
        fake([RGB, RGB], names=["one"])
    assert not tally.exists()


def test_networks_that_give_no_map_raise(photos):
    with pytest.raises(ModelOutputError):
        model.load("fake:fail_at=000000000002")(photos)


def test_an_interrupted_call_of_the_pipeline_leaves_later_maps_as_they_were(real, photos):
    before = real(photos[0]).saliency
    real.pipeline(photos[0], callback_on_step_end=lambda pipeline, *_: setattr(pipeline, "_interrupt", True))
    assert np.array_equal(real(photos[0]).saliency, before)


def test_a_result_keeps_its_photo_when_the_callers_array_changes(fake):
    image = RGB.copy()
    result = fake(image)
    image[:] = 0
    assert np.array_equal(result.image, RGB)


@pytest.mark.parametrize("error", [None, ModelOutputError])
def test_threads_and_the_bar_of_steps_are_as_before_after_a_prediction(tiny, photos, monkeypatch, error):
    seen = []

    def predict(_self, images, *_):
        seen.append(torch.get_num_threads())
        if error:
            raise error
        return FakeModel(ensemble=ensemble).predict(images, ["0"])

    monkeypatch.setattr(SODDiffusionPipeline, "predict", predict)
    ensemble = EnsembleConfig(ensemble_size=10, denoise_steps=2, batch_size=0)
    diffusion = DiffusionModel(tiny, ensemble, 2)
    sod = Segmenter(diffusion, ModelConfig(threads=2), ensemble)
    monkeypatch.setattr(DiffusionModel, "_members_at_once", lambda *_: 1)
    before = torch.get_num_threads()
    with pytest.raises(error) if error else nullcontext():
        sod(photos[:1])
    assert seen == [2]
    assert torch.get_num_threads() == before == 1
    assert diffusion.step_bar is None


# Streams


def test_a_stream_takes_no_more_of_an_iterator_than_a_batch(fake, photos, monkeypatch):
    monkeypatch.setitem(MOST_AT_ONCE, "cpu", 6)
    taken = []
    stream = fake.stream(taken.append(photo) or photo for photo in photos)
    assert taken == []
    assert next(stream).name == "0"
    assert taken == photos[:2]
    assert [result.name for result in stream] == ["1", "2", "3", "4"]


def test_a_stream_gives_an_endless_iterator_its_names_as_it_comes(fake):
    stream = fake.stream((RGB for _ in itertools.count()), names=[f"a{number}" for number in range(9)])
    assert [result.name for result in itertools.islice(stream, 9)] == [f"a{number}" for number in range(9)]
    with pytest.raises(ValueError, match="names has 9 names, but there are more images; give one for each"):
        next(stream)


def test_a_stream_with_more_names_than_images_says_so_at_its_end(fake):
    stream = fake.stream(iter([RGB, RGB]), names=["a", "b", "c"])
    with pytest.raises(ValueError, match="names has 3 names for 2 images; give one for each"):
        list(stream)


def test_what_is_no_image_in_an_iterator_is_named_by_its_place(fake, monkeypatch):
    monkeypatch.setitem(MOST_AT_ONCE, "cpu", 3)
    stream = fake.stream(iter([RGB, None]))
    assert next(stream).name == "image"
    with pytest.raises(TypeError, match=r"^images\[1\] is None; give"):
        next(stream)


def test_a_stream_of_nothing_and_of_one_photo(fake, photos):
    assert list(fake.stream(iter([]))) == []
    assert [result.name for result in fake.stream(photos[0])] == ["0"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("ab", r"names is 'ab'; give a list of names, one for each image: \['ab'\]"),
        (7, "names is 7; give a list of names"),
        (["a", 3], r"names\[1\] is 3; it must be a string that is not empty"),
        (["", "b"], r"names\[0\] is ''; it must be a string that is not empty"),
        ([None, "b"], r"names\[0\] is None; it must be"),
    ],
)
def test_names_that_are_none_are_refused_by_their_place(fake, names, said):
    unchecked = inspect.unwrap(Segmenter.__call__)  # by the tests' own check of types
    with pytest.raises(TypeError, match=said):
        unchecked(fake, [RGB, RGB], names=names)


def test_names_are_taken_from_any_iterable(fake):
    assert [result.name for result in fake([RGB, RGB], names=iter("ab"))] == ["a", "b"]


# The bar


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "is_shown"), [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)]
)
def test_a_bar_is_shown_on_a_terminal_unless_it_is_not_wanted(fake, photos, monkeypatch, stream, progress, is_shown):
    monkeypatch.setattr(sys, "stderr", stream())
    fake(photos, progress=progress)
    assert ("5.0/5 photos" in sys.stderr.getvalue()) is is_shown


def test_the_bar_moves_at_each_step(real, photos, monkeypatch):
    moves = []
    monkeypatch.setattr(StepsOfBatch, "update", lambda own: moves.append((own.photos, own.steps)))
    real(photos[0])
    assert moves == [(1, 3)] * 3


def test_the_bar_of_an_iterator_counts_photos_without_a_total(fake, photos, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert len(list(fake.stream(iter(photos)))) == 5
    assert "5.0 photos [" in sys.stderr.getvalue()


@pytest.mark.parametrize("counted", [0, 2, 4, 9])
def test_a_bar_ends_at_its_total_whoever_counts(counted):
    moved = []
    steps = StepsOfBatch(bar=SimpleNamespace(update=moved.append), photos=2, steps=4)
    for _ in range(counted):
        steps.update()
    steps.finish()
    assert sum(moved) == 2 * 4
