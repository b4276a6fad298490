"""Is any image of a collection usable? One that has none is refused before any work, with the reason of the first."""

from collections.abc import Sequence

from pipeline.collection.collection import Collection
from pipeline.collection.config import InputConfig
from pipeline.collection.images import decode
from pipeline.collection.near_misses import why_none
from pipeline.collection.stores import read_bytes
from pipeline.errors import CollectionError, SampleError
from pipeline.records import Sample
from pipeline.shown import shown

_FIRST_TRIED = 3
_MOST_TRIED = 100
"""Images that are tried before a collection is given up; the others are hardly better then."""


def require_usable(collection: Collection, inputs: InputConfig) -> None:
    """Refuse a collection none of whose images can be read and decoded: its release would be empty.

    A few images are tried for it: three, spread over the collection, or more while all of them fail.
    Raises: CollectionError: no image was found, or none of those that were tried is usable.
            StorageUnavailableError: the place of the images can't be reached.
    """
    samples, images = collection.samples, shown(inputs.images)
    if inputs.annotations and all(sample.problem == "missing" for sample in samples):
        raise CollectionError(
            f"--images {images} has none of the {len(samples)} images that {shown(inputs.annotations)} lists, for "
            f"example {samples[0].file_name!r}. {why_none(inputs, [sample.file_name for sample in samples])}"
        )
    found = [sample for sample in samples if not sample.problem]
    tried = _spread(found, _FIRST_TRIED) or list(samples[:1])
    problem = _first_problem(tried, inputs)
    if problem and len(found) > len(tried):
        tried = _spread(found, _MOST_TRIED)
        problem = _first_problem(tried, inputs)
    if problem:
        among = f"; {len(tried)} were tried" if len(tried) < len(found) else ""
        raise CollectionError(
            f"--images {images} has none of the {len(samples)} images in a form that can be read{among}. The first, "
            f"{problem.reason}: {problem.detail}"
        )


def _first_problem(samples: Sequence[Sample], inputs: InputConfig) -> SampleError | None:
    """The problem of the first of these images; None if any of them is usable."""
    first = None
    for sample in samples:
        try:
            content = read_bytes(sample, max_bytes=inputs.max_image_bytes)
            decode(sample, content, max_pixels=inputs.max_image_pixels)
        except SampleError as error:
            first = first or error
        else:
            return None
    return first


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    count = min(count, len(samples))
    return [samples[place * len(samples) // count] for place in range(count)]
