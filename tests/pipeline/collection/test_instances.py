"""Instances in the annotations: how they are read, and how masks are compared with their unions."""

import itertools
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from pipeline.collection import instances
from pipeline.collection.instances import (
    UNCHECKED,
    Instance,
    _run_lengths,
    cross_check,
    decode_counts,
    digest_of,
    read_instances,
)
from pipeline.errors import AnnotationError
from tests.pipeline.make import make_key, make_sample

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))
CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
]


def encoded(mask):
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def make_instance(mask, category="dog"):
    return Instance(category=category, supercategory="animal", counts=encoded(mask)["counts"].decode())


def square(left, top, side, shape=(16, 20)):
    drawn = np.zeros(shape, bool)
    drawn[top : top + side, left : left + side] = True
    return drawn


def annotation(**overrides):
    polygon = [2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0]
    return {"id": 5, "image_id": 7, "category_id": 18, "segmentation": [polygon], "iscrowd": 0, **overrides}


def read(tmp_path, *annotations, categories=CATEGORIES, samples=None):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"images": [], "annotations": list(annotations), "categories": categories}))
    return read_instances(str(path), samples or [make_sample()])


def drawn(instance, shape=(16, 20)):
    return decode_counts(instance.counts, *shape)


def iou(one, other):
    union = (one | other).sum()
    return (one & other).sum() / union if union else 0.0


# Properties of the comparison


@given(MASKS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_best_union_of_instances_that_do_not_overlap_is_found(mask, count, random):
    owner = np.array([random.randrange(count + 1) for _ in range(mask.size)]).reshape(mask.shape)
    parts = [owner == number for number in range(count)]
    unions = itertools.product([False, True], repeat=count)
    best = max(iou(mask, np.any([p for p, is_in in zip(parts, u, strict=True) if is_in] or [mask & False], axis=0))
               for u in unions)  # fmt: skip
    assert cross_check(mask, [make_instance(part) for part in parts]).instance_iou == pytest.approx(best)


@given(MASKS, st.data())
def test_the_agreement_is_that_of_some_union_and_at_least_that_of_the_best_single_instance(mask, data):
    parts = data.draw(st.lists(arrays(bool, mask.shape), min_size=1, max_size=4))
    found = cross_check(mask, [make_instance(part, str(number)) for number, part in enumerate(parts)])
    union = np.any([parts[int(name)] for name in found.categories] or [mask & False], axis=0)
    assert found.instance_iou == pytest.approx(iou(mask, union))
    assert 0 <= found.instance_iou <= 1


@given(MASKS.filter(np.any))
def test_a_mask_equal_to_an_instance_agrees_fully(mask):
    found = cross_check(mask, [make_instance(~mask, "rest"), make_instance(mask)])
    assert (found.instance_iou, found.categories, found.supercategory) == (1.0, ("dog",), "animal")


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=20))
def test_run_lengths_are_read_as_cocos_tools_write_them(runs):
    text = coco_mask.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))["counts"].decode()
    assert _run_lengths(text) == runs


@given(MASKS)
def test_run_lengths_of_cocos_tools_decode_to_the_mask(mask):
    assert np.array_equal(decode_counts(encoded(mask)["counts"].decode(), *mask.shape), mask)


# Examples of the comparison


def test_a_mask_without_instances_is_unchecked():
    assert cross_check(square(0, 0, 4), []) == UNCHECKED


def test_categories_come_with_the_one_that_shares_most_first_and_once():
    mask = square(0, 0, 4) | square(6, 0, 8) | square(0, 10, 5)
    things = [
        make_instance(square(0, 0, 4), "cat"),
        make_instance(square(6, 0, 8), "dog"),
        make_instance(square(0, 10, 5), "cat"),
        make_instance(square(15, 10, 4), "chair"),
    ]
    found = cross_check(mask, things)
    assert (found.instance_iou, found.categories) == (1.0, ("dog", "cat"))


def test_a_mask_outside_every_instance_agrees_with_none():
    found = cross_check(square(0, 0, 4), [make_instance(square(10, 10, 4))])
    assert (found.instance_iou, found.categories, found.supercategory) == (0.0, (), "")


@pytest.mark.parametrize("counts", ["", "o", "oooooooooo", "\n", "0"])
def test_run_lengths_of_another_mask_are_refused(counts):
    with pytest.raises(ValueError, match="320 pixels"):
        decode_counts(counts, 16, 20)


# What is read


def test_polygons_are_drawn_at_the_size_of_their_image(tmp_path):
    (instance,) = read(tmp_path, annotation())[make_key(7)]
    assert (instance.category, instance.supercategory) == ("dog", "animal")
    assert np.array_equal(drawn(instance), square(2, 3, 10))


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_of_both_kinds_are_read(tmp_path, compressed):
    rle = encoded(square(1, 1, 9))
    counts = rle["counts"].decode()
    segmentation = {"size": [16, 20], "counts": counts if compressed else _run_lengths(counts)}
    (instance,) = read(tmp_path, annotation(segmentation=segmentation, iscrowd=1))[make_key(7)]
    assert np.array_equal(drawn(instance), square(1, 1, 9))


def test_instances_come_in_id_order_for_any_order_in_the_file(tmp_path):
    one, other = annotation(id=2), annotation(id=1, category_id=1)
    assert read(tmp_path, one, other) == read(tmp_path, other, one)
    assert [instance.category for instance in read(tmp_path, one, other)[make_key(7)]] == ["person", "dog"]


def test_other_instances_have_another_digest(tmp_path):
    digests = {
        digest_of(read(tmp_path, *some))
        for some in ([], [annotation()], [annotation(category_id=1)], [annotation(), annotation(id=6)])
    }
    assert len(digests) == 4


# Faults

FITTING = {"size": [16, 20], "counts": [320]}


@pytest.mark.parametrize(
    "overrides",
    [
        {"image_id": 8},
        {"image_id": "7"},
        {"category_id": 99},
        {"category_id": None},
        {"segmentation": []},
        {"segmentation": None},
        {"segmentation": [[1, 2, 3, 4]]},
        {"segmentation": [[1, 2, 3, 4, 5, 6, 7]]},
        {"segmentation": [[1, 2, 3, 4, 5, None]]},
        {"segmentation": [[1, 2, 3, 4, 5, float("nan")]]},
        {"segmentation": [[1, 2, 3, 4, 5, float("inf")]]},
        {"segmentation": [[1, 2, 3, 4, 5, 10**400]]},
        {"segmentation": [[0, 0, 20, 16] * 40_000]},
        {"segmentation": FITTING | {"size": [20, 16]}},
        {"segmentation": FITTING | {"size": [2**40, 2**40]}},
        {"segmentation": FITTING | {"counts": [321]}},
        {"segmentation": FITTING | {"counts": [-1, 321]}},
        {"segmentation": FITTING | {"counts": [2**63]}},
        {"segmentation": FITTING | {"counts": "oooooooooooooooooooooo"}},
        {"segmentation": FITTING | {"counts": "\n"}},
        {"segmentation": FITTING | {"counts": "é"}},
        {"segmentation": {"size": [16, 20]}},
    ],
    ids=str,
)
def test_an_invalid_instance_is_ignored_and_costs_no_other(tmp_path, overrides):
    found = read(tmp_path, annotation(**overrides), annotation(id=6))
    assert [len(of_image) for of_image in found.values()] == [1]


def test_an_outline_that_leaves_its_image_is_clipped(tmp_path):
    outline = [-1e9, -1e9, 1e9, -1e9, 1e9, 8, -1e9, 8]
    (instance,) = read(tmp_path, annotation(segmentation=[outline]))[make_key(7)]
    assert np.array_equal(drawn(instance), np.arange(16)[:, None].repeat(20, 1) < 8)


@pytest.mark.parametrize("side", [2**16, 100_000, 2**32, 10**12])
@pytest.mark.parametrize("outlines", [1, 2])
def test_images_of_absurd_sizes_are_not_drawn(tmp_path, side, outlines):
    """COCO's tools draw a whole mask to merge two outlines, and crashed."""
    sample = make_sample(width=side, height=side)
    assert read(tmp_path, annotation(segmentation=[[0, 0, 9, 0, 9, 9]] * outlines), samples=[sample]) == {}


def test_outlines_that_are_too_long_together_are_ignored(tmp_path):
    outline = [0, 0, 20, 16] * 2_000
    assert len(read(tmp_path, annotation(segmentation=[outline]))) == 1
    assert read(tmp_path, annotation(segmentation=[outline] * 3)) == {}


def test_the_first_of_absurdly_many_instances_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(instances, "_MOST_PER_IMAGE", 3)
    assert len(read(tmp_path, *(annotation(id=number) for number in range(5)))[make_key(7)]) == 3


def test_few_instances_are_held_at_once_however_many_exist():
    mask = np.ones((300, 300), bool)
    many = [make_instance(mask)] * 100
    tracemalloc.start()
    cross_check(mask, many)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20 * mask.nbytes


@pytest.mark.parametrize("categories", [None, {}, [1, {}, {"id": 1}, {"id": 18, "name": 7}]])
def test_instances_of_nameless_categories_are_ignored(tmp_path, categories):
    assert read(tmp_path, annotation(), categories=categories) in ({}, {make_key(7): ()})


def test_a_file_that_is_not_json_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text("{")
    with pytest.raises(AnnotationError, match=r"annotations\.json.*not JSON"):
        read_instances(str(path), [make_sample()])
