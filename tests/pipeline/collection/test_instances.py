"""Instances in the annotations: how they are read, and how masks are compared with their unions."""

import itertools
import json

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
    cross_check,
    decode_counts,
    digest_of,
    read_instances,
)
from pipeline.collection.outlines import MOST_PX, read_run_lengths
from pipeline.errors import AnnotationError
from tests.pipeline.make import make_key, make_sample, peak_bytes

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


def read_all(tmp_path, *annotations, categories=CATEGORIES, samples=None):
    """Instances, the numbers of ignored annotations, and remarks."""
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"images": [{"id": 9}], "annotations": list(annotations), "categories": categories}))
    return read_instances(str(path), samples or [make_sample()])


def read(tmp_path, *annotations, **options):
    return read_all(tmp_path, *annotations, **options).of


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


@given(st.lists(st.integers(0, MOST_PX), min_size=1, max_size=20))
def test_run_lengths_are_read_as_cocos_tools_write_them(runs):
    text = coco_mask.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))["counts"].decode()
    assert read_run_lengths(text) == runs


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
    segmentation = {"size": [16, 20], "counts": counts if compressed else read_run_lengths(counts)}
    (instance,) = read(tmp_path, annotation(segmentation=segmentation, iscrowd=1))[make_key(7)]
    assert np.array_equal(drawn(instance), square(1, 1, 9))


def test_instances_come_in_id_order_for_any_order_in_the_file(tmp_path):
    one, other = annotation(id=2), annotation(id=1, category_id=1)
    assert read(tmp_path, one, other) == read(tmp_path, other, one)
    assert [instance.category for instance in read(tmp_path, one, other)[make_key(7)]] == ["person", "dog"]


def test_other_instances_have_another_digest(tmp_path):
    digests = {
        digest_of(read_all(tmp_path, *some))
        for some in (
            [],
            [annotation()],
            [annotation(category_id=1)],
            [annotation(), annotation(id=6)],
            [annotation(), annotation(id=6, segmentation=[])],
        )
    }
    assert len(digests) == 5


# Other spellings

CORNERS = [2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0]
PAIRS = [CORNERS[start : start + 2] for start in range(0, 8, 2)]
RLE = encoded(square(2, 3, 10))["counts"].decode()
SIZE = {"size": [16, 20]}


@pytest.mark.parametrize(
    "overrides",
    [
        {"image_id": "7"},
        {"image_id": "000000000007"},
        {"image_id": 7.0},
        {"image_id": "7.jpg"},
        {"category_id": "18"},
        {"category_id": 18.0},
        {"category_id": "dog"},
        {"id": "5"},
        {"id": 5.0},
        {"segmentation": CORNERS},
        {"segmentation": PAIRS},
        {"segmentation": [PAIRS]},
        {"segmentation": [[CORNERS]]},
        {"segmentation": [[PAIRS]]},
        {"segmentation": [{"x": x, "y": y} for x, y in PAIRS]},
        {"segmentation": [[str(value) for value in CORNERS]]},
        {"segmentation": json.dumps([CORNERS])},
        {"segmentation": [SIZE | {"counts": RLE}]},
        {"segmentation": SIZE | {"counts": RLE}},
        {"segmentation": {"size": [16.0, 20.0], "counts": RLE}},
        {"segmentation": {"size": ["16", "20"], "counts": RLE}},
        {"segmentation": SIZE | {"counts": str(RLE.encode())}},
        {"segmentation": SIZE | {"counts": read_run_lengths(RLE)}},
        {"segmentation": SIZE | {"counts": [float(run) for run in read_run_lengths(RLE)]}},
        {"segmentation": SIZE | {"counts": [str(run) for run in read_run_lengths(RLE)]}},
    ],
    ids=str,
)
def test_what_has_one_plain_meaning_is_read_without_a_word(tmp_path, overrides):
    assert read_all(tmp_path, annotation(**overrides)) == read_all(tmp_path, annotation())
    assert read_all(tmp_path, annotation(**overrides)).remarks == ()


@pytest.mark.parametrize("number", ["18", 18.0, "dog"])
def test_ids_of_categories_are_read_as_annotations_spell_them(tmp_path, number):
    categories = [{"id": number, "name": "dog", "supercategory": "animal"}]
    for said in (number, 18 if number != "dog" else number):
        (instance,) = read(tmp_path, annotation(category_id=said), categories=categories)[make_key(7)]
        assert (instance.category, instance.supercategory) == ("dog", "animal")


def test_an_id_goes_before_a_name_that_is_spelled_the_same(tmp_path):
    categories = [{"id": 1, "name": "2"}, {"id": 2, "name": "1"}]
    (instance,) = read(tmp_path, annotation(category_id="1"), categories=categories)[make_key(7)]
    assert instance.category == "2"


def test_an_annotation_of_an_image_that_is_not_listed_is_said_and_one_of_an_unread_image_is_not(tmp_path):
    found = read_all(tmp_path, annotation(image_id=8), annotation(id=6, image_id="eight"), annotation(image_id=9))
    assert (found.of, found.ignored) == ({}, {})
    (remark,) = found.remarks
    assert remark.startswith("2 annotations belong to no image")
    assert "(annotation 5 of image 8, for example)" in remark


def test_a_thing_with_only_a_box_is_ignored_and_counted(tmp_path):
    boxed = {"id": 5, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4]}
    found = read_all(tmp_path, boxed, {"image_id": 7, "caption": "a dog"})
    assert (found.of, found.ignored) == ({}, {make_key(7): 1})
    assert "left out: 1 missing (annotation 5 of image 7, for example)" in found.remarks[0]


def test_reasons_are_counted_each_with_its_first_example(tmp_path):
    swapped = {"size": [20, 16], "counts": [320]}
    found = read_all(
        tmp_path, *(annotation(id=number, segmentation=swapped) for number in (1, 2)), annotation(id=3, segmentation=[])
    )
    assert found.remarks == (
        "3 of 3 instances have no outline that can be compared with a mask. Outlines that were left out: 2 run lengths "
        "whose size is [width, height] instead of [height, width] (annotation 1 of image 7, for example); 1 empty "
        "(annotation 3 of image 7, for example)",
    )


# Faults

FITTING = {"size": [16, 20], "counts": [320]}


@pytest.mark.parametrize(
    "overrides",
    [
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
def test_an_invalid_instance_is_ignored_counted_and_said_and_costs_no_other(tmp_path, overrides):
    found = read_all(tmp_path, annotation(**overrides), annotation(id=6))
    assert [len(of_image) for of_image in found.of.values()] == [1]
    assert found.ignored == {make_key(7): 1}
    (remark,) = found.remarks
    assert remark.startswith("1 of 2 instances have no outline that can be compared with a mask")
    assert "(annotation 5 of image 7, for example)" in remark


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
    outline = [0, 0, 20, 16, 20, 0] * 2_001  # an even number of rounds would cancel
    assert len(read(tmp_path, annotation(segmentation=[outline]))) == 1
    found = read_all(tmp_path, annotation(segmentation=[outline] * 3))
    assert (found.of, found.ignored) == ({}, {make_key(7): 1})


def test_the_first_of_absurdly_many_instances_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(instances, "_MOST_PER_IMAGE", 3)
    found = read_all(tmp_path, *(annotation(id=number) for number in range(5)))
    assert (len(found.of[make_key(7)]), found.ignored) == (3, {make_key(7): 2})
    assert "2 beyond the first 3 of an image" in found.remarks[0]


def test_few_instances_are_held_at_once_however_many_exist():
    mask = np.ones((300, 300), bool)
    many = [make_instance(mask)] * 100
    assert peak_bytes(lambda: cross_check(mask, many)) < 20 * mask.nbytes


@pytest.mark.parametrize("categories", [None, {}, [1, {}, {"id": 1}, {"id": 18, "name": 7}]])
def test_instances_of_nameless_categories_are_compared_without_one(tmp_path, categories):
    found = read_all(tmp_path, annotation(), categories=categories)
    (instance,) = found.of[make_key(7)]
    assert (instance.category, instance.supercategory, found.ignored) == ("", "", {})
    assert found.remarks[0].startswith("1 of 1 instances have a `category_id` that is not in `categories`")
    assert cross_check(square(2, 3, 10), [instance]).categories == ()


@pytest.mark.parametrize("second", [1, "1", 1.0])
def test_an_id_that_two_categories_have_names_no_instance(tmp_path, second):
    categories = [{"id": 1, "name": "cat"}, {"id": second, "name": "other"}, CATEGORIES[1]]
    found = read_all(tmp_path, annotation(category_id=1), annotation(id=6), categories=categories)
    assert [instance.category for instance in found.of[make_key(7)]] == ["", "dog"]
    assert found.remarks == (
        "1 of 2 instances have a `category_id` that several of `categories` have (1 is 'cat' and 'other'); they are "
        "compared without a category",
    )


@given(st.permutations([(1, "a"), (1, "b"), (2, "c"), (2, "c"), (3, "d"), (3, "e")]))
def test_which_category_an_id_means_does_not_depend_on_their_order(tmp_path_factory, order):
    categories = [{"id": number, "name": name, "supercategory": "x"} for number, name in order]
    annotations = [annotation(id=number, category_id=number) for number in (1, 2, 3)]
    found = read_all(tmp_path_factory.mktemp("order"), *annotations, categories=categories)
    assert [instance.category for instance in found.of[make_key(7)]] == ["", "c", ""]
    assert "(1 is 'a' and 'b'; 3 is 'd' and 'e')" in found.remarks[0]


def test_a_name_in_place_of_an_id_is_clear_even_if_two_categories_have_that_id(tmp_path):
    categories = [{"id": 1, "name": "cat"}, {"id": 1, "name": "other"}]
    (instance,) = read(tmp_path, annotation(category_id="cat"), categories=categories)[make_key(7)]
    assert instance.category == "cat"


def test_a_file_that_is_not_json_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text("{")
    with pytest.raises(AnnotationError, match=r"annotations\.json.*not JSON"):
        read_instances(str(path), [make_sample()])
