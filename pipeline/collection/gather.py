"""From the input options to a collection: with annotations that list the images, or with every image that is there."""

import dataclasses
import logging

from pipeline.collection.coco import read_annotations
from pipeline.collection.collection import Collection
from pipeline.collection.config import InputConfig
from pipeline.collection.kept import Kept
from pipeline.collection.stores import ImageStore, open_store
from pipeline.collection.unannotated import find_samples
from pipeline.errors import SampleError
from pipeline.records import Sample

log = logging.getLogger(__name__)


def read_collection(inputs: InputConfig, kept: Kept | None = None) -> Collection:
    """Read the annotations, if there are any, and find where the bytes of every image are.

    Args:   kept: what earlier sessions of the run found in large files, and where new findings are added.
    Raises: AnnotationError: the annotations can't be read as COCO's.
            CollectionError: the images are in no place of a kind that can be read, or none is there.
    """
    if not inputs.annotations:
        store = open_store(inputs, kept=kept)
        log.info("images: %s", store.found)
        samples = find_samples(store, inputs)
        return Collection(samples=samples, licenses={}, origins={}, has_annotations=False, has_instances=False)
    collection = read_annotations(inputs.annotations)
    store = open_store(inputs, [sample.file_name for sample in collection.samples], kept)
    log.info("images: %s", store.found)
    return dataclasses.replace(collection, samples=tuple(_located(sample, store) for sample in collection.samples))


def _located(sample: Sample, store: ImageStore) -> Sample:
    try:
        return dataclasses.replace(sample, location=store.locate(sample.file_name))
    except SampleError as error:
        return dataclasses.replace(sample, problem=error.reason, problem_detail=error.detail)
