"""Options of the passes that come with the project, one dataclass each; light to import."""

from dataclasses import dataclass
from typing import Literal

from model.config import at_least

View = Literal["mirror", "smaller", "larger", "colours"]
"""`mirror`: left and right exchanged. `smaller`, `larger`: processed at 3/4 and 5/4 of the side. `colours`: brightness,
contrast and saturation changed, by amounts that follow from the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipOptions:
    """Predict other views of each image, and compare their masks with the candidate's."""

    views: tuple[View, ...] = ("mirror",)
    """Which views: `mirror`, `smaller`, `larger`, `colours`. Each takes as long as a prediction of the image."""
    view_members: int = 1
    """Ensemble members per view."""
    view_steps: int = 2
    """DDIM steps per member, with trailing timesteps; time grows with them."""

    def __post_init__(self) -> None:
        at_least(self, 1, "view_members", "view_steps")
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"views is {self.views}; give one view or more, each once")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyOptions:
    """Say for each image whether it has no salient object."""

    witnesses: tuple[str, ...] = ()
    """Passes of other models (`witness`) that this run has; an image counts as empty only as far as they too find
    nothing."""

    def __post_init__(self) -> None:
        if len(set(self.witnesses)) != len(self.witnesses):
            raise ValueError(f"witnesses is {self.witnesses}; give each pass once")
