"""The endless sequence of samples: it follows from seed and number alone, and image and mask stay together."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.training.config import DataConfig
from pipeline.training.dataset import BatchNumbers, Draws, batches
from pipeline.training.pairs import find_pairs

GREY = 200

few = settings(max_examples=40)
seeds = st.integers(0, 2**63 - 1)


class Numbered:
    """A pair whose pixels say which one it is, and whose mask is where the image is bright; in grey, less bright."""

    def __init__(self, number, height=12, width=16):
        self.number, self.height, self.width = number, height, width

    def read(self):
        rows, columns = np.indices((self.height, self.width))
        bright = (rows * 5 + columns * 3 + self.number) % 7 < 3
        pixels = np.full((self.height, self.width, 3), self.number, np.uint8)
        pixels[:, :, 1] = bright * 255
        return pixels, bright

    def read_grey(self):
        pixels, bright = self.read()
        return pixels, bright.astype(np.uint8) * np.uint8(GREY)


def make_draws(count=5, side_px=32, seed=0, height=12, width=16, **data):
    config = DataConfig(train_release="unused", **data)
    return Draws([Numbered(number, height, width) for number in range(count)], side_px, config, seed)


def number_of(sample):
    return round(sample[0][0].mean().item() * 255)


def same(one, other):
    return all(torch.equal(mine, its) for mine, its in zip(one, other, strict=True))


def batch_numbers(**overrides):
    return BatchNumbers(**{"batch": 2, "rank": 0, "world": 1, "first": 0, "end": 5, **overrides})


@few
@given(st.integers(1, 9), seeds, st.integers(0, 4))
def test_each_epoch_holds_every_pair_once(count, seed, epoch):
    draws = make_draws(count, seed=seed)
    numbers = [number_of(draws[epoch * count + place]) for place in range(count)]
    assert sorted(numbers) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own():
    draws, others = make_draws(20), make_draws(20, seed=1)
    orders = [
        tuple(number_of(source[n]) for n in range(first, first + 20)) for source in (draws, others) for first in (0, 20)
    ]
    assert len(set(orders)) == 4


@few
@given(seeds, st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_a_sample_is_the_same_whenever_it_is_read(seed, numbers):
    draws = make_draws(seed=seed, flip=True, min_crop=0.5)
    backwards = {number: draws[number] for number in sorted(numbers, reverse=True)}
    assert all(same(make_draws(seed=seed, flip=True, min_crop=0.5)[number], backwards[number]) for number in numbers)


@few
@given(seeds, st.integers(0, 30), st.booleans(), st.floats(0.1, 1), st.integers(1, 20), st.integers(1, 20))
def test_image_and_mask_are_cut_and_mirrored_alike(seed, number, flip, min_crop, height, width):
    shape = {"height": height, "width": width, "masks": "binary", "mask_resize": "bilinear"}
    image, mask = make_draws(seed=seed, flip=flip, min_crop=min_crop, **shape)[number]
    assert (image.shape, mask.shape) == ((3, 32, 32), (1, 32, 32))
    assert min(image.min(), mask.min()) >= 0
    assert max(image.max(), mask.max()) <= 1
    assert (
        image[1] - mask[0]
    ).abs().max() < 0.5  # resized bicubically and bilinearly; a pixel elsewhere would be 1 off


@pytest.mark.parametrize(("masks", "level"), [("grey", GREY), ("binary", 255)])
@pytest.mark.parametrize(
    ("mask_resize", "by"), [("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)]
)
def test_without_flips_and_crops_a_sample_is_the_pair_resized_as_configured(masks, level, mask_resize, by):
    draws = make_draws(1, masks=masks, mask_resize=mask_resize)
    pixels, bright = Numbered(0).read()
    resized = Image.fromarray(bright.astype(np.uint8) * np.uint8(level)).resize((32, 32), by)
    assert np.array_equal(draws[3][1][0].numpy() * 255, np.asarray(resized))
    assert same(draws[0], draws[7])
    assert draws[0][0][0].eq(pixels[0, 0, 0] / 255).all()


def test_masks_are_grey_and_resized_bicubically_unless_configured_otherwise():
    assert same(make_draws()[0], make_draws(masks="grey", mask_resize="bicubic")[0])


def test_half_of_the_samples_are_mirrored_if_configured():
    plain, mirrored = make_draws(1), make_draws(1, flip=True)
    straight, turned = plain[0][1], plain[0][1].flip(2)
    kinds = Counter("turned" if torch.equal(mirrored[n][1], turned) else "straight" for n in range(200))
    assert all(torch.equal(mirrored[n][1], turned) or torch.equal(mirrored[n][1], straight) for n in range(200))
    assert 70 < kinds["turned"] < 130


@few
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 4), st.integers(0, 5))
def test_a_batch_of_all_workers_together_is_consecutive_samples(world, batch, first, count):
    workers = [
        list(batch_numbers(batch=batch, rank=rank, world=world, first=first, end=first + count))
        for rank in range(world)
    ]
    together = [number for parts in zip(*workers, strict=True) for part in parts for number in part]
    assert together == list(range(first * world * batch, (first + count) * world * batch))
    assert all(len(part) == batch for part in workers[0])


@few
@given(st.integers(0, 5))
def test_a_resumed_sequence_of_batches_is_the_end_of_the_whole_one(first):
    assert list(batch_numbers(first=first)) == list(batch_numbers())[first:]
    assert len(batch_numbers(first=first)) == 5 - first


@pytest.mark.slow
def test_processes_that_read_ahead_give_the_same_batches_as_none(pairs_folder):
    config = DataConfig(train_img=pairs_folder / "photos", train_gt=pairs_folder / "masks", flip=True, min_crop=0.5)
    draws = Draws(find_pairs(config), 32, config, 3)
    alone, ahead = (list(batches(draws, batch_numbers(first=1), workers)) for workers in (0, 1))
    assert len(alone) == 4
    assert all(same(one, other) for one, other in zip(alone, ahead, strict=True))
