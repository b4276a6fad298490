"""Everything that can be set about an evaluation; light to import."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from model.config import EnsembleConfig, ModelConfig
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError

DatasetName = Literal["DUTS-TE", "DUT-OMRON", "HKU-IS", "ECSSD", "PASCAL-S"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Measure saliency maps against masks with the field's metrics (pysodmetrics).

    Maps: those in a folder (--predictions), or what a model predicts for a folder of photos (--images), which goes on
    where it was stopped. Masks: a folder (--masks), or a public dataset (--dataset and --root), which has its photos.
    Exit codes: 0 done, 1 failed, 2 wrong request, 3 some images failed (each is named; the figures are of the others).
    """

    out: str
    """Folder for the results; several datasets have a folder each in it. A model's run is kept in it as run/."""
    predictions: str = ""
    """Folder of saliency maps: any image format, one file per mask, of the same name but for the suffix. Of several
    datasets: a folder that has one for each, called as the dataset."""
    images: str = ""
    """Folder of photos for the model, one per mask."""
    masks: str = ""
    """Folder of masks; white is salient."""
    dataset: tuple[DatasetName, ...] = ()
    """Public datasets, as they are downloaded or in a usual re-packaging; names and number of files are checked."""
    root: str = ""
    """Folder of the dataset, or of all of them."""
    count: int | None = None
    """Number of masks that there must be. Left out: for a dataset the published one, else whatever is there."""
    normalize: bool = True
    """Stretch each map to the range from 0 to 1 before it is measured, as published figures have it: its offset and
    scale no longer count, and a faint map of nothing becomes one of something. Without it, value v means v / 255."""
    reference: bool = False
    """Predict as the released SOD-diffusion code does: the log says what is then set to what, and what it does.
    Options given beside it win."""
    model: ModelConfig = field(default_factory=ModelConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    shard_size: int = 64
    """Photos per shard: what is lost when a replica dies, and the unit of progress."""

    def check(self) -> None:
        """Raises ConfigError if options are missing or do not go together.

        Not when it is made: the defaults alone, which a command line starts from, are no request.
        """
        self._check_masks()
        self._check_maps()
        if self.count is not None and (self.count < 1 or len(self.dataset) > 1):
            raise ConfigError(f"--count is {self.count}; it must be at least 1, and is for one folder or dataset")
        if self.shard_size < 1:
            raise ConfigError(f"--shard-size is {self.shard_size}; it must be at least 1")

    def _check_masks(self) -> None:
        if bool(self.masks) == bool(self.dataset):
            raise ConfigError("give --masks, or --dataset and --root: one of the two says what is right")
        if bool(self.dataset) != bool(self.root):
            raise ConfigError("--dataset and --root belong together: which dataset, and where it lies")
        if len(set(self.dataset)) < len(self.dataset):
            raise ConfigError(f"--dataset names one twice: {' '.join(self.dataset)}")
        if self.dataset and self.images:
            raise ConfigError(f"--dataset {self.dataset[0]} has its own photos; leave out --images {self.images}")

    def _check_maps(self) -> None:
        if self.predictions and self.images:
            raise ConfigError("give --predictions or --images: maps that are there, or photos for a model")
        if not (self.predictions or self.images or self.dataset):
            raise ConfigError("give --predictions, or --images for a model to predict")
        if self.predictions and (self.model != ModelConfig() or self.ensemble != EnsembleConfig()):
            raise ConfigError("--predictions are measured as they are: leave out the options of model and ensemble")
        if not self.predictions and self.ensemble.ensemble_size < 2:
            raise ConfigError(f"--ensemble-size is {self.ensemble.ensemble_size}; the scores need at least 2 members")
