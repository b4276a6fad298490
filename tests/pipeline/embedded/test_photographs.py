"""Labelled photographs: the list, files that are what was listed, labels that are kept, and views of them."""

import hashlib
import io
import itertools
import json
import re
import subprocess
import zipfile
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.embedded import composite_store
from pipeline.embedded.data import Pairs
from pipeline.embedded.material import SourceError
from pipeline.embedded.photograph_pairs import make_pair, write_pairs
from pipeline.embedded.photographs import LONG_SIDE_PX, Photograph, label, missing_labels, read_labelled, read_list
from pipeline.errors import RunMismatchError
from tests.pipeline.evaluation.make import photo, truth

SAMPLE = "pipeline/sample/images"


class Half:
    """A teacher that finds the left half of everything, and counts."""

    def __init__(self):
        self.asked = 0

    def saliency_of(self, pixels):
        self.asked += 1
        saliency = np.zeros(pixels.shape[:2], np.float32)
        saliency[:, : pixels.shape[1] // 2] = 1
        return saliency


def jpeg(number, height, width):
    buffer = io.BytesIO()
    Image.fromarray(photo(number, height, width)).save(buffer, "JPEG")
    return buffer.getvalue()


def make_listed(cache, contents, package="things"):
    """A package in the cache that holds these photographs; gives their lines."""
    folder = cache / "archives" / f"npm-{package}"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / f"{package}.zip", "w") as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
    return [
        Photograph(
            registry="npm", package=package, version="1.0", path=path, licence="MIT",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for path, content in contents.items()
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_client(monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)


@pytest.fixture
def listed(tmp_path):
    contents = {f"a/{number}.jpg": jpeg(number, 60, 90) for number in range(3)}
    return make_listed(tmp_path / "cache", contents)


# The list


def test_the_list_names_each_photograph_once_and_packages_together():
    photographs = read_list()
    assert len({photograph.sha256 for photograph in photographs}) == len(photographs) > 100
    packages = [photograph.package for photograph in photographs]
    assert len(Counter(packages)) == 1 + sum(a != b for a, b in itertools.pairwise(packages))
    assert all(re.fullmatch("[0-9a-f]{64}", photograph.sha256) for photograph in photographs)
    assert all(all(asdict(photograph).values()) for photograph in photographs)


def test_a_package_is_listed_with_one_registry_and_one_version():
    sources = {(photograph.registry, photograph.package, photograph.version) for photograph in read_list()}
    assert len(sources) == len({photograph.package for photograph in read_list()})


@pytest.mark.parametrize(
    ("licence", "permissive"),
    [("CC0-1.0", True), ("CC-BY-3.0", True), ("CC-BY-SA-3.0", False), ("public-domain", True), ("GPL-3", False),
     ("MIT as a package", True), ("GFDL-NIV-1.2", False), ("GPL-3.0+ as a package", False)],
)  # fmt: skip
def test_a_licence_that_asks_for_more_than_attribution_is_not_permissive(listed, licence, permissive):
    assert replace(listed[0], licence=licence).is_permissive == permissive


def test_of_the_list_some_photographs_are_permissive():
    assert 100 < sum(photograph.is_permissive for photograph in read_list()) < len(read_list())


def test_no_photograph_of_the_sample_is_in_the_list(request):
    folder = request.config.rootpath / SAMPLE
    sample = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert len(sample) == 37
    assert not sample & {photograph.sha256 for photograph in read_list()}


def test_another_table_is_no_list(tmp_path):
    (tmp_path / "list.csv").write_text("name,size\na,1\n")
    with pytest.raises(SourceError, match=r"list\.csv is not a list of photographs"):
        read_list(tmp_path / "list.csv")


# Labels


def test_photographs_are_labelled_once_and_come_in_the_lists_order(tmp_path, listed, told):
    teacher = Half()
    labelled = label(listed, tmp_path / "cache", lambda: teacher)
    assert [path.stem for path in labelled] == [photograph.sha256 for photograph in listed]
    assert told.lines == ["things: 3 of 3 photographs are labelled"]
    assert label(listed, tmp_path / "cache", None) == labelled
    assert teacher.asked == 3
    pixels, mask = read_labelled(labelled[0])
    assert (pixels.shape, mask.shape) == ((60, 90, 3), (60, 90))
    assert (mask[:, :45].min(), mask[:, 45:].max()) == (255, 0)


def test_large_photographs_are_kept_smaller_in_their_proportions(tmp_path):
    listed = make_listed(tmp_path, {"large.jpg": jpeg(0, 2 * LONG_SIDE_PX, LONG_SIDE_PX)})
    pixels, mask = read_labelled(label(listed, tmp_path, Half)[0])
    assert pixels.shape == (LONG_SIDE_PX, LONG_SIDE_PX // 2, 3)
    assert mask.shape == pixels.shape[:2]


def test_photographs_of_several_packages_are_labelled(tmp_path):
    listed = [
        *make_listed(tmp_path, {"1.jpg": jpeg(1, 40, 40)}, "one"),
        *make_listed(tmp_path, {"1.jpg": jpeg(2, 40, 40)}, "two"),
    ]
    assert len(set(label(listed, tmp_path, Half))) == 2


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"path": "b/0.jpg"}])
def test_a_file_that_is_not_as_listed_is_refused(tmp_path, listed, change):
    wrong = replace(listed[0], **change)
    with pytest.raises(SourceError, match=re.escape(wrong.path) + " as listed|holds nothing that matches"):
        label([wrong], tmp_path / "cache", Half)


def test_labels_are_missing_until_they_are_made(tmp_path, listed):
    assert missing_labels(listed, tmp_path / "cache") == 3
    label(listed[:2], tmp_path / "cache", Half)
    assert missing_labels(listed, tmp_path / "cache") == 1


# Pairs


@given(st.integers(0, 1 << 30), st.integers(20, 60), st.integers(20, 60))
def test_a_pair_is_the_whole_photograph_with_its_map(seed, height, width):
    mask = truth(seed % 7, height, width).astype(np.uint8) * 255
    image, target = make_pair(np.repeat(mask[..., None], 3, axis=2), mask, 48)
    assert (image.shape, target.shape, image.dtype, target.dtype) == ((48, 48, 3), (48, 48), np.uint8, np.uint8)
    assert np.array_equal(image, np.repeat(target[..., None], 3, axis=2))
    assert target.mean() == pytest.approx(mask.mean(), abs=3)


def test_pairs_are_in_the_photographs_order_and_can_be_trained_with(tmp_path, listed, monkeypatch):
    monkeypatch.setattr(composite_store, "PART_SAMPLES", 2)
    labelled = label(listed, tmp_path / "cache", Half)
    write_pairs(labelled, [{"package": "things"}], 32, tmp_path / "pairs")
    recipe = json.loads((tmp_path / "pairs/recipe.json").read_text())
    assert recipe["photographs"] == [photograph.sha256 for photograph in listed]
    assert (recipe["count"], recipe["sources"]) == (3, [{"package": "things"}])
    pairs = Pairs.open(tmp_path / "pairs")
    assert [len(images) for images, _ in pairs.parts()] == [2, 1]
    for place, path in enumerate(labelled):
        for found, expected in zip(pairs.at([place]), make_pair(*read_labelled(path), 32), strict=True):
            assert np.array_equal(found[0].numpy(), expected)


def test_pairs_go_on_where_they_were_stopped_and_refuse_others(tmp_path, listed, monkeypatch, told):
    monkeypatch.setattr(composite_store, "PART_SAMPLES", 2)
    labelled = label(listed, tmp_path / "cache", Half)
    write_pairs(labelled, [], 32, tmp_path / "pairs")
    before = {path.name: path.read_bytes() for path in (tmp_path / "pairs").iterdir()}
    (tmp_path / "pairs/part-00001.masks.npy").unlink()
    write_pairs(labelled, [], 32, tmp_path / "pairs")
    assert {path.name: path.read_bytes() for path in (tmp_path / "pairs").iterdir()} == before
    assert told.lines[-1] == "part-00001.masks.npy (2 of 2 parts)"
    with pytest.raises(RunMismatchError, match="photographs"):
        write_pairs(labelled[:2], [], 32, tmp_path / "pairs")
