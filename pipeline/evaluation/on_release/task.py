"""Turn a release and a model's predictions into pairs, checked before any map is decoded."""

from pathlib import Path

from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.on_release.names import Names
from pipeline.evaluation.on_release.predictions import find_predictions
from pipeline.evaluation.on_release.strata import strata_of
from pipeline.evaluation.on_release.truths import read_truths
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.task import OnRelease, Task
from pipeline.release.newest_certificate import newest_certificate


def release_task(config: EvaluationConfig) -> Task:
    """Pair the accepted images of a release with predictions; an image without one has a pair without a map.

    Raises: UsageError: the request is wrong, or it is unclear which image a prediction is of. StorageError: a file of
            the release, or its certificate, is torn.
    """
    truths = read_truths(config.release, config.splits)
    rows, opened = truths.rows(), truths.opened
    ids = {row["image_id"]: key for key, row in rows.items()}
    found = find_predictions(config.predictions, Names(rows), truths.masks, ids)
    maps = Path(config.predictions)
    on_release = OnRelease(
        name=opened.stated.release.name,
        version=opened.stated.release.version,
        sha256=opened.sha256,
        splits=truths.splits,
        strata=strata_of(rows, truths.masks),
        surplus=found.surplus,
        certificate=newest_certificate(opened.folder, opened.sha256),
    )
    pairs = [Pair(name=key, source=found.of.get(key), mask=mask) for key, mask in truths.masks.items()]
    return Task(
        name=f"{maps.name} on {opened.title}",
        folder="",
        maps=maps,
        masks=config.release,
        pairs=pairs,
        on_release=on_release,
    )
