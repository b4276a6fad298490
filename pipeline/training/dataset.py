"""Turn pairs into tensors in an order set by the seed alone: sample number n is the same on every machine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from model.geometry import squared
from model.seeds import member_seed
from pipeline.training.config import DataConfig
from pipeline.training.pairs import TrainingPair


class Draws(Dataset[tuple[Tensor, Tensor]]):
    """Endless sequence of samples: the pairs in a new random order per epoch, each cropped and mirrored at random."""

    def __init__(self, pairs: Sequence[TrainingPair], side_px: int, config: DataConfig, seed: int) -> None:
        self.pairs = pairs
        self.side_px = side_px
        self.config = config
        self.seed = seed
        self._order: tuple[int, Int64[np.ndarray, " n"]] | None = None

    def __getitem__(self, number: int) -> tuple[Float[Tensor, "3 p p"], Float[Tensor, "1 p p"]]:
        """Read sample `number`, from 0; image and mask in [0, 1], mirrored and cropped as the number determines.

        Raises: CollectionError: the pair can't be read.
        """
        epoch, place = divmod(number, len(self.pairs))
        pixels, truth = self.pairs[int(self._epoch_order(epoch)[place])].read()
        draw = np.random.default_rng(member_seed(self.seed, "sample", number))
        pixels, truth = _cropped(pixels, truth, self.config.min_crop, draw)
        if self.config.flip and draw.random() < 0.5:
            pixels, truth = pixels[:, ::-1], truth[:, ::-1]
        return _tensors(np.ascontiguousarray(pixels), np.ascontiguousarray(truth), self.side_px)

    def _epoch_order(self, epoch: int) -> Int64[np.ndarray, " n"]:
        if self._order is None or self._order[0] != epoch:
            generator = np.random.default_rng(member_seed(self.seed, "epoch", epoch))
            self._order = (epoch, generator.permutation(len(self.pairs)))
        return self._order[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNumbers(Sampler[list[int]]):
    """Sample numbers of each batch of a worker, from batch `first` up to but not including batch `end`."""

    batch: int
    rank: int
    world: int
    first: int
    end: int

    def __iter__(self) -> Iterator[list[int]]:
        """Batch b of all workers together consists of consecutive samples; each worker has its share of them."""
        for number in range(self.first, self.end):
            start = (number * self.world + self.rank) * self.batch
            yield list(range(start, start + self.batch))

    def __len__(self) -> int:
        return self.end - self.first


def batches(draws: Draws, numbers: BatchNumbers, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images [B, 3, P, P] and masks [B, 1, P, P], read ahead by `workers` processes."""
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        draws,
        batch_sampler=numbers,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,  # torch's threads do not survive a fork
    )
    return iter(loader)


def _cropped(
    pixels: UInt8[np.ndarray, "h w 3"], truth: Bool[np.ndarray, "h w"], min_crop: float, draw: np.random.Generator
) -> tuple[UInt8[np.ndarray, "_h2 _w2 3"], Bool[np.ndarray, "_h2 _w2"]]:
    if min_crop >= 1:
        return pixels, truth
    sides = []
    for length in truth.shape:
        kept = max(1, round(length * draw.uniform(min_crop, 1)))
        start = int(draw.integers(length - kept + 1))
        sides.append(slice(start, start + kept))
    return pixels[sides[0], sides[1]], truth[sides[0], sides[1]]


def _tensors(
    pixels: UInt8[np.ndarray, "h w 3"], truth: Bool[np.ndarray, "h w"], side_px: int
) -> tuple[Float[Tensor, "3 p p"], Float[Tensor, "1 p p"]]:
    """Resize as for a prediction (ignoring the aspect ratio), which gives masks grey edges."""
    mask = Image.fromarray(truth.astype(np.uint8) * 255).resize((side_px, side_px), Image.Resampling.BILINEAR)
    image = torch.from_numpy(squared(pixels, side_px).copy()).permute(2, 0, 1)
    return image.float() / 255, torch.from_numpy(np.array(mask))[None].float() / 255
