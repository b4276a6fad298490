"""Turn pairs into tensors in an order set by the seed alone: sample number n is the same on every machine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
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
        pixels, levels = self._levels(self.pairs[int(self._epoch_order(epoch)[place])])
        draw = np.random.default_rng(member_seed(self.seed, "sample", number))
        pixels, levels = _cropped(pixels, levels, self.config.min_crop, draw)
        if self.config.flip and draw.random() < 0.5:
            pixels, levels = pixels[:, ::-1], levels[:, ::-1]
        return self._tensors(np.ascontiguousarray(pixels), np.ascontiguousarray(levels))

    def _levels(self, pair: TrainingPair) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        if self.config.masks == "grey":
            return pair.read_grey()
        pixels, truth = pair.read()
        return pixels, truth.astype(np.uint8) * np.uint8(255)

    def _tensors(
        self, pixels: UInt8[np.ndarray, "h w 3"], levels: UInt8[np.ndarray, "h w"]
    ) -> tuple[Float[Tensor, "3 p p"], Float[Tensor, "1 p p"]]:
        """Resize as for a prediction, ignoring the aspect ratio."""
        resample = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[self.config.mask_resize]
        mask = np.array(Image.fromarray(levels).resize((self.side_px, self.side_px), resample))
        image = torch.from_numpy(squared(pixels, self.side_px).copy()).permute(2, 0, 1)
        return image.float() / 255, torch.from_numpy(mask)[None].float() / 255

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
    pixels: UInt8[np.ndarray, "h w 3"], levels: UInt8[np.ndarray, "h w"], min_crop: float, draw: np.random.Generator
) -> tuple[UInt8[np.ndarray, "_h2 _w2 3"], UInt8[np.ndarray, "_h2 _w2"]]:
    if min_crop >= 1:
        return pixels, levels
    sides = []
    for length in levels.shape:
        kept = max(1, round(length * draw.uniform(min_crop, 1)))
        start = int(draw.integers(length - kept + 1))
        sides.append(slice(start, start + kept))
    return pixels[sides[0], sides[1]], levels[sides[0], sides[1]]
