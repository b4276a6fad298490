"""Lets a model predict the photos of a release before its maps are measured."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from model.config import EnsembleConfig, ModelConfig
from model.documents import parse_object, read_document
from pipeline.errors import CollectionError, ConfigError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.models.config import OtherModelConfig
from pipeline.evaluation.models.predictors import open_predictor
from pipeline.evaluation.models.release_maps import predict_release
from pipeline.evaluation.sources import MADE_WITH
from pipeline.files import urls
from pipeline.progress.stages import stage
from pipeline.release.opened import open_release

log = logging.getLogger(__name__)


def with_maps(config: EvaluationConfig) -> EvaluationConfig:
    """Predict what has no map yet, into OUT/maps.

    Returns: the configuration of an evaluation of these maps.
    Raises:  ConfigError: the model can't be loaded, --out is a URL, or the release has masks alone. RunMismatchError:
             the maps there are another model's. CollectionError: there is no release. StorageError: it is torn.
    """
    if not urls.is_local(config.out):
        raise ConfigError(f"--out {config.out}: a model's maps are written to a local folder; give one")
    with stage("reading the release"):
        opened = open_release(urls.absolute(config.release))
    with stage("loading the model"):
        predictor = open_predictor(config.other, config.model, config.ensemble)
    folder = Path(urls.absolute(config.out), "maps")
    wanted = {key for key, row in opened.rows.items() if not config.splits or row["split"] in config.splits}
    found = predict_release(opened, predictor, folder, wanted, progress_every_s=config.cluster.progress_every_s)
    log.info("%d photos predicted, %d were there, %d failed", found.predicted, found.there, len(found.failures))
    return replace(
        config,
        predictions=str(folder),
        other=OtherModelConfig(),
        model=ModelConfig(),
        ensemble=EnsembleConfig(),
    )


def made_with_of(maps: Path) -> Mapping[str, str]:
    """What a folder of maps says of its model; empty if it is not from here.

    Raises: CollectionError: it is malformed.
    """
    place = maps / MADE_WITH
    if not place.is_file():
        return {}
    try:
        return {str(name): str(value) for name, value in parse_object(read_document(place)).items()}
    except ValueError as error:
        raise CollectionError(f"{place} is malformed: {error}; predict into another folder") from error
