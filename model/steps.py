"""What a caller of `SODDiffusionPipeline` sees of each denoising step: a bar that moves, and a function of theirs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

Callback = Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor] | None]
"""`callback_on_step_end` of diffusers: (pipeline, number of the step, timestep, tensors) → tensors to go on with."""

TENSORS = ("latents",)
"""What a callback gets to see, and may replace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWatch:
    """Called after each step of each batch."""

    pipeline: Any
    bar: Any
    """Of tqdm; one more for each step."""
    callback: Callback | None = None
    tensors: Sequence[str] = TENSORS

    def __call__(self, number: int, timestep: Any, latents: Float[Tensor, "be 4 h w"]) -> Float[Tensor, "be 4 h w"]:
        """Show a step, and return the latents to go on with."""
        self.bar.update()
        if self.callback is None:
            return latents
        shown = {"latents": latents} if "latents" in self.tensors else {}
        return (self.callback(self.pipeline, number, timestep, shown) or {}).get("latents", latents)

    @property
    def is_interrupted(self) -> bool:
        """Did the callback set `_interrupt` of the pipeline?"""
        return bool(self.pipeline.interrupt)


def require_tensors(names: Sequence[str]) -> None:
    """Refuse to show a callback what it can't get.

    Raises: ValueError: a name is not one of `TENSORS`.
    """
    if unknown := [name for name in names if name not in TENSORS]:
        raise ValueError(f"callback_on_step_end_tensor_inputs has {unknown[0]!r}; there is {', '.join(TENSORS)}")
