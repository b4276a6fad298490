"""Images without annotations: every image that is there is a sample.

Its id and key follow from its relative name alone, so they stay as they are when the collection grows or moves. Its
width and height come from its header, read in threads; most images are not read whole for that.
"""

import hashlib
import logging
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, groupby

from pipeline.collection.config import InputConfig
from pipeline.collection.names import in_form, label_of
from pipeline.collection.stores import READERS, ImageStore
from pipeline.errors import CollectionError, SampleError
from pipeline.files.formats import IMAGE_SUFFIXES
from pipeline.files.pictures import size_and_orientation, size_in_start
from pipeline.records import Sample
from pipeline.shown import shown

log = logging.getLogger(__name__)

_THREADS = 8
_THREADS_OF_WEB = 32
_CHUNK = 64
_START_BYTES = 32 << 10
"""Bytes in which most JPEGs have their size: metadata of cameras takes 10 to 20 KB, a thumbnail included."""
_ID_BITS = 53
"""Bits of an id that is made from a name: as many as a JSON number keeps in every language."""
_NUMBERED = re.compile(r"[0-9]{12}")
_UNREADABLE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_SLUG = 60
_EXCHANGED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


def find_samples(store: ImageStore, inputs: InputConfig) -> tuple[Sample, ...]:
    """Make a sample of every image in a store, in the order of their keys.

    Raises: CollectionError: there is no image, or two names give the same key.
    """
    names = sorted(store.names() if store.holds_images_only else _images(store.names(), inputs))
    if not names:
        raise CollectionError(f"images {shown(inputs.images)!r}: {store.found}, so there is none to segment")
    samples: dict[str, Sample] = {}
    for sample in _measured([_named(name, store) for name in names], inputs):
        other = samples.setdefault(sample.key, sample)
        if other is not sample:
            raise CollectionError(
                f"images {shown(inputs.images)!r}: {other.file_name!r} and {sample.file_name!r} both get the key "
                f"{sample.key}; rename one of them"
            )
    return tuple(samples[key] for key in sorted(samples))


def key_and_id(name: str) -> tuple[str, int]:
    """Key and id of an image without annotations, from its relative name alone.

    A name such as COCO's `000000000139.jpg` gives the key and the id that it has there. Others give a readable key,
    such as `holiday-IMG_0001-3f2a9c1b` for `holiday/IMG_0001.jpg`; its end is from the SHA-256 of the name in NFC.
    """
    stem = posixpath.splitext(name)[0]
    if _NUMBERED.fullmatch(stem):
        return stem, int(stem)
    digest = hashlib.sha256(in_form(name).encode("utf-8", "surrogateescape")).digest()
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = _UNREADABLE.sub("-", plain).strip("-")[:_LONGEST_SLUG].strip("-")
    return f"{slug or 'image'}-{digest[:4].hex()}", int.from_bytes(digest[:8]) >> (64 - _ID_BITS)


def _images(names: Iterable[str], inputs: InputConfig) -> list[str]:
    """The names that are those of images; what was left out is logged."""
    found, ignored = [], Counter[str]()
    for name in names:
        parts = name.split("/")
        suffix = posixpath.splitext(parts[-1])[1].lower()
        if suffix in IMAGE_SUFFIXES and not any(part.startswith(".") or part == "__MACOSX" for part in parts):
            found.append(name)
        else:
            ignored[suffix or "no suffix"] += 1
    ends = ", ".join(f"{count} {suffix}" for suffix, count in ignored.most_common(5))
    if not found:
        has = f"{ignored.total()} files, none with the suffix of an image ({ends})" if ignored else "no files"
        raise CollectionError(f"images {shown(inputs.images)!r}: {has}; images end in {', '.join(IMAGE_SUFFIXES)}")
    if ignored:
        log.info("ignoring %d files that are not named like images: %s", ignored.total(), ends)
    return found


def _named(name: str, store: ImageStore) -> Sample:
    key, image_id = key_and_id(name)
    sample = Sample(key=key, image_id=image_id, file_name=name, width=0, height=0, license_id=0, location=None)
    try:
        return replace(sample, location=store.locate(name))
    except SampleError as error:
        return replace(sample, problem=error.reason, problem_detail=error.detail)


def _measured(samples: Sequence[Sample], inputs: InputConfig) -> Iterable[Sample]:
    threads = max((_threads(sample) for sample in samples), default=1)
    with ThreadPoolExecutor(threads, thread_name_prefix="header") as pool:
        yield from chain.from_iterable(
            pool.map(lambda chunk: [_with_size(sample, inputs.max_image_bytes) for sample in chunk], _chunks(samples))
        )


def _threads(sample: Sample) -> int:
    return _THREADS_OF_WEB if sample.location is not None and sample.location.reader == "address" else _THREADS


def _chunks(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    """What one thread reads: some images, or all of a row group in its order, since that is read as a stream."""
    others: list[Sample] = []
    streamed: list[Sample] = []
    for sample in samples:
        is_row = sample.location is not None and sample.location.reader == "parquet"
        (streamed if is_row else others).append(sample)
    groups = groupby(sorted(streamed, key=_place), key=lambda sample: _place(sample)[:2])
    return [
        *(others[start : start + _CHUNK] for start in range(0, len(others), _CHUNK)),
        *(list(group) for _, group in groups),
    ]


def _place(sample: Sample) -> tuple[str, int, int]:
    assert sample.location is not None
    group, row = sample.location.place
    return sample.location.path, group, row


def _with_size(sample: Sample, max_bytes: int) -> Sample:
    """The sample with the size at which people see it: an EXIF orientation may exchange width and height."""
    if sample.location is None:
        return sample
    read, label = READERS[sample.location.reader], label_of(sample)
    try:
        size = size_in_start(read(sample.location, label, max_bytes, _START_BYTES))
        size = size or size_and_orientation(label, read(sample.location, label, max_bytes))
    except SampleError as error:
        return replace(sample, problem=error.reason, problem_detail=error.detail)
    width, height, orientation = size
    if orientation in _EXCHANGED:
        width, height = height, width
    return replace(sample, width=width, height=height)
