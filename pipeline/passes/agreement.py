"""How far two masks or maps of one image agree. Pure."""

import numpy as np
from jaxtyping import Bool


def iou(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """Intersection over union; two empty masks agree, so it is 1 then."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def dice(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """Twice the intersection over the sum of both areas; 1 for two empty masks."""
    areas = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / areas if areas else 1.0
