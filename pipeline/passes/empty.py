"""Does an image have a salient object at all? One score from its saliency map, and from witnesses if there are any.

    sure  = Σ s⁵ / Σ s                share of the saliency that is near 1; 0 for a map without any
    size  = 1 - exp(-mean(s⁵) / 0.005)  near 1 once sure saliency covers two hundredths of the image
    empty = 1 - sure · size

s is the mean of the members, so it is near 1 only where they agree that something is there: the maximum, the mass and
the members' agreement are all in it, and it is the same whether a run keeps its members or not. What members see in
different places, as on gravel or bricks, has mass but is not sure. A witness (a pass with NAME_area and
NAME_confidence) has a value of its own, 1 - confidence · (1 - exp(-area / 0.005)), and the least value counts: an image
is empty only as far as nobody sees anything.

Exponent and scale were chosen, and are frozen, on the 37 photographs of the sample against 51 images without an object
(`tests/pipeline/passes/test_empty_figures.py`), as the area under the ROC curve: see `pipeline/DECISIONS.md`.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from pipeline.errors import ConfigError, SampleError
from pipeline.passes.folder import is_begun, read_document
from pipeline.passes.options import EmptyOptions
from pipeline.passes.score_pass import Item, PassContext, Values
from pipeline.selection.columns import Column
from pipeline.selection.scores import Score

EXPONENT = 5
SURE_SHARE = 0.005
"""Share of the image, the same as a policy's `min_area` by default."""
_LEVELS = np.arange(256) / 255
_SURE = _LEVELS**EXPONENT


class Empty:
    """Fulfils `Scorer`."""

    needs_image = False
    device_kind = "cpu"

    def __init__(self, options: EmptyOptions, context: PassContext) -> None:
        self._name, self._witnesses = context.name, options.witnesses
        for witness in options.witnesses:
            if not is_begun(context.run, witness):
                raise ConfigError(
                    f"--witnesses {witness}: {context.run} has no score pass {witness}; run sod score "
                    f"{context.run} --pass witness --name {witness} first"
                )
            there = {column.name for column in read_document(context.run, witness).columns}
            if missing := [name for name in _of_witness(witness) if name not in there]:
                raise ConfigError(
                    f"--witnesses {witness}: the score pass has no {missing[0]}; give passes of kind `witness`"
                )

    @staticmethod
    def made_with(options: EmptyOptions, context: PassContext) -> Mapping[str, str]:
        """What the witnesses were made with."""
        return {f"witness {name}": read_document(context.run, name).digest for name in options.witnesses}

    @staticmethod
    def about(options: EmptyOptions, context: PassContext) -> Mapping[str, str]:
        """The formula, for the card."""
        witnesses = f"; the least of that and of what {', '.join(options.witnesses)} see" if options.witnesses else ""
        return {
            "How empty scenes are found": "1 - sure * size, from the saliency map s: sure is the sum of "
            f"s to the power {EXPONENT} divided by the sum of s, size is 1 - exp(-m / {SURE_SHARE:g}) for the mean m "
            f"of s to the power {EXPONENT}{witnesses}. It says what the model sees, not what people do."
        }

    @property
    def columns(self) -> Sequence[Column]:
        """One score."""
        return (
            Score(
                name=f"{self._name}_score",
                meaning="how little the image shows of a salient object, 0 to 1; 1: nothing",
                worse_when="high",
            ),
        )

    def score_all(self, items: Sequence[Item]) -> list[Values | SampleError]:
        """One image after the other."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Values | SampleError:
        found = [emptiness(item.candidate.saliency)]
        for witness in self._witnesses:
            area, confidence = (item.candidate.earlier.get(name) for name in _of_witness(witness))
            if not (isinstance(area, float) and isinstance(confidence, float)):
                return SampleError("no_witness", f"the score pass {witness} has no value for this image")
            found.append(1 - confidence * _size(area))
        return {f"{self._name}_score": min(found)}


def emptiness(saliency: UInt8[np.ndarray, "h w"]) -> float:
    """How little a stored saliency map shows, 0 to 1; see above."""
    counts = np.bincount(saliency.ravel(), minlength=256)
    mass, sure = float(counts @ _LEVELS), float(counts @ _SURE)
    return 1 - sure / mass * _size(sure / saliency.size) if mass else 1.0


def _size(share: float) -> float:
    return 1 - math.exp(-share / SURE_SHARE)


def _of_witness(name: str) -> tuple[str, str]:
    return f"{name}_area", f"{name}_confidence"
