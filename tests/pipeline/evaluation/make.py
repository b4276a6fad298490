"""Small inputs for the tests of the evaluation: a formula makes every map and mask from its number."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config import ClusterConfig
from pipeline.evaluation.evaluate import evaluate_pairs
from pipeline.evaluation.measures import measure
from pipeline.evaluation.outcomes import How, Measured
from pipeline.evaluation.pairs import pair_files


def truth(number, height=24, width=30):
    """A disc; the number decides its place and radius."""
    rows, columns = np.ogrid[:height, :width]
    row, column = 0.3 + 0.4 * (number * 7 % 10) / 10, 0.3 + 0.4 * (number * 3 % 10) / 10
    return np.hypot(rows / height - row, columns / width - column) < 0.15 + 0.02 * (number % 5)


def saliency(number, height=24, width=30):
    """A blurred disc; the higher the number, the farther from the truth of that number."""
    rows, columns = np.ogrid[:height, :width]
    row, column = 0.3 + 0.4 * (number * 7 % 10) / 10, 0.3 + 0.4 * (number * 3 % 10) / 10 + 0.01 * (number % 13)
    distance = np.hypot(rows / height - row, columns / width - column)
    return (20 + 200 * np.clip(1.1 - 2.5 * distance, 0, 1)).astype(np.uint8)


def save(path, pixels):
    """Save pixels as an image, booleans as a mask of 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(pixels)
    Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels).save(path)
    return path


def photo(number, height=24, width=30):
    rows, columns, channels = np.ogrid[:height, :width, :3]
    return ((rows * 5 + columns * 3 + channels * 60 + number * 17) % 256).astype(np.uint8)


def make_folders(folder, count):
    """Make `maps/im007.png`, `masks/im007.png` and `photos/im007.jpg` for the numbers from 1 to `count`."""
    folder = Path(folder)
    for number in range(1, count + 1):
        name = f"im{number:03d}"
        save(folder / "maps" / f"{name}.png", saliency(number))
        save(folder / "masks" / f"{name}.png", truth(number))
        save(folder / "photos" / f"{name}.jpg", photo(number))
    return folder


def make_measured(number, **scores):
    """The outcome for the map of that number."""
    return Measured(
        name=f"im{number:03d}", measures=measure(saliency(number), truth(number)), scores=scores, truth_sha256="ab"
    )


def evaluate_maps(folder, cluster=None, **how):
    """Evaluate the maps of `make_folders`; `how` are the settings of How."""
    pairs = pair_files(folder / "maps", folder / "masks")
    return evaluate_pairs(pairs, How(**how), cluster or ClusterConfig(engine="inline"))
