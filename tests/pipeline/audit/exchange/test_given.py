"""What follows from a file, by the table in the module: verdict and mask → answer."""

import numpy as np
import pytest

from pipeline.audit.answers import VERDICTS, Asked
from pipeline.audit.exchange.given import Given, answer_of, images_of, one_of, united
from pipeline.passes.mask_text import pixels_of, rle_of

RELEASED = rle_of(np.array([[True, False], [False, False]]))
OTHER = rle_of(np.array([[True, True], [False, False]]))
EMPTY = rle_of(np.zeros((2, 2), np.bool_))


def answer(says="", mask=None, *, released=RELEASED, has_verdicts=True, is_exact=True):
    given = Given(key="7", says=says, mask=mask, is_exact=is_exact)
    return answer_of(given, released, has_verdicts=has_verdicts)


@pytest.mark.parametrize(
    ("says", "mask", "found"),
    [
        ("right", None, ("right", None)),
        ("right", RELEASED, ("right", None)),
        ("right", OTHER, ("fix", OTHER)),
        ("fix", OTHER, ("fix", OTHER)),
        *((says, mask, (says, None)) for says in VERDICTS[2:] for mask in (None, RELEASED, OTHER, EMPTY)),
        ("", None, None),
        ("", RELEASED, None),
        ("", OTHER, None),
        ("", EMPTY, None),
    ],
)
def test_a_verdict_counts_and_what_was_drawn_counts_more_than_right(says, mask, found):
    assert answer(says, mask) == found


@pytest.mark.parametrize(
    ("mask", "found"),
    [(None, None), (RELEASED, ("right", None)), (OTHER, ("fix", OTHER)), (EMPTY, ("nothing_salient", None))],
)
def test_where_nobody_could_give_a_verdict_the_mask_is_the_answer(mask, found):
    assert answer("", mask, has_verdicts=False) == found


def test_an_empty_scene_is_right_if_the_mask_is_empty_too():
    assert answer("", EMPTY, released=EMPTY, has_verdicts=False) == ("right", None)
    assert answer("right", None, released=EMPTY) == ("right", None)


def test_polygons_do_not_overrule_right():
    assert answer("right", OTHER, is_exact=False) == ("right", None)
    assert answer("fix", OTHER, is_exact=False) == ("fix", OTHER)


@pytest.mark.parametrize(
    ("says", "mask", "found"),
    [
        ("fix", None, "mask is empty"),
        ("fix", EMPTY, "mask is empty"),
        ("fix", RELEASED, "still the one of the release"),
        ("right", EMPTY, "was erased"),
        ("good", None, "'good'; there are right, fix"),
    ],
)
def test_what_contradicts_itself_is_refused(says, mask, found):
    with pytest.raises(ValueError, match=found):
        answer(says, mask)


def test_several_verdicts_of_one_image_are_refused():
    assert one_of("7", {"", "skip"}) == "skip"
    with pytest.raises(ValueError, match="7 has several verdicts: 'fix', 'right'"):
        one_of("7", {"right", "fix"})


def test_masks_are_united():
    other = rle_of(np.array([[False, False], [False, True]]))
    assert united([]) is None
    assert pixels_of(united([RELEASED, other])).tolist() == [[True, False], [False, True]]


FILES = {"01": "a/cat.jpg", "02": "b/cat.jpg", "03": "b/dog.v2.png", "04": "bird.JPG_small"}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("01.jpg", "01"),
        ("02.png", "02"),
        ("images/default/03", "03"),
        ("a/cat.jpg", "01"),
        ("b/cat.jpg", "02"),
        ("dog.v2.jpg", "03"),
        ("masks/dog.v2.png", "03"),
        ("bird.JPG_small", "04"),
        ("bird.png", "04"),
    ],
)
def test_an_image_is_found_by_its_key_or_its_name_in_the_collection(name, key):
    asked = Asked(plan="p", tasks={}, sizes=dict.fromkeys(FILES, (1, 1)))
    assert images_of(asked, FILES).find_all([name]) == images_of(asked, FILES).find([name]) == {name: key}


@pytest.mark.parametrize("name", ["", "02.jpg", "b/cat.jpg", "05.jpg", "../01.jpg", "/01.jpg", "a\\01.jpg", None])
def test_a_name_that_means_none_of_the_sample_is_refused(name):
    asked = Asked(plan="p", tasks={}, sizes={"01": (1, 1), "03": (1, 1)})
    with pytest.raises(ValueError, match=r"no image of the sample|no file name"):
        images_of(asked, FILES).find_all(["03.jpg", name])


def test_a_name_that_means_several_is_refused_although_one_of_them_was_not_drawn():
    asked = Asked(plan="p", tasks={}, sizes={"01": (1, 1), "03": (1, 1)})
    with pytest.raises(ValueError, match=r"cat\.jpg could be of 01 or of 02.*by the keys of the release: 01\.jpg"):
        images_of(asked, FILES).find(["cat.jpg"])
