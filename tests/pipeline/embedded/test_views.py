"""Random views of pairs: image and mask stay together, most of an object is kept, and a seed decides everything."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded import views
from pipeline.embedded.data import Pairs
from pipeline.embedded.views import MIN_KEPT, MIN_VIEW, Folder, Views
from tests.devices import each_device

PX = 64


def pairs_of(*images_and_masks):
    images, masks = (torch.from_numpy(np.stack(values)) for values in zip(*images_and_masks, strict=True))
    return Pairs((images,), (masks,))


def ramp_pair(slope_x=1.0, slope_y=0.0):
    """An image and a mask of the same ramp."""
    axis = (np.arange(PX) + 0.5) / PX
    ramp = 0.5 + slope_x * (axis[None, :] - 0.5) / 2 + slope_y * (axis[:, None] - 0.5) / 2
    levels = np.rint(255 * ramp).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2), levels


def flat_pair(level, mask=255):
    return np.full((PX, PX, 3), level, np.uint8), np.full((PX, PX), mask, np.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def plain(monkeypatch):
    """Views keep their colours."""
    monkeypatch.setattr(views, "PLAIN_SHARE", 1.1)


@given(
    seed=st.integers(0, 1 << 40),
    side_px=st.integers(24, 96),
    slopes=st.sampled_from([(1, 0), (0, 1), (1, 0.5), (-1, 1)]),
)
def test_image_and_mask_show_the_same_place(seed, side_px, slopes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "PLAIN_SHARE", 1.1)
        images, masks = Views([Folder(pairs_of(ramp_pair(*slopes)), 1.0)]).draw(2, side_px, generator(seed))
    inside = (..., slice(4, -4), slice(4, -4))  # at the border the two kinds of interpolation differ
    assert (images.shape, masks.shape) == ((2, 3, side_px, side_px), (2, 1, side_px, side_px))
    assert (images[:, :1][inside] - masks[inside]).abs().max() < 0.02


@given(st.integers(0, 1 << 40))
def test_views_are_in_range_whatever_happens_to_their_colours(seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (PX, PX, 3), dtype=np.uint8), rng.integers(0, 256, (PX, PX), dtype=np.uint8)
    images, masks = Views([Folder(pairs_of(noise), 1.0)]).draw(4, 40, generator(seed))
    for values in (images, masks):
        assert values.dtype == torch.float32
        assert 0 <= values.min() <= values.max() <= 1


@given(st.integers(0, 1 << 40))
def test_most_of_a_mask_is_kept(seed):
    """A small object in a corner: most crops would lose it."""
    mask = np.zeros((PX, PX), np.uint8)
    mask[:8, :8] = 255
    _, found = Views([Folder(pairs_of((np.zeros((PX, PX, 3), np.uint8), mask)), 1.0)]).draw(3, PX, generator(seed))
    assert (found.sum((1, 2, 3)) * 255 >= 0.9 * MIN_KEPT * mask.sum()).all()


@pytest.mark.usefixtures("plain")
@given(st.integers(0, 1 << 40))
def test_a_view_shows_at_least_its_smallest_share(seed):
    flat_mask = ramp_pair()[0], np.zeros((PX, PX), np.uint8)
    images, _ = Views([Folder(pairs_of(flat_mask), 1.0)]).draw(1, PX, generator(seed))
    shown = 2 * (images[0, 0, 0].max() - images[0, 0, 0].min()).item() + 1 / PX
    assert MIN_VIEW - 0.05 < shown < 1.02


@pytest.mark.usefixtures("plain")
def test_about_half_are_mirrored_and_places_differ():
    images, _ = Views([Folder(pairs_of(ramp_pair()), 1.0)]).draw(60, 32, generator())
    assert 15 < sum(bool(image[0, 0, 0] > image[0, 0, -1]) for image in images) < 45
    assert len({round(float(image.mean()), 4) for image in images}) > 10


@pytest.mark.usefixtures("plain")
def test_folders_get_their_shares_and_each_pair_its_turn():
    folders = [Folder(pairs_of(flat_pair(0), flat_pair(50)), 1.0), Folder(pairs_of(flat_pair(200)), 3.0)]
    images, _ = Views(folders).draw(400, 8, generator())
    levels = (images[:, 0, 0, 0] * 255).round().int().tolist()
    assert 250 < levels.count(200) < 350
    assert min(levels.count(0), levels.count(50)) > 25


def test_colours_of_most_views_change_and_a_flat_image_shows_how():
    images, _ = Views([Folder(pairs_of(flat_pair(128)), 1.0)]).draw(100, 8, generator())
    changed = [bool((image - 128 / 255).abs().max() > 0.01) for image in images]
    assert 40 < sum(changed) < 80


@each_device
def test_a_seed_decides_the_same_views_on_every_device(device):
    def drawn(where, seed):
        pairs = pairs_of(ramp_pair(), flat_pair(90))
        held = Pairs(*(tuple(part.to(where) for part in parts) for parts in (pairs.images, pairs.masks)))
        return [values.cpu() for values in Views([Folder(held, 1.0)]).draw(6, 32, generator(seed))]

    first, again, other = drawn(device, 3), drawn(device, 3), drawn(device, 4)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    torch.testing.assert_close(first[1], drawn("cpu", 3)[1], rtol=0, atol=1e-5)


def test_blurring_keeps_the_mean_and_nothing_happens_at_radius_zero():
    values = torch.rand(2, 3, 24, 24, generator=generator())
    sharp, soft = views._blurred(values, torch.tensor([[0.0], [1.5]]))
    assert torch.allclose(sharp, values[0], atol=1e-6)
    assert soft.std() < 0.5 * values[1].std()
    assert soft.mean().item() == pytest.approx(values[1].mean().item(), abs=0.02)


def test_pairs_of_several_sizes_can_be_seen_together(tmp_path):
    for name, px in (("a", 16), ("b", 24)):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "part-00000.images.npy", np.zeros((2, px, px, 3), np.uint8), allow_pickle=False)
        np.save(folder / "part-00000.masks.npy", np.zeros((2, px, px), np.uint8), allow_pickle=False)
        (folder / "recipe.json").write_text(json.dumps({"count": 2}))
    folders = [Folder(Pairs.open(tmp_path / name), 1.0) for name in ("a", "b")]
    images, masks = Views(folders).draw(9, 20, generator())
    assert (images.shape, masks.shape) == ((9, 3, 20, 20), (9, 1, 20, 20))
