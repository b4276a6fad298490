"""What a configuration says of a mask decoder, and which decoder follows from it; folders: `test_mask_decoder.py`."""

import json
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.decoder_choice import LEAST_IOU, Agreement, MapsOf, Stated, choose

SHARES = st.floats(0, 1)
SIDES = st.integers(1, 64).map(lambda eighths: 8 * eighths)
IOUS = SHARES | st.floats(LEAST_IOU, 1)
ALL_KINDS = get_args(MapsOf)
KINDS = st.sampled_from(ALL_KINDS)
AGREEMENTS = st.builds(
    Agreement, side_px=SIDES, iou=IOUS, mae=SHARES, s_measure=SHARES, maps=st.integers(1, 10**6), maps_of=KINDS
)


def lists(kinds=ALL_KINDS):
    """Agreements of these kinds, none of them twice at a side."""
    found = AGREEMENTS.filter(lambda one: one.maps_of in kinds)
    return st.lists(found, max_size=5, unique_by=lambda one: (one.maps_of, one.side_px))


LISTS = lists()
ANYWHERE = st.integers(0, 600)
ONE = Agreement(side_px=64, iou=LEAST_IOU, mae=0.001, s_measure=0.99, maps=8)
VAE, OTHER = "ab" * 32, "cd" * 32


def stated_of(agreement, distilled_from=None):
    return Stated.of([one.as_fields() for one in agreement], distilled_from)


def settle(wanted="auto", *, agreement=(ONE,), distilled_from=VAE, vae=VAE, side_px=64):
    return choose(wanted, stated_of(agreement, distilled_from), lambda: vae, side_px=side_px, place="there")


# What is stated


@given(LISTS, st.none() | st.text("0123456789abcdef", min_size=64, max_size=64))
def test_what_is_stated_survives_its_file_in_any_order(agreement, distilled_from):
    fields = json.loads(json.dumps([one.as_fields() for one in agreement]))
    found = Stated.of(fields, distilled_from)
    assert sorted(agreement, key=lambda one: (one.maps_of, one.side_px)) == list(found.agreement)
    assert found == Stated.of(fields[::-1], distilled_from)


def test_nothing_stated_is_nothing_known():
    assert Stated.of(None, None) == Stated()
    assert not Stated().is_close


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"iou": 1.01}, "iou is 1.01; it must be from 0 to 1"),
        ({"mae": float("nan")}, "mae is nan"),
        ({"s_measure": "1"}, "s_measure is 1"),
        ({"iou": True}, "iou is True"),
        ({"maps": 0}, "maps is 0"),
        ({"maps": 2.5}, "maps is 2.5"),
        ({"side_px": 12}, "side_px is 12; it must be a multiple of 8"),
        ({"side_px": 0}, "side_px is 0"),
        ({"side_px": 64.0}, "side_px is 64.0"),
        ({"maps_of": "dreams"}, "maps_of is 'dreams'; it must be drawn or photographs"),
        ({"maps_of": None}, "maps_of is None"),
        ({"maps_of": ["drawn"]}, "maps_of is ['drawn']"),
        ({"more": 1}, "exactly the fields side_px, iou, mae, s_measure, maps"),
    ],
)
def test_an_agreement_that_can_not_be_is_refused_by_name(changed, said):
    with pytest.raises(ValueError, match=r"^agreement") as refused:
        Stated.of([ONE.as_fields() | changed], None)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("agreement", "distilled_from", "said"),
    [
        ({"64": ONE.as_fields()}, None, "agreement must be a list"),
        ([ONE.as_fields()] * 2, None, "the same side_px and maps_of twice"),
        ([ONE.as_fields()] * 65, None, "at most 64"),
        (None, VAE.upper(), "distilled_from is 'ABAB"),
        (None, VAE[:-1], "distilled_from is"),
        (None, 7, "distilled_from is 7"),
    ],
)
def test_a_statement_of_another_form_is_refused(agreement, distilled_from, said):
    with pytest.raises(ValueError, match=said):
        Stated.of(agreement, distilled_from)


def test_files_of_earlier_code_speak_of_drawn_maps():
    fields = ONE.as_fields()
    assert fields.pop("maps_of") == "drawn"
    assert Agreement.of(fields) == ONE


# Where it is close


@given(LISTS, ANYWHERE)
def test_drawn_maps_decide_only_where_no_photographs_do(agreement, side_px):
    photographs = [one for one in agreement if one.maps_of == "photographs"]
    deciding = stated_of(photographs or agreement)
    assert stated_of(agreement).is_close == deciding.is_close
    assert stated_of(agreement).is_close_at(side_px) == deciding.is_close_at(side_px)


@given(KINDS.flatmap(lambda kind: lists([kind])), ANYWHERE)
def test_it_is_close_only_between_sides_that_are_and_at_those(agreement, side_px):
    rounded = side_px // 8 * 8
    below = max((one for one in agreement if one.side_px <= rounded), key=lambda one: one.side_px, default=None)
    above = min((one for one in agreement if one.side_px >= rounded), key=lambda one: one.side_px, default=None)
    expected = all(one is not None and one.iou >= LEAST_IOU for one in (below, above))
    assert stated_of(agreement).is_close_at(side_px) == expected


@given(lists(["photographs"]), AGREEMENTS, ANYWHERE)
def test_a_side_that_is_far_never_makes_it_close(agreement, far, side_px):
    far = replace(far, maps_of="photographs")
    others = [one for one in agreement if one.side_px != far.side_px]
    assert stated_of(others).is_close_at(side_px) or not stated_of([*others, replace(far, iou=0.5)]).is_close_at(
        side_px
    )


# Which decoder


@given(st.sampled_from(["auto", "vae"]), ANYWHERE)
def test_where_there_is_none_the_vae_decodes_without_a_word(wanted, side_px):
    choice = choose(wanted, None, lambda: pytest.fail("asked"), side_px=side_px, place="there")
    assert (choice.used, choice.why) == ("vae", "")


@given(LISTS, st.sampled_from([VAE, OTHER, None]), st.sampled_from([VAE, None]), ANYWHERE)
def test_auto_takes_it_only_where_it_is_close_and_known_to_be_the_vaes_own(agreement, distilled_from, vae, side_px):
    stated = stated_of(agreement)
    choice = settle(agreement=agreement, distilled_from=distilled_from, vae=vae, side_px=side_px)
    assert (choice.used == "mask") == (stated.is_close_at(side_px) and distilled_from == vae == VAE)
    assert bool(choice.why) == (stated.is_close and choice.used == "vae")


@pytest.mark.parametrize("agreement", [(), (replace(ONE, iou=0.9),)])
def test_auto_does_not_ask_whose_a_decoder_is_that_it_does_not_take(agreement):
    stated = stated_of(agreement, VAE)
    assert choose("auto", stated, lambda: pytest.fail("asked"), side_px=64, place="there").used == "vae"


def test_one_that_is_wanted_is_used_at_any_size_unless_it_is_anothers():
    choice = settle("mask", agreement=(), side_px=0)
    assert (choice.used, choice.why) == ("mask", "")
    for unknown in ({"distilled_from": None}, {"vae": None}):
        choice = settle("mask", **unknown)
        assert choice.used == "mask"
        assert choice.why.endswith("used all the same, as --decoder mask says")
    with pytest.raises(
        ValueError, match=r"another VAE \(abababababab…\) than the one beside it \(cdcdcdcdcdcd…\): give"
    ):
        settle("mask", vae=OTHER)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"side_px": 72}, "at 72 px is not known: measured at 64 px; the VAE decodes instead"),
        ({"side_px": 0}, "at images' own sizes is not known"),
        ({"agreement": (ONE, replace(ONE, side_px=88, iou=0.9)), "side_px": 80}, "measured at 64, 88 (not close) px"),
        ({"distilled_from": None}, "there does not say which VAE"),
        ({"vae": None}, "is in bfloat16"),
        ({"vae": OTHER}, "another VAE (abababababab…)"),
    ],
)
def test_auto_says_why_it_passes_over_a_close_decoder(changed, said):
    assert said in settle(**changed).why
