"""How well `empty_score` tells images without an object from photographs with one, for the embedded model.

With an object: the sample's 37 photographs. Without one: crops of them beside the hand-drawn masks, the textures that
scikit-image brings (brick, grass, gravel), and drawn backgrounds (which the model has seen behind objects in training).
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipeline
from model.config import EnsembleConfig, ModelConfig
from model.loading import load_model
from model.maps import quantise_saliency
from pipeline.embedded.backgrounds import gradient, noise_field, studio
from pipeline.embedded.effects import photograph
from pipeline.passes.empty import emptiness

SAMPLE = Path(pipeline.__file__).parent / "sample"
CELL_PX, LEAST_PX = 8, 96
SHOWS_SOMETHING = {1, 4, 7, 9, 10, 16, 37}
"""Crops that show an object after all, by eye: a rocket, masts, a table, dandelions, a shadow, a palace, a trunk."""


def largest_rectangle(free):
    """Top, left, height and width of the largest rectangle of True, by the histogram of each row."""
    heights, best = np.zeros(free.shape[1] + 1, int), (0, 0, 0, 0, 0)
    for bottom, row in enumerate(free):
        heights[:-1] = np.where(row, heights[:-1] + 1, 0)
        begun = []
        for column, height in enumerate(heights):
            start = column
            while begun and begun[-1][1] >= height:
                start, tall = begun.pop()
                if min(tall, column - start) * CELL_PX >= LEAST_PX:
                    best = max(best, (tall * (column - start), bottom - tall + 1, start, tall, column - start))
            begun.append((start, height))
    return best[1:]


def crops():
    """What is beside the object, at least a cell away from the mask and 96 px high and wide."""
    for path in sorted((SAMPLE / "images").glob("*.jpg")):
        if int(path.stem) in SHOWS_SOMETHING:
            continue
        mask = np.asarray(Image.open(SAMPLE / "masks" / f"{path.stem}.png").convert("L")) > 0
        rows, columns = (range(0, side - CELL_PX + 1, CELL_PX) for side in mask.shape)
        around = [slice(max(0, start - CELL_PX), start + 2 * CELL_PX) for start in range(0, 5000, CELL_PX)]
        free = np.array([[not mask[around[r // 8], around[c // 8]].any() for c in columns] for r in rows])
        top, left, height, width = (CELL_PX * cells for cells in largest_rectangle(free))
        if height:
            yield np.asarray(Image.open(path).convert("RGB"))[top : top + height, left : left + width]


def textures():
    data = pytest.importorskip("skimage").data
    for name in ("brick", "grass", "gravel"):
        whole = np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB"))
        for top, left in ((0, 0), (0, 256), (256, 0), (256, 256)):
            yield whole[top : top + 256, left : left + 256]


def drawn(count=24):
    rng = np.random.default_rng(5)
    for number in range(count):
        yield photograph([gradient, noise_field, studio][number % 3](rng, 256), rng)


def photos():
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted((SAMPLE / "images").glob("*.jpg"))]


def scores_of(images, **ensemble):
    model = load_model(ModelConfig(), EnsembleConfig(**ensemble))
    return np.array([
        emptiness(quantise_saliency(model.predict([np.ascontiguousarray(image)], [f"{number:012d}"])[0].saliency))
        for number, image in enumerate(images)
    ])  # fmt: skip


def auc(high, low):
    """Probability that one of `high` is above one of `low`; ties count half (Mann and Whitney 1947)."""
    return float(((high[:, None] > low) + (high[:, None] == low) / 2).mean())


def test_a_drawn_background_shows_less_than_a_photograph():
    background, photo = scores_of(
        [*drawn(1), photos()[4]], ensemble_size=1, denoise_steps=1, timestep_spacing="trailing"
    )
    assert background > 0.99
    assert photo < 0.5


def test_there_are_fifteen_crops_without_an_object_of_at_least_96_px():
    found = list(crops())
    assert len(found) == 15
    assert min(min(crop.shape[:2]) for crop in found) >= LEAST_PX


@pytest.mark.thorough
def test_the_figures_of_the_documents_hold():
    objects = scores_of(photos())
    kinds = {"crops": scores_of(crops()), "textures": scores_of(textures()), "drawn": scores_of(drawn())}
    everything = np.concatenate([*kinds.values()])
    print({name: round(auc(found, objects), 3) for name, found in kinds.items()}, round(auc(everything, objects), 3))
    for bound in (0.75, 0.9):
        print(
            bound, int((objects >= bound).sum()), {name: int((found >= bound).sum()) for name, found in kinds.items()}
        )
    assert auc(kinds["crops"], objects) >= 0.97
    assert auc(kinds["textures"], objects) >= 0.97
    assert auc(kinds["drawn"], objects) >= 0.99
    assert auc(everything, objects) >= 0.98
