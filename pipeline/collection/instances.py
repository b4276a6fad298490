"""Instances in the annotations, and how well the mask of a salient object agrees with them.

COCO has hand-drawn outlines of 80 kinds of things. A mask that is a union of some of them agrees with an independent
source; any other shows an object of another kind, or is wrong. `outlines.py` reads one outline; here they are matched
with images and categories. What can't be used is ignored, counted, and said.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool

from pipeline.collection.coco import is_annotation, parse_document, read_annotation_bytes
from pipeline.collection.outlines import read_outline, read_run_lengths
from pipeline.collection.spelled_numbers import whole_number
from pipeline.records import Sample
from pipeline.shown import text_as_utf8

_MOST_PER_IMAGE = 2_000
"""Limit on the instances of one image; any more are ignored. Images of COCO have up to a hundred."""
_NO_CATEGORY = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One annotated thing in one image."""

    category: str
    """"" if the annotations do not name it."""
    supercategory: str
    counts: str
    """COCO's compressed run lengths of its mask; they fit the size of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """The instances of images. Each annotation of one of them is either an instance or ignored."""

    of: Mapping[str, tuple[Instance, ...]]
    """Key → instances, of images that have any."""
    ignored: Mapping[str, int]
    """Key → number of annotations without a usable outline, of images that have any."""
    remarks: tuple[str, ...] = ()
    """What was ignored or left out, how often, why, and an example; for the log."""


NO_INSTANCES = Instances(of={}, ignored={})


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """How a mask compares with the instances of its image."""

    instance_iou: float | None
    """Intersection over union of the mask with the best union of instances, in [0, 1]; None without instances."""
    categories: tuple[str, ...]
    """Categories of the instances in that union; the one that shares most pixels with the mask comes first."""
    supercategory: str
    """Supercategory of the first of the instances; "" if unknown."""


UNCHECKED = CrossCheck(instance_iou=None, categories=(), supercategory="")


def read_instances(annotations: str, samples: Sequence[Sample]) -> Instances:
    """Read the instances of images. Invalid annotations are ignored and counted.

    860,000 instances, as in train2017, take 0.6 GB and 2.5 minutes (measured with 20,000 outlines of 28 corners each).

    Args:   samples: the images whose instances are wanted. Give images that could be read: their sizes are true.
    Raises: AnnotationError: the file can't be read as JSON.
    """
    named = Counter(sample.file_name for sample in samples)
    reading = _Reading(
        samples={sample.image_id: sample for sample in samples},
        by_name={sample.file_name: sample for sample in samples if named[sample.file_name] == 1},
    )
    document = parse_document(annotations, read_annotation_bytes(annotations), reading.keep)
    return reading.finished(document)


@dataclass(slots=True, kw_only=True)
class _Tally:
    """How often something was said, and of what first."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, example: str) -> None:
        self.counts[what] += 1
        self.examples.setdefault(what, example)

    def __str__(self) -> str:
        said = self.counts.most_common()
        return "; ".join(f"{count} {what} ({self.examples[what]}, for example)" for what, count in said)


@dataclass(slots=True, kw_only=True)
class _Reading:
    """One reading of a file of annotations."""

    samples: Mapping[int, Sample]
    """Image id → image."""
    by_name: Mapping[str, Sample]
    """File name → image, if a single one has it: some tools write the name in place of the id."""
    found: dict[str, list[tuple[int, int | str, str]]] = field(default_factory=dict)
    """Key → id, category and run lengths of each instance."""
    ignored: Counter[str] = field(default_factory=Counter)
    whole: _Tally = field(default_factory=_Tally)
    parts: _Tally = field(default_factory=_Tally)
    elsewhere: dict[int | str, tuple[int, str]] = field(default_factory=dict)
    """Image id that none of the images has → number of annotations, and the first of them."""

    def keep(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """Take an annotation out of the document; every other object stays."""
        if not is_annotation(entry):
            return entry
        image = entry["image_id"]
        number = whole_number(image)
        where = f"annotation {_shown(entry.get('id'))} of image {_shown(image)}"
        if number is not None:
            sample = self.samples.get(number)
        else:
            sample = self.by_name.get(image) if isinstance(image, str) else None
        if sample is None:
            image = _shown(image) if number is None else number
            count, first = self.elsewhere.get(image, (0, where))
            self.elsewhere[image] = count + 1, first
            return None
        self._add(sample, entry, where)
        return None

    def _add(self, sample: Sample, entry: Mapping[str, Any], where: str) -> None:
        if len(self.found.get(sample.key, ())) == _MOST_PER_IMAGE:
            self._ignore(sample, f"beyond the first {_MOST_PER_IMAGE} of an image", where)
            return
        outline = read_outline(entry.get("segmentation"), sample.height, sample.width)
        if not outline.counts:
            self._ignore(sample, outline.left_out[0] if outline.left_out else "missing", where)
            return
        for why in outline.left_out:
            self.parts.add(why, where)
        category, order = entry.get("category_id"), whole_number(entry.get("id"))
        named = whole_number(category)
        known = category if named is None and isinstance(category, str) else named
        self.found.setdefault(sample.key, []).append((order or 0, "" if known is None else known, outline.counts))

    def _ignore(self, sample: Sample, why: str, where: str) -> None:
        self.ignored[sample.key] += 1
        self.whole.add(why, where)

    def finished(self, document: Mapping[str, Any]) -> Instances:
        """The instances, once the document is read: categories may come after annotations."""
        names, unclear = _categories(document.get("categories"))
        unnamed = Counter(category for of_image in self.found.values() for _, category, _ in of_image)
        for category in names:
            del unnamed[category]
        instances = {}
        for key, of_image in sorted(self.found.items()):
            named = [names.get(category, _NO_CATEGORY) for _, category, _ in sorted(of_image, key=_order)]
            instances[key] = tuple(
                Instance(category=name, supercategory=above, counts=counts)
                for (name, above), (_, _, counts) in zip(named, sorted(of_image, key=_order), strict=True)
            )
        return Instances(
            of=instances, ignored=dict(self.ignored), remarks=tuple(self._remarks(document, unnamed, unclear))
        )

    def _remarks(
        self, document: Mapping[str, Any], unnamed: Mapping[int | str, int], unclear: Mapping[int | str, Sequence[str]]
    ) -> Iterator[str]:
        """Args: unnamed: `category_id` without a category → instances. unclear: as `_categories` returns them."""
        ignored = sum(self.ignored.values())
        every = ignored + sum(map(len, self.found.values()))
        if ignored:
            yield (
                f"{ignored} of {every} instances have no outline that can be compared with a mask. Outlines that were "
                f"left out: {self.whole}"
            )
        if self.parts.counts:
            yield f"parts of outlines were left out, the rest of these outlines is used: {self.parts}"
        doubles = sorted(unnamed.keys() & unclear.keys(), key=str)
        of_several = sum(unnamed[category] for category in doubles)
        without_category = sum(unnamed.values()) - of_several
        if of_several:
            means = "; ".join(
                f"{category} is {' and '.join(map(ascii, unclear[category]))}" for category in doubles[:3]
            )
            yield (
                f"{of_several} of {every} instances have a `category_id` that several of `categories` have ({means}); "
                "they are compared without a category"
            )
        if without_category:
            yield (
                f"{without_category} of {every} instances have a `category_id` that is not in `categories`; they are "
                "compared without a category"
            )
        entries = document.get("images")
        images = [entry.get("id") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        listed = {number for number in images if isinstance(number, int)}
        lost = [told for image, told in self.elsewhere.items() if image not in listed]
        if lost:
            yield (
                f"{sum(count for count, _ in lost)} annotations belong to no image, since their `image_id` is not in "
                f"`images` ({lost[0][1]}, for example)"
            )


def digest_of(instances: Instances) -> str:
    """SHA-256, in hex, of all instances and of the numbers of ignored ones."""
    digest = hashlib.sha256(json.dumps(sorted(instances.ignored.items())).encode("ascii") + b"\n")
    for key, of_image in instances.of.items():
        for instance in of_image:
            line = json.dumps([key, instance.category, instance.supercategory, instance.counts])
            digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()


def cross_check(mask: Bool[np.ndarray, "h w"], instances: Sequence[Instance]) -> CrossCheck:
    """Compare a mask with the union of instances that fits it best.

    If no instances overlap, that union is the best one: maximising shared / (mask + outside) is a fractional programme,
    so it consists of all instances whose share inside the mask lies above some bound (Dinkelbach 1967,
    doi:10.1287/mnsc.13.7.492). Overlapping instances are taken in the same order; their common pixels count once.
    """
    if not instances:
        return UNCHECKED
    # One at a time, and drawn twice instead of kept: a dense photograph has hundreds.
    shared, share = [], []
    for instance in instances:
        drawn = decode_counts(instance.counts, *mask.shape)
        shared.append(int((drawn & mask).sum()))
        share.append(shared[-1] / max(1, int(drawn.sum())))
    order = sorted(range(len(instances)), key=lambda place: (-share[place], -shared[place], place))
    best, chosen, mask_px = 0.0, 0, int(mask.sum())
    union = np.zeros_like(mask)
    for taken, place in enumerate(order, start=1):
        if not shared[place]:
            break  # this one and all that follow lie outside
        union |= decode_counts(instances[place].counts, *mask.shape)
        inside = int((union & mask).sum())
        iou = inside / max(1, int(union.sum()) + mask_px - inside)
        if iou > best:
            best, chosen = iou, taken
    used = sorted(order[:chosen], key=lambda place: (-shared[place], place))
    return CrossCheck(
        instance_iou=best,
        categories=tuple(dict.fromkeys(instances[place].category for place in used if instances[place].category)),
        supercategory=instances[used[0]].supercategory if used else "",
    )


def decode_counts(counts: str, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """Draw the mask of compressed run lengths.

    Raises: ValueError: they are invalid, or belong to a mask of another size.
    """
    runs = read_run_lengths(counts)
    if runs is None or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"{counts[:40]!r} … are not run lengths of {height * width} pixels")
    in_mask = np.arange(len(runs)) % 2 == 1  # runs go down the columns, the first is outside
    return np.repeat(in_mask, runs).reshape(width, height).T


def _order(found: tuple[int, int | str, str]) -> tuple[int, int, str, str]:
    """By id; among equal ids by category and outline, so that their order in the file makes no difference."""
    number, category, counts = found
    return number, category if isinstance(category, int) else -1, str(category), counts


def _categories(entries: object) -> tuple[dict[int | str, tuple[str, str]], dict[int | str, list[str]]]:
    """What ids of categories mean.

    Returns: id → name and supercategory, also name → the same, if no id is spelled so, as some tools write the name
             there; and id → names, of ids that several categories have.
    """
    by_id: dict[int | str, set[tuple[str, str]]] = defaultdict(set)
    by_name: dict[int | str, tuple[str, str]] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            number, above = entry.get("id"), entry.get("supercategory")
            found = text_as_utf8(entry["name"]), text_as_utf8(above) if isinstance(above, str) else ""
            known = whole_number(number)
            if known is not None or isinstance(number, str):
                by_id[str(number) if known is None else known].add(found)
                by_name.setdefault(entry["name"], found)
    names = by_name | {known: min(found) for known, found in by_id.items()}
    unclear = {known: [name for name, _ in sorted(found)] for known, found in by_id.items() if len(found) > 1}
    return {known: found for known, found in names.items() if known not in unclear}, unclear


def _shown(value: object) -> str:
    """An id as a message shows it."""
    return repr(value) if isinstance(value, int | float) else ascii(str(value)[:40])
