import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.exchange.brush_rle import decode_brush, encode_brush
from tests.pipeline.audit.exchange.make import masks


def bytes_of(*fields):
    """Pack (number, bits) one after the other."""
    bits = "".join(f"{number:0{width}b}" for number, width in fields)
    return [int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8)]


def header(values=16, value_bits=8):
    return [(values, 32), (value_bits - 1, 5), (2, 4), (3, 4), (7, 4), (15, 4)]


@given(masks)
def test_a_mask_comes_back_as_it_was(mask):
    assert (decode_brush(encode_brush(mask), *mask.shape) == mask).all()


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 63, 64, 65, 16383, 16384, 16385, 40000])
def test_runs_of_every_length_come_back(width):
    mask = np.zeros((2, width), np.bool_)
    mask[1] = True
    assert (decode_brush(encode_brush(mask), 2, width) == mask).all()


def test_a_mask_is_packed_as_by_hand():
    found = encode_brush(np.array([[False, True], [True, True]]))
    assert found == bytes_of(*header(), (1, 1), (0, 2), (3, 3), (0, 8), (1, 1), (1, 2), (11, 4), (255, 8))


def test_values_one_by_one_are_read_and_faint_edges_left_out():
    levels = [0, 100, 101, 200]
    values = [(level, 8) for level in levels for _ in range(4)]
    packed = bytes_of(*header(), (0, 1), (1, 2), (15, 4), *values)
    assert decode_brush(packed, 2, 2).tolist() == [[False, False], [True, True]]


def test_a_brush_of_ones_is_a_mask_too():
    packed = bytes_of(*header(), (1, 1), (0, 2), (7, 3), (1, 8), (1, 1), (0, 2), (7, 3), (0, 8))
    assert decode_brush(packed, 2, 2).tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize(
    ("packed", "found"),
    [
        ([], "ends before"),
        ([0] * 7, "0 values of 1 bits"),
        (bytes_of(*header(values=2**32 - 1)), "4294967295 values"),
        (bytes_of(*header(value_bits=16)), "of 16 bits"),
        (bytes_of(*header(), (1, 1), (3, 2), (65535, 16), (0, 8)), "longer than the image"),
        (bytes_of(*header(), (1, 1), (0, 2), (7, 3), (0, 8)), "ends before"),
        (bytes_of(*header(), (0, 1), (1, 2), (15, 4), (0, 8)), "ends before"),
        ([0] * 1000, "more bytes than the image can need"),
        ([0, 256], "list of bytes"),
        ([True], "list of bytes"),
        ("AAAA", "list of bytes"),
        (None, "list of bytes"),
    ],
)
def test_what_is_no_brush_of_the_image_is_refused(packed, found):
    with pytest.raises(ValueError, match=found):
        decode_brush(packed, 2, 2)


@given(st.lists(st.integers(0, 255), max_size=60))
def test_any_bytes_are_a_brush_or_refused(packed):
    try:
        mask = decode_brush(packed, 2, 2)
    except ValueError:
        return
    assert mask.shape == (2, 2)
