"""A loaded model as a function: one image, one result; several, a list. Most tests use the stand-in."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import model
from model.api.bar import StepsOfBatch
from model.memory import MOST_AT_ONCE
from model.prediction import ModelOutputError

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


@pytest.mark.parametrize("counted", [0, 2, 4, 9])
def test_a_bar_ends_at_its_total_whoever_counts(counted):
    moved = []
    steps = StepsOfBatch(bar=SimpleNamespace(update=moved.append), photos=2, steps=4)
    for _ in range(counted):
        steps.update()
    steps.finish()
    assert sum(moved) == 2 * 4
