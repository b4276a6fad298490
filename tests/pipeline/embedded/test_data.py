"""Composites as tensors: what is opened, what is drawn, and crops that keep image and mask together."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded.data import MIN_CROP, Pairs, crop_and_flip
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


def numbers_of(images):
    return (images[:, 0, 0, 0] * 255 / 10).round().int().tolist()


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


def test_pairs_of_several_folders_are_drawn_from_alike(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write_folder(folder)
    both = Pairs.open(*folders)
    assert [len(images) for images, _ in both.parts()] == [*LENGTHS, *LENGTHS]
    drawn = numbers_of(both.draw(300, torch.Generator().manual_seed(0))[0])
    assert min(drawn.count(number) for number in range(8)) > 15


def test_pairs_of_two_sizes_are_refused(tmp_path):
    write_folder(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    np.save(other / "part-00000.images.npy", np.zeros((1, 9, 9, 3), np.uint8), allow_pickle=False)
    np.save(other / "part-00000.masks.npy", np.zeros((1, 9, 9), np.uint8), allow_pickle=False)
    (other / "recipe.json").write_text('{"count": 1}')
    with pytest.raises(CollectionError, match=r"hold pairs of \[8, 9\] px; make them with the same --px"):
        Pairs.open(tmp_path, other)


def test_the_same_generator_draws_the_same(composites):
    first, second = (composites.draw(20, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_every_composite_of_every_part_is_drawn(composites):
    images, _ = composites.draw(300, torch.Generator().manual_seed(0))
    drawn = numbers_of(images)
    assert sorted(set(drawn)) == list(range(8))
    assert min(drawn.count(number) for number in range(8)) > 15


def test_a_drawn_image_comes_with_its_own_mask(composites):
    images, masks = composites.draw(50, torch.Generator().manual_seed(1))
    assert torch.allclose(masks[:, 0], images[:, 0] + 5 / 255)


def test_drawn_tensors_have_their_shapes_and_range(composites):
    images, masks = composites.draw(5, torch.Generator().manual_seed(0))
    assert (images.shape, masks.shape) == ((5, 3, PX, PX), (5, 1, PX, PX))
    assert (images.dtype, masks.dtype) == (torch.float32, torch.float32)
    assert 0 <= images.min() <= images.max() <= 1


def test_parts_come_in_order_and_whole(composites):
    parts = list(composites.parts())
    assert [number for images, _ in parts for number in numbers_of(images)] == list(range(8))
    assert all(torch.allclose(masks, images[:, :1] + 5 / 255) for images, masks in parts)


def make_ramps(px, slope_x, slope_y):
    """Images and masks of the same ramp, for which bilinear and bicubic interpolation agree."""
    axis = (torch.arange(px) + 0.5) / px
    ramp = 0.5 + slope_x * (axis[None, :] - 0.5) / 2 + slope_y * (axis[:, None] - 0.5) / 2
    return ramp.expand(2, 3, px, px), ramp.expand(2, 1, px, px)


@given(
    st.integers(32, 80),
    st.integers(32, 80),
    st.integers(0, 10000),
    st.sampled_from([(1, 0), (0, 1), (1, 0.5), (-1, 1)]),
)
def test_crops_keep_image_and_mask_aligned(px, side_px, seed, slopes):
    images, masks = crop_and_flip(*make_ramps(px, *slopes), side_px, torch.Generator().manual_seed(seed))
    inside = (..., slice(4, -4), slice(4, -4))  # at the border the two kinds of interpolation differ
    assert (images.shape, masks.shape) == ((2, 3, side_px, side_px), (2, 1, side_px, side_px))
    assert (images[:, :1][inside] - masks[inside]).abs().max() < 0.2 / px


@given(st.integers(0, 10000))
def test_a_crop_shows_at_least_its_smallest_share(seed):
    _, masks = crop_and_flip(*make_ramps(100, 1, 0), 50, torch.Generator().manual_seed(seed))
    shown = 2 * (masks[0, 0, 0].max() - masks[0, 0, 0].min()) + 1 / 50
    assert MIN_CROP - 0.03 < shown < 1.01


def test_crops_differ_in_place_and_size_and_about_half_are_mirrored():
    crops = [crop_and_flip(*make_ramps(64, 1, 0), 32, torch.Generator().manual_seed(seed))[1] for seed in range(60)]
    mirrored = sum(bool(crop[0, 0, 0, 0] > crop[0, 0, 0, -1]) for crop in crops)
    assert 15 < mirrored < 45
    assert len({round(float(crop.mean()), 4) for crop in crops}) > 10


def test_the_same_generator_crops_the_same():
    first, second = (crop_and_flip(*make_ramps(64, 1, 1), 32, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_without_a_generator_the_whole_picture_is_shown():
    images, masks = crop_and_flip(*make_ramps(64, 1, 0), 64, None)
    assert torch.allclose(images, make_ramps(64, 1, 0)[0], atol=1e-5)
    assert torch.allclose(masks, make_ramps(64, 1, 0)[1], atol=1e-5)


def test_resizing_stays_within_the_range():
    checkerboard = (torch.arange(64)[:, None] // 8 + torch.arange(64) // 8) % 2
    images, masks = crop_and_flip(checkerboard.expand(1, 3, 64, 64).float(), checkerboard[None, None].float(), 90, None)
    assert (images.min(), images.max()) == (0, 1)
    assert 0 <= masks.min() <= masks.max() <= 1 + 1e-6
