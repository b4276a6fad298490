"""Every image is in one stratum of each kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.on_release.strata import (
    BY_BORDER,
    BY_SIZE,
    BY_SUPERCATEGORY,
    BY_VARIANCE,
    in_order,
    parts_in_words,
    strata_of,
)
from pipeline.evaluation.sources import Runs
from pipeline.release.coco_json import encode_mask

VALUES = st.lists(st.none() | st.floats(0, 250), min_size=1, max_size=30)


def runs(pixels, height=100, width=100):
    mask = np.zeros((height, width), bool)
    mask.ravel()[:pixels] = True
    return Runs(label="x", height_px=height, width_px=width, counts=encode_mask(mask).counts)


def row(**overrides):
    return {"border": 0.1, "supercategory": "", "ensemble_variance_per_area": 0.1} | overrides


@given(VALUES)
def test_quarters_are_of_one_size_and_in_the_order_of_the_score(values):
    rows = {f"{place:02d}": row(ensemble_variance_per_area=value) for place, value in enumerate(values)}
    found = strata_of(rows, dict.fromkeys(rows, runs(5)))[BY_VARIANCE]
    assert found.keys() == rows.keys()
    known = {key: rows[key]["ensemble_variance_per_area"] for key, quarter in found.items() if quarter != "unknown"}
    assert known == {key: value for key, value in zip(rows, values, strict=True) if value is not None}
    sizes = [list(found.values()).count(quarter) for quarter in set(found.values()) - {"unknown"}]
    if len(known) >= 4:
        assert len(sizes) == 4
        assert max(sizes) - min(sizes) <= 1
    ordered = sorted(known, key=lambda key: (known[key], key))
    assert [found[key] for key in ordered] == sorted(found[key] for key in known)


@pytest.mark.parametrize(
    ("pixels", "size"),
    [(0, "no object"), (1, "small"), (1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")],
)
def test_sizes_are_those_of_coco(pixels, size):
    assert strata_of({"k": row()}, {"k": runs(pixels)})[BY_SIZE] == {"k": size}


def test_what_nobody_knows_is_no_kind_of_its_own():
    rows = {"a": row(), "b": row()}
    masks = dict.fromkeys(rows, runs(5))
    assert BY_SUPERCATEGORY not in strata_of(rows, masks)
    rows["b"]["supercategory"] = "animal"
    assert strata_of(rows, masks)[BY_SUPERCATEGORY] == {"a": "unknown", "b": "animal"}


def test_masks_at_the_border_are_told_from_others_and_from_empty_ones():
    rows = {"a": row(border=0.01), "b": row(border=0.0), "c": row(border=0.0)}
    found = strata_of(rows, {"a": runs(5), "b": runs(5), "c": runs(0)})[BY_BORDER]
    assert found == {"a": "reaches it", "b": "does not", "c": "no object"}


def test_parts_and_their_order():
    words = [parts_in_words(parts) for parts in (7, 2, 0, 3, 1)]
    assert words == ["3 or more", "2", "no object", "3 or more", "1"]
    assert in_order([*words, "unknown"]) == ["1", "2", "3 or more", "3 or more", "no object", "unknown"]
    assert in_order(["large", "unknown", "small", "medium"]) == ["small", "medium", "large", "unknown"]
