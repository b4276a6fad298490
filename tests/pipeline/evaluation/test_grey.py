"""Saliency maps of any format become 8-bit grey."""

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import SampleError
from pipeline.evaluation.grey import read_prediction

LEVELS = np.array([[0, 100, 200], [255, 1, 128]], np.uint8)


def kinds():
    rgb = np.repeat(LEVELS[:, :, None], 3, axis=2)
    rgba = np.concatenate([rgb, np.full((2, 3, 1), 255, np.uint8)], axis=2)
    alpha_only = np.concatenate([np.full((2, 3, 3), 255, np.uint8), LEVELS[:, :, None]], axis=2)
    palette = Image.frombytes("P", (3, 2), LEVELS.tobytes())
    palette.putpalette([value for value in range(256) for _ in range(3)])
    return {
        "grey": Image.fromarray(LEVELS),
        "colour": Image.fromarray(rgb),
        "opaque": Image.fromarray(rgba),
        "white behind alpha": Image.fromarray(alpha_only),
        "palette": palette,
        "16 bits": Image.fromarray(LEVELS.astype(np.uint16) * 257),
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_map_has_the_same_values(kind, tmp_path):
    path = tmp_path / "map.png"
    kinds()[kind].save(path)
    found = read_prediction(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, LEVELS)


def test_a_map_of_1_bit_has_0_and_255(tmp_path):
    Image.fromarray(LEVELS > 100).save(tmp_path / "map.png")
    assert np.array_equal(read_prediction(tmp_path / "map.png"), (LEVELS > 100) * 255)


def test_a_map_of_0_and_1_stays_what_it_is(tmp_path):
    Image.fromarray((LEVELS > 100).astype(np.uint8)).save(tmp_path / "map.png")
    assert read_prediction(tmp_path / "map.png").max() == 1


def test_a_map_of_floats_is_refused(tmp_path):
    Image.fromarray(LEVELS.astype(np.float32)).save(tmp_path / "map.tif")
    with pytest.raises(SampleError, match=r"undecodable: .*map.tif.*no fixed range"):
        read_prediction(tmp_path / "map.tif")
