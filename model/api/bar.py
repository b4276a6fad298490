"""A bar of photos that moves at each denoising step, for a photo can take minutes with a large model on a CPU."""

import sys
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

_FORMAT = "{l_bar}{bar}| {n:.1f}/{total:.0f} photos [{elapsed}<{remaining}]"
_ENDLESS_FORMAT = "{n:.1f} photos [{elapsed}]"


def photo_bar(photos: int | None, steps: int, *, wanted: bool) -> Any:
    """The bar, of tqdm: as many counts as photos have steps; None: nobody knows how many photos will come.

    It is silent unless it is wanted and somebody sees stderr: on a terminal, or in a notebook.
    """
    is_watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    total, bar_format = (None, _ENDLESS_FORMAT) if photos is None else (photos * steps, _FORMAT)
    return tqdm(total=total, unit_scale=1 / steps, disable=not (wanted and is_watched), bar_format=bar_format)


@dataclass(slots=True, kw_only=True)
class StepsOfBatch:
    """Moves the bar at each step of a batch of photos; `update` as of a bar."""

    bar: Any
    photos: int
    steps: int
    done: int = 0

    def update(self) -> None:
        """One more step. There are more than planned if memory runs out and a batch begins again."""
        if self.done < self.steps:
            self.done += 1
            self.bar.update(self.photos)

    def finish(self) -> None:
        """All photos of the batch are done, whoever counted."""
        self.bar.update(self.photos * (self.steps - self.done))
        self.done = self.steps
