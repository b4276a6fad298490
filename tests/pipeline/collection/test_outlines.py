"""Properties and faults of reading one outline: bad parts cost no other part, and every spelling means the same."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.instances import decode_counts
from pipeline.collection.outlines import read_outline

HEIGHT, WIDTH = 16, 20
COORDINATES = st.integers(-4, 24) | st.floats(-4, 24).map(lambda value: round(value, 2))
POLYGONS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=8).map(
    lambda corners: [value for corner in corners for value in corner]
)
BAD = st.one_of(
    st.just([]),
    st.lists(COORDINATES, min_size=1, max_size=5),
    st.lists(COORDINATES, min_size=7, max_size=7),
    POLYGONS.map(lambda polygon: [*polygon[:-1], None]),
    POLYGONS.map(lambda polygon: [*polygon[:-1], float("nan")]),
    st.sampled_from([None, "x", 5, {"size": [1, 1], "counts": [1]}, {"counts": "01"}]),
)


def read(segmentation):
    return read_outline(segmentation, HEIGHT, WIDTH)


def drawn(segmentation):
    return decode_counts(read(segmentation).counts, HEIGHT, WIDTH)


@given(st.lists(POLYGONS, min_size=1, max_size=3), st.lists(BAD, max_size=3), st.randoms(use_true_random=False))
def test_bad_parts_are_left_out_wherever_they_stand_and_change_nothing(good, bad, random):
    parts = [*good, *bad]
    random.shuffle(parts)
    found, alone = read(parts), read(good)
    assert found.counts == alone.counts
    if alone.counts:
        assert len(found.left_out) == len(bad)


@given(st.lists(POLYGONS, min_size=1, max_size=3))
def test_every_spelling_of_polygons_draws_the_same(polygons):
    pairs = [[polygon[start : start + 2] for start in range(0, len(polygon), 2)] for polygon in polygons]
    points = [[{"x": x, "y": y} for x, y in polygon] for polygon in pairs]
    texts = [[str(value) for value in polygon] for polygon in polygons]
    spellings = [pairs, points, texts, [polygons], json.dumps(polygons)]
    if len(polygons) == 1:
        spellings += [polygons[0], pairs[0], points[0]]
    assert {read(spelling) for spelling in spellings} == {read(polygons)}


@given(st.lists(st.integers(0, 1), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH).filter(any))
def test_every_spelling_of_run_lengths_draws_the_same(pixels):
    changes = np.flatnonzero(np.diff([0, *pixels]))
    runs = np.diff([0, *changes, len(pixels)]).tolist()
    expected = np.reshape(pixels, (WIDTH, HEIGHT)).T == 1
    rle = {"size": [HEIGHT, WIDTH], "counts": runs}
    compressed = rle | {"counts": read(rle).counts}
    for spelling in (
        rle,
        [rle],
        compressed,
        compressed | {"counts": str(compressed["counts"].encode())},
        rle | {"counts": [float(run) for run in runs]},
        rle | {"counts": [str(run) for run in runs]},
        rle | {"size": [float(HEIGHT), str(WIDTH)]},
    ):
        assert np.array_equal(drawn(spelling), expected)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), st.lists, max_leaves=12))
def test_anything_is_an_outline_or_says_why_not(value):
    found = read(value)
    assert found.counts or found.left_out


SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]


@pytest.mark.parametrize(
    ("segmentation", "why"),
    [
        (None, "missing"),
        ("", "missing"),
        ([], "empty"),
        ([[]], "empty"),
        ([[1, 2]], "polygons of fewer than three corners"),
        ([[1, 2, 3, 4]], "polygons of fewer than three corners"),  # COCO's tools would take it for a box
        ([[*SQUARE, 2]], "polygons with an odd number of coordinates"),
        ([[*SQUARE, None, 2]], "polygons with a coordinate that is not a number"),
        ([[*SQUARE, "x", 2]], "polygons with a coordinate that is not a number"),
        ("x", "neither polygons nor run lengths"),
        (7, "neither polygons nor run lengths"),
        ([[30, 30, 40, 30, 40, 40]], "without a pixel inside the image"),
        ([[5, 5, 5, 5, 5, 5]], "without a pixel inside the image"),
        ({"size": [16, 20], "counts": [320]}, "without a pixel inside the image"),
        ({"size": [20, 16], "counts": [320]}, "run lengths whose size is [width, height] instead of [height, width]"),
        ({"size": [1, 320], "counts": [320]}, "run lengths of another size than the image's"),
        ({"size": [16, 20], "counts": [0, 319]}, "run lengths that do not add up to the image's pixels"),
        ({"size": [16, 20], "counts": [0, 320.5]}, "run lengths that can't be read"),
        ({"size": [16, 20], "counts": "é"}, "run lengths that can't be read"),
        ({"size": [16, 20], "counts": "b'unfinished"}, "run lengths that can't be read"),
        ({"size": [16, 20]}, "run lengths without `size` or `counts`"),
        ({"counts": [0, 320]}, "run lengths without `size` or `counts`"),
    ],
    ids=str,
)
def test_an_outline_that_is_left_out_says_why(segmentation, why):
    assert (read(segmentation).counts, read(segmentation).left_out) == ("", (why,))


def test_lists_in_lists_in_lists_end_somewhere():
    nested = SQUARE
    for _ in range(200):
        nested = [nested]
    assert read(nested).counts == ""
