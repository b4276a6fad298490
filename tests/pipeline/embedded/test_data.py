"""Training pairs as tensors: what is opened and what is refused."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded.data import Pairs
from pipeline.errors import CollectionError

LENGTHS = (3, 1, 4)
PX = 8


def write_folder(folder, lengths=LENGTHS, count=None):
    """Parts whose n-th image is 10 n everywhere and whose n-th mask is 10 n + 5."""
    first = 0
    for number, length in enumerate(lengths):
        levels = np.arange(first, first + length, dtype=np.uint8)[:, None, None] * 10
        images = np.broadcast_to(levels[..., None], (length, PX, PX, 3))
        np.save(folder / f"part-{number:05d}.images.npy", images, allow_pickle=False)
        np.save(folder / f"part-{number:05d}.masks.npy", np.broadcast_to(levels + 5, (length, PX, PX)))
        first += length
    (folder / "recipe.json").write_text(json.dumps({"count": first if count is None else count}))
    return folder


@pytest.fixture(scope="module")
def composites(tmp_path_factory):
    return Pairs.open(write_folder(tmp_path_factory.mktemp("composites")))


def test_a_folder_without_a_recipe_is_refused(tmp_path):
    (write_folder(tmp_path) / "recipe.json").unlink()
    with pytest.raises(
        CollectionError, match=r"has no recipe\.json: run sod embedded composites or sod embedded photographs"
    ):
        Pairs.open(tmp_path)


@pytest.mark.parametrize("kind", ["images", "masks", "*"])
@pytest.mark.parametrize("part", [0, 2])
def test_a_missing_part_is_noticed(tmp_path, kind, part):
    for path in write_folder(tmp_path).glob(f"part-{part:05d}.{kind}.npy"):
        path.unlink()
    with pytest.raises(CollectionError, match="of 8: run"):
        Pairs.open(tmp_path)


@pytest.mark.parametrize("kept_bytes", [0, 5, 60, 130, 300])
def test_a_torn_part_is_noticed(tmp_path, kept_bytes):
    path = write_folder(tmp_path) / "part-00002.images.npy"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(CollectionError, match=r"part-00002\.images\.npy is torn"):
        Pairs.open(tmp_path)


def test_a_part_is_never_read_as_a_pickle(tmp_path, malice):
    path = write_folder(tmp_path) / "part-00000.images.npy"
    path.write_bytes(pickle.dumps(malice(tmp_path / "touched")))
    with pytest.raises(CollectionError, match="pickled"):
        Pairs.open(tmp_path)
    assert not (tmp_path / "touched").exists()


def test_parts_beyond_the_recipe_are_taken_too(tmp_path):
    """A larger count is being made in the folder: its recipe is still the old one."""
    assert len(Pairs.open(write_folder(tmp_path, count=4)).images) == len(LENGTHS)


@given(st.lists(st.integers(0, sum(LENGTHS) - 1), min_size=1, max_size=12))
def test_pairs_come_in_the_order_of_their_places_each_with_its_own_mask(composites, places):
    images, masks = composites.at(places)
    assert (tuple(images.shape), tuple(masks.shape)) == ((len(places), PX, PX, 3), (len(places), PX, PX))
    assert images.reshape(len(places), -1).unique(dim=1).flatten().tolist() == [10 * place for place in places]
    assert masks.reshape(len(places), -1).unique(dim=1).flatten().tolist() == [10 * place + 5 for place in places]


@pytest.mark.parametrize("place", [-1, 8])
def test_there_is_no_pair_before_the_first_or_behind_the_last(composites, place):
    with pytest.raises(IndexError, match="there are 8 pairs"):
        composites.at([0, place])


def test_parts_come_in_order_and_whole(composites):
    parts = list(composites.parts())
    assert tuple(len(images) for images, _ in parts) == LENGTHS
    assert [int(level) for images, _ in parts for level in images[:, 0, 0, 0]] == [10 * n for n in range(8)]
