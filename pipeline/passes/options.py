"""Options of the passes that come with the project, one dataclass each; light to import."""

from dataclasses import dataclass
from typing import Literal

from model.config import at_least

View = Literal["mirror", "smaller", "larger", "colours"]
"""`mirror`: left and right exchanged. `smaller`: within a margin, so that everything has 3/4 of its size. `larger`: the
middle alone, so that everything has 5/4 of its size. `colours`: brightness, contrast and saturation changed, by amounts
that follow from the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipOptions:
    """Predict other views of each image, and compare their masks with the candidate's."""

    views: tuple[View, ...] = ("mirror",)
    """Which views: `mirror`, `smaller` (3/4, within a margin), `larger` (5/4, the middle alone), `colours` (brightness,
    contrast, saturation). Each takes as long as a prediction of the image."""
    view_members: int = 1
    """Ensemble members per view, at least 1."""
    view_steps: int = 2
    """DDIM steps per member, 1 to 999, with trailing timesteps; time grows with them."""

    def __post_init__(self) -> None:
        at_least(self, 1, "view_members", "view_steps")
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"views is {self.views}; give one view or more, each once")
