"""All options of an evaluation; light to import."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from model.config import MAX_IMAGE_PIXELS, EnsembleConfig, ModelConfig
from pipeline.collection.config import require_pixel_limit
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.models.config import OtherModelConfig

DatasetName = Literal["DUTS-TE", "DUT-OMRON", "HKU-IS", "ECSSD", "PASCAL-S"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)
Missing = Literal["worst", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Measure saliency maps against masks with the field's metrics (pysodmetrics).

    Maps come from a folder (--predictions) or from a model that predicts a folder of photos (--images); run the same
    command again to resume a stopped prediction. With --ensemble-size 1 there is no variance and no risk-coverage.
    Masks come from a folder (--masks), from a public dataset (--dataset and --root), which includes its photos, or from
    a release (--release), whose images may go by any of their names; without --predictions, a model predicts its photos
    first: ours, a network (--onnx) or a function (--function). Exit codes: 0 done, 1 failed, 2 wrong request, 3
    some images failed, or have no usable prediction (each is named).
    """

    out: str = ""
    """Folder for the results, with one subfolder each for several datasets. A model's run is kept there as run/."""
    predictions: str = ""
    """Folder of saliency maps: JPEG, PNG, WebP, GIF, BMP or TIFF, one file per mask, of the same name except for the
    suffix. For several datasets: a folder with one subfolder for each, named like the dataset. For a release also
    webdataset tars (KEY.png, KEY.saliency.png), or a COCO JSON; names are keys, or those of the collection's files."""
    release: str = ""
    """Release whose accepted images are measured: a folder, or a URL such as hf://datasets/ORG/NAME@v1.0.0. Only its
    manifest, annotations and newest certificate are read, and its photos for a model."""
    splits: tuple[str, ...] = ()
    """Splits of the release. Default: all."""
    run: str = ""
    """Run that the release was made from, folder or URL: predictions of rejected images are measured too, against the
    masks of the run's candidates, in figures of their own. Those without a prediction are left out and counted."""
    missing: Missing = "worst"
    """An image of the release without a usable prediction has the `worst` value of each metric; or `skip` leaves it out
    of all figures."""
    compare: tuple[str, ...] = ()
    """Folders of two evaluations of the same images: print how their figures differ, with intervals and a paired test.
    With --out, also write it."""
    check_scorer: bool = False
    """Measure the frozen set of maps and masks, and compare the figures with those that it has always had."""
    images: str = ""
    """Folder of photos for the model, one per mask."""
    masks: str = ""
    """Folder of masks; white is salient."""
    dataset: tuple[DatasetName, ...] = ()
    """Public datasets, as downloaded or in a usual re-packaging; names and number of files are checked."""
    root: str = ""
    """Folder of the dataset, or of all datasets."""
    count: int | None = None
    """Expected number of masks. Default: the published number for a dataset; not checked for a folder."""
    max_image_pixels: int = MAX_IMAGE_PIXELS
    """Photos, maps and masks of more pixels fail. At most 500,000,000."""
    normalize: bool = True
    """Stretch each map to the range 0 to 1 before measuring, as in published figures: its offset and scale no longer
    count, and a faint map of nothing turns into a map of something. Without stretching, value v means v / 255."""
    reference: bool = False
    """Predict as the released SOD-diffusion code does. The log lists the options that this sets, and what each does.
    Options given explicitly take precedence."""
    published: bool = False
    """Set the figures of --dataset beside published ones, with the differences: in the printed output,
    `evaluation.md` and `evaluation.json`. `pipeline/evaluation/published_figures.toml` has them, with their sources."""
    fit_combination: str = ""
    """A policy file to write: the run's scores are combined into one, `combination`, which estimates how likely a mask
    is bad. Coefficients are fitted on these images; a file that exists is never replaced. Needs the extra
    `calibration`."""
    combine: tuple[str, ...] = ("flip_iou", "pairwise_iou")
    """Scores that the combination is made of: those of predictions and of the run's score passes."""
    method: Literal["logistic", "isotonic"] = "logistic"
    """`logistic`: logistic regression. `isotonic`: its result, turned into the shares of bad masks that were seen;
    needs hundreds of images."""
    bad_below: float = 0.8
    """For the combination, a mask is bad if its IoU with the truth is below this; above 0, at most 1."""
    other: OtherModelConfig = field(default_factory=OtherModelConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    shard_size: int = 64
    """Photos per shard: the work lost when a replica dies, and the unit of progress."""
    keep_members: bool = False
    """Store the mask of each ensemble member in the model's run; its score pass `modes` needs them."""

    def __post_init__(self) -> None:
        require_pixel_limit(self)

    @property
    def predicts_release(self) -> bool:
        """Does a model predict the photos of a release first?"""
        return bool(self.release and not self.predictions)

    def check(self) -> None:
        """Raises ConfigError if options are missing or contradict.

        Not part of construction: a command line starts from the defaults, which are incomplete.
        """
        if not self.out:
            raise ConfigError("give --out, a folder for the results")
        if self.release:
            self._check_release()
        elif self.splits or self.run or self.missing != "worst":
            raise ConfigError("--splits, --run and --missing are of a release: give --release")
        else:
            self._check_masks()
        self._check_maps()
        if self.count is not None and (self.count < 1 or len(self.dataset) > 1):
            raise ConfigError(f"--count is {self.count}; it must be at least 1, for a single folder or dataset")
        self._check_fit()
        if self.shard_size < 1:
            raise ConfigError(f"--shard-size is {self.shard_size}; it must be at least 1")

    def _check_fit(self) -> None:
        if not self.fit_combination:
            return
        if self.predictions:
            raise ConfigError("--predictions are maps without scores: --fit-combination needs a model")
        if len(self.dataset) > 1:
            raise ConfigError(f"--fit-combination takes one dataset; --dataset is {' '.join(self.dataset)}")
        if not self.combine or len(set(self.combine)) < len(self.combine):
            raise ConfigError(f"--combine is {' '.join(self.combine)!r}; give one score or more, each once")
        if not 0 < self.bad_below <= 1:
            raise ConfigError(f"--bad-below is {self.bad_below}; it must be above 0 and at most 1")

    def check_comparison(self) -> None:
        """Raises ConfigError if these are not the options of a comparison."""
        if len(self.compare) != 2:
            raise ConfigError(f"--compare is {' '.join(self.compare)!r}; give the folders of two evaluations")
        if self.predictions or self.images or self.dataset or self.release:
            raise ConfigError("--compare reads evaluations that were made before; leave out what is to be measured")

    def _check_release(self) -> None:
        if self.reference:
            raise ConfigError("--reference is for --images; give the options of the ensemble one by one")
        if self.run and not self.predictions:
            raise ConfigError("--run needs --predictions: a release does not have the photos of rejected images")
        for option in ("masks", "images", "dataset", "root", "count", "published"):
            if getattr(self, option):
                raise ConfigError(f"--release has its own masks; leave out --{option}")

    def _check_masks(self) -> None:
        if bool(self.masks) == bool(self.dataset):
            raise ConfigError("give either --masks, or --dataset and --root")
        if bool(self.dataset) != bool(self.root):
            raise ConfigError("give --dataset and --root together: which dataset, and where it is")
        if len(set(self.dataset)) < len(self.dataset):
            raise ConfigError(f"--dataset has a duplicate: {' '.join(self.dataset)}")
        if self.published and not self.dataset:
            raise ConfigError("--published has figures of public datasets: give --dataset and --root")
        if self.published and not self.normalize:
            raise ConfigError("--published: published figures are of stretched maps; leave out --no-normalize")
        if self.dataset and self.images:
            raise ConfigError(f"--dataset {self.dataset[0]} has its own photos; leave out --images {self.images}")

    def _check_maps(self) -> None:
        if self.predictions and self.images:
            raise ConfigError("give --predictions (existing maps) or --images (photos for a model), not both")
        if not (self.predictions or self.images or self.dataset or self.release):
            raise ConfigError("give --predictions, or --images for a model to predict")
        if self.predictions and self.reference:
            raise ConfigError("--reference is for a model, and --predictions are existing maps: leave one of them out")
        has_model = self.model != ModelConfig() or self.ensemble != EnsembleConfig()
        if self.predictions and (has_model or self.other.is_given):
            raise ConfigError("--predictions are existing maps: leave out the options of model and ensemble")
        if self.other.is_given and not self.release:
            raise ConfigError("--function and --onnx predict the photos of a release: give --release")
