"""Which model predicts the photos of a release, if it is not one of ours; light to import."""

from dataclasses import dataclass

from pipeline.networks.options import NetworkOptions
from pipeline.networks.presets import PRESETS


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherModelConfig(NetworkOptions):
    """A model other than ours: a network in ONNX, or a function."""

    function: str = ""
    """A function that predicts a photo, as `package.module:name`: it takes RGB as uint8 [height, width, 3] and returns
    its map [height, width]: bool, uint8 from 0 to 255, or numbers from 0 to 1. Modules are looked for in the working
    folder too. Baselines are in pipeline.evaluation.models.baselines: centre_prior, grabcut, spectral_residual,
    fine_grained."""
    onnx: str = ""
    """ONNX file of a network that predicts a photo. Needs the packages onnx and onnxruntime."""
    trained_on: str = ""
    """What the model was trained on, such as "DUTS-TR"; the result says so, and leaderboards show it."""

    def __post_init__(self) -> None:
        """Raises: ValueError: an option is out of its bounds, or options contradict."""
        NetworkOptions.__post_init__(self)  # slots and `super()` do not go together
        if self.function and self.onnx:
            raise ValueError(f"function is {self.function} and onnx is {self.onnx}; give one of them")
        if self.function and not all(self.function.rpartition(":")):
            raise ValueError(f"function is {self.function!r}; give it as package.module:name")

    @property
    def is_given(self) -> bool:
        """Was such a model asked for?"""
        return bool(self.function or self.onnx)

    @property
    def said_trained_on(self) -> str:
        """What is known of its training; empty if nothing is."""
        return self.trained_on.strip() or (PRESETS[self.preset].trained_on if self.preset != "none" else "")
