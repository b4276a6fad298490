"""Options that say what a network expects and gives; light to import."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.networks.presets import PRESETS, MapValues, PresetName, Signature, White


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """How a network wants an image, and what its map means."""

    preset: PresetName = "none"
    """What the network expects: `u2net`, `isnet`, `birefnet`, `rmbg` (version 1.4). The next options overrule it."""
    network_size: tuple[int, ...] = ()
    """Height and width of the network's input in pixels; one number for a square. By default as the preset or the file
    has it."""
    mean: tuple[float, ...] = ()
    """Subtracted from red, green and blue; one number for all. Without a preset 0."""
    std: tuple[float, ...] = ()
    """What the rest is divided by; one number for all. Without a preset 1."""
    white: Literal["preset", White] = "preset"
    """Value of white before mean and deviation count: `1`, `255`, or `brightest` (1 for the brightest value of the
    image)."""
    network_output: str = ""
    """Which output is the map: `first`, `last` or its name. Without a preset the first."""
    network_values: Literal["preset", MapValues] = "preset"
    """What the map holds: `probabilities`, `logits`, or `stretched`: any values, the least of an image becomes 0 and
    the greatest 1, so that every image shows an object. Without a preset probabilities."""

    def __post_init__(self) -> None:
        """Raises: ValueError: an option is out of its bounds."""
        if len(self.network_size) > 2 or any(side_px < 1 for side_px in self.network_size):
            raise ValueError(f"network_size is {self.network_size}; give one or two numbers of pixels, at least 1")
        for name in ("mean", "std"):
            given: tuple[float, ...] = getattr(self, name)
            if len(given) not in (0, 1, 3) or not all(map(math.isfinite, given)):
                raise ValueError(f"{name} is {given}; give one finite number, or three for red, green and blue")
        if any(deviation <= 0 for deviation in self.std):
            raise ValueError(f"std is {self.std}; it must be above 0")

    @property
    def signature(self) -> Signature:
        """The preset's, with what is given in its place."""
        found = PRESETS[self.preset].signature if self.preset != "none" else Signature()
        given: dict[str, Any] = {}
        if self.network_size:
            given |= {"height_px": self.network_size[0], "width_px": self.network_size[-1]}
        given |= {name: _three(getattr(self, name)) for name in ("mean", "std") if getattr(self, name)}
        if self.white != "preset":
            given["white"] = self.white
        if self.network_values != "preset":
            given["values"] = self.network_values
        if self.network_output:
            given["output"] = self.network_output
        return replace(found, **given)


def _three(given: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = given if len(given) == 3 else (given[0],) * 3
    return red, green, blue
