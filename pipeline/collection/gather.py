"""From the input options to a collection: with annotations that list the images, or with every image that is there."""

import dataclasses
import logging
from collections.abc import Sequence

from pipeline.collection.coco import read_annotations
from pipeline.collection.collection import Collection
from pipeline.collection.config import InputConfig
from pipeline.collection.parquet import order_in_words
from pipeline.collection.stores import ImageStore, open_store
from pipeline.collection.unannotated import find_samples
from pipeline.errors import SampleError
from pipeline.records import Sample

log = logging.getLogger(__name__)


def read_collection(inputs: InputConfig) -> Collection:
    """Read the annotations, if there are any, and find where the bytes of every image are.

    Raises: AnnotationError: the annotations can't be read as COCO's.
            CollectionError: the images are in no place of a kind that can be read, or none is there.
    """
    if not inputs.annotations:
        store = open_store(inputs)
        log.info("images: %s", store.found)
        samples = find_samples(store, inputs)
        _warn_of_order(samples)
        return Collection(samples=samples, licenses={}, origins={}, has_annotations=False, has_instances=False)
    collection = read_annotations(inputs.annotations)
    store = open_store(inputs, [sample.file_name for sample in collection.samples])
    log.info("images: %s", store.found)
    samples = tuple(_located(sample, store) for sample in collection.samples)
    _warn_of_order(samples)
    return dataclasses.replace(collection, samples=samples)


def _warn_of_order(samples: Sequence[Sample]) -> None:
    if words := order_in_words(samples):
        log.warning("%s", words)


def _located(sample: Sample, store: ImageStore) -> Sample:
    try:
        return dataclasses.replace(sample, location=store.locate(sample.file_name))
    except SampleError as error:
        return dataclasses.replace(sample, problem=error.reason, problem_detail=error.detail)
