"""How good a model in training is: its masks for a folder of photos, measured, and a picture of some of them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from model.config import EnsembleConfig
from model.diffusion import SODDiffusionPipeline
from pipeline.evaluation.measures import QUICK_METRICS, ImageMeasures, measure
from pipeline.evaluation.pairs import pair_files
from pipeline.evaluation.summary import summarise
from pipeline.files import storage
from pipeline.files.maps import quantise_saliency
from pipeline.training.pairs import Place, TrainingPair

GRID_PHOTOS = 12
"""Photos in the picture: the first ones by name."""
_CELL_PX = 160


class Validation:
    """A folder of photos with masks, paired once; the photos are read at each validation.

    Raises: CollectionError: photos and masks do not belong together.
    """

    def __init__(self, images: Path, masks: Path, ensemble: EnsembleConfig) -> None:
        self.ensemble = ensemble
        self._named = [
            (pair.name, TrainingPair(image=Place(path=pair.source), mask=Place(path=pair.mask)))
            for pair in pair_files(images, masks)
        ]

    def run(self, pipeline: SODDiffusionPipeline, picture: Path) -> dict[str, float]:
        """MAE, S-measure and max F over all photos at their own sizes; the picture shows photo, mask and prediction."""
        measures: list[ImageMeasures] = []
        rows: list[tuple[UInt8[np.ndarray, ...], ...]] = []
        for name, pair in self._named:
            pixels, truth = pair.read()
            (prediction,) = pipeline([pixels], [name], self.ensemble)
            saliency = quantise_saliency(prediction.saliency)
            measures.append(measure(saliency, truth, metrics=QUICK_METRICS))
            if len(rows) < GRID_PHOTOS:
                rows.append((pixels, truth.astype(np.uint8) * 255, saliency))
        storage.publish(str(picture), _grid(rows))
        summary = summarise(measures)
        values = {"mae": summary.mae, "s_measure": summary.s_measure, "max_f": summary.max_f}
        return {name: float(value) for name, value in values.items() if value is not None}


def _grid(rows: Sequence[tuple[UInt8[np.ndarray, "..."], ...]]) -> bytes:
    """Photo, mask and prediction side by side, one photo per row, two columns of rows."""
    columns = 2
    height = -(-len(rows) // columns) * _CELL_PX
    sheet = Image.new("RGB", (columns * 3 * _CELL_PX, height), "white")
    for number, pictures in enumerate(rows):
        row, column = divmod(number, columns)
        for place, values in enumerate(pictures):
            small = Image.fromarray(values).convert("RGB")
            small.thumbnail((_CELL_PX - 4, _CELL_PX - 4))
            sheet.paste(small, ((3 * column + place) * _CELL_PX, row * _CELL_PX))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
