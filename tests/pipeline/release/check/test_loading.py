"""A release loads with the libraries of its users, called as they would; none of our code reads it here."""

import io
import json
import os
import subprocess
import sys

import pytest
from PIL import Image

LOAD_WITH_WEBDATASET = """
import json, sys
import webdataset

def read(as_what):
    return webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode(as_what)

grey = [
    {
        "key": sample["__key__"],
        "facts": sample["json"],
        "arrays": [
            [str(sample[name].dtype), sample[name].shape]
            for name in ("jpg", "mask.png", "saliency.png", "variance.png")
        ],
        "mask_values": sorted({int(value) for value in sample["mask.png"].flat}),
    }
    for sample in read("l8")
]
pairs = [[image.shape, mask.shape] for image, mask in read("rgb8").to_tuple("jpg", "mask.png")]
print(json.dumps({"grey": grey, "pairs": pairs}))
"""
LOAD_WITH_DATASETS = """
import json, sys
from datasets import load_dataset

dataset = load_dataset(sys.argv[1], split="test", cache_dir=sys.argv[2])
found = [
    {
        "key": row["__key__"],
        "facts": row["json"],
        "sizes": [row[name].size for name in ("jpg", "mask.png", "saliency.png", "variance.png")],
        "modes": [row[name].mode for name in ("jpg", "mask.png", "saliency.png", "variance.png")],
        "mask_values": sorted({value for _, value in row["mask.png"].getcolors()}),
    }
    for row in dataset
]
features = {name: type(feature).__name__ for name, feature in dataset.features.items()}
print(json.dumps({"features": features, "rows": found}))
"""


def facts_of(released):
    return {key: json.loads(sample["json"]) for key, sample in released.samples().items()}


def run_python(code, *arguments, **settings):
    """The last line that a user's program prints. It has a process of its own: libraries leave files open, and read
    settings early."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def split(released, release_of, tmp_path_factory):
    """The same release in several tars."""
    release = release_of(released.inputs, tmp_path_factory.mktemp("split"), tar_bytes=12_000)
    assert len(release.tars()) > 1
    return release


@pytest.fixture(scope="module")
def read_by_webdataset(split):
    return run_python(LOAD_WITH_WEBDATASET, *map(str, split.tars()))


def test_webdataset_decodes_masks_to_0_and_255_at_the_size_of_their_image(split, read_by_webdataset):
    facts = facts_of(split)
    assert [sample["key"] for sample in read_by_webdataset["grey"]] == list(facts)
    for sample in read_by_webdataset["grey"]:
        size = [sample["facts"]["height"], sample["facts"]["width"]]
        assert sample["facts"] == facts[sample["key"]]
        assert sample["arrays"] == [["uint8", size]] * 4
        assert sample["mask_values"] == [0, 255]


def test_webdataset_gives_images_and_masks_as_pairs(split, read_by_webdataset):
    pairs = read_by_webdataset["pairs"]
    assert len(pairs) == len(facts_of(split))
    for image, mask in pairs:
        assert image == mask
        assert image[2] == 3


@pytest.fixture(scope="module")
def loaded(split, tmp_path_factory):
    """What Hugging Face datasets loads from the release's folder; it reads the card to find the tars."""
    folder = tmp_path_factory.mktemp("huggingface")
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "HOME": str(folder)}
    return run_python(LOAD_WITH_DATASETS, str(split.folder), str(folder / "cache"), **settings)


def test_datasets_gives_one_row_per_accepted_image_with_its_facts(split, loaded):
    assert {row["key"]: row["facts"] for row in loaded["rows"]} == facts_of(split)


def test_datasets_sees_images_as_images(loaded):
    names = ("jpg", "mask.png", "saliency.png", "variance.png")
    assert {name: loaded["features"][name] for name in names} == dict.fromkeys(names, "Image")
    for row in loaded["rows"]:
        assert row["modes"] == ["RGB", "L", "L", "L"]
        assert row["sizes"] == [[row["facts"]["width"], row["facts"]["height"]]] * 4
        assert row["mask_values"] == [0, 255]


def test_a_plain_tar_and_pillow_are_enough(released):
    for sample in released.samples().values():
        with Image.open(io.BytesIO(sample["jpg"])) as image, Image.open(io.BytesIO(sample["mask.png"])) as mask:
            assert image.size == mask.size
