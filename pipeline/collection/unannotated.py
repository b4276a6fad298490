"""Images without annotations: every image that is there is a sample.

Its id and key follow from its relative name alone, so they stay as they are when the collection grows or moves. Its
width and height come from its header, read in threads; most images are not read whole for that.
"""

import hashlib
import logging
import posixpath
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, groupby

from pipeline.collection.config import InputConfig
from pipeline.collection.frames import default_frame, size_in
from pipeline.collection.names import in_form, label_of, told_apart
from pipeline.collection.stores import READERS, ImageStore
from pipeline.errors import CollectionError, SampleError
from pipeline.files.formats import IMAGE_SUFFIXES
from pipeline.files.pictures import START_BYTES, size_and_orientation, size_in_start
from pipeline.records import Sample
from pipeline.shown import shown, text_as_utf8

log = logging.getLogger(__name__)

_THREADS = 8
_THREADS_OF_WEB = 32
_CHUNK = 64
_TOLD_EVERY_S = 10.0
_ID_BITS = 53
"""Bits of an id that is made from a name: as many as a JSON number keeps in every language."""
_NUMBERED = re.compile(r"[0-9]{12}")
_UNREADABLE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_SLUG = 60


def find_samples(store: ImageStore, inputs: InputConfig) -> tuple[Sample, ...]:
    """Make a sample of every image in a store, in the order of their keys.

    Raises: CollectionError: there is no image, two names give the same key, or a run lies among the images.
    """
    names = sorted(store.names() if store.holds_images_only else _images(tuple(store.names()), inputs))
    if not names:
        raise CollectionError(f"images {shown(inputs.images)!r}: {store.found}, so there is none to segment")
    samples: dict[str, Sample] = {}
    alike = Counter(key_and_id(name)[0] for name in names)
    named = [_named(name, store, inputs, is_shared=alike[key_and_id(name)[0]] > 1) for name in names]
    for sample in _told(_measured(named, inputs), len(names)):
        other = samples.setdefault(sample.key, sample)
        if other is not sample:
            one, two = told_apart((other.file_name, sample.file_name))
            form = (
                " differ only in their form of Unicode, so"
                if in_form(other.file_name) == in_form(sample.file_name)
                else ""
            )
            raise CollectionError(
                f"images {shown(inputs.images)!r}: {one} and {two}{form} both get the key {sample.key}; rename one of "
                "them"
            )
    return tuple(samples[key] for key in sorted(samples))


def key_and_id(name: str, *, is_shared: bool = False) -> tuple[str, int]:
    """Key and id of an image without annotations, from its relative name alone.

    A name such as COCO's `000000000139.jpg` gives the key and the id that it has there. Others give a readable key,
    such as `holiday-IMG_0001-3f2a9c1b` for `holiday/IMG_0001.jpg`; its end is from the SHA-256 of the name in NFC.

    Args: is_shared: another name has the same key, so that its end is twice as long here. Among 77,000 names with one
          beginning (all in Chinese, for example), a pair of such names is as likely as not.
    """
    stem = posixpath.splitext(name)[0]
    if has_number(name):
        return stem, int(stem)
    digest = hashlib.sha256(in_form(name).encode("utf-8", "surrogateescape")).digest()
    plain = stem if stem.isascii() else unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = _UNREADABLE.sub("-", plain).strip("-")[:_LONGEST_SLUG].strip("-")
    end = digest[: 8 if is_shared else 4].hex()
    return f"{slug or 'image'}-{end}", int.from_bytes(digest[:8]) >> (64 - _ID_BITS)


def has_number(name: str) -> bool:
    """Is it a name such as COCO's `000000000139.jpg`, which says its own key and id?"""
    return _NUMBERED.fullmatch(posixpath.splitext(name)[0]) is not None


def _images(names: Collection[str], inputs: InputConfig) -> list[str]:
    """The names that are those of images; what was left out is logged."""
    found, ignored = [], Counter[str]()
    _refuse_runs(names, inputs)
    for name in names:
        parts = name.split("/")
        suffix = posixpath.splitext(parts[-1])[1].lower()
        if suffix in IMAGE_SUFFIXES and not any(map(_is_hidden, parts)):
            found.append(name)
        else:
            ignored[f"hidden {suffix}" if suffix in IMAGE_SUFFIXES else suffix or "no suffix"] += 1
    ends = ", ".join(f"{count} {suffix}" for suffix, count in ignored.most_common(5))
    if not found:
        but = " but hidden ones" if any(kind.startswith("hidden ") for kind in ignored) else ""
        has = f"{ignored.total()} files, none with the suffix of an image{but} ({ends})" if ignored else "no files"
        raise CollectionError(f"images {shown(inputs.images)!r}: {has}; images end in {', '.join(IMAGE_SUFFIXES)}")
    if ignored:
        log.info("ignoring %d files that are hidden or not named like images: %s", ignored.total(), ends)
    return found


def _refuse_runs(names: Collection[str], inputs: InputConfig) -> None:
    """Refuse a run among the images: its contact sheet and the pictures of its releases would be taken for images."""
    for folder in sorted(posixpath.dirname(name) for name in names if posixpath.basename(name) == "run.json"):
        if posixpath.join(folder, "contact_sheet.png") in names:
            raise CollectionError(
                f"images {shown(inputs.images)!r}: it holds the run {folder or 'itself'}, whose pictures would be "
                "taken for images; move the run elsewhere"
            )


def _is_hidden(part: str) -> bool:
    """Is it what macOS adds, or hidden? An archive may also have "..", whose images are refused and not ignored."""
    return part == "__MACOSX" or (part.startswith(".") and part != "..")


def _named(name: str, store: ImageStore, inputs: InputConfig, *, is_shared: bool) -> Sample:
    key, image_id = key_and_id(name, is_shared=is_shared)
    location, problem, detail, size = None, "", "", None
    try:
        location, size = store.locate(name), store.about(name).size
    except SampleError as error:
        problem, detail = error.reason, error.detail
    width, height = _planned_px(size, inputs) if size else (0, 0)
    return Sample(
        key=key,
        image_id=image_id,
        file_name=text_as_utf8(name),
        width=width,
        height=height,
        license_id=0,
        location=location,
        problem=problem,
        problem_detail=detail,
    )


def _measured(samples: Sequence[Sample], inputs: InputConfig) -> Iterable[Sample]:
    threads = max((_threads(sample) for sample in samples), default=1)
    with ThreadPoolExecutor(threads, thread_name_prefix="header") as pool:
        yield from chain.from_iterable(
            pool.map(lambda chunk: [_with_size(sample, inputs) for sample in chunk], _chunks(samples))
        )


def _told(samples: Iterable[Sample], total: int) -> Iterator[Sample]:
    """Pass the samples on, and log how many there were every few seconds."""
    next_s = time.monotonic() + _TOLD_EVERY_S
    for count, sample in enumerate(samples, 1):
        yield sample
        if time.monotonic() >= next_s:
            log.info("images: the sizes of %d of %d are read", count, total)
            next_s = time.monotonic() + _TOLD_EVERY_S


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


def _with_size(sample: Sample, inputs: InputConfig) -> Sample:
    """The sample with its size in the frame that is asked for: an EXIF orientation may exchange width and height."""
    if sample.location is None or sample.width:
        return sample
    read, label, max_bytes = READERS[sample.location.reader], label_of(sample), inputs.max_image_bytes
    try:
        size = size_in_start(read(sample.location, label, max_bytes, START_BYTES))
        size = size or size_and_orientation(label, read(sample.location, label, max_bytes))
    except SampleError as error:
        return replace(sample, problem=error.reason, problem_detail=error.detail)
    width, height = _planned_px(size, inputs)
    return replace(sample, width=width, height=height)


def _planned_px(size: tuple[int, int, int], inputs: InputConfig) -> tuple[int, int]:
    """Width and height in the frame that is asked for, since an orientation may exchange them."""
    width, height, exif_orientation = size
    return size_in(default_frame(inputs.orientation, annotated=False), (width, height), exif_orientation)
