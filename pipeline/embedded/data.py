"""Training pairs as tensors: the parts of composites and of photographs, read from disk."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from pipeline.errors import CollectionError

_HINT = "run sod embedded composites or sod embedded photographs, which makes what is missing"


@dataclass(frozen=True, slots=True)
class Pairs:
    """All training pairs of a folder: per part, uint8 images `[n, px, px, 3]` and masks `[n, px, px]`.

    On the CPU they stay on disk, mapped into memory.
    """

    images: tuple[UInt8[Tensor, "_n px px 3"], ...]
    masks: tuple[UInt8[Tensor, "_n px px"], ...]

    @classmethod
    def open(cls, folder: Path, device: torch.device | str = "cpu") -> "Pairs":
        """Map a folder's parts into memory, or copy them to a GPU.

        Raises: CollectionError: the folder holds no finished set of pairs, or a part is missing or torn.
        """
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
        if torch.device(device).type != "cpu":
            images, masks = ((torch.cat(parts).to(device),) for parts in (images, masks))  # one, to choose from at once
        return cls(images, masks)

    def __len__(self) -> int:
        return sum(len(part) for part in self.images)

    def at(self, places: Sequence[int]) -> tuple[UInt8[Tensor, "b px px 3"], UInt8[Tensor, "b px px"]]:
        """The pairs at these places, counted through all parts, as they are held."""
        sizes = [len(part) for part in self.images]
        ends = np.cumsum(sizes)
        if len(places) and not 0 <= min(places) <= max(places) < ends[-1]:
            raise IndexError(f"there are {len(self)} pairs; {min(places)} to {max(places)} are wanted")
        parts = np.searchsorted(ends, places, side="right")
        inside = np.asarray(places) - (ends - sizes)[parts]
        order = np.argsort(parts, kind="stable")
        found = [
            [held[part][torch.from_numpy(inside[parts == part]).to(held[part].device)] for part in np.unique(parts)]
            for held in (self.images, self.masks)
        ]
        back = torch.from_numpy(np.argsort(order, kind="stable")).to(self.images[0].device)
        images, masks = (torch.cat(chosen)[back] for chosen in found)
        return images, masks

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Part by part, in order, as they are held."""
        yield from zip(self.images, self.masks, strict=True)


def _map(path: Path) -> Tensor:
    try:
        # Copy-on-write: torch warns about memory that can't be written to, and nothing here writes.
        part: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CollectionError(f"{path} is torn or not an array ({error}): delete it and make it again") from error
    return torch.from_numpy(part)
