"""From the input options to a collection: with annotations that list the images, or with every image that is there."""

import dataclasses
import logging
from collections.abc import Sequence

from pipeline.collection.coco import read_annotations
from pipeline.collection.collection import NOTHING_SAID, About, Collection
from pipeline.collection.config import InputConfig
from pipeline.collection.frames import default_frame
from pipeline.collection.kept import Kept
from pipeline.collection.metadata import described, read_metadata
from pipeline.collection.parquet import order_in_words
from pipeline.collection.stores import ImageStore, open_store
from pipeline.collection.unannotated import find_samples
from pipeline.errors import SampleError
from pipeline.files.trials import before_work
from pipeline.progress.stages import stage
from pipeline.records import Sample
from pipeline.shown import shown

log = logging.getLogger(__name__)


@before_work()
def read_collection(inputs: InputConfig, kept: Kept | None = None) -> Collection:
    """Read the annotations, if there are any, and find where the bytes of every image are.

    Args:   kept: what earlier sessions of the run found in large files, and where new findings are added.
    Raises: AnnotationError: the annotations can't be read as COCO's.
            CollectionError: the images are in no place of a kind that can be read, or none is there; or the metadata
            can't be read.
            ConfigError: a storage lets nobody in. StorageUnavailableError: one can't be reached.
    """
    if not inputs.annotations:
        return _every_image(inputs, kept)
    collection = read_described_annotations(inputs)
    _warn_of_frame(collection, inputs)
    store = open_store(inputs, [sample.file_name for sample in collection.samples if not sample.problem], kept)
    log.info("images: %s", store.found)
    samples = tuple(_located(sample, store) for sample in collection.samples)
    _warn_of_order(samples)
    return dataclasses.replace(collection, samples=samples)


def _warn_of_order(samples: Sequence[Sample]) -> None:
    if words := order_in_words(samples):
        log.warning("%s", words)


def _warn_of_frame(collection: Collection, inputs: InputConfig) -> None:
    frame = default_frame(inputs.orientation, annotated=True)
    if collection.orientation not in ("", frame):
        log.warning(
            "annotations %r have the sizes of %s images; give --orientation %s, or images whose size does not tell "
            "(squares, half turns) are taken as %s",
            *(shown(inputs.annotations), collection.orientation, collection.orientation, frame),
        )


@before_work()
def read_described_annotations(inputs: InputConfig) -> Collection:
    """Read annotations and metadata without looking for the images: no sample has a location.

    Raises: AnnotationError: the annotations can't be read as COCO's. CollectionError: the metadata can't be read.
            ConfigError, StorageUnavailableError: as `read_collection`.
    """
    with stage("reading the annotations"):
        return _with_metadata(read_annotations(inputs.annotations), {}, inputs)


def _every_image(inputs: InputConfig, kept: Kept | None) -> Collection:
    store = open_store(inputs, kept=kept)
    log.info("images: %s", store.found)
    samples = find_samples(store, inputs)
    _warn_of_order(samples)
    said = {sample.key: store.about(sample.file_name) for sample in samples if sample.location}
    collection = Collection(samples=samples, licenses={}, origins={}, has_annotations=False, has_instances=False)
    return _with_metadata(collection, {key: about for key, about in said.items() if about != NOTHING_SAID}, inputs)


def _with_metadata(collection: Collection, said: dict[str, About], inputs: InputConfig) -> Collection:
    """Add what the table says, and the place of the images where the table says nothing."""
    table = read_metadata(inputs.metadata, collection.samples) if inputs.metadata else {}
    told = {key: _either(table.get(key, NOTHING_SAID), said.get(key, NOTHING_SAID)) for key in table | said}
    if table:
        log.info("metadata: tells of %d of %d images", len(table), len(collection.samples))
    licensed = sum(sample.license_id != 0 for sample in collection.samples)
    if told and licensed:
        log.info("metadata: %d images keep the licence that the annotations give them", licensed)
    return described(collection, told) if told else collection


def _either(first: About, second: About) -> About:
    of_license = first if first.license else second
    return About(
        license=of_license.license,
        license_name=of_license.license_name,
        author=first.author or second.author,
        source=first.source or second.source,
    )


def _located(sample: Sample, store: ImageStore) -> Sample:
    if sample.problem:
        return sample
    try:
        return dataclasses.replace(sample, location=store.locate(sample.file_name))
    except SampleError as error:
        return dataclasses.replace(sample, problem=error.reason, problem_detail=error.detail)
