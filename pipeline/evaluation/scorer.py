"""What figures depend on besides maps and masks: metrics, conventions and library versions, with a digest of all.

Figures can be compared if their scorers have one digest. The same maps have had a max F of .895 in one paper and of
.878 in another, because one took the maximum of the mean curve and the other the mean of the maxima.
"""

import hashlib
import importlib.metadata
from typing import Any

import cv2

from pipeline.evaluation.frozen import frozen_sha256
from pipeline.evaluation.measures import ALL_METRICS
from pipeline.evaluation.truth import HALF
from pipeline.files.tars import encode_json

LIBRARIES = ("pysodmetrics", "numpy", "scipy", "pillow")
CONVENTIONS = {
    "thresholds": "256: 255, 254, ..., 0 of 255; a pixel is salient if the map is not below the threshold",
    "adaptive_threshold": "twice the map's mean, at most 1",
    "f_beta_squared": 0.3,
    "weighted_f_beta_squared": 1,
    "max_f, max_e": "maximum of the mean curve of all images",
    "mean_f, mean_e": "mean of the mean curve of all images",
    "mean_of_max_f, mean_of_max_e": "mean of the maxima of each image's own curve",
    "iou_threshold": "above 0.5",
    "truth_threshold": f"above {HALF} of 255",
    "resize": "of maps to their masks: cv2.resize, INTER_LINEAR, in 8 bits",
    "without_object": "F and weighted F are 0; S is 1 minus the map's mean; E is the share of background",
}


def scorer(*, normalize: bool) -> dict[str, Any]:
    """Describe the scorer; `digest` is the SHA-256 of the others as JSON with sorted keys and no spaces."""
    stated = {
        "metrics": list(ALL_METRICS),
        "conventions": CONVENTIONS,
        "normalize": "each map is stretched to 0..1" if normalize else "no: value v means v / 255",
        "versions": versions(),
        "frozen_set": frozen_sha256(),
    }
    return stated | {"digest": hashlib.sha256(encode_json(stated)).hexdigest()}


def versions() -> dict[str, str]:
    """Versions of the libraries that figures depend on."""
    return {"opencv": cv2.__version__} | {name: importlib.metadata.version(name) for name in LIBRARIES}
