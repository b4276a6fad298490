"""Lets a model predict the photos of a release, into a folder of maps: MAPS/KEY.png, and MAPS/made_with.json.

Maps that are there are kept: run an interrupted prediction again to resume. A folder never has maps of two models.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from model.documents import parse_object, read_document
from model.maps import encode_png
from model.prediction import ModelMemoryError, ModelOutputError
from pipeline.collection.images import decode_rgb
from pipeline.errors import CollectionError, ConfigError, RunMismatchError, SampleError, kept
from pipeline.evaluation.models.predictors import Predictor
from pipeline.evaluation.sources import MADE_WITH
from pipeline.files import local_disk
from pipeline.files.tars import encode_json
from pipeline.made_with import differences, refusal
from pipeline.progress.stages import EVERY_S, Failures, stage
from pipeline.release.opened import OpenedRelease, samples_in


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseMaps:
    """What was predicted."""

    folder: Path
    predicted: int
    """Maps that were made now."""
    there: int
    """Maps that were there already."""
    failures: Mapping[str, str]
    """Key of a photo without a map → why."""


def predict_release(
    opened: OpenedRelease,
    predictor: Predictor,
    folder: Path,
    wanted: Set[str] | None = None,
    *,
    progress_every_s: float = EVERY_S,
) -> ReleaseMaps:
    """Predict every accepted photo that has no map yet. A photo that fails is named, and costs no other.

    Args:   folder: of the maps; made if necessary. wanted: keys to predict; None: all.
    Raises: ConfigError: the release has masks alone. RunMismatchError: the folder has maps of another model or release.
            CollectionError: it is a folder of something else. StorageError: a file of the release is torn.
    """
    if not opened.stated.release.embed_images:
        raise ConfigError(
            f"{opened.folder} has masks alone, so there is nothing to predict: give --predictions, or build the "
            "release with --embed-images"
        )
    made_with = {"release": opened.sha256, **predictor.about}
    _require_same(folder, made_with)
    local_disk.make_folders(folder)
    local_disk.write(folder / MADE_WITH, encode_json(made_with))
    wanted = opened.rows.keys() if wanted is None else wanted
    there = {path.stem for path in folder.glob("*.png")} & wanted
    failures, named, predicted = dict[str, str](), Failures("the evaluation"), 0
    with (
        kept(lambda: "Maps that are made stay"),
        stage("predicting", len(wanted), "photos", done=len(there), every_s=progress_every_s) as predicting,
    ):
        for sample in samples_in(opened) if there < wanted else ():
            if sample.key in there or sample.key not in wanted:
                continue
            size = sample.row["width"] * sample.row["height"]
            try:
                photo = decode_rgb(sample.key, sample.members["jpg"], max_pixels=size)
                content = encode_png(predictor.map_of(photo, sample.key))
            except (SampleError, ModelOutputError, ModelMemoryError) as error:
                failures[sample.key] = str(error)
                named.add(f"{sample.key} has no map: {error}", key=sample.key, detail=str(error))
                predicting.note(f"{len(failures)} failed")
            else:
                local_disk.write(folder / f"{sample.key}.png", content)
                predicted += 1
            predicting.advance()
    return ReleaseMaps(folder=folder, predicted=predicted, there=len(there), failures=failures)


def _require_same(folder: Path, made_with: Mapping[str, str]) -> None:
    """Check that a folder is new, or has maps of the same model."""
    place = folder / MADE_WITH
    if not place.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise CollectionError(f"{folder} is not empty, and has no {MADE_WITH}: give another --out")
        return
    try:
        found = differences(parse_object(read_document(place)), made_with)
    except ValueError as error:
        raise CollectionError(f"{place} is malformed: {error}; give another --out") from error
    if found:
        raise RunMismatchError(refusal(f"{folder} has maps of another model or release", found, "Give another --out"))
