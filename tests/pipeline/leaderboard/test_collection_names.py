"""A text about training data names a collection by its own words, not by words that any text may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.leaderboard.collection_names import is_named

WORDS = (
    *("images", "of", "the", "validation", "set", "train", "val", "2017", "train2017", "data", "photos", "our", "own"),
    *("open", "V7", "a", "10,553"),
)
NAMES = st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=30)
COMMON = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("collection", "trained_on"),
    [
        ("COCO", "COCO train2017"),
        ("COCO train2017", "MS COCO 2017"),
        ("MS COCO 2017", "COCO train2017"),
        ("MS-COCO", "DUTS-TR, coco2014 and more"),
        ("COCO", "MSCOCO"),
        ("MSCOCO", "Microsoft COCO"),
        ("COCO2017", "COCO"),
        ("COCO", "COCO-SOD"),  # its images are COCO's
        ("coco", "COCO_CapSal"),
        ("COCO; Flickr30k", "Flickr30k"),
        ("COCO (validation)", "COCO"),
        ("Open Images V7", "Open Images V6"),
        ("Open Images V7", "OpenImages"),
        ("SA-1B", "SA1B and DUTS-TR"),
        ("Visual Genome", "visual-genome 1.4"),
        ("Pascal VOC 2012", "VOC 2007"),
        ("validation", "the validation set of ours"),
    ],
)
def test_a_collection_is_named_in_any_of_its_spellings(collection, trained_on):
    assert is_named(collection, trained_on)


@pytest.mark.parametrize(
    ("collection", "trained_on"),
    [
        ("Open Images V7", "10,553 images of DUTS-TR"),
        ("Open Images V7", "open data"),
        ("COCO 2017, validation", "DUTS-TR; best epoch by validation on HKU-IS"),
        ("Flickr30k of CC", "accurate masks of our own"),
        ("COCO", "cocoa beans"),
        ("COCO", "NotCOCO"),
        ("COCO 2017", "photographs of 2017"),
        ("SA-1B", "1B parameters, DUTS-TR"),
        ("Visual Genome", "visual inspection"),
        ("ImageNet", "an image network"),
        ("", "COCO"),
        ("--", "COCO"),
        ("COCO", ""),
    ],
)
def test_a_text_that_names_something_else_names_no_collection(collection, trained_on):
    assert not is_named(collection, trained_on)


@given(NAMES.filter(lambda text: any(map(str.isalnum, text))), COMMON, COMMON)
def test_a_text_with_the_whole_name_names_it(collection, before, after):
    assert is_named(collection, f"{before} {collection} {after}")


@given(COMMON, st.sampled_from(["COCO", "Flickr30k", "Visual Genome"]), COMMON, COMMON)
def test_words_that_any_text_may_have_name_nothing(before, name, after, trained_on):
    assert not is_named(f"{before} {name} {after}", trained_on)
