"""Examples of the release's README.md: what loaders and people read in it."""

import html
import re
from pathlib import Path
from typing import get_args

import pytest
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st

from model.weights import weights_sha256
from pipeline.config import MaskLicense, ReleaseConfig
from pipeline.release.card import agreement_of
from pipeline.release.contents import CONTENTS, card
from pipeline.release.croissant_texts import MEMBERS
from pipeline.release.manifest import SCHEMA
from pipeline.release.mask_license import license_files
from pipeline.release.sources import EMBEDDED, bibtex_of, in_words, sources_of
from tests.pipeline.make import Inputs, make_config

ROOT = Path(__file__).resolve().parents[3]
REASONS = {"accepted": {"": 5}, "rejected": {"no_salient_object": 1, "border_above_max": 3}, "failed": {"missing": 1}}
NOWHERE = Inputs(images="i", annotations="a", entries=[])


def row_of(verdict, reason):
    return {"verdict": verdict, "reason": reason, "instance_iou": None, "supercategory": ""}


def card_of(reasons=REASONS, splits=("test",), **options):
    config = make_config(NOWHERE, "o", **options)
    made_with = {"ensemble_size": str(config.ensemble.ensemble_size), "weights": "ab12"}
    rows = [row_of(verdict, reason) for verdict in reasons for reason, n in reasons[verdict].items() for _ in range(n)]
    return card(config.release, config.policy, rows, made_with, splits).decode()


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
    for said in (
        "| accepted | 5 |",
        "| rejected | 4 |",
        "| failed | 1 |",
        "ensemble of 7 ",
        "- `ensemble_variance <= 0.0125`",
        "- `area >= 0.25` - `area <= 0.5`",
    ):
        assert said in re.sub(r"\s+", " ", text)


def test_decisions_without_images_are_counted_as_0():
    text = card_of(reasons={"rejected": {"no_salient_object": 2}})
    assert "| accepted | 0 |" in text
    assert "| failed | 0 |" in text


def test_every_split_with_images_is_loaded_and_no_other():
    front = DatasetCard(card_of(splits=("train", "test"))).data.to_dict()
    assert [entry["split"] for entry in front["configs"][0]["data_files"]] == ["train", "test"]
    assert DatasetCard(card_of(splits=())).data.to_dict()["configs"] == [{"config_name": "default"}]


def test_it_says_why_images_were_not_accepted_and_what_masks_were_made_with():
    text = card_of()
    for line in ("| rejected: `border_above_max` | 3 |", "| failed: `missing` | 1 |", "| weights | `ab12` |"):
        assert line in text


def test_it_says_how_images_were_chosen():
    options = {"thresholds": ("border<=0.3",), "allowed_licenses": (4, 5), "commercial": True, "target_images": 9}
    text = re.sub(r"\s+", " ", card_of(**options))
    for said in (
        "- `border <= 0.3` - ",
        "licence is one of 4, 5 - ",
        "allows commercial use",
        "the 9 best of the images that meet these conditions, ranked by `ensemble_var",
    ):
        assert said in text
    without_images = card_of(embed_images=False)
    assert "The images themselves are not part of this release" in without_images
    assert "`KEY.jpg`" not in without_images


def test_it_says_that_agreement_is_not_correctness():
    assert "Agreement is not correctness" in card_of()


def test_the_card_of_a_release_has_the_counts_of_its_record(released):
    text = (released.folder / "README.md").read_text()
    for decision, count in released.release_json()["counts"].items():
        assert f"| {decision} | {count} |" in text


def test_the_agreement_with_instances_covers_accepted_images_that_have_some():
    rows = [
        {"verdict": "accepted", "instance_iou": iou, "supercategory": name}
        for iou, name in [(0.9, "animal"), (0.5, "animal"), (0.1, ""), (None, "")]
    ]
    rows.append({"verdict": "rejected", "instance_iou": 0.0, "supercategory": "food"})
    found = agreement_of(rows)
    assert (found.images, found.median, found.tenth) == (3, 0.5, 0.1)
    assert found.supercategories == [("animal", 2), ("none", 1)]
    assert agreement_of(rows[3:]) is None


@pytest.mark.parametrize(
    "name", ["a|b", "<script>alert(1)</script>", "[x](http://evil)", "# x\n| accepted | 9 |", "`x`"]
)
def test_a_category_with_any_characters_is_plain_text_in_the_card(name):
    agreement = agreement_of([{"verdict": "accepted", "instance_iou": 0.5, "supercategory": name}])
    ((shown, _),) = agreement.supercategories
    assert not set(shown) & set("|<>[]()`\n")
    assert html.unescape(shown) == " ".join(name.split())


KNOWN = {"creator": "A <b>| Lab", "published_on": "2026-11-24", "homepage": "https://example.org/sod"}
KNOWN |= {"model_name": "org/sod at 1a2b|3c", "model_url": "https://example.org/model", "errata": "errors@example.org"}
KNOWN |= {"collection_name": "COCO 2017, val", "collection_url": "https://cocodataset.org"}


def test_it_names_what_the_publisher_names_and_says_what_was_not_named():
    text = card_of(**KNOWN, tool_url="https://example.org/tool")
    for line in (
        "| model | org/sod at 1a2b&#124;3c, <https://example.org/model>; digest of its weights: `ab12` |",
        "| collection | COCO 2017&#44; val, <https://cocodataset.org> |",
        "| tool | sod-benchmark, <https://example.org/tool>; digest of its code: `unknown` |",
        "| publisher | A &#60;b&#62;&#124; Lab, <https://example.org/sod> |",
        "| errors, removals | <errors@example.org> |",
    ):
        assert line in text
    bare = card_of()
    assert "| model | not named by the publisher; digest of its weights: `ab12` |" in bare
    assert "| collection | not named by the publisher |" in bare
    assert "The publisher gave no address for errors and removals." in bare
    assert "None" not in bare


def test_the_embedded_weights_have_a_name():
    assert weights_sha256(ROOT / "model/nano") in EMBEDDED, "add its digest to pipeline/release/sources.py"
    model, *_ = sources_of(ReleaseConfig(), {"weights": next(iter(EMBEDDED))})
    assert model.said.startswith("nano, the model embedded in sod-benchmark; digest")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("processing_res", "None", "the size that the weights were trained for"),
        ("batch_size", "None", "the whole batch"),
        ("anything", "None", "not set"),
        ("compile", "False", "no"),
        ("seed", "0", "`0`"),
    ],
)
def test_settings_have_words_in_place_of_what_python_calls_them(field, value, said):
    assert in_words(field, value) == said


def entries_of(text):
    """The BibTeX entries of a card: key → lines."""
    block = re.search("^```bibtex\n(.*?)^```$", text, re.M | re.S)[1]
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in block.strip().split("\n\n")}


def test_the_citation_has_entries_for_the_release_sod_diffusion_and_the_tool():
    entries = entries_of(card_of(**KNOWN))
    assert list(entries) == ["sod-benchmark-1.0.0", "zhang2024soddiffusion", "sod-benchmark-tool"]
    for line in ("author = {{A <b>| Lab}}", "year   = {2026}", "url    = {https://example.org/sod}"):
        assert line in entries["sod-benchmark-1.0.0"]
    assert "author = {{sod-benchmark contributors}}" in entries_of(card_of())["sod-benchmark-1.0.0"]


@given(st.text(st.sampled_from("{}\\`%~aé ") | st.characters(codec="utf-8"), max_size=40).filter(str.isprintable))
def test_no_name_ends_its_entry_or_the_block_of_code(name):
    config = ReleaseConfig(creator=name, collection_name=name)
    entry = bibtex_of(config, {}).partition("\n\n")[0]
    bare = re.sub(r"\\[{}]", "", entry)
    assert bare.count("{") == bare.count("}")
    assert "`" not in entry


def test_the_licence_of_the_masks_is_in_the_front_matter_and_in_the_text():
    front = DatasetCard(card_of()).data.to_dict()
    assert (front["license"], front["license_link"]) == (["cc-by-4.0", "other"], "LICENSE")
    assert front["license_name"] == "masks-cc-by-4.0-images-per-image"
    alone = DatasetCard(card_of(embed_images=False, mask_license="CC0-1.0")).data.to_dict()
    assert (alone["license"], "license_name" in alone) == ("cc0-1.0", False)
    without = card_of(mask_license="none")
    assert DatasetCard(without).data.to_dict()["license"] == "other"
    assert "| licence of masks, maps and scores | not stated |" in without
    assert "`LICENSE`" not in without


@pytest.mark.parametrize("name", get_args(MaskLicense))
def test_the_file_of_the_licence_names_it_and_what_it_does_not_cover(name):
    files = license_files(ReleaseConfig(mask_license=name, creator="Ünï Lab"))
    assert list(files) == ([] if name == "none" else ["LICENSE"])
    for text in (content.decode() for content in files.values()):
        assert f"SPDX-License-Identifier: {name}\n" in text
        assert "https://creativecommons.org/" in text
        assert "does not cover the images" in text
        assert ("by Ünï Lab" in text) == (name != "CC0-1.0")


def test_every_column_of_the_manifest_is_in_the_card():
    text = card_of()
    for name in SCHEMA.names:
        assert f"| `{name}` | " in text


def test_every_file_of_the_release_and_of_a_sample_is_in_the_card():
    compared, alone = card_of(previous="r"), card_of()
    for content in CONTENTS:
        assert (f"| `{content.name}` | {content.meaning} |" in compared) == (not content.of_pass)
        assert (f"| `{content.name}` | " in alone) == (not (content.only_if_compared or content.of_pass))
    for extension in (*MEMBERS, "json"):
        assert f"| `KEY.{extension}` | " in alone
