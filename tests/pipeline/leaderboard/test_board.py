"""What may enter a leaderboard, and what a reader has to know of an entry."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CollectionError, ConfigError
from pipeline.leaderboard.board import BoardAbout, Entry, check_entry, marks_of, read_board, require_fit, slug_of

ABOUT = BoardAbout(
    release="sod-benchmark 1.0.0",
    release_sha256="ab" * 32,
    weights="f00d",
    splits=("test",),
    images=5,
    truths="cd" * 32,
    missing="worst",
    scorer="ef" * 32,
    collection="COCO train2017",
)


def entry(**options):
    return Entry(
        **{
            "name": "x",
            "link": "",
            "trained_on": "DUTS-TR",
            "metrics": {"mae": 0.1},
            "intervals": {"mae": (0.0, 0.2)},
            "missing": 0,
            "result_sha256": "12" * 32,
            **options,
        }
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_names_have_folders_of_their_own_that_hurt_no_disk(one, other):
    slugs = slug_of(one), slug_of(other)
    for slug in slugs:
        assert slug == "" or set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert len(slug) <= 50
        assert not slug.startswith("-")
    assert (slugs[0] == slugs[1]) == (one == other)


@pytest.mark.parametrize(
    ("options", "marks"),
    [
        ({}, []),
        ({"made_with": {"weights": "f00d"}}, ["its weights predicted the masks of this release"]),
        ({"trained_on": "MS COCO 2017"}, ["trained on images of this collection (COCO train2017)"]),
        ({"trained_on": "DUTS-TR, by train loss"}, []),
        ({"trained_on": "DUTS-TR, ECSSD"}, ["trained on test sets of the field: ECSSD"]),
        ({"trained_on": " "}, ["nobody says what it was trained on"]),
    ],
)
def test_what_makes_a_comparison_unfair_is_marked(options, marks):
    assert marks_of(entry(**options), ABOUT) == marks


@pytest.mark.parametrize(
    ("collection", "trained_on"),
    [
        ("Open Images V7", "10,553 images of DUTS-TR"),
        ("COCO 2017, validation", "DUTS-TR; best epoch by validation on HKU"),
        ("Flickr30k of CC", "accurate masks of our own"),
    ],
)
def test_common_words_of_a_collection_mark_nobody(collection, trained_on):
    marks = marks_of(entry(trained_on=trained_on), dataclasses.replace(ABOUT, collection=collection))
    assert not [mark for mark in marks if "this collection" in mark]


def test_weights_that_nobody_knows_are_those_of_no_model():
    about = dataclasses.replace(ABOUT, weights="", collection="")
    assert marks_of(entry(made_with={"weights": ""}), about) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": " "}, "--name is empty"),
        ({"name": "a\u202eb"}, "--name"),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"trained_on": "a\nb"}, "--trained-on"),
        ({"link": "javascript:alert(1)"}, "no address that begins with http"),
        ({"link": 'https://x/"onclick="alert(1)'}, "no address"),
        ({"link": "https://x/ y"}, "no address"),
        ({"link": "https://x/caf\udce9"}, "no address"),
        ({"link": "https://x/\u202egnp.exe"}, "no address"),
    ],
)
def test_texts_that_could_do_harm_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        check_entry(entry(**options))


@pytest.mark.parametrize("collection", ["caf\udce9", "a\nb", "x" * 1001])
def test_a_collection_is_one_line(tmp_path, collection):
    with pytest.raises(ConfigError, match=r"--collection .*: give one line of at most 1000 characters"):
        require_fit(tmp_path / "board", dataclasses.replace(ABOUT, collection=collection), entry())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda stored: stored.update(format=7), "its format is not 1"),
        (lambda stored: stored.update(link="javascript:alert(1)"), "no address"),
        (lambda stored: stored.pop("metrics"), "TypeError"),
        (lambda stored: stored.update(intervals={"mae": [1]}), "ValueError"),
        (lambda stored: stored.update(other=1), "TypeError"),
    ],
)
def test_an_entry_that_somebody_has_edited_is_named(board, change, said):
    path = next(board.glob("entries/good*/entry.json"))
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))
    with pytest.raises(CollectionError, match=said):
        read_board(board)


def test_a_folder_without_a_board_is_named(tmp_path):
    with pytest.raises(CollectionError, match=r"is no leaderboard: it has no board\.json"):
        read_board(tmp_path)
