"""One pair of files becomes one outcome: measured, or failed with the names of both."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.evaluation.measures import measure
from pipeline.evaluation.outcomes import Failed, How, Measured, fitted, measure_files, measure_map
from pipeline.evaluation.pairs import Pair
from tests.pipeline.evaluation.make import saliency, save, truth

MAPS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


def make_pair(tmp_path, prediction=None, mask=None):
    source = save(tmp_path / "maps/a.png", saliency(1) if prediction is None else prediction)
    return Pair(name="a", source=source, mask=save(tmp_path / "gt/a.png", truth(1) if mask is None else mask))


def test_files_are_measured_like_their_pixels(tmp_path):
    found = measure_files(make_pair(tmp_path), How(metrics=("mae", "iou")))
    assert isinstance(found, Measured)
    assert found.measures == measure(saliency(1), truth(1), metrics=("mae", "iou"))
    assert (found.name, found.resized, dict(found.scores)) == ("a", False, {})


def test_a_map_of_another_size_is_resized_to_its_mask_and_marked(tmp_path):
    small = saliency(1, 12, 15)
    found = measure_files(make_pair(tmp_path, small), How(metrics=("mae",), normalize=False))
    by_cv2 = cv2.resize(small, dsize=(30, 24), interpolation=cv2.INTER_LINEAR)
    assert found.resized
    assert found.measures.mae == measure(by_cv2, truth(1), normalize=False).mae


@given(MAPS)
def test_a_map_that_fits_is_not_touched(values):
    assert fitted(values, values.shape) is values


@given(MAPS, st.integers(1, 12), st.integers(1, 12))
def test_resizing_gives_the_size_and_stays_between_the_values(values, height, width):
    found = fitted(values, (height, width))
    assert (found.shape, found.dtype) == ((height, width), np.uint8)
    assert values.min() <= found.min() <= found.max() <= values.max()


def test_resizing_is_bilinear_between_the_centres_of_pixels():
    assert fitted(np.array([[0, 200]], np.uint8), (1, 4)).tolist() == [[0, 50, 150, 200]]
    # Made smaller, only the neighbours of a centre count: it is not the mean of all four.
    assert fitted(np.array([[255, 100, 200, 255]], np.uint8), (1, 1)).tolist() == [[150]]


def test_the_scores_of_a_map_are_kept(tmp_path):
    found = measure_map(make_pair(tmp_path), saliency(1), {"area": 0.5}, How())
    assert found.scores == {"area": 0.5}
    assert not found.resized


def test_a_mask_of_another_size_than_its_photo_is_a_failure(tmp_path):
    found = measure_map(make_pair(tmp_path), saliency(1, 24, 31), {}, How())
    assert found == Failed(name="a", reason="size_mismatch: photo maps/a.png has 31 x 24 px, mask gt/a.png 30 x 24 px")


@pytest.mark.parametrize("broken", ["maps", "gt"])
def test_a_broken_file_is_named_and_costs_only_itself(tmp_path, broken):
    pair = make_pair(tmp_path)
    (tmp_path / broken / "a.png").write_bytes(b"no image")
    found = measure_files(pair, How())
    assert isinstance(found, Failed)
    assert found.name == "a"
    assert f"undecodable: {broken}/a.png" in found.reason


def test_a_mask_of_one_pixel_is_a_failure(tmp_path):
    found = measure_files(make_pair(tmp_path, mask=np.ones((1, 1), bool)), How())
    assert found == Failed(name="a", reason="size_mismatch: gt/a.png has one pixel; at least two are needed")


def test_the_digest_is_that_of_the_mask_as_read(tmp_path):
    grey = make_pair(tmp_path / "1", mask=truth(1).astype(np.uint8) * 200)
    binary = make_pair(tmp_path / "2", mask=truth(1).astype(np.uint8))
    other = make_pair(tmp_path / "3", mask=truth(2))
    turned = make_pair(tmp_path / "4", mask=truth(1).reshape(30, 24))
    digests = [measure_files(pair, How(metrics=())).truth_sha256 for pair in (grey, binary, other, turned)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
