"""Turn a request into pairs, found and checked before any work. Opens no file but those of a release, so it is light to
import."""

from pathlib import Path

from pipeline.evaluation.config import DatasetName, EvaluationConfig
from pipeline.evaluation.datasets import DATASETS, find_folders
from pipeline.evaluation.pairs import pair_files
from pipeline.evaluation.task import Task


def find_tasks(config: EvaluationConfig) -> list[Task]:
    """List the tasks of a request. Raises UsageError if folders are missing or unpaired, or options contradict."""
    config.check()
    if config.release:
        from pipeline.evaluation.on_release.task import release_task

        return [release_task(config)]
    if config.dataset:
        return [_dataset_task(name, config) for name in config.dataset]
    maps, masks = Path(config.predictions or config.images), Path(config.masks)
    pairs = pair_files(maps, masks, config.count)
    return [Task(name=f"{maps.name} on {masks.name}", folder="", maps=maps, masks=masks, pairs=pairs)]


def _dataset_task(name: DatasetName, config: EvaluationConfig) -> Task:
    photos, masks = find_folders(name, Path(config.root))
    several = len(config.dataset) > 1
    maps = photos
    if config.predictions:
        maps = Path(config.predictions, name) if several else Path(config.predictions)
    pairs = pair_files(maps, masks, config.count or DATASETS[name].count, mixed=photos == masks)
    return Task(name=name, folder=name if several else "", maps=maps, masks=masks, pairs=pairs)
