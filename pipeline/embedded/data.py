"""Training pairs as tensors: read the parts of composites and of photographs' views, and cut crops from them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from pipeline.errors import CollectionError

MIN_CROP = 0.8
"""Smallest side of a training crop, as a share of the pair's side."""
_HINT = "run sod embedded composites or sod embedded photographs, which makes what is missing"


@dataclass(frozen=True, slots=True)
class Pairs:
    """All training pairs of some folders: per part, uint8 images `[n, px, px, 3]` and masks `[n, px, px]`."""

    images: tuple[UInt8[np.ndarray, "_n px px 3"], ...]
    masks: tuple[UInt8[np.ndarray, "_n px px"], ...]

    @classmethod
    def open(cls, *folders: Path) -> "Pairs":
        """Map the parts of all folders into memory.

        Raises: CollectionError: a folder holds no finished set of pairs, a part is missing or torn, or the folders
            have pairs of different sizes.
        """
        opened = [cls._open(folder) for folder in folders]
        images = tuple(part for pairs in opened for part in pairs.images)
        sides = sorted({part.shape[1] for part in images})
        if len(sides) > 1:
            names = ", ".join(map(str, folders))
            raise CollectionError(f"{names} hold pairs of {sides} px; make them with the same --px")
        return cls(images, tuple(part for pairs in opened for part in pairs.masks))

    @classmethod
    def _open(cls, folder: Path) -> "Pairs":
        recipe = folder / "recipe.json"
        if not recipe.exists():
            raise CollectionError(f"{folder} has no recipe.json: {_HINT}")
        count = json.loads(recipe.read_text(encoding="utf-8"))["count"]
        images = tuple(_map(path) for path in sorted(folder.glob("part-*.images.npy")))
        masks = tuple(_map(path) for path in sorted(folder.glob("part-*.masks.npy")))
        lengths = [len(part) for part in images]
        if lengths != [len(part) for part in masks] or sum(lengths) < count:
            raise CollectionError(
                f"{folder} has {sum(lengths)} images and {sum(len(part) for part in masks)} masks of {count}: {_HINT}"
            )
        return cls(images, masks)

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "b 3 px px"], Float[Tensor, "b 1 px px"]]:
        """Draw `count` pairs at random, with repetition; values in [0, 1]."""
        sizes = [len(part) for part in self.images]
        ends = np.cumsum(sizes)
        chosen = torch.randint(int(ends[-1]), (count,), generator=generator).numpy()
        parts = np.searchsorted(ends, chosen, side="right")
        places = chosen - (ends - sizes)[parts]
        images = np.stack([self.images[part][place] for part, place in zip(parts, places, strict=True)])
        masks = np.stack([self.masks[part][place] for part, place in zip(parts, places, strict=True)])
        return _as_tensors(images, masks)

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Part by part, in order; shapes and ranges as in `draw`."""
        for images, masks in zip(self.images, self.masks, strict=True):
            yield _as_tensors(np.array(images), np.array(masks))  # copies: torch warns about read-only memory


def crop_and_flip(
    images: Float[Tensor, "b 3 px px"],
    masks: Float[Tensor, "b 1 px px"],
    side_px: int,
    generator: torch.Generator | None,
) -> tuple[Float[Tensor, "b 3 p p"], Float[Tensor, "b 1 p p"]]:
    """Resize a batch to `side_px`; with a generator, crop and mirror the batch at random first."""
    if generator is not None:
        px = images.shape[-1]
        share = MIN_CROP + (1 - MIN_CROP) * torch.rand((), generator=generator).item()
        crop_px = round(px * share)
        top, left = (int(torch.randint(px - crop_px + 1, (), generator=generator)) for _ in range(2))
        images, masks = (x[..., top : top + crop_px, left : left + crop_px] for x in (images, masks))
        if torch.rand((), generator=generator) < 0.5:
            images, masks = images.flip(-1), masks.flip(-1)
    size = (side_px, side_px)
    images = functional.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
    return images, functional.interpolate(masks, size, mode="bilinear", antialias=True)


def _map(path: Path) -> np.ndarray:
    try:
        part: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CollectionError(f"{path} is torn or not an array ({error}): delete it and make it again") from error
    return part


def _as_tensors(images: UInt8[np.ndarray, "b px px 3"], masks: UInt8[np.ndarray, "b px px"]) -> tuple[Tensor, Tensor]:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return pixels, torch.from_numpy(masks)[:, None].float() / 255
