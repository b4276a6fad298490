"""Examples of the release's README.md: what loaders read of it, and what people do."""

import re

import pytest
from huggingface_hub import DatasetCard

from pipeline.release.card import card
from tests.pipeline.make import Inputs, make_config

COUNTS = {"accepted": 5, "rejected": 4, "failed": 1}
NOWHERE = Inputs(images="i", annotations="a", entries=[])


def card_of(counts=COUNTS, **options):
    return card(make_config(NOWHERE, "o", **options), counts).decode()


def test_loaders_find_the_tars_of_the_split():
    front = DatasetCard(card_of()).data.to_dict()
    assert front["configs"] == [
        {"config_name": "default", "data_files": [{"split": "test", "path": "data/test/*.tar"}]}
    ]
    assert front["task_categories"] == ["image-segmentation"]


@pytest.mark.parametrize("name", ["sod-benchmark", "123", "null", "no", "1e5", "-", "2024-01-01"])
def test_the_name_stays_text_whatever_it_looks_like(name):
    assert DatasetCard(card_of(name=name)).data.to_dict()["pretty_name"] == name
    assert f"\n# {name} 1.0.0\n" in card_of(name=name)


def test_the_numbers_are_those_of_the_release():
    text = card_of(ensemble_size=7, max_variance=0.0125, min_area=0.25, max_area=0.5)
    for said in ("| accepted | 5 |", "| rejected | 4 |", "| failed | 1 |", "ensemble of 7 ", "0.0125 ", "0.25 to 0.5 "):
        assert said in re.sub(r"\s+", " ", text)


def test_decisions_that_no_image_has_are_counted_as_none():
    text = card_of(counts={"rejected": 2})
    assert "| accepted | 0 |" in text
    assert "| failed | 0 |" in text


def test_it_says_that_agreement_is_not_correctness():
    assert "Agreement is not correctness" in card_of()


def test_the_card_of_a_release_has_the_counts_of_its_record(released):
    text = (released.folder / "README.md").read_text()
    for decision, count in released.record()["counts"].items():
        assert f"| {decision} | {count} |" in text
