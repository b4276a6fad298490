"""Split the members of a batch into parts that fit in memory."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberPart:
    """Members that pass through the UNet together: all of some images, or some of one image."""

    images: slice
    members: slice
    """In the order of images; the members of one image are adjacent."""


def member_parts(images: int, members_each: int, at_once: int) -> Iterator[MemberPart]:
    """Split all members of all images into parts of at most `at_once` members."""
    if members_each <= at_once:
        step = at_once // members_each
        for first in range(0, images, step):
            last = min(first + step, images)
            yield MemberPart(slice(first, last), slice(first * members_each, last * members_each))
        return
    step = -(-members_each // -(-members_each // at_once))  # as few parts as possible, of nearly equal size
    for image in range(images):
        end = (image + 1) * members_each
        for first in range(image * members_each, end, step):
            yield MemberPart(slice(image, image + 1), slice(first, min(first + step, end)))
