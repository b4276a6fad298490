"""Validate a model in training: measure its masks for a folder of photos, and draw some of them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from model.config import EnsembleConfig
from model.diffusion import SODDiffusionPipeline
from model.maps import quantise_saliency
from pipeline.evaluation.measures import QUICK_METRICS, ImageMeasures, measure
from pipeline.evaluation.pairs import pair_files
from pipeline.evaluation.summary import summarise
from pipeline.files import storage
from pipeline.progress.stages import counted
from pipeline.training.config import DataConfig
from pipeline.training.pairs import ImageSource, TrainingPair

GRID_PHOTOS = 12
"""Photos shown in the picture: the first ones by name."""
_CELL_PX = 160


class Validation:
    """Validation on photos with masks, which are read anew each time."""

    def __init__(self, pairs: Sequence[tuple[str, TrainingPair]], ensemble: EnsembleConfig) -> None:
        self.pairs = pairs
        self.ensemble = ensemble

    def run(self, pipeline: SODDiffusionPipeline, picture: Path) -> dict[str, float]:
        """Measure MAE, S-measure and max F over all photos at their own sizes; write the picture.

        The picture shows photo, mask and prediction.
        """
        measures: list[ImageMeasures] = []
        rows: list[tuple[UInt8[np.ndarray, ...], ...]] = []
        for name, pair in counted("validating", self.pairs, len(self.pairs), "photos"):
            pixels, truth = pair.read()
            (prediction,) = pipeline.predict([pixels], [name], self.ensemble)
            saliency = quantise_saliency(prediction.saliency)
            measures.append(measure(saliency, truth, metrics=QUICK_METRICS))
            if len(rows) < GRID_PHOTOS:
                rows.append((pixels, truth.astype(np.uint8) * 255, saliency))
        storage.publish(str(picture), _grid(rows))
        summary = summarise(measures)
        values = {"mae": summary.mae, "s_measure": summary.s_measure, "max_f": summary.max_f}
        return {name: float(value) for name, value in values.items() if value is not None}


def validation_pairs(config: DataConfig) -> list[tuple[str, TrainingPair]]:
    """Name and pair of each validation photo; none if no validation is configured.

    Raises: CollectionError: photos and masks do not belong together.
    """
    if not (config.val_img and config.val_gt):
        return []
    return [
        (
            pair.name,
            TrainingPair(
                image=ImageSource(path=pair.source),
                mask=ImageSource(path=pair.mask),
                max_pixels=config.max_image_pixels,
            ),
        )
        for pair in pair_files(config.val_img, config.val_gt)
    ]


def _grid(rows: Sequence[tuple[UInt8[np.ndarray, "..."], ...]]) -> bytes:
    """Draw photo, mask and prediction side by side: two photos per row."""
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
