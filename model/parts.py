"""How the members of a batch are cut into parts that the memory holds."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """Members that pass through the UNet together: all of some images, or some of one image."""

    images: slice
    members: slice
    """In the order of images, the members of an image side by side."""


def cut(images: int, members_each: int, at_once: int) -> Iterator[Part]:
    """All members of all images, in parts of at most `at_once` members."""
    if members_each <= at_once:
        step = at_once // members_each
        for first in range(0, images, step):
            last = min(first + step, images)
            yield Part(slice(first, last), slice(first * members_each, last * members_each))
        return
    step = -(-members_each // -(-members_each // at_once))  # as few parts as can be, and these alike
    for image in range(images):
        end = (image + 1) * members_each
        for first in range(image * members_each, end, step):
            yield Part(slice(image, image + 1), slice(first, min(first + step, end)))
