"""What a caller of `SODDiffusionPipeline` sees of each denoising step: a bar that moves, and a function of theirs."""

from collections.abc import Callable, Mapping, Sequence
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
        """Show a step, and return the latents to go on with.

        Raises: TypeError, ValueError: the callback gave something that is neither None nor a dictionary with latents.
        """
        self.bar.update()
        if self.callback is None:
            return latents
        shown = {"latents": latents} if "latents" in self.tensors else {}
        return _latents_in(self.callback(self.pipeline, number, timestep, shown), latents)

    @property
    def is_interrupted(self) -> bool:
        """Did the callback set `_interrupt` of the pipeline?"""
        return self.callback is not None and bool(self.pipeline.interrupt)


def require_callback(callback: Any, names: Any) -> None:
    """Refuse a callback that can't be called, or that is to see what there is not.

    Raises: TypeError: it is no function, or the names are no list. ValueError: a name is not one of `TENSORS`.
    """
    if callback is not None and not callable(callback):
        raise TypeError(
            f"callback_on_step_end is {callback!r}; give a function of (pipeline, step, timestep, tensors), or None"
        )
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"callback_on_step_end_tensor_inputs is {names!r}; give a list: {list(TENSORS)}")
    if unknown := [name for name in names if name not in TENSORS]:
        raise ValueError(f"callback_on_step_end_tensor_inputs has {unknown[0]!r}; there is {', '.join(TENSORS)}")


def _latents_in(answer: Any, latents: Float[Tensor, "be 4 h w"]) -> Float[Tensor, "be 4 h w"]:
    """The latents that a callback gave, on the device and in the precision of its own; these, if it gave none."""
    if answer is None:
        return latents
    if not isinstance(answer, Mapping):
        raise TypeError(f"callback_on_step_end gave {answer!r}; it must give None, or a dictionary with latents")
    if unknown := [name for name in answer if name not in TENSORS]:
        raise ValueError(f"callback_on_step_end gave {unknown[0]!r}; there is {', '.join(TENSORS)}")
    given = answer.get("latents", latents)
    if not isinstance(given, Tensor):
        raise TypeError(f"callback_on_step_end gave latents of type {type(given).__name__}; give a tensor")
    if given.shape != latents.shape:
        shapes = f"{tuple(given.shape)}; they must keep {tuple(latents.shape)}"
        raise ValueError(f"callback_on_step_end gave latents with the shape {shapes}")
    return given.to(latents)
