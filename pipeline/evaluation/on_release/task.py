"""Turn a release and a model's predictions into pairs, checked before any map is decoded."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.on_release.predictions import find_predictions
from pipeline.evaluation.on_release.rejected import Rejected, open_rejected
from pipeline.evaluation.on_release.strata import strata_of
from pipeline.evaluation.on_release.truths import read_truths
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.sources import Source
from pipeline.evaluation.task import OnRejected, OnRelease, Task
from pipeline.release.image_names import ImageNames
from pipeline.release.newest_certificate import newest_certificate
from pipeline.shown import shown


def release_task(config: EvaluationConfig) -> Task:
    """Pair the accepted images of a release with predictions; an image without one has a pair without a map.

    With a run, predictions of rejected images are paired with the masks of its candidates.

    Raises: UsageError: the request is wrong, or it is unclear which image a prediction is of. StorageError: a file of
            the release, of its certificate or of the run is torn.
    """
    truths = read_truths(config.release, config.splits)
    rows, opened = truths.rows(), truths.opened
    rejected = open_rejected(config.run, opened, truths.splits) if config.run else None
    known, masks = dict(rows), dict(truths.masks)
    if rejected:
        known |= rejected.rows
        masks |= rejected.outlines()
    ids = {row["image_id"]: key for key, row in known.items()}
    found = find_predictions(config.predictions, ImageNames(opened.file_names), masks, ids)
    maps = Path(config.predictions)
    on_release = OnRelease(
        name=opened.stated.release.name,
        version=opened.stated.release.version,
        sha256=opened.sha256,
        splits=truths.splits,
        strata=strata_of(rows, truths.masks),
        surplus=found.surplus,
        rejected=_on_rejected(rejected, shown(config.run), found.of) if rejected else None,
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


def _on_rejected(rejected: Rejected, run: str, predictions: Mapping[str, Source]) -> OnRejected:
    predicted = {key: source for key, source in predictions.items() if key in rejected.rows}
    masks = rejected.masks(predicted)
    return OnRejected(
        run=run,
        pairs=[Pair(name=key, source=predicted[key], mask=mask) for key, mask in masks.items()],
        reasons={key: row["reason"] for key, row in rejected.rows.items()},
    )
