"""The mean IoU with the help of a score that predicts it: prediction-powered inference. Pure.

The mean of the prediction over all N images is known. Only the mean of its error, IoU - prediction, has to be bounded
from the sample, and errors of a good prediction spread less than the IoUs do. The bound is as exact as that of the IoUs
alone, however bad the prediction is: a bad one only makes the interval wider.

Source: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic, "Prediction-powered inference", Science 2023, arXiv:2301.09633.
Theirs are asymptotic intervals for an unlimited population. In a finite one the estimate is the difference estimator of
survey sampling (Cochran, "Sampling Techniques", 1977), and betting bounds it exactly.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from pipeline.audit.proofs.betting import DrawnValues, mean_interval
from pipeline.audit.proofs.bounds import Interval
from pipeline.selection.scores import Score


def predictions(values: Sequence[float | None], score: Score) -> Float[np.ndarray, " n"] | None:
    """A prediction of the IoU for each of N images, from a score in [0, 1].

    Returns: the score, or 1 minus it if high values indicate a bad mask; the mean of the others where there is none.
             None if no image has the score.
    """
    known = [value for value in values if value is not None and value == value]
    if not known:
        return None
    mean = sum(known) / len(known)
    found = np.clip([mean if value is None or value != value else value for value in values], 0, 1)
    return found if score.worse_when == "low" else 1 - found


def powered_interval(
    predicted: Float[np.ndarray, " n"],
    drawn: Mapping[str, DrawnValues],
    of_drawn: Mapping[str, Float[np.ndarray, " d"]],
    alpha: float,
) -> Interval:
    """Bound the mean of all values of a population.

    Args: predicted: of all images, in [0, 1]. drawn: stratum → values that were drawn of it, in the order of the draw.
          of_drawn: stratum → predictions of the same images. alpha: probability that the mean is outside.
    """
    # All predictions are known, so no error is below 0 - the highest, or above 1 - the lowest.
    least, most = -float(predicted.max()), 1 - float(predicted.min())
    errors = {
        name: DrawnValues(
            population=values.population,
            lowest=_scaled(values.lowest - of_drawn[name], least, most),
            highest=_scaled(values.highest - of_drawn[name], least, most),
        )
        for name, values in drawn.items()
    }
    found = mean_interval(errors, alpha)
    ends = [float(predicted.mean()) + least + (most - least) * end for end in (found.lower, found.upper)]
    # Of a census, both are one but for rounding, which took a mean of 0 to -5.6e-17.
    lower, upper = (min(1.0, max(0.0, end)) for end in sorted(ends))
    return Interval(lower=lower, upper=upper)


def _scaled(errors: Float[np.ndarray, " n"], least: float, most: float) -> Float[np.ndarray, " n"]:
    return np.clip((errors - least) / (most - least), 0, 1)  # but for rounding, nothing is cut off
